"""The pack's page for people: what each part says, and the digest of the file it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from html import escape

from aios.evidence.manifest import CHECKPOINT, CHECKPOINTS, LEAVES, MANIFEST, ROWS
from aios_assets.evidence import articles, sections
from aios_assets.evidence.content import Content
from aios_assets.evidence.markup import GONE, NONE, Raw, claim, listing, page, table
from aios_assets.evidence.scope import Folder, grouped

NAME = "index.html"
_ALONE = 2


def write_page(folder: Folder, content: Content) -> None:
    """Write the page; every other file but the manifest must be there."""
    scope = content.scope
    chapters = [
        ("verify", "How to check this pack", _verify(folder, content)),
        ("missing", "What is missing", _missing(folder)),
        ("decisions", "Decisions and oversight", sections.decisions(folder, content)),
        ("people", "People and effects", sections.consequences(folder, content)),
        ("data", "Data", sections.data(folder, content)),
        ("models", "Models", sections.models(folder, content)),
        ("performance", "Performance and drift", sections.monitoring(folder, content)),
        ("incidents", "Incidents and changes", sections.incidents(folder, content)),
        ("policies", "Policies and software", sections.policies(folder, content)),
        ("articles", "EU AI Act", _articles(folder, content)),
        ("files", "Files", _files(folder)),
    ]
    last = scope.end - timedelta(microseconds=1)
    links = "".join(f'<a href="#{at}">{escape(title)}</a>' for at, title, _ in chapters)
    parts = [
        f"<h1>Evidence pack: {escape(scope.name)}</h1>",
        f'<p class="lead">{escape(content.sheet["description"])}<br>'
        f"Partitions that begin from {scope.start:%Y-%m-%d} to {last:%Y-%m-%d} (UTC).</p>",
        _facts(folder, content),
        f"<nav>{links}</nav>",
    ]
    for at, title, inside in chapters:
        parts += [f'<section id="{at}"><h2>{escape(title)}</h2>', *inside, "</section>"]
    folder.write(NAME, page(f"Evidence pack: {scope.name}", parts).encode())


def _facts(folder: Folder, content: Content) -> str:
    found = content.oversight
    share = found["share_sent_to_review"]
    findings = sum(len(one) for one in content.incidents.values())
    facts = [
        (f"{found['decisions']:,}", "decisions"),
        (NONE if share is None else f"{share:.1%}", "sent to review"),
        (f"{content.reviews['verdicts']:,}", "verdicts of people"),
        (f"{content.actions['actions']:,}", "actions caused"),
        (str(len(content.versions)), "model versions"),
        (str(findings), "incidents and findings"),
        (f"{content.leaves:,}", "leaves of the record, proven"),
        (str(len(folder.lacks)), "things missing"),
    ]
    inside = "".join(f"<div><b>{value}</b><span>{text}</span></div>" for value, text in facts)
    return f'<div class="facts">{inside}</div>'


def _verify(folder: Folder, content: Content) -> Iterator[str]:
    tree = content.checkpoint
    yield (
        "<p>With the record's public key, got from its owner by another way than this pack, and "
        "without access to the platform:</p>"
        "<pre>aios evidence verify THIS_FOLDER --key PUBLICKEY</pre>"
    )
    yield claim(
        folder,
        f"The proofs lead to one signed checkpoint of the record {tree.origin}: {tree.size:,} "
        f"leaves with the root {tree.root.hex()}.",
        CHECKPOINT,
    )
    yield claim(
        folder,
        f"{content.leaves:,} leaves of the record are in the pack, each with its proof; "
        f"{folder.lines[CHECKPOINTS]:,} earlier checkpoints are proven to be of the same log.",
        LEAVES,
        CHECKPOINTS,
    )
    yield claim(
        folder,
        f"{content.rows:,} decisions, drawn by a seed, are proven to be of the tables that the "
        "record named when they were made. They are the only rows in the pack: identifiers, "
        "outcome, score and versions, and no column of the event beyond them.",
        ROWS,
    )
    yield (
        '<p class="note">A pack that passes shows that its files are those that the key signed, '
        "and that its leaves are in the log. It does not show that figures outside the log were "
        "right when they were written, nor that no leaf was left out. Times are UTC.</p>"
    )


def _missing(folder: Folder) -> Iterator[str]:
    if not folder.lacks:
        yield "<p>Nothing that a pack holds is missing from this one.</p>"
        return
    lines = [
        f"<li><b>{escape(what)}</b>. {escape(why)}</li>"
        for why, what in grouped(folder.lacks).items()
    ]
    yield f'<div class="missing"><ul>{"".join(lines)}</ul></div>'
    yield f'<p class="note">The manifest lists all {len(folder.lacks)} of them.</p>'


def _articles(folder: Folder, content: Content) -> Iterator[str]:
    yield (
        "<p>A map from articles of Regulation (EU) 2024/1689 to what this pack holds. It claims no "
        "compliance: which duties apply and whether they are met is for those who answer for the "
        "system.</p>"
    )
    yield claim(folder, "The table, for machines.", articles.NAME)
    yield table(
        ["article", "asks for", "in this pack", "missing here", "not kept by the platform"],
        [
            (
                Raw(f"<b>{escape(one['article'])}</b><br>{escape(one['title'])}"),
                one["asks"],
                Raw("<br>".join(_links(one["artefacts"])) or GONE),
                listing(one["missing"]),
                one["not_kept_by_the_platform"],
            )
            for one in content.articles
        ],
    )


def _links(names: list[str]) -> Iterator[str]:
    """Yield links to files; many of one folder as one."""
    tops = Counter(name.partition("/")[0] for name in names if "/" in name)
    many = {top for top, count in tops.items() if count > _ALONE}
    for name in names:
        top = name.partition("/")[0]
        if top not in many:
            yield _link(name)
        elif count := tops.pop(top, 0):
            yield f'<a href="#files">{escape(top)}/</a> ({count} files)'


def _link(name: str) -> str:
    return f'<a href="{escape(name)}">{escape(name)}</a>'


def _files(folder: Folder) -> Iterator[str]:
    yield f"<p>Every file but this page, the signed <code>{MANIFEST}</code> and its signature.</p>"
    rows = [
        (Raw(_link(name)), Raw(f"<code>{digest}</code>"), folder.sizes[name])
        for name, digest in sorted(folder.digests.items())
    ]
    yield table(["file", "SHA-256", "bytes"], rows, (2,))

"""The parts of a pack's page that say what the automation did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from aios_assets.evidence.bill import NAME as BILL
from aios_assets.evidence.content import Content
from aios_assets.evidence.data_sheet import NAME as DATA_SHEET
from aios_assets.evidence.effects import NAME as ACTIONS
from aios_assets.evidence.markup import GONE, Raw, claim, folded, listing, reference, table
from aios_assets.evidence.models import APPROVALS, CHANGES, GATES, VERSIONS
from aios_assets.evidence.operation import CONTROLS, INCIDENTS, POLICIES, monitoring_file
from aios_assets.evidence.oversight import NAME as OVERSIGHT
from aios_assets.evidence.plots import Point, line, shares
from aios_assets.evidence.reviews import NAME as REVIEWS
from aios_assets.evidence.scope import Folder
from aios_assets.evidence.software import NAME as SOFTWARE

_COUNTED = ("partition", "events", "corrections", "quarantined", "labels_learned")


def decisions(folder: Folder, content: Content) -> Iterator[str]:
    """Yield what was decided, by whom and by which rule."""
    found = content.oversight
    if not found["decisions"]:
        yield claim(folder, "Nothing was decided in the period.", OVERSIGHT)
        return
    yield claim(
        folder,
        f"{found['decisions']:,} decisions, of which {found['sent_to_review']:,} "
        f"({found['share_sent_to_review']:.1%}) went to review.",
        OVERSIGHT,
    )
    names = [one["outcome"] for one in found["by_outcome"]]
    by_partition: dict[str, dict[str, float]] = {}
    for one in found["by_partition"]:
        by_partition.setdefault(one["partition"], {})[one["outcome"]] = one["share"]
    yield "<h3>Share of outcomes by partition</h3>"
    yield shares("Share of outcomes by partition", content.scope.keys, names, by_partition)
    yield "<h3>By rule</h3>"
    rows = [(o["rule"], o["outcome"], o["rows"], f"{o['share']:.1%}") for o in found["by_rule"]]
    yield table(["rule that decided", "outcome", "decisions", "share"], rows, (2, 3))
    yield "<h3>By month</h3>"
    months: dict[str, dict[str, dict[str, Any]]] = {}
    for one in found["by_month"]:
        months.setdefault(one["month"], {})[one["outcome"]] = one
    yield table(
        ["month", "decisions", *names],
        [
            (
                month,
                sum(one["rows"] for one in outcomes.values()),
                *(f"{outcomes[name]['share']:.1%}" if name in outcomes else None for name in names),
            )
            for month, outcomes in months.items()
        ],
        range(1, len(names) + 2),
    )


def consequences(folder: Folder, content: Content) -> Iterator[str]:
    """Yield what people decided, when they stopped the automation, and what was done."""
    found, measures = content.reviews, content.reviews["measures"]
    changed = measures["overrides"]["all"]["all"]
    yield claim(
        folder,
        f"{found['verdicts']:,} verdicts of people on these decisions, {found['timed_out']:,} by "
        f"time-out; {found['undone']:,} undone, {found['rehearsed']:,} in a rehearsal. "
        f"Of {changed['n']:,} proposals people changed {changed['hits']:,}; of "
        f"{measures['caught']['n']:,} seeded errors they saw {measures['caught']['hits']:,}.",
        REVIEWS,
    )
    yield table(
        ["by", "verdict", "outcome", "verdicts"],
        [tuple(one.values()) for one in found["by_reviewer"]],
        (3,),
    )
    yield "<h3>Halts</h3>"
    yield claim(folder, f"Halts and releases: {len(found['halts'])}.", REVIEWS)
    yield _leaves(found["halts"])
    caused = content.actions
    yield "<h3>Actions</h3>"
    yield claim(
        folder,
        f"{caused['actions']:,} actions; {sum(caused['open_incidents'].values()):,} are open "
        f"incidents. {len(caused['recalls'])} recalls.",
        ACTIONS,
    )
    yield table(
        ["receiver", "type", "undoes another", "state", "actions"],
        [tuple(one.values()) for one in caused["by_receiver"]],
        (4,),
    )
    yield _leaves([*caused["recalls"], *caused["mended"]])


def data(folder: Folder, content: Content) -> Iterator[str]:
    """Yield what came in, what was turned away, and what the models learned from."""
    sheet = content.sheet
    parts = sheet["partitions"]
    events, kept = sum(one["events"] for one in parts), sum(one["quarantined"] for one in parts)
    yield claim(
        folder,
        f"{events:,} events in {len(parts)} partitions passed the contract; {kept:,} rows are in "
        f"quarantine. Labels ({sheet['label']['column']}) mature after "
        f"{sheet['label']['delay']}. Groups compared: "
        f"{', '.join(sheet['protected_slices']) or 'none declared'}.",
        DATA_SHEET,
    )
    rules: dict[str, int] = {}
    for one in parts:
        for rule, count in one["quarantined_by_rule"].items():
            rules[rule] = rules.get(rule, 0) + count
    yield "<h3>Quarantine by rule</h3>"
    yield table(["rule and column", "rows"], sorted(rules.items()), (1,))
    yield "<h3>Contract</h3>"
    columns = sheet["contract"]["columns"]
    yield table(
        ["column", "type", "required", "allowed", "from", "to"],
        [
            (
                name,
                one["type"],
                one["required"],
                ", ".join(one["allowed"] or []) or None,
                one["min"],
                one["max"],
            )
            for name, one in columns.items()
        ],
        (4, 5),
    )
    for name, profile in sheet["feature_profiles"].items():
        rows = [
            (
                column,
                one["kind"],
                f"{one['missing_share'] or 0:.1%}",
                *(one.get(x) for x in ("p05", "p50", "p95", "values")),
            )
            for column, one in profile["columns"].items()
        ]
        head = ["feature", "kind", "missing", "5 %", "median", "95 %", "values"]
        inside = table(head, rows, (2, 3, 4, 5, 6))
        yield folded(f"Features of the training set {name} ({profile['rows']:,} rows)", inside)
    yield folded(
        "Rows by partition",
        table(
            ["partition", "events", "corrections", "quarantined", "labels learned"],
            [[one[name] for name in _COUNTED] for one in parts],
            (1, 2, 3, 4),
        ),
    )


def models(folder: Folder, content: Content) -> Iterator[str]:
    """Yield the versions, their gates, and who let them decide."""
    yield claim(
        folder,
        f"Model versions that decided or were judged in the period: {len(content.versions)}.",
        VERSIONS,
    )
    yield table(
        ["version", "candidate", "trained until", "registered by leaf", "card"],
        [
            (
                f"{one['learner']} {one['version']}",
                one.get("candidate"),
                one.get("trained_until"),
                one["leaf"],
                Raw(reference(folder, one["card"])) if one["card"] else GONE,
            )
            for one in content.versions
        ],
        (3,),
    )
    yield "<h3>Gate</h3>"
    count = sum(len(gates) for gates in content.gates.values())
    yield claim(folder, f"Trainings that the gate judged: {count}.", GATES)
    yield table(
        ["partition", "candidate", "version", "status", "why", "leaf"],
        [
            (
                gate.get("partition"),
                f"{learner}: {name}",
                gate.get("versions", {}).get(name),
                one.get("status"),
                listing(one.get("reasons", [])),
                gate["leaf"],
            )
            for learner, gates in content.gates.items()
            for gate in gates
            for name, one in gate.get("candidates", {}).items()
        ],
        (2, 5),
    )
    yield "<h3>Who decided from when</h3>"
    yield claim(folder, f"Changes of the champion: {len(content.changes)}.", CHANGES)
    yield table(
        ["from", "version", "what", "by", "reason and evidence", "leaf"],
        [
            (
                one["at"],
                f"{one['learner']} {one['version']}",
                one["kind"],
                ", approved by ".join([one["by"], *one["approved_by"]]),
                listing(filter(None, [one["reason"], str(one["evidence"] or "")])),
                one["leaf"],
            )
            for one in content.changes
        ],
        (5,),
    )
    yield "<h3>Approvals</h3>"
    yield claim(folder, f"Requests and answers: {len(content.approvals)}.", APPROVALS)
    yield _leaves(content.approvals)


def monitoring(folder: Folder, content: Content) -> Iterator[str]:
    """Yield how the models fared on matured labels, and how their inputs moved."""
    for learner in content.scope.learners:
        results = content.monitoring[learner.name]
        metric, floor = learner.spec.gate.metric, learner.spec.gate.floor
        yield f"<h3>{escape(learner.name)}</h3>"
        yield claim(
            folder,
            f"{metric} on matured labels; the loss compared with that at the gate: "
            f"{_verdicts(results['performance'])}.",
            monitoring_file(learner.name, "performance"),
        )
        points = [_point(one, metric) for one in results["performance"]]
        yield line(f"{metric} of {learner.name} by partition", points, floor)
        yield claim(
            folder,
            f"Inputs compared with the champion's training set: {_verdicts(results['drift'])}.",
            monitoring_file(learner.name, "drift"),
        )


def _verdicts(results: list[dict[str, Any]]) -> str:
    counts = Counter(str(one.get("status")) for one in results)
    said = [f"{status} in {count}" for status, count in sorted(counts.items())]
    return f"{', '.join(said)} of {len(results)} partitions" if said else "not measured"


def _point(result: dict[str, Any], metric: str) -> Point:
    found = result.get("metrics", {}).get(metric, {})
    value, low, high = (_finite(found.get(name)) for name in ("value", "low", "high"))
    return Point(str(result["partition"]), value, low, high, bool(result.get("alarm")))


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value - value == 0 else None


def incidents(folder: Folder, content: Content) -> Iterator[str]:
    """Yield what went wrong and what was changed."""
    found = content.incidents
    yield claim(
        folder,
        f"{len(found['alarms'])} alarms, {len(found['incidents'])} incidents, "
        f"{len(found['rollbacks'])} rollbacks; drift in {len(found['drift'])} partitions, a worse "
        f"loss in {len(found['performance'])}.",
        INCIDENTS,
    )
    rows = [(o["at"], o["automation"], o["kind"], o["message"]) for o in found["alarms"]]
    yield table(["at", "automation", "alarm", "message"], rows) if rows else ""
    happened = [*found["incidents"], *found["rollbacks"]]
    yield _leaves(happened) if happened else ""
    yield "<h3>Rules, access, keys and settings</h3>"
    yield claim(
        folder,
        f"{len(content.controls)} changes, denials and erasures are recorded.",
        CONTROLS,
    )
    yield _leaves(content.controls)
    said = "Who may do what, by the rules as they were when this pack was made:"
    yield claim(folder, said, *content.access)


def _leaves(shown: Iterable[dict[str, Any]]) -> str:
    rows = [
        (
            one["at"][:16].replace("T", " "),
            one["kind"].replace("_", " "),
            one["actor"],
            listing(f"{name}: {value}" for name, value in one["body"].items()),
            one["leaf"],
        )
        for one in shown
    ]
    return table(["at", "what", "by", "said", "leaf"], rows, (4,))


def policies(folder: Folder, content: Content) -> Iterator[str]:
    """Yield the text of the policies and what computed the decisions."""
    yield claim(folder, f"Policies that decided: {len(content.policies)}.", POLICIES)
    for one in content.policies:
        said = f"{one['policy_hash']}: {one['decisions']:,} decisions, partitions "
        said += f"{one['first_partition']} to {one['last_partition']}"
        if one["file"]:
            text = (folder.root / one["file"]).read_text(errors="replace")
            yield claim(folder, said, one["file"])
            yield f"<pre>{escape(text)}</pre>"
        else:
            yield claim(folder, f"{said}; its text is missing.", POLICIES)
    code = content.software["code"]
    yield claim(
        folder,
        "Versions of the automation's code that decided, with the digest of each file: "
        + (", ".join(f"{one['code_version']} ({one['decisions']:,})" for one in code) or "none")
        + ".",
        SOFTWARE,
    )
    yield claim(
        folder,
        f"{len(content.bill['components'])} distributions were installed where this pack was made.",
        BILL,
    )

"""An evidence pack, whole: what the platform knows of an automation in a period, signed.

The content holds no time of its making, so that the same period and log give the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.automation import Automation
from aios.errors import AiosError
from aios.evidence.manifest import (
    CHECKPOINTS,
    MANIFEST,
    SIGNATURE,
    VERSION,
    as_json,
    sign_manifest,
)
from aios_assets.evidence.articles import write_articles
from aios_assets.evidence.bill import write_bill
from aios_assets.evidence.content import Content
from aios_assets.evidence.data_sheet import write_data_sheet
from aios_assets.evidence.effects import write_actions
from aios_assets.evidence.leaves import Leaves
from aios_assets.evidence.models import (
    versions_of,
    write_approvals,
    write_changes,
    write_gates,
    write_versions,
)
from aios_assets.evidence.operation import (
    write_access,
    write_controls,
    write_incidents,
    write_monitoring,
    write_policies,
)
from aios_assets.evidence.oversight import count_decisions, write_oversight
from aios_assets.evidence.page import write_page
from aios_assets.evidence.proofs import write_checkpoints, write_leaves, write_rows
from aios_assets.evidence.reviews import write_reviews
from aios_assets.evidence.scope import Folder, Scope
from aios_assets.evidence.software import write_software

if TYPE_CHECKING:
    from aios.record.log import Log
    from aios_assets.resources import Platform


@dataclass(frozen=True)
class Pack:
    """A pack that was made.

    Attributes:
        folder: Where.
        manifest: What its manifest says; `missing` names the evidence that there is none of.
    """

    folder: Path
    manifest: dict[str, Any]


def build_pack(
    automation: Automation,
    platform: Platform,
    start: datetime,
    end: datetime,
    out: Path,
) -> Pack:
    """Make the evidence pack of an automation for the partitions that begin in `[start, end)`.

    Signs a checkpoint of the record as it is now, which the pack's proofs lead to.

    Args:
        automation: Of which.
        platform: Where its data, its models and the record are.
        start: First moment of the period, UTC-naive.
        end: First moment after it.
        out: The folder to make; it must not exist, or be empty.

    Raises:
        AiosError: The period is empty, the folder is taken, the record holds nothing or is not
            what was signed before. Evidence that is missing is no error: the pack says so.
    """
    if end <= start:
        raise AiosError(
            f"the period ends ({end:%Y-%m-%d}) before it begins ({start:%Y-%m-%d})",
            where=automation.name,
            fix="Give --from a day before --to.",
        )
    log = platform.log
    if not log.size():
        raise AiosError(
            "the record is empty, so there is nothing to prove and no key to sign with",
            where=automation.name,
            fix="Run a partition first: aios run, or aios rehearse.",
        )
    scope = Scope(automation, platform, start, end)
    with _appearing(out) as aside:
        folder = Folder(aside)
        manifest = _manifest(scope, folder, log, _write_all(scope, folder, log))
        content = as_json(manifest)
        (aside / MANIFEST).write_bytes(content)
        signature = sign_manifest(content, log.keyring.signing_key())
        (aside / SIGNATURE).write_bytes(signature)
    return Pack(out, manifest)


def _write_all(scope: Scope, folder: Folder, log: Log) -> Content:
    earlier = log.checkpoints()
    checkpoint = write_checkpoints(folder, log, earlier, log.checkpoint())
    leaves = Leaves(scope, log, checkpoint.size)
    sheet = write_data_sheet(scope, folder)
    counts = count_decisions(scope, folder)
    gates = write_gates(scope, folder, leaves)
    versions = versions_of(scope, counts, gates)
    oversight = write_oversight(folder, counts)
    sent = oversight["sent_to_review"]
    reviews, of_verdicts = write_reviews(scope, folder, leaves, counts, sent)
    actions, of_actions = write_actions(scope, folder, leaves)
    monitoring = write_monitoring(scope, folder)
    changes = write_changes(scope, folder)
    named = {one["leaf"] for one in changes} | of_verdicts | of_actions
    chosen = leaves.in_pack(versions, named)
    content = Content(
        scope=scope,
        checkpoint=checkpoint,
        sheet=sheet,
        gates=gates,
        versions=write_versions(scope, folder, leaves, versions),
        changes=changes,
        approvals=write_approvals(scope, folder, leaves, versions),
        monitoring=monitoring,
        oversight=oversight,
        reviews=reviews,
        actions=actions,
        incidents=write_incidents(scope, folder, leaves, monitoring),
        controls=write_controls(folder, leaves),
        access=write_access(scope, folder),
        policies=write_policies(scope, folder, counts),
        software=write_software(scope, folder, counts),
        leaves=write_leaves(folder, log, checkpoint.size, chosen),
        rows=write_rows(scope, folder, log, leaves),
        bill=write_bill(folder),
        articles=write_articles(folder),
    )
    write_page(folder, content)
    return content


def _manifest(scope: Scope, folder: Folder, log: Log, content: Content) -> dict[str, Any]:
    checkpoint = content.checkpoint
    return {
        "version": VERSION,
        "automation": scope.name,
        "period": {"from": scope.start.isoformat(), "to": scope.end.isoformat()},
        "partitions": scope.keys,
        "public_key": str(log.keyring.signing_key().public),
        "checkpoint": {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
        },
        "proofs": {
            "leaves": content.leaves,
            "rows": content.rows,
            "checkpoints": folder.lines[CHECKPOINTS],
        },
        "missing": [asdict(one) for one in folder.lacks],
        "files": {
            name: {"sha256": folder.digests[name], "bytes": folder.sizes[name]}
            for name in sorted(folder.digests)
        },
    }


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of `out` when the block ends well."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise AiosError("it is there already", where=str(out), fix="Give a new or empty folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        os.replace(aside, out)
    except OSError as error:
        raise AiosError(
            f"the pack cannot be written: {error.strerror}",
            where=str(out),
            fix="Free some disk, or give another folder.",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)

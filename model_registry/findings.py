"""What the judge found of versions in rollout, and where each goes by that.

Findings are files that the record vouches for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from aios.identity.actors import ROLLOUT
from aios.record.leaves import Act
from model_registry.stages import To

if TYPE_CHECKING:
    from aios.lake import Lake
    from aios.record.log import Log
    from aios.rollouts import Rollout
    from model_registry.stages import Move

DATASET = "rollout"
FOUND = "rollout_report"
"""The kind of leaf."""


@dataclass(frozen=True)
class Finding:
    """What was found of a version at the end of a partition; the file that a tick acts on.

    Attributes:
        version: Number of the version.
        leaf: The move that it stood by; a finding about an earlier stage moves nothing.
        status: The judge's verdict: `better`, `not worse`, `worse` or `insufficient`.
        provisional: Whether labels that it rests on may still change it.
        partitions: Partitions of the present stage that were judged.
        reasons: In words.
        evidence: Names the file.
        digest: SHA-256 of the file.
    """

    version: int
    leaf: int
    status: Literal["better", "not worse", "worse", "insufficient"]
    provisional: bool
    partitions: int
    reasons: tuple[str, ...]
    evidence: str = ""
    digest: str = ""

    @property
    def text(self) -> str:
        """The finding in words."""
        return f"{self.status}: {' '.join(self.reasons)}"


def write(
    log: Log, lake: Lake, automation: str, partition: str, at: datetime, found: list[dict[str, Any]]
) -> None:
    """Store what was found at the end of a partition, and record it.

    Args:
        log: The record.
        lake: The automation's.
        automation: Whose versions.
        partition: Its key.
        at: The partition's end.
        found: For each version the fields of a `Finding`, and what it rests on.
    """
    path = lake.write_json(DATASET, partition, {"partition": partition, "findings": found})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    body = {
        "partition": partition,
        "file": digest,
        "verdicts": {str(one["version"]): one["status"] for one in found},
    }
    if found:
        key = _key(automation, partition, digest)
        log.append(Act(FOUND, automation, str(ROLLOUT), body, at=at, key=key))


def newest(log: Log, lake: Lake, automation: str) -> list[Finding]:
    """Return what was found at the end of the newest partition; empty before the first.

    A file that the record does not know is nobody's verdict: it was edited.
    """
    keys = lake.partitions(DATASET, "json")
    if not keys:
        return []
    content = lake.path(DATASET, keys[-1], "json").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    found = json.loads(content)["findings"]
    if not found or log.find(_key(automation, keys[-1], digest)) is None:
        return []
    return [
        Finding(
            version=one["version"],
            leaf=one["leaf"],
            status=one["status"],
            provisional=one["provisional"],
            partitions=one["partitions"],
            reasons=tuple(one["reasons"]),
            evidence=f"rollout report {keys[-1]}",
            digest=digest,
        )
        for one in found
    ]


def _key(automation: str, partition: str, digest: str) -> str:
    return f"{FOUND}/{automation}/{partition}/{digest}"


def next_move(declared: Rollout, here: Move, found: Finding) -> To | None:
    """Return where a version under way goes by what was found of it; None where it stays.

    Worse ends the rollout from any stage. A stage is left forward only by a verdict on a partition
    of that stage, and the last one only by a verdict that is not provisional; a version in canary
    that is surely better is through. Without a verdict for `patience` partitions the rollout ends:
    nothing decides that could not be measured.
    """
    back: Literal["rejected", "rolled_back"] = "rolled_back" if here.share else "rejected"
    if found.status == "worse":
        return To(here.version, back)
    if here.state == "paused":
        return None
    if found.status == "insufficient" or (found.provisional and _is_last(declared, here)):
        return To(here.version, back) if found.partitions >= declared.patience else None
    if not found.partitions:
        return None
    # Who is surely better need not prove again with each share that it is not worse.
    arrived = here.state == "canary" and found.status == "better" and not found.provisional
    return To(here.version, "champion", 1.0) if arrived else step_after(declared, here)


def step_after(declared: Rollout, here: Move) -> To:
    """Return the next step of a version under way: a larger share, else champion."""
    larger = [share for share in declared.canary if share > here.share]
    if larger:
        return To(here.version, "canary", larger[0])
    return To(here.version, "champion", 1.0)


def _is_last(declared: Rollout, here: Move) -> bool:
    return step_after(declared, here).state == "champion"

"""What the gate said of each version, by the record: MLflow's tags can be edited by anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aios.identity.actors import GATE
from aios.record.leaves import Act, Entry

if TYPE_CHECKING:
    from aios.record.log import Log
    from model_registry.registry import ModelVersion

JUDGED = "judged"
"""The kind of leaf."""
VERDICTS = ("gated", "rejected")
"""The stages that the gate gives."""


def record(log: Log, version: ModelVersion, stage: str) -> None:
    """Record that the gate let a version through or not, unless it was recorded last."""
    latest = _latest(log, version)
    if latest is None or latest.body["stage"] != stage:
        body = {"version": version.number, "manifest": version.digest, "stage": stage}
        log.append(Act(JUDGED, version.automation, str(GATE), body, at=version.trained_until))


def passed(log: Log, version: ModelVersion) -> bool:
    """Tell whether a version came through the gate."""
    if log.last(JUDGED, version.automation) is None:
        # A record that begins anew knows of no verdict.
        return version.stage == "gated"
    latest = _latest(log, version)
    return latest is not None and latest.body["stage"] == "gated"


def _latest(log: Log, version: ModelVersion) -> Entry | None:
    found = log.entries(kind=JUDGED, automation=version.automation)
    wanted = (version.number, version.digest)
    return next(
        (e for e in reversed(list(found)) if (e.body["version"], e.body["manifest"]) == wanted),
        None,
    )

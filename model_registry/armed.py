"""Whether an automation's gates proved themselves: what `aios arm` measured, as recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aios.record.leaves import Act

if TYPE_CHECKING:
    from aios.record.log import Log
    from aios.rollouts import Targets

ARMED: Final = "armed"
"""The kind of leaf; also the dataset of the files that it vouches for is `arming`."""

FEWEST: Final = 20
"""Trials of each sort that a figure must rest on: one lucky trial proves nothing."""


def record(log: Log, automation: str, actor: str, body: dict[str, Any]) -> int:
    """Record what an arming measured; return the leaf.

    Args:
        log: The record.
        automation: Whose gates.
        actor: Who had them measured.
        body: `detection` and `false_rollback`, each with `value`, `low`, `high` and `n`;
            `trials`, `seed`, `code_version`, and `file`, the SHA-256 of the whole result.
    """
    key = f"{ARMED}/{automation}/{body['file']}"
    index: int = log.append(Act(ARMED, automation, actor, body, key=key)).index
    return index


def below_target(log: Log, automation: str, targets: Targets, *, code_version: str) -> str | None:
    """Return why an automation may not roll out without a person; None where it may.

    The newest arming counts. What was measured on another version of the automation's folder says
    nothing of this one.

    Args:
        log: The record.
        automation: Whose rollouts.
        targets: What must have been shown.
        code_version: Of the automation's folder now.
    """
    again = f"run 'aios arm {automation}'"
    last = log.last(ARMED, automation)
    if last is None:
        return f"its gates were never armed: {again}"
    body = last.body
    if body["code_version"] != code_version:
        return (
            f"its gates were armed for code version {body['code_version']}, "
            f"this is {code_version}: {again}"
        )
    return shortfall(body["detection"], body["false_rollback"], targets)


def shortfall(
    detection: dict[str, Any], false_rollback: dict[str, Any], targets: Targets
) -> str | None:
    """Return how measured rates fall short of the targets; None where they do not."""
    for name, one in (("harmful", detection), ("equal", false_rollback)):
        if one["n"] < FEWEST:
            return (
                f"only {one['n']} {name} versions were tried, {FEWEST} are needed: "
                f"arm with more trials"
            )
    if detection["value"] < targets.detection:
        return (
            f"{detection['value']:.0%} of {detection['n']} harmful versions were detected, "
            f"the target is {targets.detection:.0%}"
        )
    if false_rollback["value"] > targets.false_rollback:
        return (
            f"{false_rollback['value']:.0%} of {false_rollback['n']} equal versions were ended as "
            f"worse, the target is at most {targets.false_rollback:.0%}"
        )
    return None

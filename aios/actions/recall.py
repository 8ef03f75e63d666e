"""A recall: a person takes back what decisions caused, of a whole partition or one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from aios import clock
from aios.actions.outbox import Effects, apply
from aios.actions.rows import run
from aios.errors import AiosError
from aios.identity.tables import micros
from aios.record.leaves import Act

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.automation import Automation
    from aios.identity.guard import Guard

LEAF = "recall"
"""The kind of a recall's leaf."""


def recall(
    guard: Guard,
    automation: Automation,
    *,
    partition: str | None = None,
    decisions: Iterable[str] | None = None,
    reason: str,
    now: Callable[[], datetime] = clock.wall,
) -> Effects:
    """Take back all effects of a partition or of decisions; recorded.

    What was not sent is cancelled. What is under way is resolved first; what was done is undone by
    its declared compensation, the last step first, or becomes an incident for a person. The
    decisions stay as they are: where they are made again, their effects are wanted again.

    Args:
        guard: Who recalls.
        automation: Whose.
        partition: All of its decisions; or
        decisions: these.
        reason: Why.
        now: UTC without tzinfo.

    Raises:
        Denied: The rules do not allow it.
        AiosError: There is nothing to recall.
    """
    guard.check("recall", automation.resource)
    given = None if decisions is None else sorted(set(decisions))
    if (partition is None) == (given is None):
        raise AiosError(
            "what is to be recalled?", where=automation.name, fix="Name a partition or decisions."
        )
    _check_own(automation.name, given or [])
    with guard.log.transaction() as transaction:
        connection = transaction.connection
        every = given if given is not None else _of(connection, automation.name, partition or "")
        effects = apply(connection, automation, every, [], now=micros(now()))
        if effects == Effects():
            raise AiosError(
                "nothing is left to recall",
                where=f"{automation.name}, {partition or f'{len(every)} decisions'}",
                fix="Look at its actions: it had none, or they were recalled before.",
            )
        body = {
            "partition": partition,
            "decisions": len(every),
            "digest": sha256("\n".join(every).encode()).hexdigest(),
            "cancelled": effects.cancelled,
            "undone": effects.undone,
            "reason": reason,
        }
        transaction.append([Act(LEAF, automation.name, str(guard.actor), body)])
    return effects


def _check_own(automation: str, decisions: list[str]) -> None:
    for decision in decisions:
        if not decision.startswith(f"{automation}/"):
            raise AiosError(f"{decision!r} is no decision of {automation}", where="recall")


def _of(connection: Connection, automation: str, partition: str) -> list[str]:
    """Return the decisions of a partition that have actions."""
    # '0' is the character after '/': the range of all that begins with the prefix.
    prefix = f"{automation}/{partition}"
    sql = (
        "SELECT DISTINCT decision FROM actions WHERE decision >= ? AND decision < ? "
        "AND undoes IS NULL ORDER BY decision"
    )
    return [row[0] for row in run(connection, sql, f"{prefix}/", f"{prefix}0")]

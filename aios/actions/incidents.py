"""Incidents: actions that only a person can bring to an end, one by one or in bulk by cause."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios import clock
from aios.actions import rows as outbox
from aios.actions.arrangement import cannot_be_undone, undoing
from aios.actions.mending import Mended, again, cannot, select_incidents
from aios.actions.plan import json_of
from aios.actions.rows import Row, changed, run
from aios.actions.states import CANCELLED, DONE, INCIDENT
from aios.errors import AiosError
from aios.identity.tables import micros, moment_of

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database
    from aios.identity.guard import Guard


@dataclass(frozen=True)
class Incident:
    """An open incident, without what was sent; see `payload_of`.

    Attributes:
        key: Of the action.
        automation: Whose.
        partition: Of the decision.
        decision: Its id.
        outcome: What was decided.
        type: What the action does.
        receiver: Where.
        undoes: The key of the action that it compensates.
        recalled: It was withdrawn, and is undone where it turns out to be done.
        cause: Incidents with the same cause can be mended together.
        problem: What was said last.
        unknown: Nobody knows whether it was done.
        attempts: Calls that counted against it.
        since: UTC without tzinfo.
    """

    key: str
    automation: str
    partition: str
    decision: str
    outcome: str
    type: str
    receiver: str
    undoes: str | None
    recalled: bool
    cause: str
    problem: str
    unknown: bool
    attempts: int
    since: datetime


@dataclass(frozen=True)
class Cause:
    """Open incidents that are alike.

    Attributes:
        automation: Whose.
        receiver: Where.
        type: What the actions do.
        cause: Why.
        unknown: Nobody knows whether they were done.
        count: How many.
        oldest: Since when, UTC without tzinfo.
    """

    automation: str
    receiver: str
    type: str
    cause: str
    unknown: bool
    count: int
    oldest: datetime


@dataclass(frozen=True)
class Which:
    """Which open incidents of an automation are meant: those that fit all that is given.

    Attributes:
        keys: Of the actions.
        cause: As in `Cause`.
        receiver: Where.
        type: What they do.
        decision: Of this decision.
        unknown: Whether it is unknown what became of them.
    """

    keys: Collection[str] | None = None
    cause: str | None = None
    receiver: str | None = None
    type: str | None = None
    decision: str | None = None
    unknown: bool | None = None


def incidents(
    database: Database,
    automation: str | None = None,
    which: Which | None = None,
    *,
    limit: int = 100,
    offset: int = 0,
) -> list[Incident]:
    """Return a page of open incidents, the oldest first."""
    with database.reading() as connection:
        rows = select_incidents(connection, automation, which or Which(), limit, offset)
    return [
        Incident(
            row.key,
            row.automation,
            row.partition,
            row.decision,
            row.outcome,
            row.type,
            row.receiver,
            row.undoes,
            bool(row.recalled),
            row.cause or "",
            row.problem or "",
            row.doubt_at is not None,
            row.attempts,
            moment_of(row.ended_at or row.created_at),
        )
        for row in rows
    ]


def causes(database: Database, automation: str | None = None) -> list[Cause]:
    """Return open incidents by what they have in common, the most frequent first."""
    scope, values = ("automation = ? AND ", [automation]) if automation else ("", [])
    sql = (
        "SELECT automation, receiver, type, cause, doubt_at IS NOT NULL, count(*), min(ended_at) "
        f"FROM actions WHERE {scope}state = '{INCIDENT}' GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC"
    )
    with database.reading() as connection:
        found = run(connection, sql, *values).all()
    return [
        Cause(row[0], row[1], row[2], row[3], bool(row[4]), row[5], moment_of(row[6]))
        for row in found
    ]


def payload_of(guard: Guard, automation: Automation, key: str) -> dict[str, Any]:
    """Return what an action sends.

    Raises:
        Denied: The rules do not allow it.
        AiosError: There is no such action.
    """
    guard.check("read_payload", automation.resource)
    with guard.log.database.reading() as connection:
        rows = outbox.select(connection, "key = ? AND automation = ?", key, automation.name)
    if not rows:
        raise AiosError(f"there is no action {key}", where=automation.name)
    payload: dict[str, Any] = json.loads(rows[0].payload)
    return payload


def retry(
    guard: Guard,
    automation: Automation,
    which: Which,
    *,
    reason: str,
    not_done: bool = False,
    now: Callable[[], datetime] = clock.wall,
) -> int:
    """Let actions be sent once more, with the same key; recorded. Return how many.

    Args:
        guard: Who mends.
        automation: Whose.
        which: Which incidents.
        reason: Why.
        not_done: The person has made sure that those of unknown outcome were not done.
        now: UTC without tzinfo.

    Raises:
        Denied: The rules do not allow it.
        AiosError: There are none, or one may have been done, was withdrawn or cannot be sent.
    """
    at = micros(now())
    mended = Mended("retry", reason, at)

    def change(row: Row) -> Row | None:
        if not cannot_be_undone(row):
            return again(automation, row, not_done, at)
        if undoing(automation, row) is None:
            fix = "Declare a compensation, or undo it by hand and resolve it."
            raise cannot(row, "nothing that undoes it is declared", fix)
        return None

    return mended.all(guard, automation, which, change)


def repair(
    guard: Guard,
    automation: Automation,
    key: str,
    payload: Any,
    *,
    reason: str,
    not_done: bool = False,
    now: Callable[[], datetime] = clock.wall,
) -> None:
    """Send an action with another payload, under the same key; recorded, without the payload.

    Raises:
        Denied: The rules do not allow it.
        AiosError: The payload is no plain object, or as `retry`.
    """
    text = json_of(payload, f"{automation.name}, action {key}")
    at = micros(now())

    def change(row: Row) -> Row:
        if cannot_be_undone(row):
            raise cannot(row, "there is nothing to send", "Undo it by hand, then resolve it.")
        return changed(again(automation, row, not_done, at), payload=text)

    Mended("repair", reason, at).all(guard, automation, Which(keys=[key]), change)


def resolve(
    guard: Guard,
    automation: Automation,
    which: Which,
    *,
    done: bool,
    reason: str,
    now: Callable[[], datetime] = clock.wall,
) -> int:
    """Say what became of actions; recorded. Return how many.

    One that was done lets the next step go ahead; if it was withdrawn, it is undone. One that was
    not done is given up, with the steps after it.

    Args:
        guard: Who mends.
        automation: Whose.
        which: Which incidents.
        done: They have their effect; otherwise they have none, and never will.
        reason: How the person knows.
        now: UTC without tzinfo.

    Raises:
        Denied: The rules do not allow it.
        AiosError: There are none.
    """
    at = micros(now())
    receipt = json.dumps({"said_by": str(guard.actor)})

    def change(row: Row) -> Row:
        if done:
            return changed(row, state=DONE, receipt=receipt, ended_at=at)
        return changed(row, state=CANCELLED, ended_at=at)

    what = "resolved as done" if done else "resolved as not done"
    return Mended(what, reason, at).all(guard, automation, which, change)

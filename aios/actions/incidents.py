"""Incidents: actions that only a person can bring to an end, one by one or in bulk by cause."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aios import clock
from aios.actions import rows as outbox
from aios.actions.arrangement import cannot_be_undone, undoing
from aios.actions.outbox import rearrange
from aios.actions.plan import json_of
from aios.actions.rows import Row, changed, run
from aios.actions.states import CANCELLED, DONE, INCIDENT, WAITING, category
from aios.errors import AiosError
from aios.identity.tables import micros, moment_of
from aios.record.leaves import Act

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.automation import Automation
    from aios.database import Database
    from aios.identity.guard import Guard

LEAF = "incident_mended"
"""The kind of the leaf of what a person did about incidents."""

SKIPPED = "an earlier step was not done"
"""Why a step was cancelled after a person gave up the one before it."""

_MICROS = 1_000_000
_ALL = 1_000_000_000


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
        rows = _select(connection, automation, which or Which(), limit, offset)
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
    mended = _Mended("retry", reason, at)

    def change(row: Row) -> Row | None:
        if not cannot_be_undone(row):
            return _again(automation, row, not_done, at)
        if undoing(automation, row) is None:
            fix = "Declare a compensation, or undo it by hand and resolve it."
            raise _cannot(row, "nothing that undoes it is declared", fix)
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
            raise _cannot(row, "there is nothing to send", "Undo it by hand, then resolve it.")
        return changed(_again(automation, row, not_done, at), payload=text)

    _Mended("repair", reason, at).all(guard, automation, Which(keys=[key]), change)


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
    return _Mended(what, reason, at).all(guard, automation, which, change)


@dataclass(frozen=True)
class _Mended:
    """One thing that a person does about incidents."""

    what: str
    reason: str
    at: int

    def all(
        self,
        guard: Guard,
        automation: Automation,
        which: Which,
        change: Callable[[Row], Row | None],
    ) -> int:
        """Change incidents and record it; None makes a compensation anew, as now declared."""
        guard.check("mend", automation.resource)
        with guard.log.transaction() as transaction:
            connection = transaction.connection
            rows = _select(connection, automation.name, which, _ALL, 0)
            missing = len(set(which.keys or ()) - {row.key for row in rows})
            if not rows or missing:
                raise AiosError(
                    f"{missing} of {len(which.keys or ())} are no open incidents"
                    if missing
                    else "there is no such open incident",
                    where=automation.name,
                    fix="Look at the open incidents again: somebody may have mended them.",
                )
            position = transaction.append(self._acts(guard, automation, rows))[0].index
            after = [(row, change(row)) for row in rows]
            changes = [(row, changed(new, leaf=position)) for row, new in after if new]
            outbox.update(connection, changes)
            outbox.delete(connection, [row.key for row, new in after if new is None])
            given_up = [new for _, new in changes if new.state == CANCELLED]
            _skip(connection, given_up, self.at)
            rearrange(connection, automation, {row.decision for row in rows}, self.at)
        return len(rows)

    def _acts(self, guard: Guard, automation: Automation, rows: Sequence[Row]) -> list[Act]:
        alike: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            alike[category(row.cause)].append(row.key)
        return [
            Act(
                LEAF,
                automation.name,
                str(guard.actor),
                {
                    "what": self.what,
                    "cause": cause,
                    "count": len(keys),
                    "keys": sha256("\n".join(sorted(keys)).encode()).hexdigest(),
                    "reason": self.reason,
                },
            )
            for cause, keys in alike.items()
        ]


def _again(automation: Automation, row: Row, not_done: bool, now: int) -> Row:
    if row.recalled:
        raise _cannot(row, "it was withdrawn", "Resolve it as done or as not done.")
    if row.doubt_at is not None and not not_done:
        raise _cannot(
            row,
            "nobody knows whether it was done",
            "Ask the receiver; then resolve it as done, or say that it was not done.",
        )
    actions = automation.spec.actions
    receiver = actions.receivers.get(row.receiver) if actions else None
    if receiver is None:
        raise _cannot(row, f"no receiver '{row.receiver}' is declared", "Declare it, or resolve.")
    return changed(
        row,
        state=WAITING,
        attempts=0,
        doubt_at=None,
        ended_at=None,
        cause=None,
        due_at=now,
        expires_at=now + int(receiver.expires.total_seconds() * _MICROS),
    )


def _cannot(row: Row, why: str, fix: str) -> AiosError:
    return AiosError(
        f"it cannot be sent again: {why}", where=f"action '{row.type}' of {row.decision}", fix=fix
    )


def _skip(connection: Connection, given_up: Sequence[Row], now: int) -> None:
    """Cancel the later steps of what is not done after all."""
    first = {row.decision: row for row in given_up if not row.undoes and not row.recalled}
    changes = [
        (row, changed(row, state=CANCELLED, ended_at=now, cause=SKIPPED))
        for decision, rows in outbox.of_decisions(connection, first).items()
        for row in rows
        if row.state == WAITING and not row.undoes and not row.recalled
        if (row.created_at, row.step) > (first[decision].created_at, first[decision].step)
    ]
    outbox.update(connection, changes)


def _select(
    connection: Connection, automation: str | None, which: Which, limit: int, offset: int
) -> list[Row]:
    conditions, values = [f"state = '{INCIDENT}'"], list[Any]()
    named: Iterable[tuple[str, str | None]] = (
        ("automation", automation),
        ("cause", which.cause),
        ("receiver", which.receiver),
        ("type", which.type),
        ("decision", which.decision),
    )
    for column, value in named:
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if which.keys is not None:
        condition, value = outbox.among(connection, "key", which.keys)
        conditions.append(condition)
        values.append(value)
    if which.unknown is not None:
        conditions.append(f"doubt_at IS {'NOT ' if which.unknown else ''}NULL")
    condition = f"{' AND '.join(conditions)} ORDER BY ended_at, key LIMIT ? OFFSET ?"
    return outbox.select(connection, condition, *values, limit, offset)

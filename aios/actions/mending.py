"""What people do about incidents: changed and recorded, or nothing of it happens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aios.actions import rows as outbox
from aios.actions.outbox import rearrange
from aios.actions.rows import Row, changed
from aios.actions.states import CANCELLED, INCIDENT, WAITING, category
from aios.errors import AiosError
from aios.record.leaves import Act

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.actions.incidents import Which
    from aios.automation import Automation
    from aios.identity.guard import Guard

LEAF = "incident_mended"
"""The kind of the leaf of what a person did about incidents."""

SKIPPED = "an earlier step was not done"
"""Why a step was cancelled after a person gave up the one before it."""

_MICROS = 1_000_000
_ALL = 1_000_000_000


@dataclass(frozen=True)
class Mended:
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
            rows = select_incidents(connection, automation.name, which, _ALL, 0)
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


def again(automation: Automation, row: Row, not_done: bool, now: int) -> Row:
    """Return an incident as an action that is sent once more.

    Raises:
        AiosError: It may have been done, was withdrawn, or its receiver is not declared.
    """
    if row.recalled:
        raise cannot(row, "it was withdrawn", "Resolve it as done or as not done.")
    if row.doubt_at is not None and not not_done:
        raise cannot(
            row,
            "nobody knows whether it was done",
            "Ask the receiver; then resolve it as done, or say that it was not done.",
        )
    actions = automation.spec.actions
    receiver = actions.receivers.get(row.receiver) if actions else None
    if receiver is None:
        raise cannot(row, f"no receiver '{row.receiver}' is declared", "Declare it, or resolve.")
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


def cannot(row: Row, why: str, fix: str) -> AiosError:
    """Return the error of an incident that cannot be sent again."""
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


def select_incidents(
    connection: Connection, automation: str | None, which: Which, limit: int, offset: int
) -> list[Row]:
    """Return open incidents, the oldest first."""
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

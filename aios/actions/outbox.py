"""The outbox: decisions have these effects and no others, in the transaction that records them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING

import orjson

from aios.actions import rows as outbox
from aios.actions.arrangement import arrange
from aios.actions.plan import Planned, json_of
from aios.actions.rows import Row
from aios.actions.states import CANCELLED, DRY_RUN, PENDING, WAITING, withdrawn

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.automation import Automation

_MICROS = 1_000_000
_MANY = 5_000


@dataclass(frozen=True)
class Effects:
    """What a change did.

    Attributes:
        enqueued: Effects that are new.
        cancelled: Those withdrawn that were surely not done.
        undone: Those withdrawn that were done, or may have been: they are undone.
    """

    enqueued: int = 0
    cancelled: int = 0
    undone: int = 0

    def __add__(self, other: Effects) -> Effects:
        return Effects(
            self.enqueued + other.enqueued,
            self.cancelled + other.cancelled,
            self.undone + other.undone,
        )


def apply(
    connection: Connection,
    automation: Automation,
    decisions: Iterable[str],
    planned: Sequence[Planned],
    *,
    now: int,
    due_at: int | None = None,
    dry: bool = False,
) -> Effects:
    """Let decisions have these effects and no others; the same call again changes nothing.

    An effect is the same while decision, outcome and type are. One that was withdrawn and is wanted
    again is a new one, done after the old one is undone.

    Args:
        connection: The transaction that changes the decisions.
        automation: Whose.
        decisions: Their ids; those without a planned effect have none.
        planned: See `plan.plan`.
        now: Microseconds.
        due_at: Before it nothing new is sent, so that it can be taken back; `now` by default.
        dry: Plan and show, send nothing, and leave alone what was enqueued to be sent.

    Raises:
        AiosError: A payload is no plain data, or a receiver is not declared.
    """
    by_decision: dict[str, list[Planned]] = {decision: [] for decision in decisions}
    for one in planned:
        by_decision.setdefault(one.decision, []).append(one)
    enqueue = _Enqueue(automation, now, now if due_at is None else due_at, dry)
    every = list(by_decision)
    effects = Effects()
    for start in range(0, len(every), _MANY):
        block = every[start : start + _MANY]
        present = outbox.of_decisions(connection, block)
        fresh: list[Row] = []
        for decision in block:
            if decision not in present:
                fresh += enqueue.chain(by_decision[decision])
        outbox.insert(connection, fresh)
        effects += Effects(enqueued=len(fresh))
        effects += _revise(connection, enqueue, present, by_decision)
    return effects


def rearrange(
    connection: Connection, automation: Automation, decisions: Iterable[str], now: int
) -> None:
    """Put the actions of decisions in order, after one that was withdrawn is resolved."""
    inserts: list[Row] = []
    updates: list[tuple[Row, Row]] = []
    for rows in outbox.of_decisions(connection, decisions).values():
        _compare(rows, arrange(automation, rows, now), inserts, updates)
    outbox.insert(connection, inserts)
    outbox.update(connection, updates)


def _revise(
    connection: Connection,
    enqueue: _Enqueue,
    present: dict[str, list[Row]],
    by_decision: dict[str, list[Planned]],
) -> Effects:
    """Change what decisions have already to what they are to have."""
    inserts: list[Row] = []
    updates: list[tuple[Row, Row]] = []
    effects = Effects()
    for decision, rows in present.items():
        if enqueue.dry and any(row.state != DRY_RUN and not row.recalled for row in rows):
            continue
        planned = by_decision[decision]
        wanted = {(one.outcome, one.type) for one in planned}
        live = {(row.outcome, row.type) for row in rows if not row.undoes and not row.recalled}
        if live == wanted:
            continue
        changed = [
            row
            if row.undoes or row.recalled or (row.outcome, row.type) in wanted
            else withdrawn(row, enqueue.now)
            for row in rows
        ]
        new = [
            enqueue.row(one, sum(_like(row, one) for row in changed))
            for one in planned
            if (one.outcome, one.type) not in live
        ]
        effects += Effects(len(new), *_counts(rows, changed))
        _compare(rows, arrange(enqueue.automation, [*changed, *new], enqueue.now), inserts, updates)
    outbox.insert(connection, inserts)
    outbox.update(connection, updates)
    return effects


def _like(row: Row, planned: Planned) -> bool:
    return row.undoes is None and row.recalled and row.type == planned.type


def _counts(before: Sequence[Row], after: Sequence[Row]) -> tuple[int, int]:
    """Return how many of those newly withdrawn are cancelled, and how many are to be undone."""
    new = [one for old, one in zip(before, after, strict=True) if one.recalled and not old.recalled]
    cancelled = sum(row.state == CANCELLED for row in new)
    return cancelled, len(new) - cancelled


def _compare(
    before: Sequence[Row],
    after: Sequence[Row],
    inserts: list[Row],
    updates: list[tuple[Row, Row]],
) -> None:
    known = {row.key: row for row in before}
    for row in after:
        old = known.get(row.key)
        if old is None:
            inserts.append(row)
        elif old != row:
            updates.append((old, row))


class _Enqueue:
    """Makes rows of what is planned."""

    def __init__(self, automation: Automation, now: int, due_at: int, dry: bool) -> None:
        actions = automation.spec.actions
        self.automation, self.now, self.due_at, self.dry = automation, now, due_at, dry
        self._state = DRY_RUN if dry or (actions and actions.dry_run) else WAITING
        self._expires = {
            name: max(now, due_at) + int(receiver.expires.total_seconds() * _MICROS)
            for name, receiver in (actions.receivers.items() if actions else ())
        }

    def chain(self, planned: Sequence[Planned]) -> list[Row]:
        """Return the rows of a decision that has none yet."""
        rows = [self.row(one, 0) for one in sorted(planned, key=_step)]
        if rows and self._state == WAITING:
            rows[0].state = PENDING
            for before, row in pairwise(rows):
                row.after = before.key
        return rows

    def row(self, planned: Planned, generation: int) -> Row:
        """Return the row of an effect; `generation` counts those that were withdrawn before."""
        one = planned
        identity = (one.automation, one.entity, one.decision, one.outcome, one.type, generation)
        return Row(
            sha256(orjson.dumps(identity)).hexdigest(),
            one.automation,
            one.partition,
            one.decision,
            one.outcome,
            one.step,
            one.type,
            one.receiver,
            one.to,
            json_of(one.payload, f"{one.automation}, action '{one.type}' of {one.decision}"),
            self._state,
            None,
            None,
            False,
            self.now,
            self.due_at,
            self._expires[one.receiver],
        )


def _step(planned: Planned) -> int:
    return planned.step

"""The order of one decision's actions: what undoes the old comes first, then what is wanted now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from aios.actions.plan import body_of, json_of
from aios.actions.rows import Row, changed
from aios.actions.states import (
    CANCELLED,
    DONE,
    DRY_RUN,
    INCIDENT,
    NO_UNDO,
    PENDING,
    SENDING,
    UNSURE,
    WAITING,
    category,
)
from aios.errors import AiosError

if TYPE_CHECKING:
    from aios.actions.declared import Call
    from aios.automation import Automation

_MICROS = 1_000_000


def arrange(automation: Automation, rows: Sequence[Row], now: int) -> list[Row]:
    """Return all rows of one decision, with what undoes those withdrawn, in the right order.

    What was withdrawn under way is waited for. Then all that was done and withdrawn is undone, the
    last first; one that cannot be undone waits for a person and holds up no other. Then come the
    effects that are wanted, each after the one before it.

    Args:
        automation: Whose.
        rows: Those of the decision; not changed.
        now: Microseconds.
    """
    effects = sorted((row for row in rows if row.undoes is None), key=_turn)
    undoing = {row.undoes: row for row in rows if row.undoes is not None}
    under_way = [row for row in effects if row.recalled and row.state in _UNRESOLVED]
    backwards = [row for row in effects[::-1] if row.recalled and row.state == DONE]
    if not under_way:
        for row in backwards:
            if row.key not in undoing:
                undoing[row.key] = compensation(automation, row, now)
    undos = [undoing[row.key] for row in backwards if row.key in undoing]
    for_people = [row for row in undos if cannot_be_undone(row)]
    wanted = [row for row in effects if not row.recalled]
    arranged: dict[str, Row] = {row.key: row for row in rows}
    last = _chain([row for row in undos if row not in for_people], None, arranged, now)
    held = for_people or under_way
    _chain(wanted, held[0].key if held else last, arranged, now)
    arranged |= {row.key: row for row in for_people}
    return list(arranged.values())


_UNRESOLVED = (SENDING, UNSURE, INCIDENT)
_OVER = (DONE, CANCELLED, DRY_RUN)


def _chain(
    rows: Sequence[Row], after: str | None, arranged: dict[str, Row], now: int
) -> str | None:
    """Let each row wait for the one before that is not over; return the last that is not."""
    for row in rows:
        arranged[row.key] = row
        if row.state in _OVER:
            continue
        if row.state == WAITING or (row.state == PENDING and not row.calls):
            if after is not None:
                arranged[row.key] = changed(row, state=WAITING, after=after)
            elif row.state == WAITING:
                due_at = max(row.due_at, now)
                arranged[row.key] = changed(row, state=PENDING, after=None, due_at=due_at)
        after = row.key
    return after


def compensation(automation: Automation, row: Row, now: int) -> Row:
    """Return what undoes an effect that was done; an incident where nothing can."""
    undo = Row(
        key=sha256(f"undo {row.key}".encode()).hexdigest(),
        automation=row.automation,
        partition=row.partition,
        decision=row.decision,
        outcome=row.outcome,
        step=row.step,
        type=row.type,
        receiver=row.receiver,
        to=row.to,
        payload="{}",
        state=WAITING,
        after=None,
        undoes=row.key,
        recalled=False,
        created_at=now,
        due_at=now,
        expires_at=now,
    )
    call, actions = undoing(automation, row), automation.spec.actions
    if call is None or actions is None:
        return _for_people(undo, "no compensation is declared", now)
    try:
        known = json.loads(row.payload), json.loads(row.receipt or "{}")
        body = body_of(automation, call, row.decision, *known)
    except AiosError as error:
        return _for_people(undo, error.what, now)
    receiver = actions.receivers[call.receiver]
    return changed(
        undo,
        type=call.type,
        receiver=call.receiver,
        to=call.to,
        payload=json_of(body, row.decision),
        expires_at=now + int(receiver.expires.total_seconds() * _MICROS),
    )


def undoing(automation: Automation, row: Row) -> Call | None:
    """Return the call that is declared to undo an effect, or to undo what a row stands for."""
    actions = automation.spec.actions
    effects = actions.effects.get(row.outcome, []) if actions else []
    return next((effect.compensate for effect in effects if effect.type == row.type), None)


def cannot_be_undone(row: Row) -> bool:
    """Tell whether a row stands for an effect that only a person can undo."""
    return row.state == INCIDENT and category(row.cause) == NO_UNDO


def _for_people(undo: Row, why: str, now: int) -> Row:
    return changed(undo, state=INCIDENT, ended_at=now, cause=NO_UNDO, problem=why)


def _turn(row: Row) -> tuple[int, int]:
    return row.created_at, row.step

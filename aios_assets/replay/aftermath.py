"""What followed from a decision: what people said of it, and what was done at other systems."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.actions.tables import ACTIONS
from aios.identity.tables import moment_of
from aios.review.queue import verdicts_on

if TYPE_CHECKING:
    from aios.database import Database


@dataclass(frozen=True)
class Deed:
    """An action of a decision, or what undid one.

    Attributes:
        type: What it does.
        receiver: Where.
        state: As in docs/actions.md.
        created_at: When it was decided.
        ended_at: When it was done, or given up; None before.
        undoes: The type of the action that it undoes.
        problem: What went wrong last.
    """

    type: str
    receiver: str
    state: str
    created_at: datetime
    ended_at: datetime | None
    undoes: str | None
    problem: str | None


def verdicts_of(database: Database, decision: str) -> list[dict[str, Any]]:
    """Return the verdicts that decided about a decision and stand, oldest first, but comments."""
    found = [asdict(one) for one in verdicts_on(database, decision)]
    return [{name: value for name, value in one.items() if name != "comment"} for one in found]


def deeds_of(database: Database, decision: str) -> list[dict[str, Any]]:
    """Return the actions of a decision and what undid them, in the order of their making."""
    query = sa.select(ACTIONS).where(ACTIONS.c.decision == decision)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(ACTIONS.c.created_at, ACTIONS.c.step)).all()
    types = {row.key: row.type for row in rows}
    return [
        asdict(
            Deed(
                row.type,
                row.receiver,
                row.state,
                moment_of(row.created_at),
                None if row.ended_at is None else moment_of(row.ended_at),
                types.get(row.undoes),
                row.problem,
            )
        )
        for row in rows
    ]


def lines(verdicts: list[dict[str, Any]], deeds: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what followed, for people."""
    for one in verdicts:
        outcome = f" -> {one['outcome']}" if one["outcome"] else ""
        yield (
            f"review: {one['verdict']}{outcome} by {one['reviewer']} at {one['at']:%Y-%m-%d %H:%M} "
            f"({one['reason']}), leaf {one['leaf']}"
        )
    for deed in deeds:
        undoing = f", undoes {deed['undoes']}" if deed["undoes"] else ""
        when = f" at {deed['ended_at']:%Y-%m-%d %H:%M}" if deed["ended_at"] else ""
        wrong = f": {deed['problem']}" if deed["problem"] and deed["state"] != "done" else ""
        yield f"action: {deed['type']} at {deed['receiver']}{undoing}: {deed['state']}{when}{wrong}"

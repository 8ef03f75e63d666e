"""The queue: which cases wait, as a reviewer may see them, and the verdicts so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.errors import AiosError
from aios.identity.tables import micros, moment_of
from aios.review.tables import CASES, VERDICTS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from aios.database import Database
    from aios.identity.actors import Actor

WAITING = CASES.c.closed_at.is_(None)
_TIMES = ("opened_at", "due_at", "closed_at", "held_until", "at", "final_at", "undone_at")


@dataclass(frozen=True)
class Case:
    """A case as a reviewer may see it. Times are UTC-naive.

    Attributes:
        id: Its id.
        automation: Whose decision.
        partition: Where that is.
        decision: The decision's id.
        event: The event's id, as text.
        cause: What it has in common with cases that one verdict may decide together.
        rule: The rule that sent it to review.
        model_version: The version that scored it.
        score: Its score; None where it is not shown, or there is none.
        slices: The declared slices and its values in them.
        proposal: The outcome that is proposed; None where it is not shown.
        shown: Whether proposal and score may be shown; where not, `approve` is refused.
        four_eyes: Whether an approving verdict needs a second person.
        rehearsed: Whether its effects are only shown.
        state: `open`, `second` (waits for another person, who sees the first verdict),
            `escalated` (waits for an approver), `closed` or `superseded` (decided otherwise by a
            later run). A case that is reviewed twice blindly is `open` for both.
        outcome: The one in effect, of a closed case.
        opened_at: Since when it waits.
        due_at: When the safe outcome is decided.
        closed_at: Since when it does not wait.
        holder: Who holds it now; None where nobody does, or the lease has run out.
        held_until: Until when.
    """

    id: str
    automation: str
    partition: str
    decision: str
    event: str
    cause: str
    rule: str
    model_version: int | None
    score: float | None
    slices: Mapping[str, Any]
    proposal: str | None
    shown: bool
    four_eyes: bool
    rehearsed: bool
    state: str
    outcome: str | None
    opened_at: datetime
    due_at: datetime
    closed_at: datetime | None
    holder: str | None
    held_until: datetime | None


@dataclass(frozen=True)
class Verdict:
    """A verdict. Times are UTC-naive.

    Attributes:
        id: Its id.
        case: The case's; None of an override of a decision that had none.
        automation: Whose decision.
        decision: The decision's id.
        reviewer: Who, such as `person:ann`; `service:desk` of a time-out.
        verdict: `approve`, `change`, `reject`, `escalate`, `override` or `time_out`.
        outcome: What it decides; None of an escalation.
        reason: The reason code.
        comment: The comment, or nothing.
        batch: The batch that it belongs to.
        leaf: The leaf of the record that says so.
        at: When.
        final_at: From when on it cannot be undone, and its effects begin.
        undone_at: When it was taken back.
    """

    id: str
    case: str | None
    automation: str
    decision: str
    reviewer: str
    verdict: str
    outcome: str | None
    reason: str
    comment: str
    batch: str | None
    leaf: int
    at: datetime
    final_at: datetime
    undone_at: datetime | None


@dataclass(frozen=True)
class Page:
    """One page of the queue, the most urgent first.

    Attributes:
        cases: Its cases.
        total: How many cases fit the filters.
        after: What to ask for the next page with; None where this is the last.
    """

    cases: list[Case]
    total: int
    after: str | None


@dataclass(frozen=True)
class Count:
    """How many cases of one cause wait.

    Attributes:
        automation: Whose.
        cause: Their cause.
        waiting: All of them.
        overdue: Those that are past their time.
        held: Those that somebody holds.
        alike: Those that one verdict may decide together.
        oldest: Since when the oldest waits.
    """

    automation: str
    cause: str
    waiting: int
    overdue: int
    held: int
    alike: int
    oldest: datetime


def queue(
    database: Database,
    *,
    now: datetime,
    automation: str | None = None,
    cause: str | None = None,
    state: str | None = None,
    mine: Actor | None = None,
    overdue: bool = False,
    after: str | None = None,
    limit: int = 50,
) -> Page:
    """Return a page of the cases that wait, in order of their due time.

    Args:
        database: Where they are.
        now: The time.
        automation: Only those of one automation.
        cause: Only those of one cause.
        state: Only `open`, `second` or `escalated` ones.
        mine: Only those that this actor holds.
        overdue: Only those past their time.
        after: The `after` of the page before.
        limit: How many, 1 to 500.

    Raises:
        AiosError: `after` is of no page, or `limit` too large.
    """
    if not 1 <= limit <= 500:
        raise AiosError(f"a page has 1 to 500 cases, not {limit}", fix="Ask for fewer.")
    at = micros(now)
    wanted: list[sa.ColumnElement[bool]] = [WAITING]
    wanted += [CASES.c.automation == automation] if automation else []
    wanted += [CASES.c.cause == cause] if cause else []
    wanted += [_is_seen_as(state)] if state else []
    wanted += [_is_held_by(mine, at)] if mine else []
    wanted += [CASES.c.due_at <= at] if overdue else []
    query = sa.select(CASES).where(*wanted).order_by(CASES.c.due_at, CASES.c.id).limit(limit + 1)
    if after:
        query = query.where(sa.tuple_(CASES.c.due_at, CASES.c.id) > sa.tuple_(*_place(after)))
    with database.reading() as connection:
        rows = connection.execute(query).all()
        total = connection.execute(sa.select(sa.func.count()).where(*wanted)).scalar_one()
    last = rows[limit - 1] if len(rows) > limit else None
    next_after = f"{last.due_at}.{last.id}" if last else None
    return Page([case_of(row, at) for row in rows[:limit]], total, next_after)


def counts(database: Database, *, now: datetime, automation: str | None = None) -> list[Count]:
    """Return how many cases wait, by automation and cause, the most first."""
    at = micros(now)
    is_alike = sa.and_(
        CASES.c.state == "open",
        sa.not_(CASES.c.four_eyes),
        sa.not_(CASES.c.double),
        sa.not_(CASES.c.hidden),
    )
    query = (
        sa.select(
            CASES.c.automation,
            CASES.c.cause,
            sa.func.count(),
            _number(CASES.c.due_at <= at),
            _number(CASES.c.held_until > at),
            _number(is_alike),
            sa.func.min(CASES.c.opened_at),
        )
        .where(WAITING, *([CASES.c.automation == automation] if automation else []))
        .group_by(CASES.c.automation, CASES.c.cause)
        .order_by(sa.func.count().desc(), CASES.c.automation, CASES.c.cause)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    return [
        Count(automation, cause, waiting, overdue, held, alike, moment_of(oldest))
        for automation, cause, waiting, overdue, held, alike, oldest in rows
    ]


def get_case(database: Database, case: str, *, now: datetime) -> Case:
    """Return one case.

    Raises:
        AiosError: There is none.
    """
    with database.reading() as connection:
        return case_of(row_of(connection, case), micros(now))


def case_of_decision(database: Database, decision: str, *, now: datetime) -> Case | None:
    """Return the case that a decision made; None where it made none."""
    query = sa.select(CASES).where(CASES.c.decision == decision, CASES.c.answer.is_(None))
    with database.reading() as connection:
        row = connection.execute(query).first()
    return case_of(row, micros(now)) if row else None


def verdicts_seen(database: Database, case: str, actor: Actor) -> list[Verdict]:
    """Return the verdicts on a case that an actor may see, the undone ones too, oldest first.

    While a case waits for a second, blind reviewer, everybody sees only their own.

    Raises:
        AiosError: There is no such case.
    """
    query = sa.select(VERDICTS).where(VERDICTS.c.case == case).order_by(VERDICTS.c.leaf)
    with database.reading() as connection:
        row = row_of(connection, case)
        found = [verdict_of(one) for one in connection.execute(query)]
    blind = row.double and row.state in ("open", "second")
    return [one for one in found if not blind or one.reviewer == str(actor)]


def verdicts_on(database: Database, decision: str) -> list[Verdict]:
    """Return the verdicts that decided about a decision and stand, oldest first."""
    wanted = [VERDICTS.c.decision == decision, VERDICTS.c.in_effect, VERDICTS.c.undone_at.is_(None)]
    query = sa.select(VERDICTS).where(*wanted).order_by(VERDICTS.c.leaf)
    with database.reading() as connection:
        return [verdict_of(row) for row in connection.execute(query)]


def verdicts_by(database: Database, actor: Actor, *, since: datetime) -> list[Verdict]:
    """Return an actor's verdicts that stand, newest first; those not final can be undone."""
    wanted = [VERDICTS.c.reviewer == str(actor), VERDICTS.c.at >= micros(since)]
    query = sa.select(VERDICTS).where(*wanted, VERDICTS.c.undone_at.is_(None))
    with database.reading() as connection:
        rows = connection.execute(query.order_by(VERDICTS.c.leaf.desc(), VERDICTS.c.id)).all()
    return [verdict_of(row) for row in rows]


def row_of(connection: Connection, case: str) -> Row[Any]:
    """Return the whole row of a case.

    Raises:
        AiosError: There is no such case.
    """
    row = connection.execute(sa.select(CASES).where(CASES.c.id == case)).first()
    if row is None:
        raise AiosError(f"there is no case {case!r}", where="review", fix="Look at the queue.")
    return row


def case_of(row: Row[Any], at: int) -> Case:
    """Return what may be seen of a row of `CASES` at a time in microseconds."""
    shown = not (row.hidden or row.double)
    held = row.holder is not None and row.held_until > at
    seen = {
        "shown": shown,
        "score": row.score if shown else None,
        "proposal": row.proposal if shown else None,
        "state": "open" if row.double and row.state == "second" else row.state,
        "holder": row.holder if held else None,
        "held_until": row.held_until if held else None,
    }
    return Case(**_values(Case, {**row._asdict(), **seen}))


def verdict_of(row: Row[Any]) -> Verdict:
    """Return the verdict of a row of `VERDICTS`."""
    return Verdict(**_values(Verdict, row._asdict()))


def _values(kind: type[Case | Verdict], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says of each field; times as such."""
    values = {one.name: row[one.name] for one in fields(kind)}
    return {
        name: moment_of(value) if value is not None and name in _TIMES else value
        for name, value in values.items()
    }


def _is_seen_as(state: str) -> sa.ColumnElement[bool]:
    blind = sa.and_(CASES.c.state == "second", CASES.c.double)
    return sa.case((blind, "open"), else_=CASES.c.state) == state


def _is_held_by(actor: Actor, at: int) -> sa.ColumnElement[bool]:
    return sa.and_(CASES.c.holder == str(actor), CASES.c.held_until > at)


def _number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _place(after: str) -> tuple[int, str]:
    due_at, _, case = after.partition(".")
    if not due_at.isdecimal() or not case:
        raise AiosError(f"{after!r} is of no page", where="review", fix="Begin at the first page.")
    return int(due_at), case

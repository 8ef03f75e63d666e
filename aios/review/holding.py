"""Leases: who holds which case, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from aios.review.office import Office, span
from aios.review.queue import WAITING, Case, case_of, row_of
from aios.review.tables import CASES, VERDICTS
from aios.review.verdicts import check_held, check_role, check_unseen, standing, waiting_case

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.identity.actors import Actor


def take(office: Office, actor: Actor, case: str) -> Case:
    """Give a case to a reviewer; see `Desk.take`."""
    with office.log.database.reading() as connection:
        row = waiting_case(connection, case)
        seen_by = [one.reviewer for one in standing(connection, case)]
    office.may_review(actor, row.automation, seen_by)
    at = office.at()
    with office.log.database.writing() as connection:
        check_role(waiting_case(connection, case), actor)
        check_unseen(standing(connection, case), actor)
        if not _hold(connection, office, actor, row, at, CASES.c.holder == str(actor)):
            check_held(row_of(connection, case), actor, at)
        return case_of(row_of(connection, case), at)


def next_case(office: Office, actor: Actor, automation: str | None) -> Case | None:
    """Give a reviewer the most urgent case for them; see `Desk.next`."""
    if automation:
        office.may_review(actor, automation)
    names = [automation] if automation else sorted(office.automations)
    at = office.at()
    theirs = sa.select(VERDICTS.c.id).where(
        VERDICTS.c.case == CASES.c.id,
        VERDICTS.c.reviewer == str(actor),
        VERDICTS.c.undone_at.is_(None),
    )
    # An open case has no verdict that stands.
    unseen = sa.or_(CASES.c.state == "open", ~theirs.exists())
    suits = [WAITING, CASES.c.automation.in_(names), free_at(at), unseen]
    if "approver" not in actor.roles:
        suits.append(CASES.c.state != "escalated")
    query = sa.select(CASES).where(*suits).order_by(CASES.c.due_at, CASES.c.id).limit(1)
    with office.log.database.reading() as connection:
        row = connection.execute(query).first()
    if row is None:
        return None
    office.may_review(actor, row.automation)
    with office.log.database.writing() as connection:
        # Read again: nobody else writes now, and somebody may have taken that one.
        row = connection.execute(query).first()
        if row is None or not _hold(connection, office, actor, row, at):
            return None
        return case_of(row_of(connection, row.id), at)


def keep(office: Office, actor: Actor, case: str) -> Case:
    """Begin the lease of a case anew; see `Desk.keep`."""
    at = office.at()
    with office.log.database.writing() as connection:
        row = waiting_case(connection, case)
        check_held(row, actor, at)
        _hold(connection, office, actor, row, at, CASES.c.holder == str(actor))
        return case_of(row_of(connection, case), at)


def put_back(office: Office, actor: Actor, case: str) -> None:
    """Let others take a case again; see `Desk.put_back`."""
    with office.log.database.writing() as connection:
        check_held(waiting_case(connection, case), actor, office.at())
        nobody = {"holder": None, "held_at": None, "held_until": None}
        connection.execute(CASES.update().where(CASES.c.id == case).values(nobody))


def free_at(at: int) -> sa.ColumnElement[bool]:
    """Return the condition that nobody holds a case at a time in microseconds."""
    return sa.or_(CASES.c.holder.is_(None), CASES.c.held_until <= at)


def _hold(
    connection: Connection,
    office: Office,
    actor: Actor,
    case: sa.Row[tuple[object, ...]],
    at: int,
    *or_else: sa.ColumnElement[bool],
) -> bool:
    """Give a case to an actor, if it is free; tells whether it was."""
    until = at + span(office.review(case.automation).lease)
    held = sa.and_(CASES.c.holder == str(actor), CASES.c.held_until > at)
    changed = connection.execute(
        CASES.update()
        .where(CASES.c.id == case.id, WAITING, sa.or_(free_at(at), *or_else))
        .values(
            holder=str(actor),
            held_at=sa.case((held, CASES.c.held_at), else_=at),
            held_until=until,
        )
    )
    return changed.rowcount == 1

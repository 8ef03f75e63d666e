"""Undoing: verdicts taken back before they had an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.errors import AiosError
from aios.identity.tables import micros
from aios.record.leaves import Act
from aios.review.office import Office, let_have, span
from aios.review.queue import Case, case_of, row_of
from aios.review.states import stand
from aios.review.tables import CASES, VERDICTS
from aios.review.verdicts import KINDS, moment_text, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from aios.identity.actors import Actor

_OTHERWISE = "Override the decision: what it caused is undone then."


def undo(office: Office, actor: Actor, verdict: str) -> list[Case]:
    """Take back a verdict or all of a batch, within the undo window; recorded.

    What it would have caused is cancelled, and the case stands as before. That of a single
    verdict is held by the actor again.

    Args:
        office: Where.
        actor: Who gave it, or an approver.
        verdict: The id of the verdict or batch.

    Returns:
        The cases, which wait again.

    Raises:
        Denied: The rules do not let the actor review.
        AiosError: It is unknown, somebody else's, final, taken back already, or another verdict
            rests on it.
    """
    with office.log.database.reading() as connection:
        first = _of(connection, verdict)[0]
    automation, review = office.automation(first.automation), office.review(first.automation)
    rules = office.may_review(actor, first.automation)
    if first.verdict not in KINDS:
        raise AiosError(
            f"'{first.verdict}' cannot be undone", where=f"verdict {verdict}", fix=_OTHERWISE
        )
    if first.reviewer != str(actor) and "approver" not in actor.roles:
        raise AiosError(
            f"it is {first.reviewer}'s",
            where=f"verdict {verdict}",
            fix="They undo it, or an approver does.",
        )
    with office.log.transaction() as transaction:
        connection, now = transaction.connection, office.now()
        rows = _of(connection, verdict)
        for row in rows:
            _check(connection, row, micros(now))
        body = {
            "verdicts": [row.leaf for row in rows[:1]],
            "cases": [row.case for row in rows],
            "decisions": [row.decision for row in rows],
            "rules": rules,
            "access_digest": office.access.digest,
        }
        transaction.append([Act("verdict_undone", automation.name, str(actor), body, at=now)])
        lease = span(review.lease) if len(rows) == 1 else 0
        for row in rows:
            undone = VERDICTS.update().where(VERDICTS.c.id == row.id)
            connection.execute(undone.values(undone_at=micros(now)))
            case = row_of(connection, row.case)
            after = stand(review, case, standing(connection, row.case))
            connection.execute(
                CASES.update()
                .where(CASES.c.id == row.case)
                .values(
                    state=after.state,
                    outcome=None,
                    closed_at=None,
                    holder=str(actor) if lease else None,
                    held_at=micros(now) if lease else None,
                    held_until=micros(now) + lease if lease else None,
                )
            )
        cases = [row_of(connection, row.case) for row in rows]
        for dry in (False, True):
            decisions = [
                row.decision
                for row, case in zip(rows, cases, strict=True)
                if row.in_effect and case.rehearsed == dry
            ]
            let_have(connection, automation, decisions, [], now=micros(now), dry=dry)
    return [case_of(case, micros(now)) for case in cases]


def _of(connection: Connection, verdict: str) -> Sequence[Row[Any]]:
    """Return the verdict, or all of the batch, of an id."""
    wanted = sa.or_(VERDICTS.c.id == verdict, VERDICTS.c.batch == verdict)
    rows = connection.execute(VERDICTS.select().where(wanted).order_by(VERDICTS.c.id)).all()
    if not rows:
        raise AiosError(
            f"there is no verdict {verdict!r}", where="review", fix="See your last verdicts."
        )
    return rows


def _check(connection: Connection, row: Row[Any], now: int) -> None:
    """Raise an AiosError where a verdict cannot be taken back."""
    where = f"verdict {row.id}"
    if row.undone_at is not None:
        at = moment_text(row.undone_at)
        raise AiosError(f"it was taken back at {at}", where=where, fix="Decide the case.")
    last = standing(connection, row.case)[-1]
    if last.id != row.id:
        raise AiosError(
            f"{last.reviewer} gave a later verdict on the case", where=where, fix=_OTHERWISE
        )
    if now >= row.final_at:
        raise AiosError(
            f"it is final since {moment_text(row.final_at)}", where=where, fix=_OTHERWISE
        )

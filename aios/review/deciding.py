"""One verdict: checked, recorded, and put in effect where no other person is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aios import telemetry
from aios.errors import Stale
from aios.identity.tables import micros
from aios.record.leaves import Act
from aios.review.office import Office, let_have, span
from aios.review.queue import Verdict, verdict_of
from aios.review.states import Stand, stand
from aios.review.tables import VERDICTS
from aios.review.verdicts import (
    Form,
    check_held,
    check_role,
    check_unseen,
    close,
    new_row,
    sealed,
    standing,
    waiting_case,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from aios.identity.actors import Actor
    from aios.review.declared import Review


@dataclass(frozen=True)
class Said:
    """What a form says of one case.

    Attributes:
        verdict: Its kind.
        outcome: What it decides; None of an escalation.
    """

    verdict: str
    outcome: str | None


def decide(office: Office, actor: Actor, case: str, form: Form) -> Verdict:
    """Decide a case that the actor holds; see `Desk.decide`."""
    with office.log.database.reading() as connection:
        row = waiting_case(connection, case)
        given = standing(connection, case)
    rules = office.may_review(actor, row.automation, [one.reviewer for one in given])
    automation, review = office.automation(row.automation), office.review(row.automation)
    form.check(review, f"case {case}")
    said, expected = judge(review, row, given, form)
    # Read outside of the transaction, in which nobody else can write.
    planned = []
    if expected.outcome and row.answer is None:
        planned = office.planned(automation, row.partition, {row.decision: expected.outcome})
    with office.log.transaction() as transaction:
        connection, now = transaction.connection, office.now()
        row, given = waiting_case(connection, case), standing(connection, case)
        check_held(row, actor, micros(now))
        check_role(row, actor)
        check_unseen(given, actor)
        if judge(review, row, given, form) != (said, expected):
            raise Stale("it changed meanwhile", where=f"case {case}", fix="Decide it again.")
        body = {
            "case": case,
            "decision": row.decision,
            "verdict": said.verdict,
            "outcome": said.outcome,
            "reason": form.reason,
            "comment": sealed(connection, form.comment),
            "state": expected.state,
            "seconds": (micros(now) - row.held_at) // 1_000_000,
            "shown": not (row.hidden or row.double),
            "seeded": row.answer is not None,
            "rehearsed": row.rehearsed,
            "rules": rules,
            "access_digest": office.access.digest,
        }
        act = Act("verdict", row.automation, str(actor), body, at=now)
        leaf = transaction.append([act])[0].index
        values = entered(row, form, said, expected, str(actor), micros(now), span(review.undo))
        verdict = enter(connection, new_row(row, leaf, values), expected)
        if verdict.in_effect:
            let_have(
                connection,
                automation,
                [row.decision],
                planned,
                now=micros(now),
                due_at=verdict.final_at,
                dry=row.rehearsed,
            )
    telemetry.emit_for(
        "verdict", [row.decision], start=now, verdict=said.verdict, outcome=said.outcome
    )
    return verdict_of(verdict)


def judge(
    review: Review, case: Row[Any], given: Sequence[Row[Any]], form: Form
) -> tuple[Said, Stand]:
    """Return what a form says of a case, and where the case stands with it.

    Raises:
        AiosError: The form does not suit the case.
    """
    said = Said(form.verdict, form.outcome_for(review, case))
    return said, stand(review, case, [*given, said])


def entered(
    case: Row[Any], form: Form, said: Said, after: Stand, reviewer: str, at: int, undo: int
) -> dict[str, Any]:
    """Return what a verdict's row has of the verdict; times in microseconds."""
    return {
        "reviewer": reviewer,
        "verdict": said.verdict,
        "outcome": said.outcome,
        "reason": form.reason,
        "comment": form.comment,
        "in_effect": after.state == "closed" and case.answer is None,
        "at": at,
        "final_at": at + undo,
    }


def enter(connection: Connection, row: dict[str, Any], after: Stand) -> Row[Any]:
    """Keep a verdict, and let its case stand as it does after it."""
    connection.execute(VERDICTS.insert().values(row))
    close(connection, row["case"], after.state, after.outcome, row["at"])
    return connection.execute(VERDICTS.select().where(VERDICTS.c.id == row["id"])).one()

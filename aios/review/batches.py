"""Batches: one verdict on cases of the same cause, on all or none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.digest import json_digest
from aios.errors import AiosError, Stale
from aios.identity.tables import micros, moment_of
from aios.record.leaves import Act
from aios.review.deciding import entered, judge
from aios.review.holding import free_at
from aios.review.office import Office, let_have, span
from aios.review.queue import WAITING
from aios.review.tables import CASES, VERDICTS
from aios.review.verdicts import Form, new_row, sealed, verdict_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from aios.actions.plan import Planned
    from aios.identity.actors import Actor

MOST = 500


@dataclass(frozen=True)
class Batch:
    """Cases that were decided together.

    Attributes:
        id: What it is undone by.
        cases: Their ids.
        outcomes: How many got which outcome; none of escalations.
        final_at: From when on it cannot be undone, UTC-naive.
    """

    id: str
    cases: Sequence[str]
    outcomes: Mapping[str, int]
    final_at: datetime


def decide_all(
    office: Office, actor: Actor, automation: str, cause: str, form: Form, limit: int
) -> Batch:
    """Decide the most urgent open cases of one cause together, all or none; one leaf.

    Left out are those that need their own look: four eyes, reviewed twice, without proposal; and
    those that another holds.

    Raises:
        Denied: The rules do not let the actor.
        AiosError: There is no such case, or the verdict does not suit one of them.
    """
    rules = office.may_review(actor, automation)
    known, review = office.automation(automation), office.review(automation)
    where = f"{automation}: {cause}"
    form.check(review, where)
    if not 1 <= limit <= MOST:
        raise AiosError(f"a batch has 1 to {MOST} cases, not {limit}", where=where, fix="Less.")
    with office.log.database.reading() as connection:
        rows = _alike(connection, actor, automation, cause, office.at(), limit)
    if not rows:
        raise AiosError(
            "no case of this cause can be decided with others",
            where=where,
            fix="Take them one by one.",
        )
    found = {row.id: judge(review, row, [], form) for row in rows}
    planned = _planned(office, rows, {key: after.outcome for key, (_, after) in found.items()})
    with office.log.transaction() as transaction:
        connection, now = transaction.connection, office.now()
        again = _alike(connection, actor, automation, cause, micros(now), limit)
        if [row.id for row in again] != [row.id for row in rows]:
            raise Stale("others decided some of them meanwhile", where=where, fix="Try again.")
        outcomes = Counter(said.outcome for said, _ in found.values() if said.outcome)
        body = {
            "cause": cause,
            "count": len(rows),
            "cases": json_digest(sorted(row.id for row in rows)),
            "decisions": json_digest(sorted(row.decision for row in rows)),
            "verdict": form.verdict,
            "outcomes": dict(outcomes),
            "reason": form.reason,
            "comment": sealed(connection, form.comment),
            "rules": rules,
            "access_digest": office.access.digest,
        }
        act = Act("verdicts", automation, str(actor), body, at=now)
        leaf = transaction.append([act])[0].index
        batch = verdict_id("batch", leaf)
        final_at = micros(now) + span(review.undo)
        verdicts = []
        for row in rows:
            said, after = found[row.id]
            values = entered(row, form, said, after, str(actor), micros(now), span(review.undo))
            verdicts.append(new_row(row, leaf, {**values, "batch": batch}))
        connection.execute(VERDICTS.insert(), verdicts)
        _close(connection, {key: after for key, (_, after) in found.items()}, micros(now))
        for dry in (False, True):
            theirs = [row.decision for row in rows if row.rehearsed == dry and row.answer is None]
            closed = theirs if form.verdict != "escalate" else []
            let_have(
                connection,
                known,
                closed,
                [one for one in planned if one.decision in set(closed)],
                now=micros(now),
                due_at=final_at,
                dry=dry,
            )
    return Batch(batch, [row.id for row in rows], dict(outcomes), moment_of(final_at))


def _alike(
    connection: Connection, actor: Actor, automation: str, cause: str, at: int, limit: int
) -> Sequence[Row[Any]]:
    theirs = sa.or_(free_at(at), CASES.c.holder == str(actor))
    wanted = [WAITING, CASES.c.automation == automation, CASES.c.cause == cause, theirs]
    wanted += [CASES.c.state == "open", ~CASES.c.four_eyes, ~CASES.c.double, ~CASES.c.hidden]
    query = sa.select(CASES).where(*wanted).order_by(CASES.c.due_at, CASES.c.id).limit(limit)
    return connection.execute(query).all()


def _planned(
    office: Office, rows: Sequence[Row[Any]], outcomes: Mapping[str, str | None]
) -> list[Planned]:
    def partition(row: Row[Any]) -> tuple[str, str]:
        return row.automation, row.partition

    planned: list[Planned] = []
    real = [row for row in rows if row.answer is None]
    for (name, key), some in groupby(sorted(real, key=partition), key=partition):
        decided = {row.decision: outcomes[row.id] for row in some}
        known = {decision: outcome for decision, outcome in decided.items() if outcome}
        planned += office.planned(office.automation(name), key, known)
    return planned


def _close(connection: Connection, after: Mapping[str, Any], now: int) -> None:
    for state, outcome in {(one.state, one.outcome) for one in after.values()}:
        cases = [key for key, one in after.items() if (one.state, one.outcome) == (state, outcome)]
        connection.execute(
            CASES.update()
            .where(CASES.c.id.in_(cases))
            .values(
                state=state,
                outcome=outcome,
                closed_at=now if outcome else None,
                holder=None,
                held_at=None,
                held_until=None,
            )
        )

"""Time-outs: what nobody decided in time gets the safe outcome, which never is an approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.errors import AiosError
from aios.identity.actors import DESK
from aios.identity.tables import micros
from aios.record.leaves import Act
from aios.review.deciding import Said, entered
from aios.review.holding import free_at
from aios.review.office import Office, let_have
from aios.review.queue import WAITING
from aios.review.states import Stand
from aios.review.tables import CASES, VERDICTS
from aios.review.verdicts import Form, close, new_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

TIME_OUT = "time_out"
_MANY = 500


def time_out(office: Office) -> int:
    """Decide the safe outcome of every case past its time that nobody holds; recorded.

    Also of those that wait for a second person or an approver. Its effects are due at once.

    Returns:
        How many cases.

    Raises:
        AiosError: Some could not be decided; all others were.
    """
    decided, problems = 0, []
    query = sa.select(CASES.c.automation, CASES.c.partition).where(*_due(office.at())).distinct()
    with office.log.database.reading() as connection:
        groups = connection.execute(query.order_by(CASES.c.automation, CASES.c.partition)).all()
    for automation, partition in groups:
        if automation not in office.automations:
            continue
        try:
            decided += _time_out(office, automation, partition)
        except AiosError as error:
            problems.append(error)
    if problems:
        raise AiosError(
            f"{problems[0]}\n{len(problems)} partitions have cases that could not time out",
            where="review",
            fix="Mend that; the cases wait until then.",
        ) from problems[0]
    return decided


def _time_out(office: Office, name: str, partition: str) -> int:
    decided = 0
    while True:
        with office.log.database.reading() as connection:
            rows = _overdue(connection, name, partition, office.at())
        if not rows:
            return decided
        decided += _decide(office, rows)


def _decide(office: Office, rows: Sequence[Row[Any]]) -> int:
    name, partition = rows[0].automation, rows[0].partition
    automation, safe = office.automation(name), office.review(name).safe
    real = {row.decision: safe for row in rows if row.answer is None}
    planned = office.planned(automation, partition, real)
    ids = {row.id for row in rows}
    with office.log.transaction() as transaction:
        connection, now = transaction.connection, office.now()
        due = [row for row in _overdue(connection, name, partition, micros(now)) if row.id in ids]
        acts = [Act("verdict", name, str(DESK), _body(row, safe), at=now) for row in due]
        after, said = Stand("closed", safe), Said(TIME_OUT, safe)
        form = Form(TIME_OUT, TIME_OUT)
        verdicts = []
        for row, entry in zip(due, transaction.append(acts), strict=True):
            values = entered(row, form, said, after, str(DESK), micros(now), 0)
            verdicts.append(new_row(row, entry.index, values))
            close(connection, row.id, after.state, after.outcome, micros(now))
        if verdicts:
            connection.execute(VERDICTS.insert(), verdicts)
        for dry in (False, True):
            theirs = {row.decision for row in due if row.rehearsed == dry and row.answer is None}
            effects = [one for one in planned if one.decision in theirs]
            let_have(connection, automation, sorted(theirs), effects, now=micros(now), dry=dry)
    return len(due)


def _body(row: Row[Any], safe: str) -> dict[str, Any]:
    return {
        "case": row.id,
        "decision": row.decision,
        "verdict": TIME_OUT,
        "outcome": safe,
        "state": "closed",
        "seeded": row.answer is not None,
        "rehearsed": row.rehearsed,
    }


def _due(at: int) -> list[sa.ColumnElement[bool]]:
    return [WAITING, CASES.c.due_at <= at, free_at(at)]


def _overdue(
    connection: Connection, automation: str, partition: str, at: int
) -> Sequence[Row[Any]]:
    wanted = [CASES.c.automation == automation, CASES.c.partition == partition, *_due(at)]
    query = sa.select(CASES).where(*wanted).order_by(CASES.c.due_at, CASES.c.id).limit(_MANY)
    return connection.execute(query).all()

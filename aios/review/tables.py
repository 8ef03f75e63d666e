"""The tables of reviews: cases, and the verdicts on them."""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from aios.database import metadata

CASES = sa.Table(
    "review_cases",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("automation", sa.String(200), nullable=False),
    sa.Column("partition", sa.String(20), nullable=False),
    sa.Column("decision", sa.String(400), nullable=False),
    sa.Column("event", sa.String(300), nullable=False),
    sa.Column("cause", sa.String(400), nullable=False),
    sa.Column("rule", sa.String(63), nullable=False),
    sa.Column("model_version", sa.Integer),
    sa.Column("score", sa.Float),
    sa.Column("slices", sa.JSON, nullable=False),
    sa.Column("proposal", sa.String(60), nullable=False),
    sa.Column("four_eyes", sa.Boolean, nullable=False),
    sa.Column("double", sa.Boolean, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("answer", sa.String(60)),
    sa.Column("rehearsed", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("outcome", sa.String(60)),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("holder", sa.String(200)),
    sa.Column("held_at", sa.BigInteger),
    sa.Column("held_until", sa.BigInteger),
    sa.Index("cases_decision", "decision"),
    sa.Index("cases_closed", "automation", "closed_at"),
    sa.Index("cases_partition", "automation", "partition"),
)
"""One row a case; `answer` is what a seeded one should get. Times are microseconds since 1970.

`state` is `open`, `second` (waits for another person), `escalated` (waits for an approver),
`closed` or `superseded`; of the last two `closed_at` is set. `outcome` is the one in effect.
"""

_WAITING = sa.text("closed_at IS NULL")
for _name, *_columns in (
    ("cases_due", CASES.c.due_at, CASES.c.id),
    ("cases_cause", CASES.c.automation, CASES.c.cause, CASES.c.due_at),
    ("cases_held", CASES.c.holder),
):
    sa.Index(_name, *_columns, sqlite_where=_WAITING, postgresql_where=_WAITING)

VERDICTS = sa.Table(
    "review_verdicts",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("case", sa.String(32)),
    sa.Column("automation", sa.String(200), nullable=False),
    sa.Column("partition", sa.String(20), nullable=False),
    sa.Column("decision", sa.String(400), nullable=False),
    sa.Column("event", sa.String(300), nullable=False),
    sa.Column("reviewer", sa.String(200), nullable=False),
    sa.Column("verdict", sa.String(12), nullable=False),
    sa.Column("outcome", sa.String(60)),
    sa.Column("reason", sa.String(63), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("shown", sa.Boolean, nullable=False),
    sa.Column("batch", sa.String(32)),
    sa.Column("leaf", sa.BigInteger, nullable=False),
    sa.Column("in_effect", sa.Boolean, nullable=False),
    sa.Column("rehearsed", sa.Boolean, nullable=False),
    sa.Column("held_at", sa.BigInteger),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("final_at", sa.BigInteger, nullable=False),
    sa.Column("undone_at", sa.BigInteger),
    sa.Index("verdicts_case", "case"),
    sa.Index("verdicts_decision", "decision"),
    sa.Index("verdicts_batch", "batch"),
    sa.Index("verdicts_partition", "automation", "partition"),
    sa.Index("verdicts_at", "automation", "at"),
    sa.Index("verdicts_final", "automation", "final_at"),
    sa.Index("verdicts_of", "reviewer", "at"),
)
"""One row a verdict; `shown` is whether the proposal was. Times are microseconds since 1970.

`verdict` is `approve`, `change`, `reject`, `escalate`, `override` (of a decision, which need not
have a case) or `time_out` (by the desk). `leaf` is the leaf that recorded it, and the order of
verdicts. `in_effect` is whether its outcome became that of the decision: not so the first of two
that are needed, an escalation, and one on a seeded case.
"""

SALT = sa.Table(
    "review_salt",
    metadata,
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
)
"""One row: what keeps reviewers from telling which cases are seeded or watched."""


def salt_of(connection: sa.Connection) -> bytes:
    """Return the salt of this database; made when it is first asked for, by one who writes."""
    found = connection.execute(sa.select(SALT.c.salt)).scalar()
    if found is None:
        found = secrets.token_bytes(32)
        connection.execute(SALT.insert().values(row=1, salt=found))
    return bytes(found)

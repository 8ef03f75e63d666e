"""Cases for people and the verdicts on them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "review_cases",
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
    )
    op.create_index("cases_decision", "review_cases", ["decision"])
    op.create_index("cases_closed", "review_cases", ["automation", "closed_at"])
    op.create_index("cases_partition", "review_cases", ["automation", "partition"])
    waiting = sa.text("closed_at IS NULL")
    for name, columns in (
        ("cases_due", ["due_at", "id"]),
        ("cases_cause", ["automation", "cause", "due_at"]),
        ("cases_held", ["holder"]),
    ):
        op.create_index(
            name, "review_cases", columns, sqlite_where=waiting, postgresql_where=waiting
        )
    op.create_table(
        "review_verdicts",
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
    )
    op.create_index("verdicts_case", "review_verdicts", ["case"])
    op.create_index("verdicts_decision", "review_verdicts", ["decision"])
    op.create_index("verdicts_batch", "review_verdicts", ["batch"])
    op.create_index("verdicts_partition", "review_verdicts", ["automation", "partition"])
    op.create_index("verdicts_at", "review_verdicts", ["automation", "at"])
    op.create_index("verdicts_final", "review_verdicts", ["automation", "final_at"])
    op.create_index("verdicts_of", "review_verdicts", ["reviewer", "at"])
    op.create_table(
        "review_salt",
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
    )

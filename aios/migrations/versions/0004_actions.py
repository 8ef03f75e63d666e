"""The outbox of actions and what is known of their receivers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_ID = sa.String(400).with_variant(sa.String(400, collation="C"), "postgresql")
_KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "actions",
        sa.Column("key", _KEY, primary_key=True),
        sa.Column("automation", sa.String(200), nullable=False),
        sa.Column("partition", sa.String(20), nullable=False),
        sa.Column("decision", _ID, nullable=False),
        sa.Column("outcome", sa.String(60), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("type", sa.String(63), nullable=False),
        sa.Column("receiver", sa.String(63), nullable=False),
        sa.Column("to", sa.String(400), nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("after", _KEY),
        sa.Column("undoes", _KEY),
        sa.Column("recalled", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("lease", sa.String(100)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("intent_at", sa.BigInteger),
        sa.Column("doubt_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("receipt", sa.Text),
        sa.Column("cause", sa.String(200)),
        sa.Column("problem", sa.Text),
        sa.Column("leaf", sa.BigInteger),
    )
    op.create_index("actions_due", "actions", ["automation", "receiver", "state", "due_at"])
    op.create_index("actions_decision", "actions", ["decision"])
    for name, columns, where in (
        ("actions_after", ["after"], '"after" IS NOT NULL'),
        ("actions_lease", ["automation", "lease_until"], "lease_until IS NOT NULL"),
        ("actions_incidents", ["automation", "ended_at"], "state = 'incident'"),
    ):
        condition = sa.text(where)
        op.create_index(
            name, "actions", columns, sqlite_where=condition, postgresql_where=condition
        )
    op.create_table(
        "action_receivers",
        sa.Column("automation", sa.String(200), primary_key=True),
        sa.Column("receiver", sa.String(63), primary_key=True),
        sa.Column("breaker", sa.String(12), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("trips", sa.Integer, nullable=False),
        sa.Column("open_until", sa.BigInteger, nullable=False),
        sa.Column("tokens", sa.Float, nullable=False),
        sa.Column("tokens_at", sa.BigInteger, nullable=False),
        sa.Column("repeats", sa.BigInteger, nullable=False),
    )

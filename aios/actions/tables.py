"""The tables of actions: the outbox, and what is known of each receiver."""

from __future__ import annotations

import sqlalchemy as sa

from aios.database import metadata

# Bytes, not a language's order: the actions of a partition are one range of their decisions.
_ID = sa.String(400).with_variant(sa.String(400, collation="C"), "postgresql")
_KEY = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")


def _partial(name: str, where: str, *columns: str) -> sa.Index:
    """Return an index of few rows: those in flight, waiting or open are few among all."""
    condition = sa.text(where)
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


ACTIONS = sa.Table(
    "actions",
    metadata,
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
    sa.Index("actions_due", "automation", "receiver", "state", "due_at"),
    sa.Index("actions_decision", "decision"),
    _partial("actions_after", '"after" IS NOT NULL', "after"),
    _partial("actions_lease", "lease_until IS NOT NULL", "automation", "lease_until"),
    _partial("actions_incidents", "state = 'incident'", "automation", "ended_at"),
)
"""One row an action or compensation. Times are microseconds since 1970.

`recalled`: it was withdrawn. `attempts`: calls that count against it; `calls`: all calls, those
that asked too. `doubt_at`: when the last call was made of which nobody knows what became.
`leaf`: where the record says that it was done.
"""

RECEIVERS = sa.Table(
    "action_receivers",
    metadata,
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
"""One row a receiver: its breaker and what is left of its budget, shared by all workers.

`repeats`: calls so far that took from the budget.
"""

"""The record's leaves and tree, personal payloads, and the ledger of champions."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


# SQLite finds rows by a key of this very type without an index of its own.
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "record_leaves",
        sa.Column("position", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("recorded_at", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("automation", sa.String(200)),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("key", sa.String(400)),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
    )
    keyed = sa.text("key IS NOT NULL")
    op.create_index(
        "record_leaves_key", "record_leaves", ["key"], unique=True,
        sqlite_where=keyed, postgresql_where=keyed,
    )  # fmt: skip
    op.create_table(
        "record_tiles",
        sa.Column("level", sa.Integer, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "record_payloads",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("subject", sa.String(64), nullable=False, index=True),
        sa.Column("retention", sa.String(60), nullable=False),
        sa.Column("recorded_at", sa.String(26), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "record_subjects",
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "champion_changes",
        sa.Column("automation", sa.String(200), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("leaf", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "approvals",
        sa.Column("request", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("automation", sa.String(200), nullable=False, index=True),
        sa.Column("verdict", sa.BigInteger),
        sa.Column("closed", sa.String(20)),
    )

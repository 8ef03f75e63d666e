"""What the log holds: acts as canonical leaves, in one table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aios.database import metadata
from aios.record.canonical import encode

leaves = sa.Table(
    "record_leaves",
    metadata,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("recorded_at", sa.String(26), nullable=False),
    sa.Column("kind", sa.String(60), nullable=False),
    sa.Column("automation", sa.String(200)),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("key", sa.String(400)),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)

IN_LEAF = ("recorded_at", "kind", "automation", "actor", "key")
"""Columns that repeat what the leaf says."""


@dataclass(frozen=True)
class Act:
    """What is to be recorded.

    Attributes:
        kind: What was done, such as `promotion`.
        automation: Whose; None for the platform's own.
        actor: Who did it, such as `person:alice`.
        body: What it was, as plain data without personal data.
        at: From when it counts, UTC-naive; the time of recording when None.
        key: The same key is never recorded twice; None where each act is an act of its own.
    """

    kind: str
    automation: str | None
    actor: str
    body: dict[str, Any]
    at: datetime | None = None
    key: str | None = None


@dataclass(slots=True)
class Entry:
    """A leaf of the log, with the columns that it is found by."""

    index: int
    recorded_at: datetime
    kind: str
    automation: str | None
    actor: str
    leaf: bytes

    @property
    def content(self) -> dict[str, Any]:
        """What the leaf says."""
        parsed: dict[str, Any] = json.loads(self.leaf)
        return parsed

    @property
    def body(self) -> dict[str, Any]:
        """What was recorded of the act itself."""
        body: dict[str, Any] = self.content["body"]
        return body


def entry_of(row: Any) -> Entry:
    """Return the entry of a row of `leaves`."""
    position, recorded_at, kind, automation, actor, _, leaf = row
    moment = datetime.fromisoformat(recorded_at)
    return Entry(position, moment, kind, automation, actor, bytes(leaf))


def stamp(moment: datetime) -> str:
    """Return a UTC-naive time as the log writes it."""
    return moment.isoformat(timespec="microseconds")


def ends_of(act: Act, recorded_at: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the body in the leaves of acts that are alike."""
    at = stamp(act.at) if act.at else recorded_at
    before = encode({"actor": act.actor, "at": at, "automation": act.automation})
    after = encode({"kind": act.kind, "recorded_at": recorded_at, "v": 1})
    return before[:-1] + b',"body":', b"," + after[1:]


def leaf_of(act: Act, before: bytes, after: bytes) -> bytes:
    """Return the canonical JSON of a leaf: its members in the order of their names."""
    key = encode(act.key) if act.key else b"null"
    return before + encode(act.body) + b',"key":' + key + after


def insert(connection: sa.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows of `leaves`; past SQLAlchemy's compiler, which takes as long as SQLite."""
    marks = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(column.name for column in leaves.c)
    statement = f"INSERT INTO {leaves.name} ({names}) VALUES ({', '.join([marks] * len(leaves.c))})"
    connection.exec_driver_sql(statement, list(rows))


def size_of(connection: sa.Connection) -> int:
    """Return the number of leaves."""
    last = connection.exec_driver_sql(f"SELECT max(position) FROM {leaves.name}").scalar()
    return 0 if last is None else int(last) + 1


def last_time(connection: sa.Connection) -> str | None:
    """Return when the last leaf was recorded."""
    return connection.exec_driver_sql(
        f"SELECT recorded_at FROM {leaves.name} ORDER BY position DESC LIMIT 1"
    ).scalar()

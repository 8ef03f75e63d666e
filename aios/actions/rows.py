"""Rows of the outbox, read and written many at a time, past SQLAlchemy's compiler."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import orjson

from aios.actions.tables import ACTIONS
from aios.errors import Stale

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(slots=True)
class Row:
    """One row of `ACTIONS`, in the order of its columns."""

    key: str
    automation: str
    partition: str
    decision: str
    outcome: str
    step: int
    type: str
    receiver: str
    to: str
    payload: str
    state: str
    after: str | None
    undoes: str | None
    recalled: bool
    created_at: int
    due_at: int
    expires_at: int
    attempts: int = 0
    calls: int = 0
    lease: str | None = None
    lease_until: int | None = None
    intent_at: int | None = None
    doubt_at: int | None = None
    ended_at: int | None = None
    receipt: str | None = None
    cause: str | None = None
    problem: str | None = None
    leaf: int | None = None


_NAMES = [field.name for field in fields(Row)]
_TYPES = {
    column.name: {"INTEGER": "integer", "BIGINT": "bigint", "BOOLEAN": "boolean"}.get(
        str(column.type), "text"
    )
    for column in ACTIONS.c
}
COLUMNS = ", ".join(f'"{name}"' for name in _NAMES)
"""All columns, in the order of `Row`."""

_CHANGING = [
    *("payload", "state", "after", "recalled", "due_at", "expires_at", "attempts", "calls"),
    *("lease", "lease_until", "doubt_at", "ended_at", "receipt", "cause", "problem", "leaf"),
]
_all_of = attrgetter(*_NAMES)
_changing_of = attrgetter(*_CHANGING)


def changed(row: Row, **values: Any) -> Row:
    """Return a row with other values; `dataclasses.replace` takes three times as long."""
    new = Row(*_all_of(row))
    for name, value in values.items():
        setattr(new, name, value)
    return new


def run(connection: Connection, sql: str, *values: Any) -> Any:
    """Run a statement with `?` for values; on Postgres too."""
    if not on_sqlite(connection):
        sql = sql.replace("?", "%s")
    return connection.exec_driver_sql(sql, tuple(values))


def on_sqlite(connection: Connection) -> bool:
    """Tell whether the database is SQLite."""
    return connection.dialect.name == "sqlite"


def among(connection: Connection, column: str, values: Iterable[str]) -> tuple[str, Any]:
    """Return the condition that a column is one of many values, and its one parameter."""
    if on_sqlite(connection):
        return f'"{column}" IN (SELECT value FROM json_each(?))', json.dumps(list(values))
    return f'"{column}" = ANY(?)', list(values)


def select(connection: Connection, condition: str, *values: Any) -> list[Row]:
    """Return the rows of a condition, with what may follow one."""
    found = run(connection, f"SELECT {COLUMNS} FROM actions WHERE {condition}", *values)
    return [Row(*one) for one in found]


def of_decisions(connection: Connection, decisions: Iterable[str]) -> dict[str, list[Row]]:
    """Return the rows of decisions, by decision."""
    condition, value = among(connection, "decision", decisions)
    found: dict[str, list[Row]] = {}
    for row in select(connection, condition, value):
        found.setdefault(row.decision, []).append(row)
    return found


def insert(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert rows."""
    if not rows:
        return
    if on_sqlite(connection):
        marks = ", ".join("?" * len(_NAMES))
        records = list(map(_all_of, rows))
        connection.exec_driver_sql(f"INSERT INTO actions ({COLUMNS}) VALUES ({marks})", records)
        return
    # As one text: its driver takes longer over arrays than Postgres over all the rest.
    sql = f"INSERT INTO actions ({COLUMNS}) SELECT {COLUMNS} FROM "
    run(connection, f"{sql}json_populate_recordset(NULL::actions, ?)", orjson.dumps(rows).decode())


def update(connection: Connection, changes: Sequence[tuple[Row, Row]]) -> None:
    """Change rows, each from what it was to what it is to be; all of them or none.

    Raises:
        Stale: One is not, or no more, in the state and under the lease that it was.
    """
    if not changes:
        return
    records = [(*_changing_of(new), old.key, old.state, old.lease or "") for old, new in changes]
    held = "actions.key = {} AND actions.state = {} AND coalesce(actions.lease, '') = {}"
    if on_sqlite(connection):
        sets = ", ".join(f'"{name}" = ?' for name in _CHANGING)
        sql = f"UPDATE actions SET {sets} WHERE {held.format('?', '?', '?')}"
        changed = connection.exec_driver_sql(sql, records).rowcount
    else:
        sets = ", ".join(f'"{name}" = v."{name}"' for name in _CHANGING)
        names = [*_CHANGING, "key", "was", "held"]
        types = ", ".join(f'"{name}" {_TYPES.get(name, "text")}' for name in names)
        text = orjson.dumps([dict(zip(names, one, strict=True)) for one in records]).decode()
        sql = (
            f"UPDATE actions SET {sets} FROM json_to_recordset(?) AS v({types}) "
            f"WHERE {held.format('v.key', 'v.was', 'v.held')}"
        )
        changed = run(connection, sql, text).rowcount
    if changed != len(changes):
        raise Stale(
            f"{len(changes) - changed} of {len(changes)} actions are not in the state that they "
            "were found in",
            fix="Look at them again, and repeat what is still wanted.",
        )


def delete(connection: Connection, keys: Sequence[str]) -> None:
    """Delete rows."""
    condition, value = among(connection, "key", keys)
    run(connection, f"DELETE FROM actions WHERE {condition}", value)


def unblock(connection: Connection, keys: Sequence[str], now: int) -> None:
    """Let go ahead what waits for these."""
    condition, value = among(connection, "after", keys)
    run(
        connection,
        "UPDATE actions SET state = 'pending', due_at = CASE WHEN due_at < ? THEN ? ELSE due_at "
        f"END WHERE {condition} AND state = 'waiting'",
        *(now, now, value),
    )

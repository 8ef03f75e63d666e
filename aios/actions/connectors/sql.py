"""SQL: each action is a row of the receiver's table, with its key as the primary key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from aios.actions.connectors.base import (
    NOT_THERE,
    Answer,
    Done,
    Refused,
    Request,
    Unavailable,
    Unsure,
    text_of,
)
from aios.errors import AiosError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class Sql:
    """A table in SQLite or Postgres with the columns `key`, `type`, `payload` and `undoes`.

    Args:
        address: SQLAlchemy address.
        timeout: Seconds for connecting and for one statement.

    Raises:
        AiosError: It is another kind of database.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self._address, self._timeout = address, timeout
        if self._dialect not in ("sqlite", "postgresql"):
            raise AiosError(
                f"a receiver of kind sql is SQLite or Postgres, not {self._dialect}",
                where="actions.receivers",
                fix="Give an address such as postgresql+psycopg://USER@HOST/NAME.",
            )

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Insert all that go to one table as one transaction; what is there stays as it is."""
        found: dict[str, Answer] = {}
        for to in dict.fromkeys(request.to for request in requests):
            batch = [request for request in requests if request.to == to]
            found |= zip([one.key for one in batch], self._insert(to, batch), strict=True)
        return [found[request.key] for request in requests]

    def find(self, request: Request) -> Answer:
        """Look the key up."""
        if (table := _table(request.to)) is None:
            return Unsure("no such table name")
        query = sa.select(table.c.key).where(table.c.key == request.key)
        try:
            with self._engine.connect() as connection:
                there = connection.execute(query).first() is not None
        except DBAPIError as error:
            return Unavailable(_why(error))
        return Done({"key": request.key, "there": True}) if there else NOT_THERE

    def close(self) -> None:
        """Close connections."""
        if engine := vars(self).pop("_engine", None):
            engine.dispose()

    @property
    def _dialect(self) -> str:
        try:
            return sa.engine.make_url(self._address).get_backend_name()
        except sa.exc.ArgumentError:
            return "something else"

    @cached_property
    def _engine(self) -> Engine:
        seconds = max(1, round(self._timeout))
        if self._dialect == "sqlite":
            return sa.create_engine(self._address, connect_args={"timeout": self._timeout})
        told: dict[str, Any] = {
            "connect_timeout": seconds,
            "tcp_user_timeout": 1_000 * seconds,
            "options": f"-c statement_timeout={1_000 * seconds}",
        }
        return sa.create_engine(self._address, connect_args=told, pool_pre_ping=True)

    def _insert(self, to: str, batch: Sequence[Request]) -> list[Answer]:
        if (table := _table(to)) is None:
            return [Refused("no such table name")] * len(batch)
        try:
            connection = self._engine.connect()
        except DBAPIError as error:
            return [Unavailable(_why(error))] * len(batch)
        with connection:
            try:
                new = self._insert_rows(connection, table, batch)
            except OperationalError as error:
                return [Unavailable(_why(error))] * len(batch)
            except DBAPIError as error:
                if len(batch) == 1:
                    return [Refused(_why(error))]
                connection.rollback()
                # One bad row spoils the statement, but not the other rows.
                return [answer for one in batch for answer in self._insert(to, [one])]
            try:
                connection.commit()
            except DBAPIError as error:
                return [Unsure(_why(error))] * len(batch)
        return [Done({"key": one.key, "there": one.key not in new}) for one in batch]

    def _insert_rows(
        self, connection: Connection, table: sa.TableClause, batch: Sequence[Request]
    ) -> set[str]:
        """Insert what is new; return its keys."""
        from sqlalchemy.dialects import postgresql, sqlite

        insert = (postgresql if self._dialect == "postgresql" else sqlite).insert(table)
        rows = [
            {"key": one.key, "type": one.type, "payload": text_of(one), "undoes": one.undoes}
            for one in batch
        ]
        statement = insert.on_conflict_do_nothing(index_elements=["key"]).returning(table.c.key)
        return set(connection.execute(statement, rows).scalars())


def _table(to: str) -> sa.TableClause | None:
    """Return the table of a name, `table` or `schema.table`."""
    if not re.fullmatch(r"\w+(\.\w+)?", to):
        return None
    schema, _, name = to.rpartition(".")
    columns: list[sa.ColumnClause[str]] = [
        sa.column(name, sa.Text) for name in ("key", "type", "payload", "undoes")
    ]
    return sa.table(name, *columns, schema=schema or None)


def _why(error: DBAPIError) -> str:
    # The message may hold the row: the name of the error is enough to group incidents by.
    return f"database: {type(error.orig).__name__}"

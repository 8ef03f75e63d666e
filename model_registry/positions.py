"""A ledger: which leaves of the record an automation stands on, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa

from aios.database import metadata
from aios.record.leaves import Act, Entry, entry_of, leaves
from aios.record.log import Log
from aios.record.transaction import Transaction


@dataclass(frozen=True)
class Positions:
    """A table of leaves by automation and position; the primary key lets one of two writers in.

    Attributes:
        name: Of the table.
        kinds: The kinds of leaves that stand in it.
        forgotten: The kind of leaf after which an automation's positions begin at 1 again.
        counted: What the leaves are, for the leaf of that kind.
        words: What stands on them, in words.
    """

    name: str
    kinds: Sequence[str]
    forgotten: str
    counted: str
    words: str

    @cached_property
    def table(self) -> sa.Table:
        """The table."""
        return sa.Table(
            self.name,
            metadata,
            sa.Column("automation", sa.String(200), primary_key=True),
            sa.Column("position", sa.Integer, primary_key=True),
            sa.Column("leaf", sa.BigInteger, nullable=False),
        )

    def entries(self, connection: sa.Connection, automation: str) -> list[Entry]:
        """Return an automation's leaves in order."""
        query = (
            sa.select(leaves)
            .join(self.table, self.table.c.leaf == leaves.c.position)
            .where(self.table.c.automation == automation)
            .order_by(self.table.c.position)
        )
        return [entry_of(row) for row in connection.execute(query)]

    def count(self, connection: sa.Connection, automation: str) -> int:
        """Return how many leaves an automation has."""
        query = sa.select(sa.func.count()).where(self.table.c.automation == automation)
        return int(connection.execute(query).scalar_one())

    def append(self, transaction: Transaction, position: int, act: Act) -> Entry:
        """Append an act to the record and put its leaf at a position, from 1."""
        [entry] = transaction.append([act])
        transaction.connection.execute(
            self.table.insert().values(
                automation=act.automation, position=position, leaf=entry.index
            )
        )
        return entry

    def forget(self, log: Log, automation: str) -> None:
        """Begin an automation's positions anew; the leaves stay in the record."""
        with log.transaction() as transaction:
            gone = transaction.connection.execute(
                self.table.delete().where(self.table.c.automation == automation)
            )
            if gone.rowcount:
                body = {self.counted: gone.rowcount}
                transaction.append([Act(self.forgotten, automation, "service:rehearsal", body)])

    def check(self, log: Log) -> list[str]:
        """Compare the table with the leaves it stands on; say what is wrong, in words."""
        expected: dict[str, list[int]] = {}
        for entry in log.entries(kind=[*self.kinds, self.forgotten]):
            known = expected.setdefault(str(entry.automation), [])
            known.clear() if entry.kind == self.forgotten else known.append(entry.index)
        found: dict[str, list[int]] = {name: [] for name in expected}
        query = sa.select(self.table).order_by(self.table.c.position)
        with log.database.reading() as connection:
            for row in connection.execute(query):
                found.setdefault(row.automation, []).append(row.leaf)
        return [
            f"{self.words.format(name)} on leaves {found[name]}, the record says "
            f"{expected.get(name, [])}"
            for name in sorted(found)
            if found[name] != expected.get(name, [])
        ]

"""One change of the log, with whatever must change with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from aios import clock
from aios.record import merkle
from aios.record.leaves import (
    Act,
    Entry,
    ends_of,
    entry_of,
    insert,
    last_time,
    leaf_of,
    leaves,
    size_of,
    stamp,
)
from aios.record.tree import Tree

_MANY = 500
_BLOCK = 5_000


class Transaction:
    """One change of the log, and of what must change with it."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def append(self, acts: Sequence[Act]) -> list[Entry]:
        """Append acts in their order; one whose key is in the log returns the leaf there."""
        known = self._known([act.key for act in acts if act.key])
        size, last = size_of(self.connection), last_time(self.connection)
        recorded_at = max(stamp(clock.wall()), last or "")
        entries: list[Entry] = []
        for start in range(0, len(acts), _BLOCK):
            new = self._append_block(acts[start : start + _BLOCK], size, recorded_at, known)
            size += sum(entry.index >= size for entry in new)
            entries += new
        return entries

    def _append_block(
        self, acts: Sequence[Act], size: int, recorded_at: str, known: dict[str, Entry]
    ) -> list[Entry]:
        moment = datetime.fromisoformat(recorded_at)
        ends: dict[Any, tuple[bytes, bytes]] = {}
        entries: list[Entry] = []
        rows: list[tuple[Any, ...]] = []
        hashes: list[bytes] = []
        for act in acts:
            if act.key and act.key in known:
                entries.append(known[act.key])
                continue
            alike = (act.kind, act.automation, act.actor, act.at)
            if alike not in ends:
                ends[alike] = ends_of(act, recorded_at)
            leaf = leaf_of(act, *ends[alike])
            index = size + len(rows)
            rows.append(
                (index, recorded_at, act.kind, act.automation, act.actor, act.key or None, leaf)
            )
            hashes.append(merkle.leaf_hash(leaf))
            entries.append(Entry(index, moment, act.kind, act.automation, act.actor, leaf))
            if act.key:
                known[act.key] = entries[-1]
        if rows:
            insert(self.connection, rows)
            Tree(self.connection).extend(size, hashes)
        return entries

    def _known(self, keys: Sequence[str]) -> dict[str, Entry]:
        known = {}
        for start in range(0, len(keys), _MANY):
            wanted = leaves.c.key.in_(keys[start : start + _MANY])
            for row in self.connection.execute(sa.select(leaves).where(wanted)):
                known[row.key] = entry_of(row)
        return known

"""The log's tree in tiles of 256 hashes, so that a proof reads three of them at a million leaves.

The tile at `(level, position)` holds nodes of tree level `8 * level`: those that complete the tiles
below it. The last tile of each level grows in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from aios.database import metadata
from aios.errors import AiosError
from aios.record import merkle

HEIGHT = 8
WIDTH = 1 << HEIGHT
_HASH = 32

tiles = sa.Table(
    "record_tiles",
    metadata,
    sa.Column("level", sa.Integer, primary_key=True),
    sa.Column("position", sa.BigInteger, primary_key=True),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)


class Tree:
    """The tree as one connection sees it."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._levels: dict[tuple[int, int], list[list[bytes]]] = {}

    def node(self, level: int, position: int) -> bytes:
        """Return the hash of a complete subtree, see `merkle.Nodes`.

        Raises:
            AiosError: The tiles do not reach it.
        """
        tile, height = divmod(level, HEIGHT)
        # The top of a tile is the bottom of the one above, which the edge may not have yet.
        first, within = divmod(position << height, WIDTH)
        known = self._levels.get((tile, first)) or [self._read(tile, first)]
        self._levels[tile, first] = known
        while len(known) <= height:
            below = known[-1]
            known.append(merkle.parents(below[: len(below) // 2 * 2]))
        try:
            return known[height][within >> height]
        except IndexError:
            raise _damaged(f"node {position} of level {level} is missing") from None

    def extend(self, size: int, hashes: Sequence[bytes]) -> None:
        """Add leaves to a tree of `size` leaves.

        Raises:
            AiosError: The stored tree is not of that size.
        """
        level, added = 0, list(hashes)
        while added:
            first, within = divmod(size, WIDTH)
            present = self._read(level, first) if within else []
            if len(present) != within:
                raise _damaged(f"tile {first} of level {level} holds {len(present)} hashes")
            nodes, complete = [*present, *added], []
            for start in range(0, len(nodes), WIDTH):
                tile = nodes[start : start + WIDTH]
                self._write(level, first + start // WIDTH, tile)
                if len(tile) == WIDTH:
                    complete.append(merkle.root_of(tile))
            level, size, added = level + 1, size >> HEIGHT, complete

    def _read(self, level: int, position: int) -> list[bytes]:
        found = self._connection.execute(_READ, {"l": level, "p": position}).scalar()
        content = bytes(found) if isinstance(found, bytes | memoryview) else b""
        return [content[i : i + _HASH] for i in range(0, len(content), _HASH)]

    def _write(self, level: int, position: int, hashes: Sequence[bytes]) -> None:
        content = b"".join(hashes)
        self._connection.execute(_WRITE, {"l": level, "p": position, "h": content})


def _damaged(what: str) -> AiosError:
    return AiosError(
        f"the stored tree does not fit the leaves: {what}",
        where="record",
        fix="Run 'aios record verify', and restore the newest copy of the database.",
    )


_READ = sa.text("SELECT hashes FROM record_tiles WHERE level = :l AND position = :p")
_WRITE = sa.text(
    "INSERT INTO record_tiles (level, position, hashes) VALUES (:l, :p, :h) "
    "ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes"
)

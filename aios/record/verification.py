"""Checking a whole log: every leaf, the tree over them, and each checkpoint kept elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.errors import AiosError
from aios.record import merkle
from aios.record.checkpoint import Checkpoint, open_note
from aios.record.tree import HEIGHT, WIDTH, tiles

if TYPE_CHECKING:
    from aios.record.log import Log

_BLOCK = 10_000


@dataclass
class Verification:
    """What was checked.

    Attributes:
        size: Leaves.
        root: Root over them, hex.
        checkpoints: Notes of the second place that were compared.
        problems: What is wrong, in words; empty when all is well.
    """

    size: int = 0
    root: str = ""
    checkpoints: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems


def verify_log(log: Log) -> Verification:
    """Recompute everything from the leaves and compare; reads, and changes nothing.

    What was cut after the last checkpoint, or forged with a stolen key, cannot be seen.
    """
    found = Verification()
    hashes = _leaf_hashes(log, found)
    found.size, found.root = len(hashes), merkle.root_of(hashes).hex()
    _compare_tiles(log, hashes, found)
    marks = _checkpoints(log, found)
    for mark, root in zip(marks, _roots(hashes, [mark.size for mark in marks]), strict=True):
        if root is None:
            found.problems.append(
                f"the log has {len(hashes)} leaves, a checkpoint says {mark.size}: it was cut, or "
                "restored from an older copy"
            )
        elif root != mark.root:
            found.problems.append(
                f"the first {mark.size} leaves are not those of the checkpoint at {mark.size}"
            )
    return found


def _leaf_hashes(log: Log, found: Verification) -> list[bytes]:
    from aios.record.leaves import IN_LEAF, leaves

    hashes: list[bytes] = []
    last = ""
    # As text: SQLite keeps any type in any column, and SQLAlchemy would convert it.
    names = ", ".join(("position", "leaf", *IN_LEAF))
    query = sa.text(f"SELECT {names} FROM {leaves.name} ORDER BY position")
    with log.database.reading() as connection:
        for row in connection.execution_options(yield_per=_BLOCK).execute(query):
            position, leaf = row.position, _bytes(row.leaf)
            if type(position) is not int or position != len(hashes):
                found.problems.append(f"leaf {len(hashes)} is missing: {position!r} follows")
                break
            if leaf is None:
                found.problems.append(f"leaf {position}: it is not bytes")
                break
            wrong = _difference(leaf, {name: getattr(row, name) for name in IN_LEAF})
            if wrong:
                found.problems.append(f"leaf {position}: {wrong}")
            elif row.recorded_at < last:
                found.problems.append(f"leaf {position}: its time is before the leaf before")
            else:
                last = row.recorded_at
            hashes.append(merkle.leaf_hash(leaf))
    return hashes


def _bytes(value: Any) -> bytes | None:
    return bytes(value) if isinstance(value, bytes | memoryview) else None


def _difference(leaf: bytes, columns: dict[str, Any]) -> str | None:
    try:
        content = json.loads(leaf)
        wrong = [name for name, value in columns.items() if content[name] != value]
        if type(content["recorded_at"]) is not str:
            wrong.append("recorded_at")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return f"it cannot be read: {error!r}"
    return f"the column {', '.join(wrong)} differs from the leaf" if wrong else None


def _compare_tiles(log: Log, hashes: list[bytes], found: Verification) -> None:
    expected, level, nodes = {}, 0, hashes
    while nodes:
        blocks = [nodes[start : start + WIDTH] for start in range(0, len(nodes), WIDTH)]
        expected.update({(level, at): b"".join(block) for at, block in enumerate(blocks)})
        level += 1
        nodes = [merkle.root_of(block) for block in blocks if len(block) == WIDTH]
    with log.database.reading() as connection:
        query = sa.text(f"SELECT level, position, hashes FROM {tiles.name}")
        stored = {(row.level, row.position): _bytes(row.hashes)
                  for row in connection.execute(query)}  # fmt: skip
    for level, at in sorted(expected.keys() | stored.keys()):
        if expected.get((level, at)) != stored.get((level, at)):
            start = at << (HEIGHT * (level + 1))
            found.problems.append(f"tile {at} of level {level}, from leaf {start} on, is wrong")


def _checkpoints(log: Log, found: Verification) -> list[Checkpoint]:
    marks = []
    keys = log.public_keys() if log.keyring.exists else []
    notes = log.checkpoints()
    if keys and not notes:
        found.problems.append(
            f"no checkpoint is at {log.place}, though some were made: what was cut or rewritten "
            "cannot be seen"
        )
    if notes and not keys:
        found.problems.append("there are checkpoints, but no key to check them with")
        return []
    for note in notes:
        try:
            mark = open_note(note, keys)
        except AiosError as error:
            found.problems.append(f"{error.where}: {error.what}")
            continue
        if mark.origin != log.origin:
            found.problems.append(f"a checkpoint at {mark.size} is of the log {mark.origin!r}")
            continue
        marks.append(mark)
    found.checkpoints = len(marks)
    return marks


def _roots(hashes: list[bytes], sizes: list[int]) -> list[bytes | None]:
    """Return the roots of the trees of several sizes; None where the log is shorter."""
    levels = [hashes]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append(merkle.parents(below[: len(below) // 2 * 2]))

    def node(level: int, position: int) -> bytes:
        return levels[level][position]

    return [merkle.range_root(0, n, node) if n <= len(hashes) else None for n in sizes]

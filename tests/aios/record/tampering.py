"""What someone with write access to the database can do to a log, by kind.

Each attack gets the leaves as rows and changes them; `careful` ones bring the columns and the tree
into line with the changed leaves, so that nothing but a checkpoint kept elsewhere gives them away.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import rfc8785

from aios.record.merkle import leaf_hash, root_of

COLUMNS = ("position", "recorded_at", "kind", "automation", "actor", "key", "leaf")
WIDTH = 256

Row = dict[str, Any]
Attack = Callable[[list[Row], random.Random], list[Row]]


def read_rows(path: Path) -> list[Row]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(
            f"SELECT {', '.join(COLUMNS)} FROM record_leaves ORDER BY position"
        ).fetchall()
    return [dict(zip(COLUMNS, row, strict=True)) for row in found]


def write_rows(path: Path, rows: list[Row], *, careful: bool) -> None:
    """Put other leaves in place of a log's; `careful` rebuilds its tree over them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM record_leaves")
        connection.executemany(
            f"INSERT INTO record_leaves ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?)",
            [[row[name] for name in COLUMNS] for row in rows],
        )
        if careful:
            connection.execute("DELETE FROM record_tiles")
            connection.executemany(
                "INSERT INTO record_tiles (level, position, hashes) VALUES (?, ?, ?)",
                tiles([leaf_hash(row["leaf"]) for row in rows]),
            )


def tiles(hashes: list[bytes]) -> list[tuple[int, int, bytes]]:
    found, level = [], 0
    while hashes:
        blocks = [hashes[start : start + WIDTH] for start in range(0, len(hashes), WIDTH)]
        found += [(level, at, b"".join(block)) for at, block in enumerate(blocks)]
        hashes = [root_of(block) for block in blocks if len(block) == WIDTH]
        level += 1
    return found


def say(row: Row, **changes: Any) -> Row:
    """Return a row whose leaf says something else, columns and all."""
    content = {**json.loads(row["leaf"]), **changes}
    columns = {name: content[name] for name in COLUMNS if name in content}
    return {**row, **columns, "leaf": rfc8785.dumps(content)}


def numbered(rows: list[Row]) -> list[Row]:
    return [{**row, "position": at} for at, row in enumerate(rows)]


def one(rows: list[Row], chance: random.Random, change: Callable[[Row], Row]) -> list[Row]:
    at = chance.randrange(len(rows))
    return [*rows[:at], change(rows[at]), *rows[at + 1 :]]


def part(rows: list[Row], chance: random.Random, least: int = 1) -> tuple[int, int]:
    start = chance.randrange(len(rows) - least)
    return start, start + chance.randint(least, min(40, len(rows) - start))


# Edits.
def another_actor(rows: list[Row], chance: random.Random) -> list[Row]:
    return one(rows, chance, lambda row: say(row, actor="person:mallory"))


def another_time(rows: list[Row], chance: random.Random) -> list[Row]:
    def change(row: Row) -> Row:
        moment = row["recorded_at"]
        return say(row, recorded_at=f"{moment[:-1]}{(int(moment[-1]) + 1) % 10}")

    return one(rows, chance, change)


def another_body(rows: list[Row], chance: random.Random) -> list[Row]:
    def change(row: Row) -> Row:
        body = json.loads(row["leaf"])["body"]
        return say(row, body={**body, "number": body["number"] + chance.choice([-1, 1])})

    return one(rows, chance, change)


def another_key(rows: list[Row], chance: random.Random) -> list[Row]:
    return one(rows, chance, lambda row: say(row, key=f"forged/{chance.random()}"))


def one_bit(rows: list[Row], chance: random.Random) -> list[Row]:
    def change(row: Row) -> Row:
        leaf = bytearray(row["leaf"])
        leaf[chance.randrange(len(leaf))] ^= 1 << chance.randrange(8)
        return {**row, "leaf": bytes(leaf)}

    return one(rows, chance, change)


def same_value_other_bytes(rows: list[Row], chance: random.Random) -> list[Row]:
    def change(row: Row) -> Row:
        text = json.dumps(json.loads(row["leaf"]), indent=chance.choice([None, 1]))
        return {**row, "leaf": text.encode()}

    return one(rows, chance, change)


def a_column(rows: list[Row], chance: random.Random) -> list[Row]:
    values = {"kind": "gate", "automation": "other", "actor": "person:mallory", "key": "other"}
    name = chance.choice(sorted(values))
    return one(rows, chance, lambda row: {**row, name: values[name]})


def a_columns_type(rows: list[Row], chance: random.Random) -> list[Row]:
    name = chance.choice(["leaf", "recorded_at", "actor", "kind", "position"])
    value = chance.choice(["text", 7, 10**12, 1.5, b"bytes", "", b""])
    return one(rows, chance, lambda row: {**row, name: value})


def an_unreadable_leaf(rows: list[Row], chance: random.Random) -> list[Row]:
    leaf = chance.choice(
        [b"", b"{}", b"null", b"[" * 100_000, b"\xff\xfe", b"9" * 5_000, b'{"a":NaN}', b"[]"]
    )
    return one(rows, chance, lambda row: {**row, "leaf": leaf})


# Deletions, insertions.
def one_gone(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows) - 1)
    return numbered(rows[:at] + rows[at + 1 :])


def some_gone(rows: list[Row], chance: random.Random) -> list[Row]:
    start, end = part(rows, chance)
    return numbered(rows[:start] + rows[end:])


def a_gap(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows) - 1)
    return rows[:at] + rows[at + 1 :]


def one_more(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows))
    more = {**say(rows[at], key=None, actor="person:mallory")}
    return numbered([*rows[:at], more, *rows[at:]])


def one_doubled(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.choice([at for at, row in enumerate(rows) if row["key"] is None])
    return numbered([*rows[: at + 1], *rows[at:]])


# Reorderings.
def two_swapped(rows: list[Row], chance: random.Random) -> list[Row]:
    first, second = sorted(chance.sample(range(len(rows)), 2))
    changed = list(rows)
    changed[first], changed[second] = changed[second], changed[first]
    return numbered(changed)


def neighbours_swapped(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows) - 1)
    return numbered([*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]])


def some_turned(rows: list[Row], chance: random.Random) -> list[Row]:
    start, end = part(rows, chance, least=2)
    return numbered([*rows[:start], *rows[start:end][::-1], *rows[end:]])


# Truncations.
def cut(rows: list[Row], chance: random.Random) -> list[Row]:
    return rows[: chance.choice([0, 1, 255, 256, 257, 512, len(rows) - 1, *range(len(rows))])]


# Forks.
def another_end(rows: list[Row], chance: random.Random) -> list[Row]:
    """Another history from a leaf on, shorter, as long or longer than the true one."""
    start = chance.randrange(len(rows))
    count = max(1, len(rows) - start + chance.choice([-3, 0, 0, 1, 300]))
    last = rows[start]
    new = [say(last, key=None, body={"number": -1 - number}) for number in range(count)]
    return numbered([*rows[:start], *new])


def another_beginning(rows: list[Row], chance: random.Random) -> list[Row]:
    end = chance.randint(1, len(rows))
    return [say(row, actor="person:mallory") for row in rows[:end]] + rows[end:]


def cut_and_appended(rows: list[Row], chance: random.Random) -> list[Row]:
    """A restored backup on which the work went on, past the size of the last checkpoint."""
    keep = chance.randrange(len(rows))
    later = [say(row, key=None, actor="service:late") for row in rows[keep - len(rows) :]]
    return numbered([*rows[:keep], *later, *[say(rows[-1], key=None) for _ in range(5)]])


ATTACKS: dict[str, list[Attack]] = {
    "edit": [
        another_actor,
        another_time,
        another_body,
        another_key,
        one_bit,
        same_value_other_bytes,
        a_column,
        a_columns_type,
        an_unreadable_leaf,
    ],
    "deletion": [one_gone, some_gone, a_gap],
    "insertion": [one_more, one_doubled],
    "reordering": [two_swapped, neighbours_swapped, some_turned],
    "truncation": [cut],
    "fork": [another_end, another_beginning, cut_and_appended],
}
RAW = {a_columns_type}
"""Attacks after which the leaves have no hashes to rebuild a tree from."""


def break_tiles(path: Path, chance: random.Random) -> str:
    """Change the stored tree alone; return what was done."""
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute("SELECT level, position, hashes FROM record_tiles").fetchall()
        level, position, hashes = chance.choice(found)
        which = (level, position)
        how = chance.choice(["bit", "cut", "longer", "gone", "extra", "swapped", "type", "moved"])
        changed: Any = bytearray(hashes)
        if how == "bit":
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        elif how == "cut":
            changed = changed[: -chance.choice([1, 32, 64])] or b"x"
        elif how == "longer":
            changed += bytes(chance.choice([1, 32]))
        elif how == "swapped":
            changed = changed[32:64] + changed[:32] + changed[64:]
        elif how == "type":
            changed = chance.choice(["text", 5, 10**12, 1.5])
        connection.execute(
            "UPDATE record_tiles SET hashes = ? WHERE level = ? AND position = ?",
            (bytes(changed) if isinstance(changed, bytearray) else changed, *which),
        )
        if how == "gone":
            connection.execute("DELETE FROM record_tiles WHERE level = ? AND position = ?", which)
        elif how == "extra":
            connection.execute("INSERT INTO record_tiles VALUES (?, ?, ?)", (level, 99, hashes))
        elif how == "moved":
            connection.execute(
                "UPDATE record_tiles SET level = level + 7 WHERE level = ? AND position = ?", which
            )
    return how

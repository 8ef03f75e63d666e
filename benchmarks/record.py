"""The log: appends, single durable acts of several processes, verification and proofs.

`python -m benchmarks.record` measures each beside what the machine can do at best: SQLite alone
with the same bytes, and the disk's own fsync.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from aios.record.leaves import Act
from aios.record.log import Log, open_log
from aios.record.rows import canonical_rows, rows_root
from benchmarks.workloads import settings

BATCH = 20_000
PLAIN = (
    "CREATE TABLE IF NOT EXISTS plain (position INTEGER PRIMARY KEY, recorded_at TEXT, kind TEXT,"
    " automation TEXT, actor TEXT, key TEXT, leaf BLOB)"
)


@dataclass
class Row:
    """A line of the table: what was measured, repetition by repetition, and the target."""

    what: str
    unit: str
    found: list[float]
    target: str = ""


def acts(count: int, first: int = 0) -> list[Act]:
    """Return single acts as they are recorded: about 230 bytes each."""
    return [
        Act(
            "override",
            "claims",
            f"person:{number % 50}",
            {"decision": f"d{number:09d}", "was": "review", "is": "approve", "reason": "called"},
        )
        for number in range(first, first + count)
    ]


def timed(work: Callable[[], Any]) -> float:
    """Return how long it took, in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def batched(log: Log, leaves: int) -> float:
    """Append batch by batch; return leaves a second, the making of the acts not counted."""
    seconds = 0.0
    for first in range(0, leaves, BATCH):
        batch = acts(BATCH, first)
        seconds += timed(lambda batch=batch: log.append_all(batch))
    return leaves / seconds


def plain(home: Path, leaves: int) -> float:
    """Insert as many rows of the same bytes with SQLite alone, batch by batch."""
    leaf = (
        b'{"actor":"person:17","at":"2026-01-01T00:00:00.000000","automation":"claims","body":'
        b'{"decision":"d%09d","is":"approve","reason":"called","was":"review"},"key":null,'
        b'"kind":"override","recorded_at":"2026-01-01T00:00:00.000000","v":1}'
    )
    moment, seconds = "2026-01-01T00:00:00.000000", 0.0
    with closing(connected(home / "plain.db", "NORMAL")) as connection:
        for first in range(0, leaves, BATCH):
            rows = [
                (number, moment, "override", "claims", "person:17", None, leaf % number)
                for number in range(first, first + BATCH)
            ]
            start = time.perf_counter()
            with connection:
                connection.executemany("INSERT INTO plain VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            seconds += time.perf_counter() - start
    return leaves / seconds


def connected(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open a database with the one table of the yardsticks."""
    connection = sqlite3.connect(path, timeout=60)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute(PLAIN)
    return connection


def append_singly(home: Path) -> Iterator[None]:
    """Append act by act to the log."""
    log = open_log(settings(home))
    number = 0
    while True:
        log.append(acts(1, number)[0])
        number += 1
        yield


def commit_singly(home: Path) -> Iterator[None]:
    """One commit on disk an act, as SQLite does it by itself."""
    leaf = bytes(230)
    connection = connected(home / "commits.db", "FULL")
    while True:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO plain (kind, leaf) VALUES ('override', ?)", [leaf])
        yield


def sync_singly(home: Path) -> Iterator[None]:
    """Append 4 KiB to a file of one's own, and wait for the disk."""
    file, block = os.open(home / f"sync{os.getpid()}", os.O_WRONLY | os.O_CREAT), bytes(4096)
    while True:
        os.write(file, block)
        os.fsync(file)
        yield


def together(work: Callable[[Path], Iterator[None]], home: Path, processes: int) -> float:
    """Let processes work at once for three seconds; return what they did a second, all of them."""
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_count, args=(work, home, start, counts)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    found = [counts.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(found)


def _count(work: Callable[[Path], Iterator[None]], home: Path, start: Any, counts: Any) -> None:
    steps = work(home)
    next(steps)
    start.wait()
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < 3:
        next(steps)
        done += 1
    counts.put(done / (time.perf_counter() - begin))


def decisions(rows: int) -> pl.DataFrame:
    """Return decisions as the platform writes them."""
    chance = random.Random(1)
    start = datetime(2026, 1, 1)
    return pl.DataFrame(
        {
            "event_id": [f"e{number:09d}" for number in range(rows)],
            "event_time": [start + timedelta(seconds=number) for number in range(rows)],
            "outcome": [chance.choice(["approve", "review", "block"]) for _ in range(rows)],
            "rule": ["score"] * rows,
            "rules": [["score", "amount"][: chance.randint(0, 2)] for _ in range(rows)],
            "score": [chance.random() for _ in range(rows)],
            "model_version": [3] * rows,
            "policy_hash": ["4f2a9c1e"] * rows,
            "feature_digest": pl.Series(
                [chance.getrandbits(64) for _ in range(rows)], dtype=pl.UInt64
            ),
        }
    )


def appends(home: Path, repeats: int) -> list[Row]:
    """Measure batches on one core, alternating with SQLite alone."""
    ours, theirs, leaves = [], [], 200_000
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(every)})
    for number in range(repeats):
        theirs.append(plain(fresh(home / f"plain{number}"), leaves))
        log = open_log(settings(fresh(home / f"batch{number}")))
        _ = log.size()
        ours.append(batched(log, leaves))
    os.sched_setaffinity(0, every)
    return [
        Row("leaves a second, batches of 20,000, one core", "/s", ours, "200,000"),
        Row("rows a second, SQLite alone, same bytes", "/s", theirs),
    ]


def singles(home: Path, repeats: int, processes: int) -> list[Row]:
    """Measure durable acts of several processes, alternating with the disk and SQLite alone."""
    log = open_log(settings(fresh(home / "single")))
    _ = log.size()
    found: dict[str, list[float]] = {}
    for number in range(repeats):
        for name, work, count in (
            ("disk", sync_singly, 1),
            ("sqlite one", commit_singly, 1),
            ("sqlite", commit_singly, processes),
            ("one", append_singly, 1),
            ("all", append_singly, processes),
        ):
            where = home / "single" if name in ("one", "all") else fresh(home / f"{name}{number}")
            found.setdefault(name, []).append(together(work, where, count))
    return [
        Row(f"durable acts a second, {processes} processes", "/s", found["all"], "1,000"),
        Row("durable acts a second, one process", "/s", found["one"]),
        Row(f"SQLite commits a second, {processes} processes", "/s", found["sqlite"]),
        Row("SQLite commits a second, one process", "/s", found["sqlite one"]),
        Row("fsyncs a second, one process", "/s", found["disk"]),
    ]


def whole(home: Path, repeats: int, leaves: int) -> list[Row]:
    """Measure verification and proofs of a large log."""
    log = open_log(settings(fresh(home / "whole")))
    for first in range(0, leaves, BATCH):
        log.append_all(acts(BATCH, first))
        if first % (10 * BATCH) == 0:
            log.checkpoint()
    log.checkpoint()
    verified, p50, p95 = [], [], []
    chance = random.Random(2)
    for _ in range(repeats):
        start = time.perf_counter()
        assert log.verify().problems == []
        verified.append(time.perf_counter() - start)
        places = [chance.randrange(leaves) for _ in range(2_000)]
        spent = [1_000 * timed(lambda at=at: log.inclusion(at)) for at in places]
        p50.append(statistics.median(spent))
        p95.append(statistics.quantiles(spent, n=20)[-1])
    name = f"{leaves:,} leaves"
    return [
        Row(f"verification of {name}", "s", verified, "30"),
        Row(f"inclusion proof in {name}, p50", "ms", p50, "1"),
        Row(f"inclusion proof in {name}, p95", "ms", p95, "1"),
    ]


def rows(repeats: int) -> list[Row]:
    """Measure the tree over a table of decisions, alternating with bare SHA-256 of its bytes."""
    frame = decisions(200_000)
    texts = canonical_rows(frame)
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(frame.height / timed(lambda: rows_root(frame, bytes(32))))
        theirs.append(frame.height / timed(lambda: [sha256(text).digest() for text in texts]))
    return [
        Row("rows of decisions hashed to a root a second", "/s", ours),
        Row("SHA-256 alone of the same rows", "/s", theirs),
    ]


def fresh(home: Path) -> Path:
    """Make a folder."""
    home.mkdir(parents=True)
    return home


def main() -> None:
    """Measure all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leaves", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    told = parser.parse_args()
    with TemporaryDirectory() as name:
        home = Path(name)
        found = [
            *appends(home, told.repeats),
            *singles(home, told.repeats, told.processes),
            *whole(home, told.repeats, told.leaves),
            *rows(told.repeats),
        ]
    table = Table(title="the record")
    for head in ("what", "median", "least-most", "target"):
        table.add_column(head)
    for row in found:
        middle, least, most = statistics.median(row.found), min(row.found), max(row.found)
        table.add_row(
            row.what, f"{shown(middle)} {row.unit}", f"{shown(least)}-{shown(most)}", row.target
        )
    Console().print(table)


def shown(value: float) -> str:
    """Return a figure with two decimals, or none where it is large."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()

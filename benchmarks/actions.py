"""Actions a second: enqueued with their decisions, and completed by workers, beside DBOS.

`python -m benchmarks.actions` measures both on SQLite and on a Postgres of its own, and in the same
run DBOS on that Postgres and the disk's own fsync. Nothing is sent further than this machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from aios import clock
from aios.actions.connectors.base import NOT_THERE, Answer, Done, Request
from aios.actions.declared import Actions
from aios.actions.outbox import apply
from aios.actions.plan import Planned, plan
from aios.actions.worker import Worker
from aios.automation import Automation
from aios.database import Database
from aios.identity.access import Access
from aios.identity.tables import micros
from aios.record.keyring import Keyring
from aios.record.log import Log
from aios.record.places import CheckpointPlace
from aios.settings import PROJECT
from benchmarks import dbos_queue, workloads
from benchmarks.processes import scalar, together, wait_for_word
from tests.servers import Postgres, postgres_server

BATCH = 20_000
"""Decisions of one transaction, as a partition has them."""

CLAIM = 2_000
"""Actions that a worker takes at once."""

NOWHERE = "sqlite:////nowhere"

EFFECTS = '''"""What is sent."""


def payment(decision):
    return {"claim": decision["event_id"], "amount": decision["n0"]}
'''
TABLE = (
    "CREATE TABLE IF NOT EXISTS sink (key TEXT PRIMARY KEY, type TEXT, payload TEXT, undoes TEXT)"
)


class Sink:
    """A local receiver that does nothing, once for each key that it is sent."""

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Take everything."""
        return [Done({"taken": True}) for _ in requests]

    def find(self, request: Request) -> Answer:
        """Know nothing."""
        return NOT_THERE

    def close(self) -> None:
        """Nothing is open."""


def automation(home: Path, sink: str) -> Automation:
    """Return an automation whose approvals pay at a table."""
    table = workloads.events(10, workloads.START, timedelta(days=1), 0)
    made = workloads.automation(
        home, table, end=workloads.START + timedelta(days=1), cadence="daily"
    )
    (made.folder / "effects.py").write_text(EFFECTS)
    payment = {"type": "pay", "receiver": "bank", "to": "sink", "body": "effects:payment"}
    bank = {"kind": "sql", "address": sink}
    actions = Actions.model_validate(
        {"receivers": {"bank": bank}, "effects": {"approve": [payment]}}
    )
    return replace(made, spec=made.spec.model_copy(update={"actions": actions}))


def log_of(home: Path, url: str) -> Log:
    """Open a log."""
    place = CheckpointPlace(str(home / "checkpoints"))
    return Log(Database(url), Keyring(home / "keys", "record"), place)


def planned(made: Automation, count: int, first: int) -> list[Planned]:
    """Plan the effects of so many decisions."""
    return [
        one
        for number in range(first, first + count)
        for one in plan(
            made,
            "approve",
            {
                "event_id": number,
                "n0": number / 8,
                "decision": f"{made.name}/2024-01-01/{number}@1",
                "partition": "2024-01-01",
            },
        )
    ]


def enqueue(log: Log, made: Automation, batches: int) -> tuple[float, float]:
    """Plan and enqueue batch by batch; return actions a second of each."""
    thinking = writing = 0.0
    for number in range(batches):
        start = time.perf_counter()
        effects = planned(made, BATCH, number * BATCH)
        thought = time.perf_counter()
        with log.transaction() as transaction:
            decisions = [one.decision for one in effects]
            found = apply(
                transaction.connection, made, decisions, effects, now=micros(clock.wall())
            )
        thinking, writing = thinking + thought - start, writing + time.perf_counter() - thought
        assert found.enqueued == BATCH
    return batches * BATCH / thinking, batches * BATCH / writing


def work(home: Path, url: str, sink: str) -> None:
    """Work off the outbox, from the word on the standard input; say when there is nothing left."""
    made, log = automation(home / f"worker{os.getpid()}", sink), log_of(home, url)
    worker = Worker(
        log,
        Access.load(PROJECT / "access"),
        [made],
        connectors=(lambda _: Sink()) if sink == NOWHERE else None,
        batch=CLAIM,
    )
    log.size()
    wait_for_word()
    worker.drain()
    print("done", flush=True)


def ours(home: Path, place: str, server: Postgres, batches: int) -> dict[str, list[float]]:
    """Measure on one database: enqueueing, and completing by one and by two workers."""
    found: dict[str, list[float]] = {}
    for sink in ("nowhere", "table"):
        for workers in (1, 2):
            state = home / f"{place}-{sink}-{workers}"
            state.mkdir(parents=True)
            url, table = urls(state, place, server)
            made, log = automation(state, NOWHERE), log_of(state, url)
            thinking, writing = enqueue(log, made, batches)
            log.database.engine.dispose()
            engine = sa.create_engine(url)
            words = ["--work", str(state), url, table if sink == "table" else NOWHERE]
            seconds = together("benchmarks.actions", words, workers)
            total = batches * BATCH
            assert scalar(engine, "SELECT count(*) FROM actions WHERE state = 'done'") == total
            engine.dispose()
            found.setdefault("planned", []).append(thinking)
            found.setdefault("enqueued", []).append(writing)
            found.setdefault(f"{sink} {workers}", []).append(total / seconds)
    return found


def urls(state: Path, place: str, server: Postgres) -> tuple[str, str]:
    """Return the addresses of a new platform database and of a receiver's with its table."""
    if place == "SQLite":
        url, table = f"sqlite:///{state}/record.db", f"sqlite:///{state}/sink.db"
    else:
        name = f"b{time.monotonic_ns()}"
        url, table = server.create(name), server.create(f"{name}_sink")
    engine = sa.create_engine(table)
    with engine.begin() as connection:
        connection.exec_driver_sql(TABLE)
    engine.dispose()
    return url, table


def syncs(home: Path) -> float:
    """Append 4 KiB to a file and wait for the disk, for a second; return how often."""
    file, block, done = os.open(home / "sync", os.O_WRONLY | os.O_CREAT), bytes(4096), 0
    start = time.perf_counter()
    while time.perf_counter() - start < 1:
        os.write(file, block)
        os.fsync(file)
        done += 1
    os.close(file)
    return done / (time.perf_counter() - start)


def measure(batches: int, repeats: int, workflows: int) -> dict[str, list[float]]:
    """Measure everything, alternating; figures a second by name."""
    found: dict[str, list[float]] = {}
    with TemporaryDirectory() as name, postgres_server() as server:
        for number in range(repeats):
            home = Path(name) / str(number)
            home.mkdir()
            parts = {
                "SQLite": ours(home, "SQLite", server, batches),
                "Postgres": ours(home, "Postgres", server, batches),
                "DBOS": dbos_queue.measure(server, workflows) if workflows else {},
                "disk": {"fsync": [syncs(home)]},
            }
            for place, figures in parts.items():
                for what, values in figures.items():
                    found.setdefault(f"{place} {what}", []).extend(values)
    return found


ROWS = [
    ("planned by the declared function", "planned", ""),
    ("enqueued, 20,000 a transaction", "enqueued", "20,000"),
    ("completed, receiver does nothing, one worker", "nowhere 1", "5,000"),
    ("completed, receiver does nothing, two workers", "nowhere 2", "5,000"),
    ("completed, rows of a table, one worker", "table 1", "5,000"),
    ("completed, rows of a table, two workers", "table 2", "5,000"),
]


def main() -> None:
    """Read what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=3, help="of 20,000 actions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workflows", type=int, default=4_000, help="of DBOS; 0 leaves it out")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--dbos", nargs=2, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.work:
        work(Path(told.work[0]), *told.work[1:])
    elif told.dbos:
        dbos_queue.work(told.dbos[0], int(told.dbos[1]))
    else:
        show(told.batches, told.repeats, told.workflows)


def show(batches: int, repeats: int, workflows: int) -> None:
    """Measure and print the table."""
    workflows = workflows if find_spec("dbos") else 0
    found = measure(batches, repeats, workflows)
    rows = [
        (f"{place}: {what}", f"{place} {key}", target)
        for place in ("SQLite", "Postgres")
        for what, key, target in ROWS
    ]
    rows += [(what, f"DBOS {key}", "") for what, key in dbos_queue.ROWS]
    rows += [("fsyncs of one process", "disk fsync", "")]
    table = Table(title="actions a second")
    for head in ("what", "median", "least-most", "target"):
        table.add_column(head)
    for what, key, target in rows:
        if values := found.get(key):
            least_most = f"{min(values):,.0f}-{max(values):,.0f}"
            table.add_row(what, f"{statistics.median(values):,.0f}", least_most, target)
    if not workflows:
        table.caption = "DBOS is not installed: pip install dbos"
    Console().print(table)


if __name__ == "__main__":
    main()

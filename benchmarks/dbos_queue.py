"""The same work as `benchmarks.actions`, by DBOS: durable workflows in a queue on Postgres."""

from __future__ import annotations

import os
import time
from typing import Any

import sqlalchemy as sa

from benchmarks.processes import scalar, together, wait_for_word
from tests.servers import Postgres

SINGLY = 500

ROWS = [
    ("DBOS, Postgres: enqueued, 1,000 a transaction", "many"),
    ("DBOS, Postgres: enqueued one by one", "singly"),
    ("DBOS, Postgres: completed, a step that does nothing, one worker", "completed 1"),
    ("DBOS, Postgres: completed, a step that does nothing, two workers", "completed 2"),
]


def work(url: str, total: int) -> None:
    """Work off a queue of workflows with one step that does nothing, from the word on."""
    from dbos import DBOS

    DBOS(config=config(url))

    @DBOS.step()
    def take(number: int) -> int:
        return number

    @DBOS.workflow()
    def pay(number: int) -> int:
        return take(number)

    DBOS.launch()
    wait_for_word()
    DBOS.register_queue("actions", worker_concurrency=64, polling_interval_sec=0.05)
    engine = sa.create_engine(url)
    done = "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'"
    while scalar(engine, done) < total:
        time.sleep(0.05)
    print("done", flush=True)
    os._exit(0)


def config(url: str) -> Any:
    """Return how DBOS is set up: its own advice for many small workflows."""
    return {
        "name": "bench",
        "system_database_url": url,
        "log_level": "ERROR",
        "application_version": "1",
        "executor_id": str(os.getpid()),
        "sys_db_pool_size": 20,
    }


def enqueue(url: str, total: int) -> tuple[float, float]:
    """Enqueue with DBOS, many in one transaction and one by one; return workflows a second."""
    from dbos import DBOSClient

    client, engine = DBOSClient(system_database_url=url), sa.create_engine(url)
    options: Any = {
        "workflow_name": "work.<locals>.pay",
        "queue_name": "actions",
        "app_version": "1",
    }
    start = time.perf_counter()
    for first in range(0, total, 1_000):
        with engine.begin() as connection:
            for number in range(first, min(first + 1_000, total)):
                client.enqueue_in_transaction(connection, options, number)
    many = total / (time.perf_counter() - start)
    start = time.perf_counter()
    for number in range(SINGLY):
        client.enqueue({**options, "queue_name": "elsewhere"}, number)
    return many, SINGLY / (time.perf_counter() - start)


def measure(server: Postgres, total: int) -> dict[str, list[float]]:
    """Measure enqueueing, and completing by one and by two workers."""
    found: dict[str, list[float]] = {}
    for workers in (1, 2):
        url = server.create(f"d{time.monotonic_ns()}")
        many: list[float] = []
        words = ["--dbos", url, str(total)]
        seconds = together(
            "benchmarks.actions",
            words,
            workers,
            lambda url=url, many=many: many.extend(enqueue(url, total)),
        )
        found.setdefault("many", []).append(many[0])
        found.setdefault("singly", []).append(many[1])
        found[f"completed {workers}"] = [total / seconds]
    return found

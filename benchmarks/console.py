"""The console under load: 10,000 open cases, five reviewers at once, over HTTP.

`python -m benchmarks.console` serves it from a process of its own and measures each request beside
what it cannot do without: the query of the queue, and one durable act on the record.
"""

from __future__ import annotations

import argparse
import html
import multiprocessing
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from aios import clock
from aios.record.leaves import Act
from aios.record.log import open_log
from aios.review.queue import counts, queue
from aios.settings import Settings
from tests.aios.review.world import World, loan, make_world
from tests.conftest import settings_in

REVIEWERS = 5
FIELD = re.compile(r'name="form" value="([^"]+)"')
UNDO = re.compile(r'action="(/verdicts/\w+/undo)"')


class Reviewer:
    """Somebody at a browser, and how long each kind of request of theirs took."""

    def __init__(self, address: str, token: str) -> None:
        self.client = httpx.Client(base_url=address, headers={"origin": address}, timeout=60)
        self.seconds: dict[str, list[float]] = {}
        self.taken: list[str] = []
        self.page = self.client.get("/sign-in").text
        self.client.post("/sign-in", data={"token": token, "form": self.form()})

    def form(self) -> str:
        """Return an unused form of the last page."""
        found = FIELD.search(self.page)
        assert found
        return html.unescape(found[1])

    def get(self, path: str, what: str) -> None:
        """Load a page and note how long it took."""
        began = time.perf_counter()
        answer = self.client.get(path)
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)
        assert answer.status_code == 200, answer.text
        self.page = answer.text

    def post(self, path: str, what: str, **data: str) -> str:
        """Send a form and note how long it took; return where it leads."""
        began = time.perf_counter()
        answer = self.client.post(path, data={"form": self.form(), **data})
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def work(self, verdicts: int) -> None:
        """Do what a reviewer does all day."""
        for number in range(verdicts):
            self.get("/queue", "queue page")
            case = self.post("/queue/next", "next case")
            self.taken.append(case)
            self.get(case, "case page")
            self.post(f"{case}/verdict", "verdict", verdict="approve")
            self.get(case, "decided case")
            if number % 10 == 9:
                undo = UNDO.search(self.page)
                assert undo
                self.post(undo[1], "undo")


def serve(home: str, port: int) -> None:
    """Serve the console of a home; the body of a process."""
    import uvicorn

    from console.app import create_app
    from console.options import Options

    options = replace(Options(), writes=1_000_000, attempts=1_000_000)
    app = create_app(settings_in(Path(home)), options)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def prepare(directory: Path, cases: int) -> World:
    """Make a world in which so many cases wait, in ten partitions."""
    world = make_world(directory)
    world.clock.time = clock.wall()
    each = cases // 10
    for part in range(10):
        rows = [
            loan(part * each + number, amount=1_000.0 + number * 7 % 80_000, rule=f"rule{part % 4}")
            for number in range(each)
        ]
        world.decide(rows, key=f"2024-0{1 + part // 4}-{1 + 7 * (part % 4):02d}")
    return world


def tokens(settings: Settings) -> list[str]:
    """Register the reviewers; return a token of each."""
    from aios.identity.actors import Actor
    from aios.identity.directory import Directory

    directory = Directory(open_log(settings).database)
    directory.add(Actor("olga", "person", frozenset({"operator"})))
    found = []
    for number in range(REVIEWERS):
        actor = Actor(f"r{number}", "person", frozenset({"reviewer"}))
        directory.add(actor)
        found.append(directory.issue_token(actor, clock.wall() + timedelta(days=1)).text)
    return found


def timed(work: Callable[[], Any], times: int) -> list[float]:
    """Return how long something took, each time."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--verdicts", type=int, default=100, help="of each reviewer")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        world = prepare(Path(directory), options.cases)
        keys = tokens(world.settings)
        database, log = world.log.database, world.log
        act = Act("refused", None, "nobody", {"reason": "benchmark"})
        bare = {
            "query of the queue": timed(lambda: queue(database, now=clock.wall()), 50),
            "counts by cause": timed(lambda: counts(database, now=clock.wall()), 50),
            "one durable act": timed(lambda: log.append(act), 50),
        }
        database.engine.dispose()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(directory, port), daemon=True
        )
        process.start()
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address)
            alone = Reviewer(address, keys[0])
            alone.work(5)
            alone.seconds.clear()
            alone.work(options.verdicts)
            many = [Reviewer(address, key) for key in keys]
            threads = [threading.Thread(target=one.work, args=(options.verdicts,)) for one in many]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            process.terminate()
            process.join()
    _print(bare, alone, many)


def _wait(address: str) -> None:
    while True:
        try:
            httpx.get(f"{address}/sign-in", timeout=60)
            return
        except httpx.TransportError:
            time.sleep(0.1)


def _print(bare: dict[str, list[float]], alone: Reviewer, many: list[Reviewer]) -> None:
    table = Table("request", "reviewers", "times", "p50 ms", "p95 ms", "worst ms", "target p95")
    targets = {"queue page": "300 ms", "verdict": "150 ms"}
    for name, seconds in bare.items():
        _row(table, name, "none, bare", seconds, "")
    for name in alone.seconds:
        _row(table, name, "1", alone.seconds[name], targets.get(name, ""))
        together = [second for one in many for second in one.seconds[name]]
        _row(table, name, str(REVIEWERS), together, targets.get(name, ""))
    console = Console(width=110)
    console.print(table)
    undone = sum(len(one.seconds["undo"]) for one in many)
    taken = [case for one in many for case in one.taken]
    twice = len(taken) - len(set(taken))
    console.print(f"{len(taken)} cases taken by {REVIEWERS} at once, {undone} of them undone; "
                  f"taken again: {twice}, at most {undone}")  # fmt: skip


def _row(table: Table, name: str, who: str, seconds: list[float], target: str) -> None:
    p95 = statistics.quantiles(seconds, n=20)[-1]
    figures = [statistics.median(seconds), p95, max(seconds)]
    table.add_row(name, who, str(len(seconds)), *(f"{1000 * one:.1f}" for one in figures), target)


if __name__ == "__main__":
    main()

"""Actions among kills: each has exactly one effect or is one open incident, whatever dies when.

Decisions are written, acted on and withdrawn by processes that are killed at random, as is the
receiver, which drops, delays, repeats, lies and answers late, and the database. The default is a
part of the whole; `AIOS_CHAOS=full` runs 20,000 actions and 500 kills.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from aios.actions.claims import Lane
from aios.actions.connectors.base import Connector
from aios.actions.connectors.http import Http
from aios.actions.outbox import apply
from aios.actions.plan import plan
from aios.actions.tables import ACTIONS
from aios.actions.worker import Worker
from aios.automation import Automation
from aios.database import Database
from aios.errors import AiosError
from aios.identity.tables import micros
from aios.record.keyring import Keyring
from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.places import CheckpointPlace
from tests.aios.identity.cast import ACCESS
from tests.conftest import settings_in, write_automation
from tests.servers import Insurer, Postgres, insurer, postgres_server

pytestmark = pytest.mark.loop

assert httpx  # Loaded before the forks: a process that lives for half a second has no time for it.

FULL = os.environ.get("AIOS_CHAOS") == "full"
DECISIONS, KILLS = (10_000, 500) if FULL else (2_600, 120)
"""Two effects each, and of every tenth both are undone: 20,000 actions and more, or 5,200."""

CHUNK = 100
SECRET = "a key of the signatures"
WORKERS = 2
SPEED = 30.0
"""Seconds of the workers' clock in one of ours."""

LEASE = 2.0
"""Our seconds after which a worker's lease is over."""

MISBEHAVIOUR = {
    "slow": 0.003, "seconds": 0.4, "drop_before": 0.006, "drop_after": 0.006, "lie": 0.006,
    "late": 0.006, "late_by": 1.0, "refuse": 0.003, "down": 0.001,
}  # fmt: skip

EFFECTS = """
def payment(decision):
    return {"decision": decision["decision"], "amount": decision["amount"]}


def notice(decision):
    return {"decision": decision["decision"]}


def undo(payload, receipt):
    return {"decision": payload["decision"], "number": receipt["number"]}
"""
RECEIVER = {
    "kind": "http", "status": "/effects/{key}", "timeout": "6s", "settles": "60s",
    "retries": 1_000_000, "breaker": {"failures": 20, "rest": "5s", "longest": "10s"},
}  # fmt: skip
UNDO = {"body": "effects:undo", "to": "/reversals"}
ON = {
    "approve": [
        {
            "type": "pay", "receiver": "insurer", "to": "/payments", "body": "effects:payment",
            "compensate": {"type": "reclaim", "receiver": "insurer", **UNDO},
        },
        {
            "type": "tell", "receiver": "bureau", "to": "/investigations", "body": "effects:notice",
            "compensate": {"type": "untell", "receiver": "bureau", **UNDO},
        },
    ]
}  # fmt: skip
KINDS = {"pay": "payment", "tell": "investigation", "reclaim": "reversal", "untell": "reversal"}


class Shared:
    """What parent and children see at once: the clock's start, and how much chaos has passed."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)
        self.start, self.progress = time.time(), 0.0

    @property
    def progress(self) -> float:
        """From 0 to 1, how many of the kills were done."""
        return float(struct.unpack("<d", self._memory[:8])[0])

    @progress.setter
    def progress(self, share: float) -> None:
        self._memory[:8] = struct.pack("<d", share)

    def now(self) -> datetime:
        passed = time.time() - self.start
        return datetime.utcfromtimestamp(self.start) + timedelta(seconds=passed * SPEED)


@dataclass
class Place:
    """Where the flow is: the automation, its database and its receivers."""

    automation: Automation
    log: Log
    shared: Shared
    addresses: dict[str, str]

    def connect(self, lane: Lane) -> Connector:
        seconds = lane.declared.timeout.total_seconds() / SPEED
        address = self.addresses[lane.receiver]
        return Http(address, SECRET, lane.declared.status, seconds, lane.declared.parallel)

    def decided(self, number: int) -> dict[str, Any]:
        decision = f"loans/2024-01-01/{number}@1"
        return {
            "loan_id": number, "customer": f"c{number % 40}", "amount": number / 4,
            "decision": decision, "partition": "2024-01-01",
        }  # fmt: skip


def write(place: Place) -> None:
    """Write the decisions chunk by chunk, as the chaos proceeds, and withdraw every tenth later."""
    chunks = DECISIONS // CHUNK
    later = chunks // 3
    for number in range(chunks + later):
        while place.shared.progress < number / (chunks + later):
            time.sleep(0.01)
        if number < chunks:
            decide(place, place.log, number)
        if number >= later:
            withdraw(place, place.log, number - later)


def decide(place: Place, log: Log, chunk: int) -> None:
    if log.find(f"decided {chunk}"):
        return
    rows = [place.decided(number) for number in range(chunk * CHUNK, (chunk + 1) * CHUNK)]
    planned = [one for row in rows for one in plan(place.automation, "approve", row)]
    with log.transaction() as transaction:
        body = {"decisions": len(rows)}
        transaction.append([Act("decided", "loans", "service:test", body, key=f"decided {chunk}")])
        decisions = [row["decision"] for row in rows]
        now = micros(place.shared.now())
        apply(transaction.connection, place.automation, decisions, planned, now=now)


def withdraw(place: Place, log: Log, chunk: int) -> None:
    numbers = range(chunk * CHUNK, (chunk + 1) * CHUNK, 10)
    decisions = [place.decided(number)["decision"] for number in numbers]
    with log.transaction() as transaction:
        now = micros(place.shared.now())
        apply(transaction.connection, place.automation, decisions, [], now=now)


def work(place: Place) -> None:
    """Work until killed."""
    worker = Worker(
        place.log, ACCESS, [place.automation], name=f"w{os.getpid()}", now=place.shared.now,
        connectors=place.connect, batch=100,
    )  # fmt: skip
    while True:
        if not worker.drain():
            time.sleep(0.02)


class Children:
    """Processes forked from this one, so that a new one costs milliseconds."""

    def __init__(self, place: Place) -> None:
        self._place, self._running = place, dict[str, int]()
        self._tasks: dict[str, Callable[[Place], None]] = {"writer": write}
        self._tasks |= {f"worker{number}": work for number in range(WORKERS)}
        self._paused: dict[str, float] = {}

    def start(self) -> None:
        """Start those that do not run; the writer only until it has ended by itself."""
        for name in [name for name, end in self._paused.items() if time.monotonic() > end]:
            self.resume(name)
        for name in list(self._running):
            pid, status = os.waitpid(self._running[name], os.WNOHANG)
            if pid:
                del self._running[name]
                assert status == 0, f"{name} failed, see above"
                del self._tasks[name]
        for name, task in self._tasks.items():
            if name not in self._running:
                self._running[name] = self._fork(task)

    def pause(self, name: str) -> None:
        """Let a process stand still until its leases are over."""
        if pid := self._running.get(name):
            os.kill(pid, signal.SIGSTOP)
            self._paused[name] = time.monotonic() + LEASE

    def paused(self, name: str) -> bool:
        return name in self._paused

    def resume(self, name: str) -> None:
        if self._paused.pop(name, None) and (pid := self._running.get(name)):
            os.kill(pid, signal.SIGCONT)

    def kill(self, name: str) -> None:
        self._paused.pop(name, None)
        if pid := self._running.pop(name, None):
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            assert os.WIFSIGNALED(status) or status == 0, f"{name} failed, see above"

    def end(self) -> None:
        for name in list(self._running):
            self.kill(name)

    @property
    def writing(self) -> bool:
        return "writer" in self._tasks

    def _fork(self, task: Callable[[Place], None]) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            _until_done(task, self._place)
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)


def _until_done(task: Callable[[Place], None], place: Place) -> None:
    """Run a task again whenever the database is gone."""
    while True:
        try:
            return task(place)
        except AiosError as error:
            if "database cannot be used" not in str(error):
                raise
            time.sleep(0.05)


@contextmanager
def scene(tmp_path: Path, url: str) -> Iterator[tuple[Place, list[Insurer]]]:
    with ExitStack() as stack:
        receivers = []
        for name, more in (("insurer", {"duplicate": 0.02}), ("bureau", {"naive": 1})):
            (tmp_path / name).mkdir()
            receiver = insurer(tmp_path / name, secret=SECRET, **MISBEHAVIOUR, **more)
            receivers.append(stack.enter_context(receiver))
        addresses = dict(zip(("insurer", "bureau"), (one.url for one in receivers), strict=True))
        declared = {name: {**RECEIVER, "address": url} for name, url in addresses.items()}
        declared["bureau"]["repeats"] = False
        settings = settings_in(tmp_path)
        folder = write_automation(
            settings.automations / "loans", files={"effects.py": EFFECTS},
            actions={"receivers": declared, "effects": ON},
        )  # fmt: skip
        made = Automation.load(folder, settings)
        place = CheckpointPlace(str(tmp_path / "checkpoints"))
        log = Log(Database(url), Keyring(tmp_path / "keys", "record"), place)
        stack.callback(log.database.engine.dispose)
        yield Place(made, log, Shared(), addresses), receivers


def make_chaos(
    place: Place, receivers: list[Insurer], children: Children, crash: Callable[[], None] | None
) -> Counter[str]:
    """Kill at random until all kills are done, and let each time something be done between them."""
    chance, killed = random.Random(7), Counter[str]()
    weights = {"writer": 2, **{f"worker{number}": 6 for number in range(WORKERS)}}
    weights |= {"insurer": 1, "bureau": 1, "database": 1 if crash else 0}
    known = dict(zip(("insurer", "bureau"), receivers, strict=True))
    for count in range(KILLS):
        children.start()
        if chance.random() < 0.1:
            children.pause("worker0")
        time.sleep(chance.uniform(0.1, 0.5))
        living = {one: weight for one, weight in weights.items() if not children.paused(one)}
        name = chance.choices(list(living), list(living.values()))[0]
        if name == "database":
            assert crash is not None
            crash()
        elif receiver := known.get(name):
            receiver.kill()
            time.sleep(chance.uniform(0, 0.2))
            receiver.start()
        else:
            children.kill(name)
        killed[name.rstrip("0123456789")] += 1
        place.shared.progress = (count + 1) / KILLS
    return killed


def settle(place: Place, receivers: list[Insurer], children: Children) -> None:
    """End the chaos, and let everything be done that can be."""
    for receiver in receivers:
        receiver.behave(**dict.fromkeys(("slow", "drop_before", "drop_after", "late", "lie"), 0))
        receiver.behave(down=0, duplicate=0)
    end, quiet = time.monotonic() + (900 if FULL else 150), 0
    while quiet < 2:
        assert time.monotonic() < end, f"not drained: {states(place)}"
        children.start()
        quiet = 0 if children.writing or moving(place) else quiet + 1
        time.sleep(0.2)
    children.end()
    time.sleep(MISBEHAVIOUR["late_by"])


def states(place: Place) -> Counter[str]:
    with place.log.database.reading() as connection:
        query = sa.select(ACTIONS.c.state, sa.func.count()).group_by(ACTIONS.c.state)
        return Counter(dict(map(tuple, connection.execute(query))))


def moving(place: Place) -> int:
    found = states(place)
    return found["pending"] + found["sending"] + found["unsure"]


def check(place: Place, receivers: list[Insurer]) -> Counter[str]:
    """Compare the outbox with what the receivers did; return the actions by type and state."""
    log = place.log
    with log.database.reading() as connection:
        rows = {row.key: row for row in connection.execute(ACTIONS.select())}
    done = [effect for receiver in receivers for effect in receiver.effects()]
    effects = Counter(effect["key"] for effect in done)
    meant = Counter(
        (effect["body"]["decision"], effect["kind"], effect["undoes"]) for effect in done
    )
    assert set(effects) <= set(rows), "an effect that nobody wanted"
    assert [one for one, count in meant.items() if count > 1] == [], "doubled"
    for row in rows.values():
        told = (row.key, row.type, row.state, row.cause, row.problem, row.calls)
        if row.state == "done":
            assert effects[row.key] == 1, f"lost: {told}"
            assert json.loads(row.receipt)["number"] > 0
        elif row.state in ("cancelled", "waiting"):
            assert effects[row.key] == 0, f"done although {row.state}: {told}"
        else:
            assert row.state == "incident", told
            assert effects[row.key] <= 1, told
    assert_complete(rows)
    log.checkpoint()
    assert log.verify().problems == []
    return Counter(f"{row.type} {row.state}" for row in rows.values())


def assert_complete(rows: dict[str, Any]) -> None:
    """No action is missing; what waits, waits for an incident; what was withdrawn is undone."""
    effects = [row for row in rows.values() if row.undoes is None]
    assert Counter(row.type for row in effects) == {"pay": DECISIONS, "tell": DECISIONS}
    undone = {row.undoes: row for row in rows.values() if row.undoes is not None}
    open_decisions = {row.decision for row in rows.values() if row.state == "incident"}
    for row in rows.values():
        if row.state == "waiting":
            assert row.decision in open_decisions, f"waits for nothing: {row}"
    for row in effects:
        number = int(row.decision.split("/")[-1].split("@")[0])
        assert row.recalled == (number % 10 == 0), row
        if row.recalled and row.state == "done" and row.decision not in open_decisions:
            assert undone[row.key].state == "done", f"not undone: {row}"
        if row.key in undone:
            assert row.recalled, f"undone, but nobody wanted that: {row}"


@pytest.fixture
def crashing() -> Iterator[Postgres]:
    with postgres_server("fsync=off") as server:
        yield server


def run(tmp_path: Path, url: str, crash: Callable[[], None] | None, capsys: Any) -> None:
    with scene(tmp_path, url) as (place, receivers):
        children, start = Children(place), time.monotonic()
        try:
            killed = make_chaos(place, receivers, children, crash)
            chaos, then = time.monotonic() - start, states(place)
            settle(place, receivers, children)
        finally:
            children.end()
        found = check(place, receivers)
        drained = time.monotonic() - start
        told = f"{sum(found.values())} actions, {sum(killed.values())} kills in {chaos:.0f} s"
        with capsys.disabled():
            print(f"\n{told}, drained after {drained:.0f} s", dict(killed), dict(then))
            print(dict(sorted(found.items())))
    assert killed["worker"]
    assert found["pay done"] > 0.8 * DECISIONS
    assert found["reclaim done"] > 0


def test_on_sqlite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, f"sqlite:///{tmp_path}/record/record.db", None, capsys)


def test_on_postgres(
    tmp_path: Path, crashing: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash() -> None:
        crashing.stop("immediate")
        crashing.start()

    run(tmp_path, crashing.create("chaos"), crash, capsys)

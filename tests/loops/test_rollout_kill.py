"""SIGKILL at every transition of a rollout, and 200 times at random: one champion, no move lost."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from aios.database import Database
from aios.identity.actors import ROLLOUT
from aios.record.places import CheckpointPlace
from aios.record.transaction import Transaction
from aios.settings import PROJECT
from model_registry import champion, ledger, registry, rollout, stages
from model_registry.conduct import Conductor
from model_registry.findings import Finding
from model_registry.mirror import CHALLENGER_ALIAS, ROLLOUT_TAG
from model_registry.reconciliation import reconcile
from tests.aios.record.fresh import close
from tests.model_registry.claims import (
    ALICE,
    NAME,
    OLGA,
    authority_at,
    authority_over,
    people,
    registry_at,
)
from tests.model_registry.opening import registry_in

pytestmark = pytest.mark.loop

START = datetime(2026, 1, 1)
KILLS = 200
POINTS, SECONDS = 30, 0.5
"""How many commits and writes, or how long, a child may live through; a move is about ten."""
FIRST_WAY = [
    (2, "shadow", 0), (2, "canary", 0.05), (2, "canary", 0.25), (2, "paused", 0.25),
    (2, "canary", 0.25), (2, "canary", 0.5), (2, "champion", 1),
]  # fmt: skip
BACK_AND_AGAIN = [
    (3, "shadow", 0), (3, "canary", 0.05), (3, "superseded", 0), (2, "rolled_back", 0),
    (3, "shadow", 0), (3, "canary", 0.05), (3, "canary", 0.25), (3, "canary", 0.5),
    (3, "champion", 1), (3, "rolled_back", 0),
]  # fmt: skip
STORY = FIRST_WAY + BACK_AND_AGAIN
CHAMPIONS = [1, 2, 1, 3, 1]
PRELOADED = (
    "alembic.command", "alembic.config", "cedarpy", "fsspec.core", "sklearn.ensemble", "skops.io",
    "mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store",
)  # fmt: skip


def deed(conductor: Conductor) -> bool:
    """Do what comes next in the story by what the record says; tell whether there was something."""
    known = conductor.moves()
    stand, here = stages.latest(known), stages.under_way(known)
    at = START + timedelta(days=1 + len(known))

    def tick(version: int, status: Any) -> None:
        conductor.tick(
            [Finding(version, stand[version].leaf, status, False, 1, ("loss.",))], ROLLOUT, at=at
        )

    def start(version: int) -> None:
        conductor.start(version, ROLLOUT, at=at, reason="it passed the gate")

    paused = any(one.state == "paused" for one in known)
    if here and here.state == "paused":
        conductor.resume(ALICE, at=at, reason="over")
    elif here and (here.version, here.share, paused) == (2, 0.25, False):
        conductor.pause(OLGA, at=at, reason="an incident")
    elif here and (here.version, here.share, stand[2].state) == (3, 0.05, "champion"):
        tick(2, "worse")
    elif here:
        tick(here.version, "not worse")
    elif 2 not in stand:
        start(2)
    elif 3 not in stand or stand[3].state == "superseded":
        start(3)
    elif stand[3].state == "champion":
        tick(3, "worse")
    else:
        return False
    return True


def told(conductor: Conductor) -> None:
    """Check what the record says at this very moment, before anything is put right."""
    log = conductor.authority.registry.log
    known = [(one.version, one.state, one.share) for one in conductor.moves()]
    assert known == STORY[: len(known)], known
    decided = [one.version for one in ledger.changes(log, NAME)]
    assert decided == CHAMPIONS[: len(decided)], decided
    # Whoever became champion, or was rolled back as one, is so in both or in neither.
    both = sum(state == "champion" for _, state, _ in known) + sum(
        state == "rolled_back" for _, state, _ in known
    )
    assert len(decided) == 1 + both, (decided, known)
    problems = rollout.check(log) + ledger.check(log) + log.verify().problems
    assert problems == [], problems


def put_right(conductor: Conductor) -> None:
    """Let the sensors look once; then MLflow must say what the record says."""
    conductor.tick([], ROLLOUT, at=START + timedelta(days=1 + len(conductor.moves())))
    reconcile(conductor.authority)
    store = conductor.authority.registry
    stand, here = stages.latest(conductor.moves()), stages.under_way(conductor.moves())
    deciding = ledger.changes(store.log, NAME)[-1].version
    aliases = dict(store.client.get_registered_model(NAME).aliases)
    assert int(aliases["champion"]) == deciding, aliases
    assert int(aliases.get(CHALLENGER_ALIAS, 0)) == (here.version if here else 0), aliases
    assert champion.alias_mismatch(store, NAME) is None
    found = {one.number: one.stage for one in store.versions(NAME)}
    assert [number for number, stage in found.items() if stage == "champion"] == [deciding], found
    for one in store.versions(NAME):
        state = stand[one.number].state if one.number in stand else ""
        tag = one.tags.get(ROLLOUT_TAG, "")
        assert (tag.split(" ")[0] == "champion") == (state == "champion"), (one.number, tag)
        if state in stages.UNDER_WAY:
            assert tag.startswith(state), (one.number, tag)


class Points:
    """Counts the moments around each commit and each write to MLflow; kills at one of them."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}

    def watch(self) -> None:
        self._around(Transaction, "append", "write")
        self._around(Database, "_count_commit", "commit")
        self._around(CheckpointPlace, "write", "write")
        original = registry._Guarded.__getattr__

        def method(guarded: Any, name: str) -> Callable[..., Any]:
            found = original(guarded, name)
            changes = name.startswith(("set_", "delete_", "update_"))
            return self._hooked(found, "write") if changes else found

        registry._Guarded.__getattr__ = method  # type: ignore[method-assign]

    def _around(self, owner: type, name: str, kind: str) -> None:
        setattr(owner, name, self._hooked(getattr(owner, name), kind))

    def _hooked(self, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def hooked(*given: Any, **more: Any) -> Any:
            if kind == "write":
                self._pass(kind)
            done = function(*given, **more)
            self._pass(kind)
            return done

        return hooked

    def _pass(self, kind: str) -> None:
        for counted in {kind, "any"} & self.left.keys():
            self.left[counted] -= 1
            if self.left[counted] == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def child(home: Path, points: Points, kind: str, limit: float) -> None:
    """Look at what the one before left, put it right, and go on with the story until killed."""
    opened: Callable[..., Any] = registry_in
    store = opened(home, patience=20)
    told(Conductor(authority_at(store, home)))
    conductor = Conductor(authority_at(store, home))
    put_right(conductor)
    if kind == "seconds":
        threading.Timer(limit, os.kill, (os.getpid(), signal.SIGKILL)).start()
    elif kind:
        points.left = {kind: int(limit)}
    while deed(conductor):
        pass
    points.left = {}
    told(conductor)
    put_right(conductor)
    assert len(conductor.moves()) == len(STORY)


def forked(home: Path, points: Points, kind: str = "", limit: float = 0) -> int:
    """Run a child to its end; return its exit code."""
    number = os.fork()
    if number == 0:
        try:
            child(home, points, kind, limit)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def lives(template: str, folder: str, way: str) -> None:
    """Kill children and let others go on, life after life. Runs in a process of its own."""
    for name in PRELOADED:  # before the processes part
        import_module(name)
    points, rng = Points(), random.Random(20260101)
    points.watch()
    kills = life = 0
    while kills < KILLS:
        home = Path(folder, f"{way}-{life}")
        shutil.copytree(template, home)
        while kills < KILLS:
            seconds = rng.random() < 0.5
            kind = "commit" if way == "every" else "seconds" if seconds else "any"
            most = 1 if way == "every" else rng.uniform(0, SECONDS) if seconds else POINTS
            code = forked(home, points, kind, most if seconds else rng.randint(1, int(most)))
            if code == 0:
                break
            if code != -signal.SIGKILL:
                sys.exit(f"life {life}, after {kills} kills: a child ended with {code}")
            kills += 1
        if forked(home, points) != 0:
            sys.exit(f"life {life} was not brought to its end after {kills} kills")
        shutil.rmtree(home)
        life += 1
        if way == "every":
            break
    print(f"{kills} kills in {life} lives")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose version 1 decides, and whose versions 2 and 3 passed the gate."""
    folder = tmp_path_factory.mktemp("rollout") / "home"
    store = registry_at(folder)
    declared = {"canary": [0.05, 0.25, 0.5], "newer": "supersede"}
    authority_over(store, folder, promotion="automatic", risk="limited", rollout=declared)
    people(store.log)
    champion.promote(store, NAME, 1, at=START, by="person:olga", reason="the first")
    # A key without a checkpoint looks like a log whose checkpoints are gone, until the next one.
    store.log.settle()
    close(store.log)
    return folder


@pytest.mark.parametrize("way", ["every", "random"])
def test_killed_anywhere_there_is_one_champion_and_no_move_is_lost_or_doubled(
    template: Path, tmp_path: Path, way: str
) -> None:
    script = "import sys; from tests.loops.test_rollout_kill import lives; lives(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(template), str(tmp_path), way],
        cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    kills = int(done.stdout.split()[0])
    # One move is made in each life of a child that dies right after its first commit; the two
    # moves of the champion's rollback are made as one.
    assert kills == (len(STORY) - 1 if way == "every" else KILLS)

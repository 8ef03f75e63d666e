"""The ledger: of all who decide on one champion, one changes it, and the others learn it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from aios.errors import AiosError, Stale
from aios.record.leaves import Act
from aios.record.log import Log
from aios.settings import PROJECT
from model_registry import champion as champion_module
from model_registry import ledger
from model_registry.champion import alias_mismatch, champion, history, promote, restore_alias
from tests.aios.record.fresh import close, fresh_log
from tests.model_registry.claims import ALICE, NAME, authority_at, authority_over, registry_at
from tests.model_registry.opening import registry_in

START = datetime(2026, 1, 1)
MLFLOW = ("mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store")


def body(version: int, previous: int | None, kind: str = "promotion") -> dict[str, Any]:
    return {
        "version": version, "previous": previous, "kind": kind, "reason": "better",
        "evidence": "gate", "evidence_digest": "", "approved_by": ["person:ann"],
    }  # fmt: skip


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = fresh_log(tmp_path)
    yield opened
    close(opened)


@pytest.mark.unit
class TestAdding:
    def test_a_change_is_a_leaf_and_says_everything(self, log: Log) -> None:
        log.append(Act("override", NAME, "person:rev", {}))
        change = ledger.add(log, NAME, 0, "person:alice", at(0), body(3, None))
        assert ledger.changes(log, NAME) == [change]
        assert (change.version, change.previous, change.at) == (3, None, at(0))
        assert (change.by, change.reason, change.evidence) == ("person:alice", "better", "gate")
        assert (change.approved_by, change.kind) == (("person:ann",), "promotion")
        entry = log.get(change.leaf)
        assert (entry.kind, entry.actor, entry.automation) == ("promotion", "person:alice", NAME)
        assert change.recorded_at == entry.recorded_at

    def test_who_saw_fewer_changes_is_told_of_the_last(self, log: Log) -> None:
        ledger.add(log, NAME, 0, "person:alice", at(0), body(1, None))
        ledger.add(log, NAME, 1, "person:bob", at(5), body(2, 1))
        for seen in (0, 1, 3):
            with pytest.raises(Stale, match="version 2 by person:bob, from 2026-01-01T00:05:00"):
                ledger.add(log, NAME, seen, "person:eve", at(6), body(3, 1))
        assert [one.version for one in ledger.changes(log, NAME)] == [1, 2]
        assert log.size() == 2

    def test_automations_do_not_stand_in_each_others_way(self, log: Log) -> None:
        for name in ("claims", "tickets", "invoices.extraction"):
            ledger.add(log, name, 0, "person:alice", at(0), body(1, None))
        assert [len(ledger.changes(log, name)) for name in ("claims", "tickets", "x")] == [1, 1, 0]

    def test_what_cannot_be_recorded_is_not_in_the_ledger(self, log: Log) -> None:
        with pytest.raises(AiosError):
            ledger.add(log, NAME, 0, "person:alice", at(0), body(1, None) | {"reason": "\ud800"})
        assert ledger.changes(log, NAME) == []
        assert ledger.add(log, NAME, 0, "person:alice", at(0), body(1, None)).leaf == 0

    def test_begun_anew_the_leaves_stay(self, log: Log) -> None:
        ledger.add(log, NAME, 0, "person:alice", at(0), body(1, None))
        ledger.forget(log, NAME)
        assert ledger.changes(log, NAME) == []
        ledger.add(log, NAME, 0, "person:alice", at(0), body(1, None))
        assert [one.leaf for one in ledger.changes(log, NAME)] == [log.size() - 1]
        assert len(list(log.entries(kind="promotion"))) == 2
        assert log.verify().problems == []
        assert ledger.check(log) == []


@pytest.mark.unit
class TestChecking:
    @pytest.mark.parametrize(
        "edit",
        [
            "DELETE FROM champion_changes WHERE automation = 'claims'",
            "DELETE FROM champion_changes WHERE automation = 'claims' AND position = 3",
            "DELETE FROM champion_changes WHERE automation = 'claims' AND position = 1",
            "UPDATE champion_changes SET leaf = 0 WHERE automation = 'claims' AND position = 3",
            "UPDATE champion_changes SET leaf = 1 - leaf WHERE automation = 'claims' AND leaf < 2",
            "UPDATE champion_changes SET leaf = 3 WHERE automation = 'claims' AND position = 3",
            "UPDATE champion_changes SET automation = 'claims', position = 4 WHERE leaf = 3",
            "INSERT INTO champion_changes VALUES ('claims', 4, 4)",
            "INSERT INTO champion_changes VALUES ('new', 1, 0)",
        ],
    )
    def test_an_edit_of_the_ledger_is_noticed(self, log: Log, edit: str) -> None:
        for seen in range(3):
            ledger.add(log, NAME, seen, "person:alice", at(seen), body(seen + 1, seen or None))
        ledger.add(log, "tickets", 0, "person:alice", at(0), body(1, None))
        log.append(Act("override", NAME, "person:rev", {}))
        assert ledger.check(log) == []
        with log.transaction() as transaction:
            transaction.connection.exec_driver_sql(edit)
        assert any(("of claims" in one or "of new" in one) for one in ledger.check(log))


def race(folder: str, way: str, processes: str) -> None:
    """Let processes promote at once; print what each was told. Runs in a process of its own."""
    # Before the processes part, so that they begin together.
    for name in ("cedarpy", "sklearn.ensemble", "skops.io", *MLFLOW):
        import_module(name)

    go, ready, results = os.pipe(), os.pipe(), [os.pipe() for _ in range(int(processes))]
    children = []
    for number, (_, told) in enumerate(results):
        child = os.fork()
        if child:
            children.append(child)
            continue
        os.close(go[1])
        try:
            said = _attempt(Path(folder), way, number, lambda: _wait(ready[1], go[0]))
        except Exception as error:
            said = {"lost": str(error), "kind": type(error).__name__}
            os.write(ready[1], b".")
        os.write(told, json.dumps(said).encode())
        os._exit(0)
    waiting = 0
    while waiting < len(children):
        waiting += len(os.read(ready[0], 100))
    os.close(go[1])
    for child, (_, told) in zip(children, results, strict=True):
        os.waitpid(child, 0)
        os.close(told)
    print(json.dumps([json.loads(os.read(reader, 10_000)) for reader, _ in results]))


def _wait(ready: int, go: int) -> None:
    os.write(ready, b".")
    os.read(go, 1)  # until it is closed: all at once


def _attempt(folder: Path, way: str, number: int, wait: Callable[[], None]) -> dict[str, Any]:
    registry = registry_in(folder, patience=60)
    version, moment = 2 + number % 2, at(10 + number)

    def held(change: Callable[..., Any]) -> Callable[..., Any]:
        def together(*arguments: Any, **given: Any) -> Any:
            wait()
            return change(*arguments, **given)

        return together

    given: dict[str, Any] = {"at": moment, "reason": "race"}
    if way == "the champion that they saw":
        champion_module.promote = held(champion_module.promote)
        authority_at(registry, folder).promote(version, ALICE, **given)
        return {"won": version}
    if way == "the ledger that they read":
        # As on two machines, between which no lock on a file stands.
        registry.writing = nullcontext  # type: ignore[method-assign]
        ledger.add = held(ledger.add)
    else:
        _ = registry.client
        wait()
    promote(registry, NAME, version, by=f"person:p{number}", expected=1, **given)
    return {"won": version}


@pytest.mark.loop
@pytest.mark.parametrize(
    ("way", "processes"),
    [
        ("the champion that they name", 20),
        ("the champion that they saw", 6),
        ("the ledger that they read", 4),
    ],
)
def test_of_many_processes_one_promotes(tmp_path: Path, way: str, processes: int) -> None:
    registry = registry_at(tmp_path)
    authority_over(registry, tmp_path)
    promote(registry, NAME, 1, at=at(0), by="person:olga", reason="the first")
    before = registry.log.size()
    close(registry.log)
    script = "import sys; from tests.model_registry.test_ledger import race; race(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path), way, str(processes)],
        cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    won = [one["won"] for one in told if "won" in one]
    lost = [one for one in told if "lost" in one]
    assert (len(won), len(lost)) == (1, processes - 1)
    registry = registry_in(tmp_path)
    first, last = history(registry, NAME)
    assert (first.version, last.version, last.previous) == (1, won[0], 1)
    for one in lost:
        assert one["kind"] == "Stale", one
        assert f"the champion is version {won[0]} by {last.by}" in one["lost"]
        assert re.search("expected (version 1|the one before)", one["lost"])
        assert "What to do" in one["lost"]
    assert [entry.index for entry in registry.log.entries(kind="promotion")] == [
        first.leaf, last.leaf,
    ]  # fmt: skip
    assert registry.log.size() == before + 1
    assert alias_mismatch(registry, NAME) is None
    model = registry.client.get_registered_model(NAME)
    assert dict(model.aliases) == {"champion": won[0], "previous": 1}
    assert champion(registry, NAME).stage == "champion"
    assert registry.log.verify().problems == []


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from model_registry import champion
from tests.model_registry.opening import registry_in

champion._align = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
at = datetime.fromisoformat(sys.argv[2])
registry = registry_in(Path(sys.argv[1]))
champion.promote(registry, "claims", 2, at=at, by="person:alice", reason="better")
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose ledger says version 2, and whose aliases still say version 1."""
    folder = tmp_path_factory.mktemp("killed")
    registry = registry_at(folder)
    promote(registry, NAME, 1, at=at(0), by="person:olga", reason="the first")
    close(registry.log)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(folder), at(1).isoformat()],
        cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return folder


@pytest.mark.loop
@pytest.mark.parametrize("then", ["the same again", "another change", "the aliases restored"])
def test_killed_between_ledger_and_aliases(killed: Path, tmp_path: Path, then: str) -> None:
    folder = tmp_path / "home"
    shutil.copytree(killed, folder)
    registry = registry_in(folder)
    # The ledger is the truth from the moment that it is written.
    assert champion(registry, NAME).number == 2
    assert "'champion' is version 1" in str(alias_mismatch(registry, NAME))
    expected = [1, 2]
    match then:
        case "the same again":
            promote(registry, NAME, 2, at=at(1), by="person:alice", reason="better")
        case "another change":
            promote(registry, NAME, 3, at=at(2), by="person:olga", reason="best", expected=2)
            expected = [1, 2, 3]
        case _:
            restore_alias(registry, NAME)
    assert alias_mismatch(registry, NAME) is None
    assert [one.version for one in history(registry, NAME)] == expected
    leaves = [entry.body["version"] for entry in registry.log.entries(kind="promotion")]
    assert leaves == expected
    stages = {one.number: one.stage for one in registry.versions(NAME)}
    assert [number for number, stage in stages.items() if stage == "champion"] == expected[-1:]
    assert registry.log.verify().problems == []

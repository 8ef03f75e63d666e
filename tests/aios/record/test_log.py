from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from aios import clock
from aios.errors import AiosError
from aios.record.checkpoint import open_note
from aios.record.leaves import Act
from aios.record.log import Log, open_log
from aios.record.merkle import (
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from aios.settings import Settings
from tests.aios.record import naive
from tests.aios.record.worker import log_of

pytestmark = pytest.mark.unit

START = datetime(2026, 3, 1, 12)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = log_of(tmp_path)
    yield found
    found.database.engine.dispose()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A log that the examples of property tests share."""
    found = log_of(tmp_path_factory.mktemp("shared"))
    yield found
    found.database.engine.dispose()


def act(number: int, **more: Any) -> Act:
    said = {"kind": "gate", "automation": "claims", "actor": "service:x", "body": {"n": number}}
    return Act(**{**said, **more})


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ACTS = st.builds(
    Act,
    kind=st.sampled_from(["gate", "promotion"]),
    automation=st.none() | st.sampled_from(["claims", 'odd "name"\n', "\U0001f600"]),
    actor=st.sampled_from(["person:a", "person:b"]),
    body=st.dictionaries(TEXT, VALUES, max_size=4),
    at=st.none() | st.sampled_from([START, START + timedelta(microseconds=1)]),
)


class TestLeaves:
    @settings(max_examples=60, deadline=None)
    @given(acts=st.lists(ACTS, max_size=6))
    def test_a_leaf_is_the_canonical_json_of_its_act(self, shared: Log, acts: list[Act]) -> None:
        for act_, entry in zip(acts, shared.append_all(acts), strict=True):
            moment = entry.recorded_at.isoformat(timespec="microseconds")
            said = {
                "v": 1,
                "kind": act_.kind,
                "automation": act_.automation,
                "actor": act_.actor,
                "at": act_.at.isoformat(timespec="microseconds") if act_.at else moment,
                "recorded_at": moment,
                "key": None,
                "body": act_.body,
            }
            assert entry.leaf == rfc8785.dumps(said)
            assert shared.get(entry.index) == entry
            assert (entry.kind, entry.automation, entry.actor) == (
                act_.kind,
                act_.automation,
                act_.actor,
            )

    def test_it_is_there_for_another_opening(self, log: Log, tmp_path: Path) -> None:
        entry = log.append(act(1, key="one"))
        again = log_of(tmp_path)
        assert (again.get(0), again.find("one"), again.size()) == (entry, entry, 1)
        again.database.engine.dispose()

    def test_the_settings_open_it(self, tmp_path: Path) -> None:
        log = open_log(Settings.embedded(tmp_path, tmp_path))
        log.append(act(1))
        log.checkpoint()
        assert (tmp_path / "record" / "record.db").exists()
        assert len(list((tmp_path / "checkpoints").iterdir())) == 1
        assert (tmp_path / "keys" / "record.key").stat().st_mode & 0o077 == 0
        log.database.engine.dispose()

    def test_times_are_of_the_clock_on_the_wall_in_a_rehearsal(self, log: Log) -> None:
        with clock.at(datetime(2020, 1, 1)):
            entry = log.append(act(1, at=clock.now()))
        assert entry.recorded_at > datetime(2026, 1, 1)
        assert entry.content["at"] == "2020-01-01T00:00:00.000000"


class TestKeys:
    def test_a_key_is_recorded_once(self, log: Log) -> None:
        first = log.append(act(1, key="k"))
        assert log.append(act(2, key="k", actor="person:other")) == first
        assert (log.size(), log.find("k")) == (1, first)
        assert log.find("other") is None

    def test_within_a_batch_too(self, log: Log) -> None:
        log.append(act(0, key="b"))
        found = log.append_all([act(1, key="a"), act(2), act(3, key="a"), act(4, key="b")])
        assert [entry.index for entry in found] == [1, 2, 1, 0]
        assert log.size() == 3
        assert log.verify().problems == []

    def test_without_a_key_each_is_one_of_its_own(self, log: Log) -> None:
        assert [log.append(act(1)).index for _ in range(3)] == [0, 1, 2]

    def test_an_empty_key_is_refused_or_none(self, log: Log) -> None:
        for number in range(2):
            try:
                log.append(act(number, key=""))
            except AiosError as error:
                assert "key" in str(error)  # noqa: PT017
        assert log.verify().problems == []

    def test_many_keys_at_once(self, log: Log) -> None:
        log.append_all([act(number, key=f"k{number}") for number in range(0, 3_000, 2)])
        found = log.append_all([act(number, key=f"k{number}") for number in range(3_000)])
        assert [entry.content["key"] for entry in found] == [f"k{one}" for one in range(3_000)]
        assert log.size() == 3_000

    def test_nothing_to_append(self, log: Log) -> None:
        assert log.append_all([]) == []
        assert log.size() == 0


class TestEntries:
    def test_what_is_asked_for(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(12):
            moment = START + timedelta(hours=number)
            monkeypatch.setattr(clock, "wall", lambda moment=moment: moment)
            kind, automation = ("gate", "promotion", "approval")[number % 3], ("a", "b")[number % 2]
            log.append(act(number, kind=kind, automation=automation))

        def found(**asked: Any) -> list[int]:
            return [entry.index for entry in log.entries(**asked)]

        assert found() == list(range(12))
        assert found(kind="gate") == [0, 3, 6, 9]
        assert found(kind=["gate", "approval"], automation="b") == [3, 5, 9, 11]
        assert found(since=START + timedelta(hours=10)) == [10, 11]
        assert found(until=START + timedelta(hours=2)) == [0, 1]
        assert found(first=9, kind="gate") == [9]
        assert found(automation="none") == []

    def test_appending_while_they_are_read(self, log: Log) -> None:
        log.append_all([act(number) for number in range(5)])
        for entry in log.entries():
            log.append(act(entry.index))
        assert log.size() == 10

    @pytest.mark.parametrize("index", [-1, 3, 10**12])
    def test_a_leaf_that_is_not_there(self, log: Log, index: int) -> None:
        log.append_all([act(number) for number in range(3)])
        for ask in (log.get, log.inclusion):
            with pytest.raises(AiosError, match="3 leaves"):
                ask(index)


class TestProofs:
    @pytest.mark.parametrize("batches", [[1], [5, 1], [255, 1, 1], [300, 300], [256, 256, 1]])
    def test_they_are_the_rfcs(self, log: Log, batches: list[int]) -> None:
        for count in batches:
            log.append_all([act(number) for number in range(count)])
        data = [entry.leaf for entry in log.entries()]
        size = len(data)
        assert log.root() == naive.tree_hash(data)
        for at in {0, 1, size // 2, size - 1} & set(range(size)):
            assert log.inclusion(at) == naive.audit_path(at, data)
            assert log.consistency(at + 1) == naive.consistency_proof(at + 1, data)

    @settings(max_examples=80, deadline=None)
    @given(count=st.integers(0, 90), at=st.integers(0), cut=st.integers(0))
    def test_in_a_log_that_grows(self, shared: Log, count: int, at: int, cut: int) -> None:
        shared.append_all([act(number) for number in range(count + 1)])
        hashes = [leaf_hash(entry.leaf) for entry in shared.entries()]
        second = cut % len(hashes) + 1
        index, first = at % second, at % second + 1
        old, new = root_of(hashes[:first]), root_of(hashes[:second])
        assert (shared.root(first), shared.root(second)) == (old, new)
        path = shared.inclusion(index, second)
        assert verify_inclusion(hashes[index], index, second, path, new)
        assert verify_consistency(first, second, old, new, shared.consistency(first, second))

    def test_deep_trees(self, log: Log) -> None:
        """More than 65,536 leaves: three levels of tiles."""
        for _ in range(7):
            log.append_all([act(number) for number in range(10_000)])
        root, size = log.root(), log.size()
        assert root_of([leaf_hash(entry.leaf) for entry in log.entries()]) == root
        for index in (0, 255, 256, 65_535, 65_536, 69_999):
            path = log.inclusion(index)
            assert verify_inclusion(leaf_hash(log.get(index).leaf), index, size, path, root)
        path = log.consistency(65_537)
        assert verify_consistency(65_537, size, log.root(65_537), root, path)
        assert log.verify().problems == []

    def test_an_empty_log(self, log: Log) -> None:
        assert (log.size(), log.root().hex()) == (0, naive.tree_hash([]).hex())
        assert list(log.entries()) == []
        assert log.verify().problems == []

    def test_what_was_never_there(self, log: Log) -> None:
        log.append(act(0))
        for ask in (
            lambda: log.root(2),
            lambda: log.root(-1),
            lambda: log.inclusion(0, 2),
            lambda: log.inclusion(0, 0),
            lambda: log.consistency(2),
            lambda: log.consistency(0, 1),
            lambda: log.consistency(1, 2),
        ):
            with pytest.raises(AiosError):
                ask()


class TestCheckpoints:
    def test_one_is_signed_and_kept(self, log: Log) -> None:
        assert (log.checkpoints(), log.last_checkpoint()) == ([], None)
        log.append(act(0))
        note = log.checkpoint()
        mark = open_note(note, log.public_keys())
        assert (mark.origin, mark.size, mark.root) == (log.origin, 1, log.root())
        assert (log.checkpoints(), log.last_checkpoint()) == ([note], mark)

    def test_the_same_again_changes_nothing(self, log: Log) -> None:
        log.append(act(0))
        assert log.checkpoint() == log.checkpoint()
        assert len(log.checkpoints()) == 1

    def test_in_order_of_size(self, log: Log) -> None:
        for number in range(12):
            log.append(act(number))
            log.checkpoint()
        sizes = [open_note(note, log.public_keys()).size for note in log.checkpoints()]
        assert sizes == list(range(1, 13))
        found = log.verify()
        assert (found.size, found.checkpoints, found.root) == (12, 12, log.root().hex())

    def test_each_is_consistent_with_the_next(self, log: Log) -> None:
        marks = []
        for count in (1, 3, 250, 2, 600):
            log.append_all([act(number) for number in range(count)])
            marks.append(open_note(log.checkpoint(), log.public_keys()))
        for old, new in itertools.pairwise(marks):
            path = log.consistency(old.size, new.size)
            assert verify_consistency(old.size, new.size, old.root, new.root, path)

    def test_an_empty_log_and_what_comes_after(self, log: Log) -> None:
        log.checkpoint()
        log.append(act(0))
        log.checkpoint()
        assert log.verify().problems == []

    def test_leaves_are_on_disk_before_the_note(
        self, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process committed, and was killed before it could sync: the note waits for it."""
        log.append(act(0))
        done: list[str] = []
        monkeypatch.setattr(type(log.database), "_to_disk", lambda *_: None)
        log.append(act(1))
        monkeypatch.setattr(type(log.database), "_to_disk", lambda *_: done.append("sync"))
        write = log.place.write
        monkeypatch.setattr(log.place, "write", lambda *a: (done.append("note"), write(*a)))
        log.checkpoint()
        assert done == ["sync", "note"]

    def test_it_tells_the_time_from_the_log(self, log: Log) -> None:
        entry = log.append(act(0))
        assert log.now() >= entry.recorded_at
        assert json.loads(entry.leaf) == entry.content

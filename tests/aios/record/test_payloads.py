"""What is about a person: kept beside the log, and gone for ever when it is erased."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios import clock
from aios.errors import AiosError
from aios.record.log import Log
from aios.record.payloads import RETENTION, Payloads, Retention
from tests.aios.record.fresh import close, fresh_log
from tests.aios.record.persons import CONTENT, SUBJECT, edit, files_of, keep, stored_key, verdict
from tests.model_registry.opening import log_in

pytestmark = pytest.mark.unit

START = datetime(2026, 1, 1, 12)

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=8,
)
"""What JSON can hold."""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = fresh_log(tmp_path)
    yield opened
    close(opened)


@pytest.fixture
def payloads(log: Log) -> Payloads:
    return Payloads(log)


class TestContent:
    def test_it_comes_back(self, log: Log, payloads: Payloads) -> None:
        digest = keep(payloads)
        assert payloads.read(digest) == CONTENT
        assert Payloads(log).read(digest) == CONTENT

    @settings(max_examples=30)
    @given(PLAIN, TEXT)
    def test_whatever_it_is(self, payloads: Payloads, content: Any, subject: str) -> None:
        assert payloads.read(keep(payloads, subject, content)) == content

    def test_the_leaf_and_the_database_hold_no_trace_of_it(
        self, log: Log, payloads: Payloads
    ) -> None:
        digest = keep(payloads)
        (entry,) = log.entries(kind="override")
        assert entry.body["payload"] == digest
        assert entry.body["decision"] == "claims/2026-01-01/7"
        for word in [*SUBJECT.split(), "Kniegelenksarthrose"]:
            for form in (word, word.lower(), word.encode().hex()):
                assert form.encode() not in entry.leaf
                for name, content in files_of(log).items():
                    assert form.encode() not in content, name

    def test_who_guesses_the_content_does_not_find_its_digest(self, payloads: Payloads) -> None:
        assert len({keep(payloads) for _ in range(20)}) == 20

    def test_a_person_has_one_pseudonym_that_nobody_without_the_key_can_make(
        self, log: Log, payloads: Payloads, tmp_path: Path
    ) -> None:
        for subject in (SUBJECT, SUBJECT, "another"):
            keep(payloads, subject)
        first, second, other = (entry.body["subject"] for entry in log.entries(kind="override"))
        assert first == second != other
        elsewhere = fresh_log(tmp_path / "elsewhere")
        keep(Payloads(elsewhere))
        (entry,) = elsewhere.entries(kind="override")
        close(elsewhere)
        assert entry.body["subject"] != first

    def test_the_same_act_twice_keeps_one_payload(self, log: Log, payloads: Payloads) -> None:
        act = verdict(key="override/7")
        first = payloads.record(act, SUBJECT, CONTENT, "case")
        assert payloads.record(act, SUBJECT, {"other": 1}, "case") == first
        assert payloads.read(first) == CONTENT
        assert len(list(log.entries(kind="override"))) == 1
        assert payloads.erase(SUBJECT, "person:aud", "asked for") == 1

    @pytest.mark.parametrize("content", [float("nan"), {"x": object()}, {1: 2}, {"x": 2**60}])
    def test_what_has_no_canonical_form_is_refused_and_leaves_nothing(
        self, log: Log, payloads: Payloads, content: Any
    ) -> None:
        with pytest.raises(AiosError):
            keep(payloads, content=content)
        assert log.size() == 0

    def test_one_that_is_not_there(self, payloads: Payloads) -> None:
        with pytest.raises(AiosError, match="no such payload") as error:
            payloads.read("00" * 32)
        assert "aios record show" in error.value.fix


class TestErasure:
    def test_it_is_unreadable_and_the_log_stays_whole(self, log: Log, payloads: Payloads) -> None:
        digests, other = [keep(payloads) for _ in range(3)], keep(payloads, "another")
        note = log.checkpoint()
        assert payloads.erase(SUBJECT, "person:aud", "asked for") == 3
        for digest in digests:
            with pytest.raises(AiosError, match=r"erased|no such payload"):
                payloads.read(digest)
        assert payloads.read(other) == CONTENT
        assert log.verify().problems == []
        assert note in log.checkpoints()
        (entry,) = log.entries(kind="erasure")
        assert (entry.actor, entry.body["payloads"]) == ("person:aud", 3)
        assert SUBJECT.encode() not in entry.leaf

    def test_also_in_a_copy_from_before_whose_key_row_is_gone(
        self, log: Log, payloads: Payloads, tmp_path: Path
    ) -> None:
        digest = keep(payloads)
        close(log)
        shutil.copytree(tmp_path, tmp_path / "copy")
        copy = log_in(tmp_path / "copy")
        assert Payloads(copy).read(digest) == CONTENT
        edit(copy, "DELETE FROM record_subjects")
        with pytest.raises(AiosError, match="it was erased"):
            Payloads(copy).read(digest)
        close(copy)

    def test_a_new_key_does_not_open_what_the_old_one_sealed(
        self, log: Log, payloads: Payloads, tmp_path: Path
    ) -> None:
        digest = keep(payloads)
        edit(log, "DELETE FROM record_subjects")
        again = keep(payloads)
        assert payloads.read(again) == CONTENT
        with pytest.raises(AiosError, match="cannot be decrypted"):
            payloads.read(digest)

    def test_nothing_of_it_is_left_in_the_files(self, log: Log, payloads: Payloads) -> None:
        keep(payloads, "another")
        edit(log, "DELETE FROM record_subjects")
        digest = keep(payloads)
        key = stored_key(log)
        assert any(key in content for content in files_of(log).values())
        payloads.erase(SUBJECT, "person:aud", "asked for")
        for name, content in files_of(log).items():
            assert key not in content, name
            assert SUBJECT.encode() not in content, name
        assert any(digest.encode() in leaf.leaf for leaf in log.entries(kind="override"))

    def test_who_still_reads_keeps_it_from_being_called_done(
        self, tmp_path: Path, log: Log, payloads: Payloads
    ) -> None:
        keep(payloads)
        key = stored_key(log)
        log.database.patience = 0.1
        close(log)
        del log.database.engine  # opened again, with that patience
        path = log.database.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM record_leaves").fetchall()
            with pytest.raises(AiosError, match="read") as error:
                payloads.erase(SUBJECT, "person:aud", "asked for")
            assert "again" in error.value.fix
            reader.execute("ROLLBACK")
        payloads.erase(SUBJECT, "person:aud", "asked for")
        assert all(key not in content for content in files_of(log).values())

    def test_who_is_not_known_loses_nothing(self, log: Log, payloads: Payloads) -> None:
        digest = keep(payloads)
        assert payloads.erase(SUBJECT.lower(), "person:aud", "a typing error") == 0
        assert payloads.read(digest) == CONTENT

    def test_a_person_who_comes_back_begins_anew(self, log: Log, payloads: Payloads) -> None:
        keep(payloads)
        payloads.erase(SUBJECT, "person:aud", "asked for")
        digest = keep(payloads)
        assert payloads.read(digest) == CONTENT
        assert payloads.erase(SUBJECT, "person:aud", "asked for again") == 1


class TestRetention:
    def test_each_class_ends_at_its_time(
        self, log: Log, payloads: Payloads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clock, "wall", lambda: START)
        kept = {name: payloads.record(verdict(), SUBJECT, CONTENT, name) for name in RETENTION}
        gone: list[str] = []
        for name, lasting in sorted(RETENTION.items(), key=lambda item: item[1]):
            monkeypatch.setattr(clock, "wall", lambda until=lasting: START + until)
            assert payloads.expire("schedule:retention") == 0
            monkeypatch.setattr(
                clock, "wall", lambda until=lasting: START + until + timedelta(seconds=1)
            )
            assert payloads.expire("schedule:retention") == 1
            gone.append(kept[name])
            for digest in kept.values():
                if digest in gone:
                    with pytest.raises(AiosError, match="its time is over"):
                        payloads.read(digest)
                else:
                    assert payloads.read(digest) == CONTENT
        expiries = list(log.entries(kind="expiry"))
        assert [one.body["payloads"] for one in expiries] == [1, 1, 1]
        assert {one.actor for one in expiries} == {"schedule:retention"}
        assert log.verify().problems == []

    def test_a_class_that_does_not_exist_is_refused_and_leaves_nothing(
        self, log: Log, payloads: Payloads
    ) -> None:
        wrong: Retention = "for ever"  # type: ignore[assignment]
        with pytest.raises(AiosError, match="no retention 'for ever'") as error:
            payloads.record(verdict(), SUBJECT, CONTENT, wrong)
        assert all(name in error.value.fix for name in RETENTION)
        assert log.size() == 0

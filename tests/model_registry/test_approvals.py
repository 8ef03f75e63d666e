"""Approvals: asked for once, answered once by one person, and ended by time for good."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aios import clock
from aios.errors import AiosError
from aios.record.leaves import Act
from aios.record.log import Log
from model_registry.approvals import (
    LASTING,
    Request,
    approved_by,
    ask,
    check,
    close,
    give_verdict,
    requests,
)
from tests.aios.record.fresh import close as end
from tests.aios.record.fresh import fresh_log
from tests.model_registry.opening import log_in

pytestmark = pytest.mark.unit

START = datetime(2026, 3, 1, 9)
SECOND = timedelta(seconds=1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = fresh_log(tmp_path)
    yield opened
    end(opened)


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def set_to(moment: datetime) -> None:
        monkeypatch.setattr(clock, "wall", lambda: moment)

    set_to(START)
    return set_to


def asked(log: Log, version: int = 3, champion: int = 2, by: str = "person:alice") -> Request:
    return ask(
        log, "claims", version, champion, by, reason="better", evidence="gate 2026-02",
        evidence_digest="ab" * 32,
    )  # fmt: skip


def approve(log: Log, number: int, by: str = "person:ann") -> Request:
    return give_verdict(log, number, by, approve=True, reason="looked at it")


def refuse(log: Log, number: int, by: str = "person:ann") -> Request:
    return give_verdict(log, number, by, approve=False, reason="too few rows")


def acts(log: Log) -> list[tuple[str, str]]:
    return [(entry.kind, entry.actor) for entry in log.entries()]


def at_once(tmp_path: Path, *attempts: Callable[[Log], Any]) -> tuple[list[Any], list[AiosError]]:
    """Let each attempt run in a thread with a log of its own, all together."""
    together, done, wrong = threading.Barrier(len(attempts)), [], []

    def run(attempt: Callable[[Log], Any]) -> None:
        own = log_in(tmp_path)
        _ = own.database.engine
        together.wait()
        try:
            done.append(attempt(own))
        except AiosError as error:
            wrong.append(error)
        finally:
            end(own)

    threads = [threading.Thread(target=run, args=(one,)) for one in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done, wrong


class TestAsking:
    def test_the_request_says_what_was_asked(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        request = asked(log)
        assert requests(log) == requests(log, "claims") == [request]
        assert requests(log, "tickets") == []
        assert (request.state, request.by, request.version, request.champion) == (
            "open", "person:alice", 3, 2,
        )  # fmt: skip
        assert (request.reason, request.evidence) == ("better", "gate 2026-02")
        assert request.expires == START + LASTING
        entry = log.get(request.number)
        assert (entry.kind, entry.actor, entry.automation) == (
            "approval_requested", "person:alice", "claims",
        )  # fmt: skip
        assert entry.body["evidence_digest"] == "ab" * 32

    def test_the_same_twice_is_one(self, log: Log) -> None:
        first = asked(log)
        assert asked(log) == first
        approve(log, first.number)
        assert asked(log).number == first.number
        assert acts(log) == [("approval_requested", "person:alice"), ("approval", "person:ann")]

    def test_who_asks_second_does_not_become_the_requester(self, log: Log) -> None:
        asked(log)
        assert asked(log, by="person:bob").by == "person:alice"

    def test_the_same_by_several_at_once_is_one(self, log: Log, tmp_path: Path) -> None:
        done, wrong = at_once(tmp_path, *[asked] * 6)
        assert wrong == []
        assert len({one.number for one in done}) == 1
        assert log.size() == 1

    def test_another_champion_or_version_is_another_request(self, log: Log) -> None:
        numbers = [asked(log, *which).number for which in ((3, 2), (3, 4), (5, 2))]
        assert len(set(numbers)) == 3

    def test_after_its_end_it_can_be_asked_anew(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        refused = refuse(log, asked(log).number)
        again = asked(log)
        set_clock(START + LASTING)
        third = asked(log)
        close(log, third.number, "done")
        numbers = [refused.number, again.number, third.number, asked(log).number]
        assert len(set(numbers)) == 4
        assert [one.state for one in requests(log)] == ["refused", "expired", "done", "open"]


class TestVerdict:
    def test_approved(self, log: Log) -> None:
        request = approve(log, asked(log).number)
        assert (request.state, request.verdict_by, request.verdict_reason) == (
            "approved", "person:ann", "looked at it",
        )  # fmt: skip
        (entry,) = log.entries(kind="approval")
        assert (entry.actor, entry.automation) == ("person:ann", "claims")
        assert entry.body["request"] == request.number
        assert entry.body["requested_by"] == "person:alice"
        assert approved_by(log, "claims", 3, 2) == [request]
        for other in (("claims", 3, 1), ("claims", 4, 2), ("tickets", 3, 2)):
            assert approved_by(log, *other) == []

    def test_refused(self, log: Log) -> None:
        request = refuse(log, asked(log).number)
        assert (request.state, request.verdict_by) == ("refused", "person:ann")
        assert acts(log)[-1] == ("refusal", "person:ann")
        assert approved_by(log, "claims", 3, 2) == []

    def test_a_refusal_outlasts_the_request(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        refuse(log, asked(log).number)
        set_clock(START + 2 * LASTING)
        assert requests(log)[0].state == "refused"

    @pytest.mark.parametrize("first", [approve, refuse])
    @pytest.mark.parametrize("second", [approve, refuse])
    def test_there_is_one(
        self,
        log: Log,
        first: Callable[[Log, int], Request],
        second: Callable[[Log, int, str], Request],
    ) -> None:
        number = first(log, asked(log).number).number
        with pytest.raises(AiosError, match=r"request 0 is (approved|refused) by person:ann"):
            second(log, number, "person:olga")
        assert log.size() == 2

    def test_of_several_at_once_one_counts(self, log: Log, tmp_path: Path) -> None:
        number = asked(log).number
        attempts = [
            lambda own, n=n: (approve if n % 2 else refuse)(own, number, f"person:p{n}")
            for n in range(6)
        ]
        done, wrong = at_once(tmp_path, *attempts)
        assert (len(done), len(wrong)) == (1, 5)
        assert all(f"by {done[0].verdict_by}" in str(error) for error in wrong)
        assert log.size() == 2
        assert requests(log)[0].verdict_by == done[0].verdict_by

    def test_one_that_was_never_asked_for(self, log: Log) -> None:
        other = log.append(Act("promotion", "claims", "person:alice", {}))
        for number in (other.index, 7, -1):
            with pytest.raises(AiosError, match=f"there is no request {number}") as error:
                approve(log, number)
            assert "aios approvals" in error.value.fix
        assert log.size() == 1


class TestTime:
    def test_it_expires_open_or_approved(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        waiting, approved = asked(log), approve(log, asked(log, 5).number)
        set_clock(START + LASTING - SECOND)
        assert [one.state for one in requests(log)] == ["open", "approved"]
        set_clock(START + LASTING)
        assert [one.state for one in requests(log)] == ["expired", "expired"]
        assert approved_by(log, "claims", 5, 2) == []
        for number in (waiting.number, approved.number):
            with pytest.raises(AiosError, match="is expired"):
                approve(log, number, "person:olga")

    def test_a_clock_set_back_revives_nothing(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        request = approve(log, asked(log).number)
        set_clock(START + LASTING)
        log.append(Act("override", "claims", "person:rev", {}))
        set_clock(START)
        assert requests(log)[0].state == "expired"
        assert approved_by(log, "claims", 3, 2) == []
        with pytest.raises(AiosError, match="is expired"):
            approve(log, request.number, "person:olga")

    def test_closed_is_closed_whatever_the_clock(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        request = asked(log)
        set_clock(START + LASTING)
        close(log, request.number, "expired")
        set_clock(START - LASTING)
        assert requests(log)[0].state == "expired"

    def test_a_request_made_while_the_clock_ran_ahead_is_not_open_for_ever(
        self, log: Log, set_clock: Callable[[datetime], None]
    ) -> None:
        set_clock(START + timedelta(days=400))
        request = asked(log)
        set_clock(START)
        assert requests(log)[0].state == "open"
        assert request.expires == START + timedelta(days=400) + LASTING


class TestClosing:
    @pytest.mark.parametrize("ended", ["expired", "overtaken"])
    def test_the_end_is_recorded_once(self, log: Log, ended: Any) -> None:
        number = asked(log).number
        for _ in range(2):
            close(log, number, ended)
        (entry,) = log.entries(kind="approval_expired")
        assert entry.body == {"request": number, "version": 3, "ended": ended}
        assert entry.actor == "sensor:approvals"
        assert requests(log)[0].state == ended

    def test_done_stays_done(self, log: Log) -> None:
        number = approve(log, asked(log).number).number
        close(log, number, "done")
        close(log, number, "overtaken")
        assert requests(log)[0].state == "done"
        assert list(log.entries(kind="approval_expired")) == []
        with pytest.raises(AiosError, match="is done by person:ann"):
            refuse(log, number)
        assert log.verify().problems == []

    def test_a_verdict_of_another_request_approves_nothing(self, log: Log) -> None:
        """Somebody edits the table of approvals, which no checkpoint covers."""
        approved, wanted = approve(log, asked(log, 5).number), asked(log)
        verdict = next(log.entries(kind="approval")).index
        with log.transaction() as transaction:
            transaction.connection.exec_driver_sql(
                "UPDATE approvals SET verdict = ? WHERE request = ?", (verdict, wanted.number)
            )
        with pytest.raises(AiosError, match="another request"):
            requests(log)
        assert approved.number != wanted.number

    @pytest.mark.parametrize(
        ("edit", "says"),
        [
            ("DELETE FROM approvals WHERE request = 0", "request 0 is missing"),
            ("UPDATE approvals SET verdict = 2 WHERE request = 0", "request 0 of claims is not"),
            ("UPDATE approvals SET verdict = NULL WHERE request = 1", "request 1 of claims is not"),
            ("UPDATE approvals SET automation = 'x' WHERE request = 0", "request 0 of x is not"),
            ("UPDATE approvals SET closed = NULL WHERE request = 3", "request 3 of claims is not"),
            ("UPDATE approvals SET closed = 'overtaken' WHERE request = 0", "request 0 of claims"),
            ("INSERT INTO approvals VALUES (2, 'claims', NULL, NULL)", "request 2 of claims"),
        ],
    )
    def test_an_edit_of_the_table_is_noticed(self, log: Log, edit: str, says: str) -> None:
        asked(log)
        refuse(log, asked(log, 5).number)
        close(log, asked(log, 6).number, "expired")
        assert check(log) == []
        with log.transaction() as transaction:
            transaction.connection.exec_driver_sql(edit)
        (problem,) = check(log)
        assert problem.startswith(says)

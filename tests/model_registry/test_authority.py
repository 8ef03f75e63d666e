"""Who may change the champion: the rules before the act, four eyes on high risk, all on record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aios import clock
from aios.errors import AiosError
from aios.identity.access import Denied
from aios.identity.actors import GATE, LOCAL, REHEARSAL, ROLLOUT, Actor
from aios.identity.directory import Directory
from aios.record.log import Log
from model_registry import champion
from model_registry.approvals import LASTING, requests
from model_registry.authority import Authority, needs_approval
from model_registry.champion import history
from model_registry.ledger import Stale
from tests.model_registry.claims import (
    ALICE,
    ANN,
    BOB,
    NAME,
    OLGA,
    authority_over,
    people,
    person,
    registry_at,
)

pytestmark = pytest.mark.loop

START = datetime(2040, 3, 1, 9)
SetClock = Callable[[timedelta], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    def set_to(later: timedelta) -> None:
        monkeypatch.setattr(clock, "wall", lambda: START + later)

    return set_to


@pytest.fixture
def low(tmp_path: Path) -> Authority:
    """Alice, Ann and Bob, and an automation of limited risk."""
    return with_people(authority_over(registry_at(tmp_path), tmp_path, risk="limited"))


@pytest.fixture
def high(tmp_path: Path) -> Authority:
    """The same on high risk, with version 1 as champion."""
    authority = authority_over(registry_at(tmp_path), tmp_path, risk="high")
    first = datetime(2026, 1, 1)
    champion.promote(authority.registry, NAME, 1, at=first, by="person:olga", reason="the first")
    return with_people(authority)


def with_people(authority: Authority) -> Authority:
    people(log_of(authority))
    return authority


def log_of(authority: Authority) -> Log:
    return authority.registry.log


def promote(authority: Authority, number: int, actor: Actor, **given: Any) -> Any:
    return authority.promote(number, actor, at=clock.now(), reason="better", **given)


def ask(authority: Authority, number: int = 2, actor: Actor = ALICE) -> int:
    return authority.request(number, actor, reason="better", evidence="gate 2026-02").number


def approve(authority: Authority, number: int, actor: Actor = BOB) -> Any:
    return authority.decide(number, actor, approve=True, reason="looked at it")


def champions(authority: Authority) -> list[tuple[int, str]]:
    return [(one.version, one.by) for one in history(authority.registry, NAME)]


def acts(authority: Authority, first: int) -> list[tuple[str, str, str | None]]:
    """Kind, actor and automation of each leaf from an index on."""
    return [(one.kind, one.actor, one.automation) for one in log_of(authority).entries(first=first)]


def refused(authority: Authority, attempt: Callable[[], Any]) -> Denied:
    """Make an attempt that the rules deny, and check that it leaves its denial and no more."""
    before, at = champions(authority), log_of(authority).size()
    states = [one.state for one in requests(log_of(authority))]
    with pytest.raises(Denied) as denied:
        attempt()
    assert champions(authority) == before
    assert [one.state for one in requests(log_of(authority))] == states
    (entry,) = log_of(authority).entries(first=at)
    assert (entry.kind, entry.actor, entry.automation) == ("denied", str(denied.value.actor), NAME)
    assert entry.body["action"] == denied.value.action
    assert entry.body["rules"] == list(denied.value.rules)
    assert entry.body["access_digest"] == authority.access.digest
    return denied.value


class TestPromote:
    def test_by_who_may(self, low: Authority) -> None:
        at = log_of(low).size()
        assert promote(low, 2, ALICE, evidence="run 7").number == 2
        assert champions(low) == [(2, "person:alice")]
        assert acts(low, at) == [("promotion", "person:alice", NAME)]
        (entry,) = log_of(low).entries(kind="promotion")
        assert (entry.body["evidence"], entry.body["approved_by"]) == ("run 7", [])
        size = int(log_of(low).checkpoints()[-1].splitlines()[1])
        assert size == entry.index + 1

    @pytest.mark.parametrize("actor", [ANN, OLGA, person("mallory"), GATE, ROLLOUT, REHEARSAL])
    def test_by_who_may_not(self, low: Authority, actor: Actor) -> None:
        denied = refused(low, lambda: promote(low, 2, actor))
        assert not needs_approval(denied)
        assert "What to do" in str(denied)

    def test_services_where_it_is_declared(self, tmp_path: Path) -> None:
        registry = registry_at(tmp_path)
        authority = authority_over(registry, tmp_path, risk="minimal", promotion="automatic")
        promote(authority, 1, GATE)
        promote(authority, 2, REHEARSAL)
        promote(authority, 3, ROLLOUT)
        refused(authority, lambda: promote(authority, 1, Actor("nightly", "schedule")))
        by = ["service:gate", "service:rehearsal", "service:rollout"]
        assert [one for _, one in champions(authority)] == by

    def test_of_a_version_that_does_not_exist_or_did_not_pass(self, low: Authority) -> None:
        low.registry.set_stage(low.registry.get(NAME, 2), "rejected")
        at = log_of(low).size()
        for number, says in ((9, "version 9 does not exist"), (2, "did not pass the gate")):
            with pytest.raises(AiosError, match=says):
                promote(low, number, ALICE)
        assert log_of(low).size() == at

    def test_over_another_champion_than_was_seen(self, low: Authority) -> None:
        promote(low, 1, ALICE, expected=0)
        with pytest.raises(Stale, match=r"version 1 by person:alice.*expected none"):
            promote(low, 2, ALICE, expected=0)

    def test_a_rule_that_cannot_be_recorded_allows_nothing(
        self, low: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise AiosError("the disk is full")

        monkeypatch.setattr(low.registry.log, "transaction", full)
        with pytest.raises(AiosError, match="the disk is full"):
            promote(low, 2, ANN)
        monkeypatch.undo()
        assert champions(low) == []


class TestRollback:
    def test_by_an_operator_alone_also_on_high_risk(self, high: Authority) -> None:
        approve(high, ask(high))
        promote(high, 2, ALICE)
        high.rollback(OLGA, at=clock.now(), reason="complaints")
        assert champions(high)[-1] == (1, "person:olga")
        assert acts(high, log_of(high).size() - 1) == [("rollback", "person:olga", NAME)]
        refused(high, lambda: high.rollback(ANN, at=clock.now(), reason="complaints"))

    def test_of_two_at_once_one_goes_back(self, low: Authority, tmp_path: Path) -> None:
        for number in (1, 2, 3):
            promote(low, number, ALICE)
        together, wrong = threading.Barrier(2), []
        rollback = champion.rollback

        def after_both_looked(*arguments: Any, **given: Any) -> Any:
            together.wait()
            return rollback(*arguments, **given)

        def press() -> None:
            try:
                low.rollback(OLGA, at=clock.now(), reason="complaints")
            except AiosError as error:
                wrong.append(str(error))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(champion, "rollback", after_both_looked)
            threads = [threading.Thread(target=press) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [version for version, _ in champions(low)] == [1, 2, 3, 2]
        assert len(wrong) == 1
        assert "the champion is version 2 by person:olga" in wrong[0]


class TestFourEyes:
    def test_the_whole_way(self, high: Authority) -> None:
        at = log_of(high).size()
        denied = refused(high, lambda: promote(high, 2, ALICE))
        assert needs_approval(denied)
        number = ask(high)
        assert high.carry_out() == []
        assert approve(high, number).verdict_by == "person:bob"
        assert champions(high) == [(1, "person:olga")]
        (said,) = high.carry_out()
        assert said == "claims version 2 decides now, approved by person:bob"
        last = history(high.registry, NAME)[-1]
        assert (last.version, last.by, last.previous) == (2, "person:alice", 1)
        assert (last.approved_by, last.evidence) == (("person:bob",), "gate 2026-02")
        entry = log_of(high).get(last.leaf)
        assert entry.body["approved_by"] == ["person:bob"]
        assert acts(high, at) == [
            ("denied", "person:alice", NAME),
            ("approval_requested", "person:alice", NAME),
            ("approval", "person:bob", NAME),
            ("promotion", "person:alice", NAME),
        ]
        assert [one.state for one in requests(log_of(high))] == ["done"]
        assert high.carry_out() == []
        assert log_of(high).verify().problems == []
        assert len(log_of(high).checkpoints()) == 2

    def test_or_the_requester_promotes_by_hand(self, high: Authority) -> None:
        approve(high, ask(high))
        promote(high, 2, ALICE)
        assert champions(high)[-1] == (2, "person:alice")
        assert high.carry_out() == []

    def test_nobody_approves_what_they_asked_for(self, high: Authority) -> None:
        both = person("alice", "ml_engineer", "approver")
        number = ask(high)
        assert refused(high, lambda: approve(high, number, both)).rules == ("own_model",)

    def test_nobody_approves_what_they_trained(self, high: Authority) -> None:
        number = ask(high, 3)
        assert refused(high, lambda: approve(high, number, ANN)).rules == ("own_model",)
        assert approve(high, number).state == "approved"

    def test_also_after_they_changed_what_mlflow_says_of_the_trainer(self, high: Authority) -> None:
        number = ask(high, 3)
        high.registry.client.set_model_version_tag(NAME, "3", "aios.trained_by", "service:training")
        refused(high, lambda: approve(high, number, ANN))

    def test_nobody_promotes_what_they_approved(self, high: Authority) -> None:
        both = person("bob", "ml_engineer", "approver")
        approve(high, ask(high), both)
        assert needs_approval(refused(high, lambda: promote(high, 2, both)))

    @pytest.mark.parametrize("actor", [OLGA, ALICE, person("eve", "reviewer"), LOCAL, GATE])
    def test_who_is_no_approver_or_no_person_or_asked(self, high: Authority, actor: Actor) -> None:
        number = ask(high, 2, LOCAL if actor is LOCAL else ALICE)
        refused(high, lambda: approve(high, number, actor))

    def test_refused(self, high: Authority) -> None:
        high.decide(ask(high), BOB, approve=False, reason="too few rows")
        assert high.carry_out() == []
        assert needs_approval(refused(high, lambda: promote(high, 2, ALICE)))
        assert champions(high) == [(1, "person:olga")]

    def test_an_approval_is_for_one_version(self, high: Authority) -> None:
        approve(high, ask(high))
        refused(high, lambda: promote(high, 3, ALICE))

    def test_expired_it_stays_expired(self, high: Authority, set_clock: SetClock) -> None:
        set_clock(timedelta())
        approve(high, ask(high))
        waiting = ask(high, 3)
        set_clock(LASTING)
        refused(high, lambda: promote(high, 2, ALICE))
        set_clock(timedelta(hours=1))
        # The denial was recorded at the later time, and time does not run back.
        refused(high, lambda: promote(high, 2, ALICE))
        said = high.carry_out()
        assert [line.rpartition(" ")[2] for line in said] == ["expired", "expired"]
        with pytest.raises(AiosError, match="is expired"):
            approve(high, waiting)
        assert [entry.actor for entry in log_of(high).entries(kind="approval_expired")] == [
            "sensor:approvals"
        ] * 2
        assert champions(high) == [(1, "person:olga")]
        assert ask(high) not in (0, waiting)

    def test_overtaken_by_another_champion(self, high: Authority) -> None:
        approved, waiting = ask(high), ask(high, 3)
        approve(high, approved)
        champion.promote(
            high.registry, NAME, 3, at=clock.now(), by="person:olga", reason="an emergency"
        )
        refused(high, lambda: promote(high, 2, ALICE))
        assert all("was overtaken" in line for line in high.carry_out())
        assert [one.state for one in requests(log_of(high))] == ["overtaken"] * 2
        ends = [entry.body for entry in log_of(high).entries(kind="approval_expired")]
        assert [(one["request"], one["ended"]) for one in ends] == [
            (approved, "overtaken"), (waiting, "overtaken"),
        ]  # fmt: skip
        assert champions(high)[-1] == (3, "person:olga")

    def test_a_requester_who_was_disabled_promotes_nothing(self, high: Authority) -> None:
        approve(high, ask(high))
        Directory(log_of(high).database).disable(ALICE)
        (said,) = high.carry_out()
        assert "person:alice is disabled" in said
        assert champions(high) == [(1, "person:olga")]
        assert high.carry_out() == []

    def test_a_requester_who_lost_the_role_promotes_nothing(self, high: Authority) -> None:
        approve(high, ask(high))
        Directory(log_of(high).database).change_roles(ALICE, ["data_engineer"])
        at = log_of(high).size()
        (said,) = high.carry_out()
        assert "may not promote" in said
        assert acts(high, at)[0] == ("denied", "person:alice", NAME)
        assert champions(high) == [(1, "person:olga")]

    def test_the_same_asked_twice_is_one(self, high: Authority) -> None:
        assert ask(high) == ask(high) == ask(high, 2, GATE)
        assert len(requests(log_of(high))) == 1

    def test_a_request_names_the_champion_that_was_seen(self, high: Authority) -> None:
        with pytest.raises(Stale, match="expected version 3"):
            high.request(2, ALICE, reason="better", expected=3)
        assert requests(log_of(high)) == []

    @pytest.mark.parametrize("number", [1, 9])
    def test_the_champion_and_what_is_not_there_are_not_asked_for(
        self, high: Authority, number: int
    ) -> None:
        with pytest.raises(AiosError, match=r"is the champion already|does not exist"):
            ask(high, number)
        assert requests(log_of(high)) == []

    def test_what_did_not_pass_the_gate_is_not_asked_for(self, high: Authority) -> None:
        high.registry.set_stage(high.registry.get(NAME, 2), "rejected")
        with pytest.raises(AiosError, match="did not pass the gate"):
            ask(high)

    def test_who_may_not_ask(self, high: Authority) -> None:
        refused(high, lambda: ask(high, 2, BOB))

    def test_two_approvers_at_once_give_one_verdict(self, high: Authority) -> None:
        number, wrong = ask(high), []
        together = threading.Barrier(2)

        def decide(actor: Actor) -> None:
            together.wait()
            try:
                high.decide(number, actor, approve=actor == BOB, reason="at once")
            except AiosError as error:
                wrong.append(str(error))

        threads = [threading.Thread(target=decide, args=(actor,)) for actor in (ANN, BOB)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (request,) = requests(log_of(high))
        assert len(wrong) == 1
        assert f"request {number} is {request.state} by {request.verdict_by}" in wrong[0]
        verdicts = list(log_of(high).entries(kind=["approval", "refusal"]))
        assert [entry.actor for entry in verdicts] == [request.verdict_by]

    def test_a_number_of_another_model(self, high: Authority) -> None:
        for number in (0, 10_000):
            with pytest.raises(AiosError, match=f"there is no request {number}"):
                approve(high, number)

    def test_what_is_in_the_way_for_a_moment_does_not_end_an_approval(
        self, high: Authority
    ) -> None:
        number = ask(high)
        approve(high, number)
        high.registry.patience = 0.1
        with pytest.MonkeyPatch.context() as patch:

            def busy(*_: object, **__: object) -> None:
                raise AiosError("another process has been writing for 20 s")

            patch.setattr(champion, "promote", busy)
            (said,) = high.carry_out()
        assert "another process has been writing" in said
        assert [one.state for one in requests(log_of(high))] == ["approved"]
        assert "decides now" in high.carry_out()[0]
        assert champions(high)[-1] == (2, "person:alice")

    def test_killed_after_the_ledger_it_is_done_not_overtaken(self, high: Authority) -> None:
        class Killed(BaseException):
            pass

        def die(*_: object) -> None:
            raise Killed

        approve(high, ask(high))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(champion, "_align", die)
            with pytest.raises(Killed):
                high.carry_out()
        high.carry_out()
        assert [one.state for one in requests(log_of(high))] == ["done"]
        assert champions(high) == [(1, "person:olga"), (2, "person:alice")]
        assert list(log_of(high).entries(kind="approval_expired")) == []

"""Four eyes on high risk: what was asked, who answered, how it ended, and all of it on record."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aios import clock
from aios.errors import AiosError, Stale
from aios.identity.actors import GATE, LOCAL, Actor
from aios.identity.directory import Directory
from model_registry import champion
from model_registry.approvals import LASTING, requests
from model_registry.authority import Authority, needs_approval
from model_registry.champion import history
from model_registry.removal import forget
from tests.model_registry.claims import (
    ALICE,
    ANN,
    BOB,
    NAME,
    OLGA,
    authority_over,
    person,
    registry_at,
)
from tests.model_registry.deeds import (
    acts,
    approve,
    ask,
    champions,
    log_of,
    promote,
    refused,
    with_people,
)
from tests.model_registry.recipes import boosting, enrol

pytestmark = pytest.mark.loop

START = datetime(2040, 3, 1, 9)
SetClock = Callable[[timedelta], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    def set_to(later: timedelta) -> None:
        monkeypatch.setattr(clock, "wall", lambda: START + later)

    return set_to


@pytest.fixture
def high(tmp_path: Path) -> Authority:
    """The same on high risk, with version 1 as champion."""
    authority = authority_over(registry_at(tmp_path), tmp_path, risk="high")
    first = datetime(2026, 1, 1)
    champion.promote(authority.registry, NAME, 1, at=first, by="person:olga", reason="the first")
    return with_people(authority)


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

    def test_it_dies_with_the_version_it_was_for(self, high: Authority) -> None:
        """After `rehearse --fresh` other models bear the same numbers."""
        approve(high, ask(high))
        forget(high.registry, NAME)
        for key in ("x", "y"):
            version = enrol(high.registry, key, boosting(7))
            high.registry.set_stage(version, "gated")
        first = datetime(2026, 1, 1)
        champion.promote(high.registry, NAME, 1, at=first, by="person:olga", reason="the first")
        refused(high, lambda: promote(high, 2, ALICE))
        assert [one.state for one in requests(log_of(high))] == ["overtaken"]
        assert high.carry_out() == []

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

    def test_the_approval_of_one_who_was_shut_out_since_does_not_count(
        self, high: Authority
    ) -> None:
        approve(high, ask(high))
        Directory(log_of(high).database).disable(BOB)
        (said,) = high.carry_out()
        assert "four_eyes" in said
        assert champions(high) == [(1, "person:olga")]

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

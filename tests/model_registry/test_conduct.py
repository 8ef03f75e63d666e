"""Conducting rollouts: what a finding leads to, who may take the step, and that none is doubled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios import clock
from aios.errors import AiosError, Stale
from aios.identity.access import Denied
from aios.identity.actors import REHEARSAL, ROLLOUT
from aios.rollouts import Rollout
from model_registry import champion
from model_registry.approvals import requests
from model_registry.authority import Authority
from model_registry.champion import alias_mismatch
from model_registry.conduct import Conductor
from model_registry.findings import Finding, next_move
from model_registry.mirror import CHALLENGER_ALIAS, ROLLOUT_TAG
from model_registry.rollout import check
from model_registry.stages import FOLLOWS, Move, To, latest, queued, under_way
from tests.model_registry.claims import (
    ALICE,
    BOB,
    NAME,
    OLGA,
    authority_over,
    people,
    person,
    registry_at,
)
from tests.model_registry.deeds import approve, champions, log_of

START = datetime(2026, 1, 1)
SHARES = st.lists(st.floats(0.01, 0.99), unique=True, max_size=5).map(sorted)
STATUSES = ("better", "not worse", "worse", "insufficient")


def at(days: float) -> datetime:
    return START + timedelta(days=days)


@st.composite
def declared_rollouts(draw: Any) -> Rollout:
    return Rollout(canary=draw(SHARES), patience=draw(st.integers(1, 6)))


@st.composite
def situations(draw: Any) -> tuple[Rollout, Move, Finding]:
    """A declaration, where a version stands in it, and what was found of it there."""
    declared = draw(declared_rollouts())
    states = ["shadow", "paused", *(["canary"] if declared.canary else [])]
    state = draw(st.sampled_from(states))
    share = 0.0
    if declared.canary and state != "shadow":
        share = draw(st.sampled_from([*declared.canary, *([0.0] if state == "paused" else [])]))
    here = Move(2, state, share, 1, START, START, "service:rollout", "x", leaf=5)
    return declared, here, draw(findings_of(here))


def findings_of(here: Move) -> st.SearchStrategy[Finding]:
    return st.builds(
        Finding,
        version=st.just(here.version), leaf=st.just(here.leaf), status=st.sampled_from(STATUSES),
        provisional=st.booleans(), partitions=st.integers(0, 20), reasons=st.just(("loss.",)),
    )  # fmt: skip


@pytest.mark.unit
class TestNextMove:
    @given(situations())
    def test_worse_ends_it_from_any_stage(self, case: tuple[Rollout, Move, Finding]) -> None:
        declared, here, found = case
        to = next_move(declared, here, replace(found, status="worse"))
        assert to == To(2, "rolled_back" if here.share else "rejected")

    @given(situations())
    def test_only_a_verdict_leads_forward(self, case: tuple[Rollout, Move, Finding]) -> None:
        declared, here, found = case
        to = next_move(declared, here, found)
        if to and to.state in ("canary", "champion"):
            assert found.status in ("better", "not worse")
            assert found.partitions > 0
            assert here.state != "paused"

    @given(situations())
    def test_a_provisional_verdict_never_passes_the_last_stage(
        self, case: tuple[Rollout, Move, Finding]
    ) -> None:
        declared, here, found = case
        to = next_move(declared, here, replace(found, provisional=True))
        assert not to or to.state != "champion"

    @given(situations())
    def test_shares_grow_one_by_one_and_none_is_left_out(
        self, case: tuple[Rollout, Move, Finding]
    ) -> None:
        declared, here, found = case
        to = next_move(declared, here, found)
        if to and to.state == "canary":
            assert to.share == min(share for share in declared.canary if share > here.share)
        if to and to.state == "champion" and not (found.status == "better" and here.share):
            assert here.share == max(declared.canary, default=0.0)

    @given(situations())
    def test_patience_ends_what_cannot_be_measured_and_nothing_sooner(
        self, case: tuple[Rollout, Move, Finding]
    ) -> None:
        declared, here, found = case
        to = next_move(declared, here, replace(found, status="insufficient"))
        ends = here.state != "paused" and found.partitions >= declared.patience
        assert (to is not None) == ends
        assert not to or to.state in ("rejected", "rolled_back")

    @given(situations())
    def test_where_it_leads_the_table_allows(self, case: tuple[Rollout, Move, Finding]) -> None:
        declared, here, found = case
        to = next_move(declared, here, found)
        assert to is None or (to.version == here.version and to.state in FOLLOWS[here.state])

    def test_the_whole_way_by_good_verdicts(self) -> None:
        declared = Rollout()
        here = Move(2, "shadow", 0.0, 1, START, START, "x", "y")
        way = []
        while here.state != "champion":
            found = Finding(2, -1, "not worse", False, 1, ("loss.",))
            to = next_move(declared, here, found)
            assert to
            way.append((to.state, to.share))
            here = replace(here, state=to.state, share=to.share)
        assert way == [("canary", 0.05), ("canary", 0.25), ("canary", 0.5), ("champion", 1.0)]

    def test_who_is_surely_better_in_canary_is_through(self) -> None:
        here = Move(2, "canary", 0.05, 1, START, START, "x", "y")
        better = Finding(2, -1, "better", False, 1, ())
        assert next_move(Rollout(), here, better) == To(2, "champion", 1.0)
        assert next_move(Rollout(), here, replace(better, provisional=True)) == To(
            2, "canary", 0.25
        )
        shadow = replace(here, state="shadow", share=0.0)
        assert next_move(Rollout(), shadow, better) == To(2, "canary", 0.05)

    def test_without_a_canary_the_shadow_is_the_last_stage(self) -> None:
        here = Move(2, "shadow", 0.0, 1, START, START, "x", "y")
        good = Finding(2, -1, "better", True, 1, ())
        assert next_move(Rollout(canary=[]), here, good) is None
        assert next_move(Rollout(canary=[]), here, replace(good, provisional=False)) == To(
            2, "champion", 1.0
        )


# --- On a real registry ---------------------------------------------------------------------------

Make = Callable[..., Conductor]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a conductor of `claims`, version 1 its champion; keywords change the declaration."""

    def conductor(*, own: bool = False, **declared: Any) -> Conductor:
        rollout = {"canary": [0.05, 0.5], "patience": 3, **declared.pop("rollout", {})}
        declared = {"promotion": "automatic", "risk": "limited", **declared, "rollout": rollout}
        authority = authority_over(registry_at(tmp_path, own=own), tmp_path, **declared)
        people(log_of(authority))
        champion.promote(
            authority.registry, NAME, 1, at=START, by="person:olga", reason="the first"
        )
        return Conductor(authority)

    return conductor


def stands(conductor: Conductor) -> dict[int, str]:
    return {one.version: one.state for one in latest(conductor.moves()).values()}


def start(conductor: Conductor, number: int = 2, days: float = 0) -> Move:
    return conductor.start(number, ROLLOUT, at=at(days), reason="it passed the gate")


def found(
    conductor: Conductor, status: Any = "not worse", number: int = 2, **given: Any
) -> Finding:
    """What was found of a version where it stands now."""
    leaf = latest(conductor.moves())[number].leaf
    fields = {"provisional": False, "partitions": 1, "reasons": ("loss.",), **given}
    return Finding(number, leaf, status, **fields)


def tick(conductor: Conductor, *findings: Finding, days: float = 1, by: Any = ROLLOUT) -> list[str]:
    return conductor.tick(findings, by, at=at(days))


def to_canary(conductor: Conductor, number: int = 2) -> None:
    start(conductor, number)
    tick(conductor, found(conductor, number=number))
    assert stands(conductor)[number] == "canary"


def to_champion(conductor: Conductor, number: int = 2, days: float = 1) -> None:
    start(conductor, number, days)
    for _ in range(3):
        tick(conductor, found(conductor, number=number), days=days)
    assert champions(conductor.authority)[-1][0] == number


def tidy(conductor: Conductor) -> None:
    """Check what must hold whatever was done: one story in the record, MLflow and the tables."""
    registry, log = conductor.authority.registry, log_of(conductor.authority)
    here = under_way(conductor.moves())
    model = registry.client.get_registered_model(NAME)
    aliased = model.aliases.get(CHALLENGER_ALIAS)
    assert (int(aliased) if aliased else None) == (here.version if here else None)
    assert alias_mismatch(registry, NAME) is None
    assert check(log) == []
    assert log.verify().problems == []


@pytest.mark.loop
class TestWay:
    def test_from_the_start_to_champion_and_what_mlflow_says_of_it(self, make: Make) -> None:
        conductor = make()
        assert start(conductor).state == "shadow"
        told, tags = [], []
        for day in (1, 2, 3):
            finding = found(conductor, evidence=f"report {day}", digest="ab")
            told += tick(conductor, finding, days=day)
            tags.append(conductor.authority.registry.get(NAME, 2).tags[ROLLOUT_TAG])
            tidy(conductor)
        assert told == [
            "version 2 is in canary of 5%", "version 2 is in canary of 50%",
            "version 2 is champion",
        ]  # fmt: skip
        assert tags == ["canary 5%", "canary 50%", "champion"]
        assert champions(conductor.authority) == [(1, "person:olga"), (2, "service:rollout")]
        last = conductor.moves()[-1]
        assert (last.evidence, last.evidence_digest, last.champion) == ("report 3", "ab", 1)

    @pytest.mark.parametrize("stages", [0, 1])
    def test_worse_takes_it_out_in_the_same_tick(self, make: Make, stages: int) -> None:
        conductor = make()
        start(conductor)
        for _ in range(stages):
            tick(conductor, found(conductor))
        said = tick(conductor, found(conductor, "worse"))
        assert stands(conductor) == {2: "rolled_back" if stages else "rejected"}
        assert said == [f"version 2 is {'rolled back' if stages else 'rejected'}: worse: loss."]
        assert champions(conductor.authority) == [(1, "person:olga")]
        tidy(conductor)

    def test_late_labels_take_a_champion_back_in_the_same_tick(self, make: Make) -> None:
        conductor = make()
        to_champion(conductor)
        start(conductor, 3, days=2)
        said = tick(conductor, found(conductor, "worse"), days=3)
        assert said == ["version 2 was rolled back: claims version 1 decides"]
        assert [one for one, _ in champions(conductor.authority)] == [1, 2, 1]
        assert stands(conductor) == {2: "rolled_back", 3: "superseded"}
        tidy(conductor)

    def test_also_in_a_rehearsal(self, make: Make) -> None:
        conductor = make()
        to_champion(conductor)
        tick(conductor, found(conductor, "worse"), days=3, by=REHEARSAL)
        assert [one for one, _ in champions(conductor.authority)] == [1, 2, 1]

    def test_a_champion_that_cannot_go_back_holds_up_no_other_verdict(
        self, make: Make, tmp_path: Path
    ) -> None:
        """The champion before it does not load any more; the canary beside it is worse still."""
        conductor = make(own=True)
        to_champion(conductor)
        start(conductor, 3, days=2)
        tick(conductor, found(conductor, number=3), days=2)
        first = conductor.authority.registry.get(NAME, 1)
        for path in (tmp_path / "artifacts").rglob("*"):
            if path.is_file() and Path(first.source).name in str(path):
                path.unlink()
        both = found(conductor, "worse"), found(conductor, "worse", 3)
        said = tick(conductor, *both, days=3)
        assert stands(conductor)[3] == "rolled_back"
        assert any("version 2" in one for one in said)
        assert champions(conductor.authority)[-1][0] == 2

    def test_ticks_that_are_repeated_move_nothing_and_record_nothing(self, make: Make) -> None:
        conductor = make()
        start(conductor)
        findings = [found(conductor)]
        tick(conductor, *findings)
        before, size = conductor.moves(), log_of(conductor.authority).size()
        for _ in range(3):
            assert tick(conductor, *findings) == []
        assert (conductor.moves(), log_of(conductor.authority).size()) == (before, size)

    def test_what_was_found_of_an_earlier_stage_moves_nothing(self, make: Make) -> None:
        conductor = make()
        start(conductor)
        early = [found(conductor, status) for status in STATUSES]
        tick(conductor, found(conductor))
        before = conductor.moves()
        for one in early:
            assert tick(conductor, replace(one, partitions=20)) == []
        to_late = found(conductor, "worse")
        tick(conductor, found(conductor))
        tick(conductor, found(conductor))
        assert tick(conductor, to_late) == []
        assert conductor.moves()[: len(before)] == before
        assert [one for one, _ in champions(conductor.authority)] == [1, 2]

    def test_a_tick_puts_right_what_a_kill_or_a_hand_left_in_mlflow(self, make: Make) -> None:
        conductor = make()
        to_canary(conductor)
        client = conductor.authority.registry.client
        client.set_registered_model_alias(NAME, CHALLENGER_ALIAS, "3")
        client.set_model_version_tag(NAME, "2", ROLLOUT_TAG, "champion")
        client.set_model_version_tag(NAME, "3", ROLLOUT_TAG, "canary 50%")
        tick(conductor)
        tidy(conductor)
        tags = {
            one.number: one.tags.get(ROLLOUT_TAG)
            for one in conductor.authority.registry.versions(NAME)
        }
        assert tags == {1: None, 2: "canary 5%", 3: ""}

    def test_one_champion_by_the_tags_too(self, make: Make) -> None:
        conductor = make()
        to_champion(conductor, 2, days=1)
        to_champion(conductor, 3, days=2)
        tags = [
            one.number
            for one in conductor.authority.registry.versions(NAME)
            if one.tags.get(ROLLOUT_TAG) == "champion"
        ]
        assert tags == [3]

    def test_an_automation_without_a_rollout_says_so(self, tmp_path: Path) -> None:
        authority = authority_over(registry_at(tmp_path), tmp_path)
        with pytest.raises(AiosError, match="declares no rollout"):
            _ = Conductor(authority).declared


@pytest.mark.loop
class TestStart:
    def test_a_newer_version_takes_the_place(self, make: Make) -> None:
        conductor = make(rollout={"newer": "supersede"})
        to_canary(conductor)
        assert start(conductor, 3, days=1).state == "shadow"
        assert stands(conductor) == {2: "superseded", 3: "shadow"}
        tidy(conductor)

    @pytest.mark.parametrize("newer", ["queue", "supersede"])
    def test_an_older_one_takes_nobodys_place(self, make: Make, newer: str) -> None:
        conductor = make(rollout={"newer": newer})
        start(conductor, 3)
        with pytest.raises(AiosError, match="newer"):
            start(conductor, 2)
        assert stands(conductor) == {3: "shadow"}

    def test_or_waits_and_goes_when_its_turn_comes(self, make: Make) -> None:
        conductor = make(rollout={"newer": "queue"})
        start(conductor)
        assert start(conductor, 3).state == "queued"
        assert tick(conductor) == []
        tick(conductor, found(conductor, "worse"))
        assert tick(conductor) == ["version 3 is in shadow"]
        assert stands(conductor) == {2: "rejected", 3: "shadow"}
        tidy(conductor)

    def test_of_those_that_wait_the_newest_stays(self, make: Make) -> None:
        conductor = make(rollout={"newer": "queue"})
        start(conductor)
        start(conductor, 3)
        newest = enrol_another(conductor)
        assert start(conductor, newest).state == "queued"
        assert queued(conductor.moves()) == [newest]
        with pytest.raises(AiosError, match="newer"):
            start(conductor, 3)
        assert stands(conductor) == {2: "shadow", 3: "superseded", newest: "queued"}

    def test_started_again_it_stays_where_it_is(self, make: Make) -> None:
        conductor = make()
        to_canary(conductor)
        before = conductor.moves()
        assert start(conductor, 2, days=3) == before[-1]
        assert conductor.moves() == before

    def test_not_the_champion_beside_itself(self, make: Make) -> None:
        conductor = make()
        with pytest.raises(AiosError):
            start(conductor, 1)
        assert conductor.moves() == []

    def test_not_without_the_gate(self, make: Make) -> None:
        conductor = make()
        registry = conductor.authority.registry
        registry.set_stage(registry.get(NAME, 2), "rejected")
        with pytest.raises(AiosError, match="did not pass the gate"):
            start(conductor)
        assert conductor.moves() == []

    def test_not_what_does_not_load(self, make: Make, tmp_path: Path) -> None:
        conductor = make(own=True)
        shutil.rmtree(tmp_path / "artifacts")
        with pytest.raises(AiosError):
            start(conductor)
        assert conductor.moves() == []

    @pytest.mark.parametrize("stages", [0, 1])
    def test_not_again_once_it_was_found_worse(self, make: Make, stages: int) -> None:
        conductor = make()
        start(conductor)
        for _ in range(stages):
            tick(conductor, found(conductor))
        tick(conductor, found(conductor, "worse"))
        before = conductor.moves()
        with pytest.raises(AiosError, match="cannot move from"):
            start(conductor)
        assert conductor.moves() == before


@pytest.mark.loop
class TestHands:
    def test_paused_it_decides_nothing_and_stays_until_resumed(self, make: Make) -> None:
        conductor = make()
        to_canary(conductor)
        paused = conductor.pause(OLGA, at=at(1), reason="an incident")
        assert (paused.state, paused.share) == ("paused", 0.05)
        for status in ("better", "not worse", "insufficient"):
            assert tick(conductor, found(conductor, status, partitions=9)) == []
        assert conductor.resume(ALICE, at=at(2), reason="over") == "version 2 is in canary of 5%"
        assert [one.share for one in conductor.moves()] == [0, 0.05, 0.05, 0.05]
        tidy(conductor)

    def test_paused_and_worse_it_ends(self, make: Make) -> None:
        conductor = make()
        to_canary(conductor)
        conductor.pause(OLGA, at=at(1), reason="an incident")
        tick(conductor, found(conductor, "worse"))
        assert stands(conductor) == {2: "rolled_back"}

    def test_a_shadow_is_paused_and_resumed_too(self, make: Make) -> None:
        conductor = make()
        start(conductor)
        conductor.pause(OLGA, at=at(1), reason="an incident")
        assert conductor.resume(ALICE, at=at(2), reason="over") == "version 2 is in shadow"
        with pytest.raises(AiosError, match="not paused"):
            conductor.resume(ALICE, at=at(2), reason="over")

    @pytest.mark.parametrize("deed", ["end", "pause", "resume from shadow", "resume", "advance"])
    def test_by_who_may_not(self, make: Make, deed: str) -> None:
        conductor = make()
        eve = person("eve", "reviewer")
        start(conductor)
        if deed in ("resume", "end"):
            tick(conductor, found(conductor))
        if deed.startswith("resume"):
            conductor.pause(OLGA, at=at(1), reason="an incident")
        before = conductor.moves()
        attempt = getattr(conductor, deed.split()[0])
        to = [To(2, "canary", 0.05)] if deed == "advance" else []
        with pytest.raises(Denied):
            attempt(*to, eve, at=at(2), reason="mine")
        assert conductor.moves() == before

    def test_ended_by_hand(self, make: Make) -> None:
        conductor = make()
        to_canary(conductor)
        assert conductor.end(OLGA, at=at(1), reason="enough").state == "rolled_back"
        with pytest.raises(AiosError, match="no version is under way"):
            conductor.end(OLGA, at=at(1), reason="enough")
        tidy(conductor)

    def test_a_share_is_not_taken_back_by_hand(self, make: Make) -> None:
        conductor = make()
        to_canary(conductor)
        tick(conductor, found(conductor))
        conductor.pause(OLGA, at=at(1), reason="an incident")
        with pytest.raises(AiosError):
            conductor.advance(To(2, "canary", 0.05), ALICE, at=at(2), reason="less")

    def test_blocked_it_waits_where_it_is_and_still_ends(self, make: Make) -> None:
        conductor = replace(make(), blocked=lambda: "the last drill failed")
        start(conductor)
        said = tick(conductor, found(conductor))
        assert "the last drill failed" in said[0]
        assert stands(conductor) == {2: "shadow"}
        conductor = replace(conductor, blocked=lambda: None)
        tick(conductor, found(conductor))
        conductor = replace(conductor, blocked=lambda: "the last drill failed")
        with pytest.raises(AiosError, match="the last drill failed"):
            conductor.advance(To(2, "champion", 1.0), ALICE, at=at(2), reason="now")
        tick(conductor, found(conductor, "worse"))
        assert stands(conductor) == {2: "rolled_back"}

    @pytest.mark.parametrize("looked", [Conductor.advance, Authority.check_step])
    @pytest.mark.parametrize("meanwhile", ["pause", "end"])
    @pytest.mark.parametrize("stage", ["canary", "champion"])
    def test_of_a_step_forward_and_a_hand_that_stops_it_the_hand_wins(
        self,
        make: Make,
        monkeypatch: pytest.MonkeyPatch,
        looked: Callable[..., Any],
        meanwhile: str,
        stage: str,
    ) -> None:
        """Somebody stops it after the tick looked at it, before the tick moves it."""
        conductor = make()
        to_canary(conductor)
        if stage == "champion":
            tick(conductor, found(conductor))
        done: list[Move] = []

        def slowly(self: Any, *given: Any, **more: Any) -> Any:
            if not done:
                done.append(getattr(conductor, meanwhile)(OLGA, at=at(1), reason="an incident"))
            return looked(self, *given, **more)

        whose = Conductor if looked is Conductor.advance else Authority
        monkeypatch.setattr(whose, looked.__name__, slowly)
        said = tick(conductor, found(conductor))
        assert len(done) == 1
        assert "stays" in said[0]
        assert stands(conductor) == {2: "paused" if meanwhile == "pause" else "rolled_back"}
        assert champions(conductor.authority) == [(1, "person:olga")]

    def test_of_a_tick_and_a_hand_that_roll_back_at_once_one_goes_back(
        self, make: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        conductor = make()
        to_champion(conductor, 2, days=1)
        to_champion(conductor, 3, days=2)
        original, done = Authority.rollback, list[Any]()

        def slowly(self: Authority, actor: Any, **given: Any) -> Any:
            if not done:
                done.append(original(self, OLGA, at=at(3), reason="an incident"))
            return original(self, actor, **given)

        monkeypatch.setattr(Authority, "rollback", slowly)
        tick(conductor, found(conductor, "worse", 3), days=4)
        assert [one for one, _ in champions(conductor.authority)] == [1, 2, 3, 2]


def enrol_another(conductor: Conductor) -> int:
    from tests.model_registry.recipes import boosting, enrol

    registry = conductor.authority.registry
    version = enrol(registry, "d", boosting(), lineage={"dataset_digest": "digest of d"})
    registry.set_stage(version, "gated")
    return int(version.number)


def waiting(conductor: Conductor) -> list[Any]:
    return [one for one in requests(log_of(conductor.authority)) if one.state == "open"]


@pytest.mark.loop
class TestApprovals:
    @pytest.mark.parametrize("risk", ["limited", "high"])
    def test_asked_for_once_at_each_declared_step(self, make: Make, risk: str) -> None:
        conductor = make(risk=risk, rollout={"approvals": ["canary", "champion"]})
        start(conductor)
        said = tick(conductor, found(conductor))
        [asked] = waiting(conductor)
        assert said == [f"version 2 waits for an approval: request {asked.number}"]
        assert (asked.step, asked.version, asked.champion) == ("canary", 2, 1)
        assert stands(conductor) == {2: "shadow"}
        approve(conductor.authority, asked.number)
        assert conductor.authority.carry_out() == []
        tick(conductor, found(conductor))
        assert conductor.moves()[-1].approved_by == ("person:bob",)
        assert conductor.moves()[-1].share == 0.05
        tick(conductor, found(conductor))
        assert conductor.moves()[-1].share == 0.5, "a share that grows needs no second one"
        tick(conductor, found(conductor))
        [asked] = waiting(conductor)
        assert asked.step == "champion"
        approve(conductor.authority, asked.number)
        tick(conductor, found(conductor))
        assert champions(conductor.authority)[-1] == (2, "service:rollout")
        assert conductor.moves()[-1].approved_by == ("person:bob",)
        assert {one.state for one in requests(log_of(conductor.authority))} == {"done"}
        tidy(conductor)

    def test_four_eyes_on_high_risk_without_any_declaration(self, make: Make) -> None:
        conductor = make(risk="high")
        to = To(2, "canary", 0.05)
        start(conductor)
        for actor in (ROLLOUT, ALICE):
            said = conductor.advance(to, actor, at=at(1), reason="good")
            assert "waits for an approval" in said
        assert stands(conductor) == {2: "shadow"}
        assert conductor.moves()[-1].share == 0

    def test_the_approval_of_one_step_is_none_of_the_next(self, make: Make) -> None:
        conductor = make(rollout={"approvals": ["champion"]})
        start(conductor)
        authority = conductor.authority
        early = authority.request(2, ALICE, reason="early", step="canary")
        approve(authority, early.number)
        for _ in range(3):
            tick(conductor, found(conductor))
        assert champions(authority) == [(1, "person:olga")]
        assert [one.step for one in waiting(conductor)] == ["champion"]

    def test_while_it_waits_ticks_leave_nothing_on_record(self, make: Make) -> None:
        conductor = make(risk="high")
        start(conductor)
        tick(conductor, found(conductor))
        size = log_of(conductor.authority).size()
        for _ in range(3):
            tick(conductor, found(conductor))
        assert log_of(conductor.authority).size() == size

    def test_nor_where_a_person_is_to_take_the_step(self, make: Make) -> None:
        conductor = make(promotion="manual")
        start(conductor)
        tick(conductor, found(conductor))
        size = log_of(conductor.authority).size()
        for _ in range(3):
            assert tick(conductor, found(conductor))
        assert log_of(conductor.authority).size() == size
        assert conductor.advance(To(2, "canary", 0.05), ALICE, at=at(2), reason="good")
        assert stands(conductor) == {2: "canary"}

    def test_refused_nobody_is_asked_again_for_the_same(self, make: Make) -> None:
        conductor = make(risk="high")
        start(conductor)
        tick(conductor, found(conductor))
        [asked] = waiting(conductor)
        conductor.authority.decide(asked.number, BOB, approve=False, reason="not convinced")
        tick(conductor, found(conductor))
        assert waiting(conductor) == []
        assert stands(conductor)[2] != "canary"

    @pytest.mark.parametrize("status", ["worse", "insufficient"])
    def test_an_approval_given_before_promotes_nothing_that_left_its_rollout(
        self, make: Make, status: str
    ) -> None:
        conductor = make(risk="high")
        authority = conductor.authority
        start(conductor)
        approve(authority, authority.request(2, ALICE, reason="early").number)
        tick(conductor, found(conductor, status, partitions=9))
        assert stands(conductor) == {2: "rejected"}
        for actor in (ALICE, ROLLOUT):
            with pytest.raises(AiosError):
                authority.promote(2, actor, at=at(2), reason="I want it")
        authority.carry_out()
        assert champions(authority) == [(1, "person:olga")]

    def test_nor_what_was_rolled_back_from_its_canary(self, make: Make) -> None:
        conductor = make(risk="high")
        authority = conductor.authority
        start(conductor)
        tick(conductor, found(conductor))
        approve(authority, waiting(conductor)[0].number)
        tick(conductor, found(conductor))
        approve(authority, authority.request(2, ALICE, reason="early").number)
        tick(conductor, found(conductor, "worse"))
        assert stands(conductor) == {2: "rolled_back"}
        with pytest.raises(AiosError):
            authority.promote(2, ALICE, at=at(2), reason="I want it")
        assert champions(authority) == [(1, "person:olga")]

    def test_nor_what_somebody_paused_since(self, make: Make) -> None:
        conductor = make(rollout={"approvals": ["champion"]})
        authority = conductor.authority
        start(conductor)
        for _ in range(3):
            tick(conductor, found(conductor))
        [asked] = waiting(conductor)
        conductor.pause(OLGA, at=at(2), reason="an incident")
        approve(authority, asked.number)
        authority.carry_out()
        assert champions(authority) == [(1, "person:olga")]
        assert stands(conductor) == {2: "paused"}

    def test_overtaken_by_the_end_of_its_rollout(self, make: Make) -> None:
        conductor = make(risk="high")
        start(conductor)
        tick(conductor, found(conductor))
        tick(conductor, found(conductor, "worse"))
        assert any("its rollout has ended" in one for one in conductor.authority.carry_out())
        assert waiting(conductor) == []

    def test_an_approval_stands_beside_the_champion_that_it_was_given_for(self, make: Make) -> None:
        conductor = make(rollout={"approvals": ["champion"]})
        start(conductor)
        for _ in range(3):
            tick(conductor, found(conductor))
        approve(conductor.authority, waiting(conductor)[0].number)
        champion.promote(
            conductor.authority.registry, NAME, 3, at=clock.now(), by="person:olga", reason="now"
        )
        with pytest.raises((Stale, Denied)):
            conductor.authority.promote(2, ROLLOUT, at=clock.now(), reason="late", expected=1)
        assert stands(conductor)[2] == "superseded"

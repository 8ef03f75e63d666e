"""Which decisions wait for people, and for how long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.consequences import decided_rows
from aios.errors import AiosError
from aios.identity.tables import micros
from aios.review.cases import Known, case_id, chosen, decided_by_people, open_seeded
from aios.review.tables import CASES, VERDICTS, salt_of
from tests.aios.review.world import ANN, DAY, HOUR, KEY, NOW, World, loan

pytestmark = pytest.mark.unit


def seed(
    world: World, number: int, answer: str = "block", proposal: str = "approve", key: str = KEY
) -> str:
    """Let a decision be a seeded case; returns its id."""
    decision = f"loans/{key}/{number}@0"
    rows = decided_rows(world.automation, world.lake, key, [decision])
    with world.log.database.writing() as connection:
        known = {decision: Known(answer, proposal)}
        new = open_seeded(
            connection, world.automation, rows, known, now=micros(world.clock()), rehearsed=False
        )
        assert new <= 1
        return case_id(salt_of(connection), decision, seeded=True)


class TestOpening:
    def test_only_decisions_for_review_wait(self, world: World) -> None:
        world.decide([loan(1), loan(2, outcome="approve"), loan(3)])
        assert {case.event for case in world.cases()} == {"1", "3"}

    def test_again_changes_nothing(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        before = world.rows()
        world.clock.forward(HOUR)
        assert world.follow() == 0
        assert world.rows() == before

    def test_what_is_kept(self, world: World) -> None:
        world.decide([loan(1, score=0.3, amount=12.0, region="east")])
        (case,) = world.cases()
        assert (case.decision, case.partition) == (f"loans/{KEY}/1@0", KEY)
        assert (case.rule, case.score, case.model_version) == ("unclear", 0.3, 3)
        assert case.slices == {"region": "east"}
        assert (case.opened_at, case.state, case.holder) == (NOW, "open", None)

    def test_proposals_by_the_first_condition_that_holds(self, world: World) -> None:
        world.decide([loan(1, score=0.2), loan(2, score=0.6)])
        assert [world.case(number).proposal for number in (1, 2)] == ["approve", "block"]

    @pytest.mark.parametrize("score", [None, math.nan])
    def test_a_missing_input_is_no_reason_to_propose_more_than_the_safe(
        self, world: World, score: float | None
    ) -> None:
        world.decide([loan(1, score=score), loan(2, amount=None, rule="missing_input")])
        assert [world.case(number).proposal for number in (1, 2)] == ["block", "block"]
        assert world.case(1).score is None

    def test_due_by_risk(self, world: World) -> None:
        world.decide([loan(1, amount=49_999.0), loan(2, amount=50_000.0), loan(3, amount=None)])
        assert [world.case(n).due_at - NOW for n in (1, 2, 3)] == [2 * DAY, 4 * HOUR, 2 * DAY]

    def test_four_eyes_where_declared_and_where_nobody_can_tell(self, world: World) -> None:
        world.decide([loan(1), loan(2, amount=90_000.0), loan(3, amount=None)])
        assert [world.case(number).four_eyes for number in (1, 2, 3)] == [False, True, True]

    def test_a_condition_that_does_not_suit_its_columns(self, world: World) -> None:
        world.declare(four_eyes="region >= 3")
        with pytest.raises(AiosError, match="a condition cannot be evaluated"):
            world.decide([loan(1)])
        assert world.rows() == []


class TestCauses:
    def test_alike_by_rule_all_that_fired_and_missing_inputs(self, world: World) -> None:
        missing = {"rule": "missing_input", "fired": "missing_input"}
        world.decide(
            [
                loan(1),
                loan(2),
                loan(3, rule="odd", fired="odd,late"),
                loan(4, rule="odd", fired="odd"),
                loan(5, score=None, **missing),
                loan(6, amount=None, **missing),
                loan(7, amount=None, score=math.nan, **missing),
            ]
        )
        causes = {int(case.event): case.cause.partition("; ")[0] for case in world.cases()}
        assert causes == {
            1: "unclear",
            2: "unclear",
            3: "odd of odd, late",
            4: "odd",
            5: "missing_input: score",
            6: "missing_input: amount",
            7: "missing_input: amount score",
        }

    def test_of_one_policy(self, world: World) -> None:
        world.decide([loan(1)])
        assert world.case(1).cause.endswith(f"policy {world.automation.policy.hash[:8]}")

    def test_long_ones_stay_apart(self, world: World) -> None:
        many = ",".join(f"rule_number_{number}" for number in range(60))
        rows = [loan(1, fired=f"{many},one"), loan(2, fired=f"{many},two")]
        world.decide(rows)
        causes = {case.cause for case in world.cases()}
        assert len(causes) == 2
        assert all(len(cause) <= 400 for cause in causes)


class TestLaterRuns:
    def test_what_is_decided_otherwise_does_not_wait(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        world.desk.take(ANN, world.case(1).id)
        world.decide([loan(1, outcome="block"), loan(2)])
        assert [case.event for case in world.cases()] == ["2"]
        (row,) = world.rows(CASES, CASES.c.event == "1")
        assert (row.state, row.holder) == ("superseded", None)
        with pytest.raises(AiosError, match="a later run decided it"):
            world.desk.decide(ANN, row.id, "reject", reason="agreed")

    def test_what_waits_again_is_a_new_case(self, world: World) -> None:
        world.decide([loan(1, amount=95_000.0)])
        case = world.desk.next(ANN)
        assert case
        world.desk.decide(ANN, case.id, "approve", reason="agreed")
        world.decide([loan(1, outcome="block")])
        world.clock.forward(DAY)
        world.decide([loan(1)])
        (again,) = world.cases()
        assert (again.state, again.opened_at) == ("open", world.clock())
        # The verdict was on something else.
        assert world.desk.take(ANN, again.id).holder == "person:ann"

    def test_a_correction_is_another_decision(self, world: World) -> None:
        world.decide([loan(1)])
        world.decide([loan(1, revision=1)])
        assert [case.decision for case in world.cases()] == [f"loans/{KEY}/1@1"]

    def test_shows_what_the_later_run_found(self, world: World) -> None:
        world.decide([loan(1, score=0.4)])
        held = world.desk.take(ANN, world.case(1).id)
        world.decide([loan(1, score=0.6, model_version=4)])
        case = world.case(1)
        assert (case.score, case.model_version, case.proposal) == (0.6, 4, "block")
        assert (case.holder, case.due_at) == ("person:ann", held.due_at)

    def test_what_people_decided_stays(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        verdict = world.desk.decide(
            ANN, world.desk.take(ANN, world.case(1).id).id, "approve", reason="agreed"
        )
        world.decide([loan(1, outcome="block"), loan(2, outcome="block")])
        assert world.effects(1) == {"pay": "pending", "tell": "waiting"}
        assert world.effects(2) == {"refuse": "pending"}
        with world.log.database.reading() as connection:
            assert decided_by_people(connection, "loans", KEY) == {verdict.decision}

    def test_what_timed_out_stays(self, world: World) -> None:
        world.decide([loan(1)])
        world.clock.forward(3 * DAY)
        world.desk.time_out()
        world.follow()
        assert world.effects(1) == {"refuse": "pending"}
        assert world.cases() == []


class TestSeeded:
    def test_nobody_can_tell_it_from_a_real_one(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        seeded = seed(world, 2, answer="block", proposal="approve")
        cases = {case.id: case for case in world.cases()}
        assert len(cases) == 3
        real = world.case(1)
        differ = {
            name for name in vars(real) if getattr(real, name) != getattr(cases[seeded], name)
        }
        assert differ == {"id", "decision", "event"}

    def test_each_decision_once(self, world: World) -> None:
        world.decide([loan(1)])
        seed(world, 1)
        seed(world, 1)
        assert len(world.cases()) == 2

    def test_is_no_verdict_on_the_decision(self, world: World) -> None:
        world.decide([loan(1)])
        case = world.desk.take(ANN, seed(world, 1))
        world.desk.decide(ANN, case.id, "approve", reason="agreed")
        assert world.effects() == {}
        assert [case.state for case in world.cases()] == ["open"]
        with world.log.database.reading() as connection:
            assert decided_by_people(connection, "loans", KEY) == set()
        assert [row.in_effect for row in world.rows(VERDICTS)] == [False]

    def test_a_later_run_leaves_it(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        seeded = seed(world, 1)
        world.decide([loan(1, outcome="block"), loan(2)])
        assert seeded in {case.id for case in world.cases()}


@given(st.binary(min_size=16, max_size=16), st.floats(0, 0.5))
def test_shares_are_kept_whoever_asks(salt: bytes, share: float) -> None:
    ids = [case_id(salt, f"a/p/{number}@0") for number in range(400)]
    picked = [one for one in ids if chosen(salt, "hidden", one, share)]
    assert picked == [one for one in ids if chosen(salt, "hidden", one, share)]
    assert abs(len(picked) / 400 - share) < 5 * math.sqrt(0.25 / 400)


def test_shares_of_two_purposes_are_independent() -> None:
    ids = [case_id(b"s" * 16, f"a/p/{number}@0") for number in range(4000)]
    both = [one for one in ids if chosen(b"s", "x", one, 0.5) and chosen(b"s", "y", one, 0.5)]
    assert 900 < len(both) < 1100

"""Cases that take more than one person, and those that show no proposal."""

from __future__ import annotations

import pytest

from aios.errors import AiosError
from aios.identity.access import Denied
from aios.review.queue import verdicts_seen
from tests.aios.review.world import (
    ANN,
    BOB,
    CID,
    EVE,
    FAY,
    World,
    loan,
    person,
    took,
)

pytestmark = pytest.mark.unit


class TestHidden:
    def test_no_proposal_and_no_score(self, world: World) -> None:
        world.declare(hidden=1.0)
        world.decide([loan(1)])
        case = world.desk.next(ANN)
        assert case
        assert (case.proposal, case.score, case.shown) == (None, None, False)
        with pytest.raises(AiosError, match="its proposal is not shown"):
            world.desk.decide(ANN, case.id, "approve", reason="agreed")
        world.desk.decide(ANN, case.id, "change", outcome="approve", reason="agreed")
        assert world.effects() == {"pay": "pending", "tell": "waiting"}
        assert not world.leaves("verdict")[0].body["shown"]


class TestFourEyes:
    def test_an_approval_waits_for_another_who_sees_it(self, world: World) -> None:
        world.decide([loan(1, amount=95_000.0)])
        case = took(world, 1)
        world.desk.decide(ANN, case, "approve", reason="agreed", comment="looks fine")
        assert (world.case(1).state, world.effects()) == ("second", {})
        assert world.desk.next(ANN) is None
        with pytest.raises(Denied, match="second_person"):
            world.desk.take(ANN, case)
        (seen,) = verdicts_seen(world.log.database, case, BOB)
        assert (seen.reviewer, seen.comment) == ("person:ann", "looks fine")
        assert world.desk.next(BOB)
        world.desk.decide(BOB, case, "approve", reason="agreed")
        assert world.effects() == {"pay": "pending", "tell": "waiting"}
        assert [leaf.body["state"] for leaf in world.leaves("verdict")] == ["second", "closed"]

    def test_disagreement_goes_to_an_approver(self, world: World) -> None:
        world.decide([loan(1, amount=95_000.0)])
        case = took(world, 1)
        world.desk.decide(ANN, case, "approve", reason="agreed")
        world.desk.decide(BOB, took(world, 1, BOB), "reject", reason="wrong_data")
        assert (world.case(1).state, world.effects()) == ("escalated", {})
        assert world.desk.next(CID) is None
        with pytest.raises(AiosError, match="it waits for an approver"):
            world.desk.take(CID, case)
        taken = world.desk.next(EVE)
        assert taken
        assert taken.id == case
        world.desk.decide(EVE, case, "approve", reason="agreed")
        assert world.effects() == {"pay": "pending", "tell": "waiting"}

    def test_a_rejection_needs_one(self, world: World) -> None:
        world.decide([loan(1, amount=95_000.0)])
        world.desk.decide(ANN, took(world, 1), "reject", reason="agreed")
        assert world.effects() == {"refuse": "pending"}

    def test_undoing_the_first_lets_all_begin_again(self, world: World) -> None:
        world.decide([loan(1, amount=95_000.0)])
        first = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        took(world, 1, BOB)
        (case,) = world.desk.undo(ANN, first.id)
        assert (case.state, case.holder) == ("open", "person:ann")
        with pytest.raises(AiosError, match="person:ann holds it"):
            world.desk.decide(BOB, case.id, "approve", reason="agreed")

    def test_undoing_the_second_leaves_the_first(self, world: World) -> None:
        world.decide([loan(1, amount=95_000.0)])
        first = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        second = world.desk.decide(BOB, took(world, 1, BOB), "approve", reason="agreed")
        with pytest.raises(AiosError, match="person:bob gave a later verdict"):
            world.desk.undo(ANN, first.id)
        (case,) = world.desk.undo(BOB, second.id)
        assert (case.state, case.holder) == ("second", "person:bob")
        assert set(world.effects().values()) == {"cancelled"}


class TestDouble:
    @pytest.fixture
    def world(self, world: World) -> World:
        world.declare(double=1.0)
        world.decide([loan(1)])
        return world

    def test_the_second_sees_nothing_of_the_first(self, world: World) -> None:
        case = took(world, 1)
        before = world.case(1)
        assert (before.shown, before.proposal, before.score) == (False, None, None)
        world.desk.decide(ANN, case, "change", outcome="partly", reason="agreed")
        assert verdicts_seen(world.log.database, case, BOB) == []
        assert len(verdicts_seen(world.log.database, case, ANN)) == 1
        assert (world.case(1).state, world.case(1).shown) == ("open", before.shown)
        assert [case.event for case in world.cases(state="open")] == ["1"]
        assert world.cases(state="second") == []

    def test_agreement_is_in_effect(self, world: World) -> None:
        case = took(world, 1)
        world.desk.decide(ANN, case, "reject", reason="agreed")
        assert world.effects() == {}
        world.desk.decide(BOB, took(world, 1, BOB), "reject", reason="agreed")
        assert world.effects() == {"refuse": "pending"}
        assert len(verdicts_seen(world.log.database, case, BOB)) == 2

    def test_disagreement_is_escalated(self, world: World) -> None:
        case = took(world, 1)
        world.desk.decide(ANN, case, "reject", reason="agreed")
        world.desk.decide(BOB, took(world, 1, BOB), "change", outcome="approve", reason="agreed")
        assert (world.case(1).state, world.effects()) == ("escalated", {})
        assert len(verdicts_seen(world.log.database, case, EVE)) == 2


class TestEscalating:
    def test_by_a_reviewer(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1, FAY)
        verdict = world.desk.decide(FAY, case, "escalate", reason="wrong_data")
        assert (verdict.outcome, world.case(1).state) == (None, "escalated")
        # An approver does not hand a case to themselves.
        assert world.desk.next(FAY) is None
        world.desk.decide(EVE, took(world, 1, EVE), "reject", reason="agreed")
        assert world.effects() == {"refuse": "pending"}

    def test_a_role_that_was_taken_away(self, world: World) -> None:
        world.decide([loan(1)])
        world.desk.decide(ANN, took(world, 1), "escalate", reason="agreed")
        case = took(world, 1, EVE)
        with pytest.raises(AiosError, match="it waits for an approver"):
            world.desk.decide(person("eve", "reviewer"), case, "reject", reason="agreed")

"""Deciding and undoing one case."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aios.errors import AiosError
from aios.review.queue import verdicts_by
from aios.review.tables import CASES, VERDICTS
from tests.aios.review.test_cases import seed
from tests.aios.review.world import (
    ANN,
    BOB,
    DAY,
    EVE,
    HOUR,
    KEY,
    MINUTE,
    NOW,
    World,
    loan,
    took,
)

pytestmark = pytest.mark.unit


class TestDeciding:
    @pytest.mark.parametrize(
        ("verdict", "outcome", "decided", "effects"),
        [
            ("approve", None, "approve", {"pay": "pending", "tell": "waiting"}),
            ("change", "partly", "partly", {}),
            ("reject", None, "block", {"refuse": "pending"}),
        ],
    )
    def test_each_verdict(
        self, world: World, verdict: str, outcome: str | None, decided: str, effects: dict
    ) -> None:
        world.decide([loan(1)])
        given = world.desk.decide(
            ANN, took(world, 1), verdict, outcome=outcome, reason="agreed", comment="fine"
        )
        assert (given.outcome, given.verdict, given.comment) == (decided, verdict, "fine")
        assert given.final_at == NOW + 5 * MINUTE
        (case,) = world.rows()
        assert (case.state, case.outcome, case.holder) == ("closed", decided, None)
        assert world.effects() == effects

    def test_effects_wait_for_the_undo_window(self, world: World) -> None:
        from aios.actions.tables import ACTIONS

        world.decide([loan(1)])
        verdict = world.desk.decide(ANN, took(world, 1), "reject", reason="agreed")
        (action,) = world.rows(ACTIONS)
        assert action.due_at == world.rows(VERDICTS)[0].final_at
        assert verdict.final_at == NOW + 5 * MINUTE
        assert json.loads(action.payload) == {"loan": 1, "outcome": "block"}

    def test_the_record_says_it_without_the_comment(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        world.clock.forward(MINUTE)
        world.desk.decide(ANN, case, "approve", reason="agreed", comment="Mrs Smith phoned")
        (leaf,) = world.leaves("verdict")
        assert leaf.actor == "person:ann"
        assert b"Smith" not in leaf.leaf
        body = leaf.body
        assert body.pop("access_digest") == world.desk.access.digest
        assert len(body.pop("comment")) == 32
        assert body == {
            "case": case,
            "decision": f"loans/{KEY}/1@0",
            "verdict": "approve",
            "outcome": "approve",
            "reason": "agreed",
            "state": "closed",
            "seconds": 60,
            "shown": True,
            "seeded": False,
            "rehearsed": False,
            "rules": ["reviewer_reviews"],
        }

    @pytest.mark.parametrize(
        ("verdict", "options", "message"),
        [
            ("praise", {}, "'praise' is no verdict"),
            ("approve", {"reason": "mood"}, "'mood' is no declared reason"),
            ("approve", {"outcome": "block"}, "'approve' takes no outcome"),
            ("change", {}, "an outcome is missing"),
            ("change", {"outcome": "pay"}, "'pay' is no declared outcome"),
            ("change", {"outcome": "approve"}, "'approve' is what is proposed"),
            ("reject", {"comment": "x" * 4001}, "the comment has 4001 characters"),
        ],
    )
    def test_what_does_not_suit(
        self, world: World, verdict: str, options: dict[str, Any], message: str
    ) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        with pytest.raises(AiosError, match=message):
            world.desk.decide(ANN, case, verdict, **{"reason": "agreed", **options})
        assert world.leaves() == []
        assert world.case(1).holder == "person:ann"

    def test_decided_already(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        world.desk.decide(ANN, case, "reject", reason="agreed")
        said = "it is decided already: block, by person:ann at 2024-03-04 12:00:00"
        with pytest.raises(AiosError, match=said):
            world.desk.decide(BOB, case, "approve", reason="agreed")
        with pytest.raises(AiosError, match=said):
            world.desk.take(BOB, case)

    def test_a_failing_effect_leaves_everything_as_it_was(self, world: World) -> None:
        world.decide([loan(1, amount=12.0)])
        case = took(world, 1)
        path = world.automation.folder / "effects.py"
        path.write_text("def tell(decision):\n    raise ValueError(1)\n\n\npay = back = tell\n")
        import sys

        for name in [one for one in sys.modules if one.endswith(".effects")]:
            del sys.modules[name]
        with pytest.raises(AiosError, match="raised ValueError"):
            world.desk.decide(ANN, case, "reject", reason="agreed")
        assert (world.leaves(), world.effects()) == ([], {})
        assert world.case(1).holder == "person:ann"

    def test_rehearsed_effects_are_only_shown(self, world: World) -> None:
        world.decide([loan(1)], rehearsed=True)
        verdict = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        assert world.effects() == {"pay": "dry_run", "tell": "dry_run"}
        world.desk.undo(ANN, verdict.id)
        assert set(world.effects().values()) <= {"cancelled"}


class TestUndoing:
    def test_within_the_window(self, world: World) -> None:
        world.decide([loan(1)])
        verdict = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        world.clock.forward(5 * MINUTE - MINUTE / 60)
        (case,) = world.desk.undo(ANN, verdict.id)
        assert (case.state, case.outcome, case.holder) == ("open", None, "person:ann")
        assert set(world.effects().values()) == {"cancelled"}
        assert verdicts_by(world.log.database, ANN, since=NOW) == []
        (leaf,) = world.leaves("verdict_undone")
        assert leaf.body["verdicts"] == [verdict.leaf]
        again = world.desk.decide(ANN, case.id, "reject", reason="agreed")
        assert world.effects()["refuse"] == "pending"
        assert verdicts_by(world.log.database, ANN, since=NOW) == [again]

    def test_too_late(self, world: World) -> None:
        world.decide([loan(1)])
        verdict = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        world.clock.forward(5 * MINUTE)
        with pytest.raises(AiosError, match=r"final since 2024-03-04 12:05:00(.|\n)*Override"):
            world.desk.undo(ANN, verdict.id)
        assert world.effects() == {"pay": "pending", "tell": "waiting"}

    def test_anothers(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        verdict = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        with pytest.raises(AiosError, match="it is person:ann's"):
            world.desk.undo(BOB, verdict.id)
        (case,) = world.desk.undo(EVE, verdict.id)
        assert case.holder == "person:eve"

    def test_twice(self, world: World) -> None:
        world.decide([loan(1)])
        verdict = world.desk.decide(ANN, took(world, 1), "approve", reason="agreed")
        world.desk.undo(ANN, verdict.id)
        with pytest.raises(AiosError, match="it was taken back at"):
            world.desk.undo(ANN, verdict.id)
        with pytest.raises(AiosError, match="there is no verdict 'x'"):
            world.desk.undo(ANN, "x")

    def test_a_seeded_one_looks_the_same(self, world: World) -> None:
        world.decide([loan(1), loan(2)])
        seeded, real = seed(world, 2), world.case(1).id
        shown = []
        for case in (seeded, real):
            world.desk.take(ANN, case)
            verdict = world.desk.decide(ANN, case, "approve", reason="agreed")
            (again,) = world.desk.undo(ANN, verdict.id)
            shown.append((verdict.outcome, verdict.final_at, again.state, again.holder))
        assert shown[0] == shown[1]
        assert all("/1@" in row.decision for row in world.rows(VERDICTS, VERDICTS.c.in_effect))


def test_undoing_a_seeded_one_leaves_what_its_decision_caused(world: World) -> None:
    world.decide([loan(1, outcome="approve")])
    case = world.desk.take(ANN, seed(world, 1))
    world.desk.undo(ANN, world.desk.decide(ANN, case.id, "reject", reason="agreed").id)
    assert world.effects() == {"pay": "pending", "tell": "waiting"}


def test_a_preview_of_what_an_outcome_causes(world: World) -> None:
    world.decide([loan(1, amount=70.0)])
    case = world.case(1).id
    assert [(one.type, one.payload) for one in world.desk.preview(case, "approve")] == [
        ("pay", {"loan": 1, "amount": 70.0}),
        ("tell", {"loan": 1, "outcome": "approve"}),
    ]
    assert world.desk.preview(case, "partly") == []
    assert world.desk.facts(case)["log_amount"] > 4
    assert world.effects() == {}


def test_the_record_verifies_after_a_day(world: World) -> None:
    world.decide([loan(number) for number in range(4)])
    for number in range(3):
        verdict = world.desk.decide(ANN, took(world, number), "approve", reason="agreed")
    world.desk.undo(ANN, verdict.id)
    world.clock.forward(3 * DAY)
    assert world.desk.time_out() == 2
    assert [row.state for row in world.rows(CASES)] == ["closed"] * 4
    assert world.log.verify().problems == []
    world.clock.forward(HOUR)
    assert world.desk.time_out() == 0

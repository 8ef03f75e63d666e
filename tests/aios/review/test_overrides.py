"""Decisions in effect, decided otherwise."""

from __future__ import annotations

import pytest

from aios.actions.tables import ACTIONS
from aios.errors import AiosError
from aios.identity.access import Denied
from aios.identity.actors import REHEARSAL
from aios.record.batches import record_decisions
from aios.review.cases import decided_by_people
from aios.review.queue import verdicts_on
from aios.review.tables import CASES, VERDICTS
from tests.aios.review.world import ANN, BOB, EVE, KEY, MINUTE, World, loan

pytestmark = pytest.mark.unit

FIRST, SECOND = f"loans/{KEY}/1@0", f"loans/{KEY}/2@0"


@pytest.fixture
def world(world: World) -> World:
    """One loan that the policy approved, and one that waits."""
    world.decide([loan(1, outcome="approve", rule="small_and_safe"), loan(2)])
    return world


def done(world: World) -> None:
    """Let all that is pending be done, as a worker would."""
    with world.log.database.writing() as connection:
        connection.execute(ACTIONS.update().values(state="done", receipt="{}", ended_at=1))


def test_an_automatic_decision(world: World) -> None:
    done(world)
    verdict = world.desk.override(ANN, FIRST, "block", reason="wrong_data", comment="x")
    assert (verdict.case, verdict.outcome, verdict.verdict) == (None, "block", "override")
    assert verdict.final_at == world.clock()
    effects = world.effects(1)
    # The refusal is told when the payment is undone.
    assert (effects["claim_back"], effects["refuse"]) == ("pending", "waiting")
    (leaf,) = world.leaves("override")
    assert (leaf.body["before"], leaf.body["outcome"]) == ("approve", "block")
    assert leaf.body["rules"] == ["reviewer_overrides"]
    with world.log.database.reading() as connection:
        assert FIRST in decided_by_people(connection, "loans", KEY)


def test_a_later_run_leaves_it(world: World) -> None:
    world.desk.override(ANN, FIRST, "block", reason="wrong_data")
    before = world.effects(1)
    world.follow()
    assert world.effects(1) == before


def test_and_back(world: World) -> None:
    world.desk.override(ANN, FIRST, "block", reason="wrong_data")
    world.desk.override(BOB, FIRST, "approve", reason="wrong_data")
    paid = world.rows(ACTIONS, ACTIONS.c.type == "pay")
    assert sorted(row.state for row in paid) == ["cancelled", "pending"]
    assert [one.outcome for one in verdicts_on(world.log.database, FIRST)] == ["block", "approve"]


def test_a_reviewed_one_within_its_undo_window(world: World) -> None:
    case = world.desk.take(ANN, world.case(2).id)
    verdict = world.desk.decide(ANN, case.id, "approve", reason="agreed")
    given = world.desk.override(BOB, SECOND, "block", reason="wrong_data")
    assert given.case == case.id
    assert world.effects(2) == {"pay": "cancelled", "tell": "cancelled", "refuse": "pending"}
    (row,) = world.rows(CASES, CASES.c.id == case.id)
    assert (row.state, row.outcome) == ("closed", "block")
    with pytest.raises(AiosError, match="person:bob gave a later verdict"):
        world.desk.undo(ANN, verdict.id)
    # The first never became final.
    assert [one.outcome for one in verdicts_on(world.log.database, SECOND)] == ["block"]


def test_what_cannot_be_overridden(world: World) -> None:
    for decision, outcome, said in (
        (SECOND, "block", "it waits for a verdict"),
        (FIRST, "approve", "'approve' is in effect already, by the policy"),
        (FIRST, "review", "'review' is no declared outcome"),
        (f"loans/{KEY}/9@0", "block", "there is no decision loans/2024-02-26/9@0"),
        (f"loans/{KEY}/1@1", "block", "there is no decision"),
        ("loans", "block", "'loans' is no decision"),
        ("x/2024-02-26/1@0", "block", "there is no automation 'x'"),
    ):
        with pytest.raises(AiosError, match=said):
            world.desk.override(ANN, decision, outcome, reason="agreed")
    with pytest.raises(AiosError, match="'mood' is no declared reason"):
        world.desk.override(ANN, FIRST, "block", reason="mood")
    assert world.rows(VERDICTS) == []


def test_only_by_a_reviewer(world: World) -> None:
    with pytest.raises(Denied):
        world.desk.override(EVE, FIRST, "block", reason="agreed")
    assert [leaf.kind for leaf in world.leaves()] == ["denied"]


def test_it_cannot_be_undone(world: World) -> None:
    verdict = world.desk.override(ANN, FIRST, "block", reason="agreed")
    with pytest.raises(AiosError, match="'override' cannot be undone"):
        world.desk.undo(ANN, verdict.id)


def test_no_way_around_four_eyes(world: World) -> None:
    world.decide([loan(1, amount=95_000.0), loan(2, amount=95_000.0, outcome="block")])
    case = world.desk.take(ANN, world.case(1).id)
    world.desk.decide(ANN, case.id, "reject", reason="agreed")
    world.clock.forward(6 * MINUTE)
    for decision in (FIRST, SECOND):
        with pytest.raises(AiosError, match="takes two people"):
            world.desk.override(ANN, decision, "approve", reason="agreed")


def test_a_rehearsed_decision_acts_as_little(world: World) -> None:
    key, loans = "2024-02-19", [loan(1, outcome="block", rule="risky")]
    world.decide(loans, key, rehearsed=True)
    record_decisions(world.log, world.lake, "loans", key, str(REHEARSAL))
    world.desk.override(ANN, f"loans/{key}/1@0", "approve", reason="agreed")
    rows = world.rows(ACTIONS, ACTIONS.c.partition == key)
    assert {row.type: row.state for row in rows} == {
        "refuse": "cancelled",
        "pay": "dry_run",
        "tell": "dry_run",
    }

"""What happens where nobody decides in time."""

from __future__ import annotations

import pytest

from aios.actions.tables import ACTIONS
from aios.errors import AiosError
from aios.review.tables import CASES, VERDICTS
from tests.aios.review.test_cases import seed
from tests.aios.review.world import ANN, BOB, DAY, HOUR, KEY, MINUTE, World, loan

pytestmark = pytest.mark.unit


def test_the_safe_outcome_at_its_time(world: World) -> None:
    world.decide([loan(1, amount=60_000.0), loan(2)])
    world.clock.forward(4 * HOUR - MINUTE)
    assert world.desk.time_out() == 0
    world.clock.forward(MINUTE)
    assert world.desk.time_out() == 1
    (row,) = world.rows(CASES, CASES.c.event == "1")
    assert (row.state, row.outcome) == ("closed", "block")
    assert world.effects() == {"refuse": "pending"}
    (leaf,) = world.leaves()
    assert (leaf.actor, leaf.body["verdict"]) == ("service:desk", "time_out")
    assert world.desk.time_out() == 0


def test_what_somebody_holds_waits_for_the_lease(world: World) -> None:
    world.decide([loan(1)])
    world.clock.forward(2 * DAY - MINUTE)
    case = world.desk.take(ANN, world.case(1).id)
    world.clock.forward(10 * MINUTE)
    assert world.desk.time_out() == 0
    world.desk.decide(ANN, case.id, "approve", reason="agreed")
    assert world.desk.time_out() == 0
    assert world.effects() == {"pay": "pending", "tell": "waiting"}


def test_what_waits_for_a_second_person_is_not_approved(world: World) -> None:
    world.decide([loan(1, amount=95_000.0), loan(2)])
    for case, verdict in ((world.case(1), "approve"), (world.case(2), "escalate")):
        world.desk.take(ANN, case.id)
        world.desk.decide(ANN, case.id, verdict, reason="agreed")
    world.clock.forward(3 * DAY)
    assert world.desk.time_out() == 2
    assert {row.outcome for row in world.rows()} == {"block"}
    assert [row.type for row in world.rows(ACTIONS)] == ["refuse", "refuse"]


def test_cannot_be_undone_but_overridden(world: World) -> None:
    world.decide([loan(1)])
    world.clock.forward(3 * DAY)
    world.desk.time_out()
    (row,) = world.rows(VERDICTS)
    with pytest.raises(AiosError, match=r"'time_out' cannot be undone(.|\n)*Override"):
        world.desk.undo(ANN, row.id)
    world.desk.override(BOB, f"loans/{KEY}/1@0", "approve", reason="agreed")
    assert world.effects()["pay"] == "pending"


def test_seeded_ones_end_without_effect(world: World) -> None:
    world.decide([loan(1, outcome="approve")])
    seed(world, 1)
    world.clock.forward(3 * DAY)
    assert world.desk.time_out() == 1
    assert world.effects() == {"pay": "pending", "tell": "waiting"}


def test_one_that_fails_does_not_keep_others(world: World) -> None:
    world.decide([loan(1)])
    world.decide([loan(2)], key="2024-02-19")
    world.lake.path("features", "2024-02-19").unlink()
    world.clock.forward(3 * DAY)
    with pytest.raises(AiosError, match="1 partition"):
        world.desk.time_out()
    assert {row.event: row.state for row in world.rows()} == {"1": "closed", "2": "open"}


def test_more_than_one_transaction_takes(world: World) -> None:
    world.decide([loan(number) for number in range(600)])
    world.clock.forward(3 * DAY)
    assert world.desk.time_out() == 600
    assert len(world.leaves()) == len(world.rows(ACTIONS)) == 600

"""The queue as the console shows it."""

from __future__ import annotations

import pytest

from aios.errors import AiosError
from aios.review.queue import case_of_decision, get_case, queue, verdicts_seen
from tests.aios.review.test_cases import seed
from tests.aios.review.world import ANN, BOB, HOUR, KEY, World, loan

pytestmark = pytest.mark.unit


@pytest.fixture
def world(world: World) -> World:
    world.decide([loan(number, amount=60_000.0 if number == 7 else 1.0) for number in range(12)])
    return world


def test_pages_by_due_time_have_each_case_once(world: World) -> None:
    seen, after = [], None
    while True:
        page = queue(world.log.database, now=world.clock(), limit=5, after=after)
        assert page.total == 12
        seen += page.cases
        after = page.after
        if after is None:
            break
    assert len({case.id for case in seen}) == len(seen) == 12
    assert seen == sorted(seen, key=lambda case: (case.due_at, case.id))
    assert seen[0].event == "7"


def test_a_page_that_is_just_full_is_the_last(world: World) -> None:
    assert queue(world.log.database, now=world.clock(), limit=12).after is None


def test_filters(world: World) -> None:
    world.decide([loan(99, rule="odd", fired="odd")], key="2024-02-19")
    world.desk.take(ANN, world.case(3).id)
    assert [case.event for case in world.cases(mine=ANN)] == ["3"]
    assert world.cases(mine=BOB) == []
    assert [case.event for case in world.cases(cause=world.case(99).cause)] == ["99"]
    assert len(world.cases(automation="loans")) == 13
    assert world.cases(automation="other") == []
    world.desk.decide(ANN, world.case(3).id, "escalate", reason="agreed")
    assert [case.event for case in world.cases(state="escalated")] == ["3"]
    world.clock.forward(4 * HOUR)
    assert [case.event for case in world.cases(overdue=True)] == ["7"]


def test_a_lease_that_is_over_is_nobodys(world: World) -> None:
    world.desk.take(ANN, world.case(3).id)
    world.clock.forward(HOUR)
    assert world.cases(mine=ANN) == []
    assert (world.case(3).holder, world.case(3).held_until) == (None, None)


@pytest.mark.parametrize("after", ["x", "1", "12.", ".a", "1;drop.b"])
def test_a_page_of_nowhere(world: World, after: str) -> None:
    with pytest.raises(AiosError, match="is of no page"):
        queue(world.log.database, now=world.clock(), after=after)
    with pytest.raises(AiosError, match="1 to 500"):
        queue(world.log.database, now=world.clock(), limit=0)


def test_the_case_of_a_decision(world: World) -> None:
    seed(world, 5)
    found = case_of_decision(world.log.database, f"loans/{KEY}/5@0", now=world.clock())
    assert found
    assert get_case(world.log.database, found.id, now=world.clock()) == found
    world.desk.take(ANN, found.id)
    assert world.desk.decide(ANN, found.id, "reject", reason="agreed").case == found.id
    assert case_of_decision(world.log.database, "x", now=world.clock()) is None
    with pytest.raises(AiosError, match="there is no case"):
        verdicts_seen(world.log.database, "x", ANN)

"""Who holds which case, and until when."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from aios.errors import AiosError
from aios.identity.access import Denied
from aios.identity.actors import WORKER
from aios.review.tables import VERDICTS
from tests.aios.review.world import (
    ANN,
    BOB,
    MINUTE,
    NOW,
    World,
    loan,
    person,
    took,
)

pytestmark = pytest.mark.unit


class TestTaking:
    def test_the_most_urgent_first(self, world: World) -> None:
        world.decide([loan(1), loan(2, amount=60_000.0), loan(3)])
        first, second = world.desk.next(ANN), world.desk.next(BOB)
        assert first
        assert second
        assert (first.event, first.holder) == ("2", "person:ann")
        assert second.event in {"1", "3"}
        assert first.held_until == NOW + 15 * MINUTE

    def test_none_left(self, world: World) -> None:
        world.decide([loan(1)])
        assert world.desk.next(ANN, "loans")
        assert world.desk.next(BOB) is None

    def test_held_by_another(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        with pytest.raises(AiosError, match="person:ann holds it until 2024-03-04 12:15:00"):
            world.desk.take(BOB, case)
        with pytest.raises(AiosError, match="person:ann holds it"):
            world.desk.decide(BOB, case, "reject", reason="agreed")

    def test_a_lease_that_ran_out_gives_it_back(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        world.clock.forward(15 * MINUTE)
        assert world.case(1).holder is None
        with pytest.raises(AiosError, match=r"the lease ended at 2024-03-04 12:15:00"):
            world.desk.decide(ANN, case, "reject", reason="agreed")
        assert world.desk.take(BOB, case).holder == "person:bob"
        with pytest.raises(AiosError, match="person:bob holds it"):
            world.desk.keep(ANN, case)

    def test_keeping_it_longer(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        world.clock.forward(10 * MINUTE)
        assert world.desk.keep(ANN, case).held_until == NOW + 25 * MINUTE
        verdict = world.desk.decide(ANN, case, "reject", reason="agreed")
        # Keeping it does not hide how long it took.
        (leaf,) = world.leaves("verdict")
        assert leaf.body["seconds"] == 600
        assert world.rows(VERDICTS, VERDICTS.c.id == verdict.id)[0].held_at is not None

    def test_putting_it_back(self, world: World) -> None:
        world.decide([loan(1)])
        case = took(world, 1)
        world.desk.put_back(ANN, case)
        with pytest.raises(AiosError, match="person:ann does not hold it"):
            world.desk.decide(ANN, case, "reject", reason="agreed")
        assert world.desk.take(BOB, case).holder == "person:bob"

    def test_many_reviewers_at_once_never_hold_the_same(self, world: World) -> None:
        world.decide([loan(number) for number in range(40)])
        people = [person(f"r{number}") for number in range(5)]

        def takes(who: int) -> list[str]:
            cases = [world.desk.next(people[who]) for _ in range(8)]
            return [case.id for case in cases if case]

        with ThreadPoolExecutor(5) as pool:
            held = [case for cases in pool.map(takes, range(5)) for case in cases]
        assert len(held) == len(set(held)) == 40

    def test_only_people_with_a_role(self, world: World) -> None:
        world.decide([loan(1)])
        case = world.case(1).id
        for actor in (person("olga", "operator"), WORKER):
            with pytest.raises(Denied):
                world.desk.take(actor, case)
            with pytest.raises(Denied):
                world.desk.next(actor, "loans")
        assert len(world.leaves("denied")) == 4

    def test_unknown(self, world: World) -> None:
        for act in (world.desk.take, world.desk.keep, world.desk.put_back):
            with pytest.raises(AiosError, match="there is no case 'x'"):
                act(ANN, "x")
        with pytest.raises(AiosError, match="there is no automation 'y'"):
            world.desk.next(ANN, "y")

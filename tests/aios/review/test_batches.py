"""One verdict on many cases."""

from __future__ import annotations

import pytest

from aios.actions.tables import ACTIONS
from aios.digest import json_digest
from aios.errors import AiosError
from aios.identity.access import Denied
from aios.review.queue import counts
from aios.review.tables import CASES, VERDICTS
from tests.aios.review.test_cases import seed
from tests.aios.review.world import ANN, BOB, HOUR, MINUTE, NOW, World, loan, person

pytestmark = pytest.mark.unit

OTHER = {"rule": "odd", "fired": "odd"}


@pytest.fixture
def world(world: World) -> World:
    """Three cases of one cause, of which one has four eyes; and one of another cause."""
    world.decide([loan(1), loan(2, score=0.7), loan(3, amount=95_000.0), loan(4, **OTHER)])
    return world


def test_only_cases_of_the_cause_that_need_no_look_of_their_own(world: World) -> None:
    cause = world.case(1).cause
    batch = world.desk.decide_all(ANN, "loans", cause, "approve", reason="agreed", comment="x")
    assert dict(batch.outcomes) == {"approve": 1, "block": 1}
    assert {case.event for case in world.cases()} == {"3", "4"}
    assert world.effects(1) == {"pay": "pending", "tell": "waiting"}
    assert world.effects(2) == {"refuse": "pending"}
    assert batch.final_at == NOW + 5 * MINUTE
    assert len({row.due_at for row in world.rows(ACTIONS)}) == 1


def test_one_leaf_for_all(world: World) -> None:
    cause = world.case(1).cause
    cases = sorted(world.case(number).id for number in (1, 2))
    world.desk.decide_all(ANN, "loans", cause, "reject", reason="agreed")
    (leaf,) = world.leaves()
    assert (leaf.kind, leaf.body["count"]) == ("verdicts", 2)
    assert leaf.body["cases"] == json_digest(cases)
    assert {row.leaf for row in world.rows(VERDICTS)} == {leaf.index}
    assert len({row.batch for row in world.rows(VERDICTS)}) == 1


def test_undone_together(world: World) -> None:
    cause = world.case(1).cause
    batch = world.desk.decide_all(ANN, "loans", cause, "approve", reason="agreed")
    cases = world.desk.undo(ANN, batch.id)
    assert {case.holder for case in cases} == {None}
    assert len(world.cases()) == 4
    assert {row.state for row in world.rows(ACTIONS)} == {"cancelled"}


def test_undone_one_of_them(world: World) -> None:
    batch = world.desk.decide_all(ANN, "loans", world.case(1).cause, "approve", reason="agreed")
    one = world.rows(VERDICTS, VERDICTS.c.event == "1")[0]
    world.desk.undo(ANN, one.id)
    assert {row.state for row in world.rows(ACTIONS) if "/2@" in row.decision} == {"pending"}
    with pytest.raises(AiosError, match="it was taken back"):
        world.desk.undo(ANN, batch.id)


def test_the_most_urgent_up_to_a_limit_and_not_what_others_hold(world: World) -> None:
    world.desk.take(BOB, world.case(1).id)
    batch = world.desk.decide_all(
        ANN, "loans", world.case(1).cause, "change", outcome="partly", reason="agreed", limit=1
    )
    assert batch.cases == [world.rows(CASES, CASES.c.event == "2")[0].id]
    with pytest.raises(AiosError, match="no case of this cause"):
        world.desk.decide_all(ANN, "loans", world.case(1).cause, "reject", reason="agreed")


def test_all_or_none(world: World) -> None:
    with pytest.raises(AiosError, match="'approve' is what is proposed"):
        world.desk.decide_all(
            ANN, "loans", world.case(1).cause, "change", outcome="approve", reason="agreed"
        )
    assert len(world.cases()) == 4
    assert (world.leaves(), world.rows(ACTIONS)) == ([], [])


def test_seeded_ones_are_among_them_without_effect(world: World) -> None:
    key = "2024-02-19"
    world.decide([loan(5, outcome="approve")], key=key)
    seeded = seed(world, 5, key=key)
    before = world.effects(5)
    batch = world.desk.decide_all(ANN, "loans", world.case(1).cause, "reject", reason="agreed")
    assert seeded in batch.cases
    assert world.effects(5) == before == {"pay": "pending", "tell": "waiting"}
    world.desk.undo(ANN, batch.id)
    assert world.effects(5) == before


def test_only_who_may(world: World) -> None:
    with pytest.raises(Denied):
        world.desk.decide_all(
            person("olga", "operator"), "loans", world.case(1).cause, "reject", reason="agreed"
        )
    with pytest.raises(AiosError, match="a batch has 1 to 500"):
        world.desk.decide_all(
            ANN, "loans", world.case(1).cause, "reject", reason="agreed", limit=501
        )


def test_escalating_many(world: World) -> None:
    world.desk.decide_all(ANN, "loans", world.case(1).cause, "escalate", reason="agreed")
    assert {case.state for case in world.cases() if case.event in "12"} == {"escalated"}
    assert world.effects() == {}


@pytest.mark.parametrize("share", ["hidden", "double"])
def test_none_without_a_shown_proposal(world: World, share: str) -> None:
    world.declare(**{share: 1.0})
    world.decide([loan(5, **OTHER)], key="2024-02-19")
    cause = world.case(5).cause
    world.desk.decide_all(ANN, "loans", cause, "reject", reason="agreed")  # That of before.
    with pytest.raises(AiosError, match="no case of this cause"):
        world.desk.decide_all(ANN, "loans", cause, "reject", reason="agreed")


def test_counts_by_cause(world: World) -> None:
    world.desk.take(ANN, world.case(1).id)
    world.clock.forward(5 * HOUR)
    many, one = counts(world.log.database, now=world.clock())
    assert (many.waiting, many.overdue, many.held, many.alike) == (3, 1, 0, 2)
    assert (one.waiting, one.overdue, one.alike, one.oldest) == (1, 0, 1, NOW)
    assert counts(world.log.database, now=NOW, automation="loans")[0].held == 1
    assert counts(world.log.database, now=NOW, automation="other") == []

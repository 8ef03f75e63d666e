"""What verdicts say about the outcome of events."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from aios.review.labels import verdict_labels
from tests.aios.review.test_cases import seed
from tests.aios.review.world import ANN, BOB, DAY, KEY, MINUTE, NOW, World, loan, make_world

pytestmark = pytest.mark.unit


def labels(
    world: World, start: datetime = NOW - DAY, end: datetime = NOW + 9 * DAY
) -> pl.DataFrame:
    return verdict_labels(world.log.database, world.automation, start, end)


def decide(world: World, number: int, verdict: str, outcome: str | None = None) -> str:
    case = world.desk.take(ANN, world.case(number).id)
    return world.desk.decide(ANN, case.id, verdict, outcome=outcome, reason="agreed").id


def test_by_declared_outcome_when_final(world: World) -> None:
    world.decide([loan(1), loan(2), loan(3)])
    decide(world, 1, "approve")
    world.clock.forward(MINUTE)
    decide(world, 2, "reject")
    decide(world, 3, "change", "partly")  # Of which nothing is declared.
    found = labels(world)
    assert found.rows() == [
        (1, 0.0, NOW + 5 * MINUTE, "review person:ann"),
        (2, 1.0, NOW + 6 * MINUTE, "review person:ann"),
    ]
    assert found.schema == {
        "loan_id": pl.Int64,
        "label": pl.Float64,
        "known_at": pl.Datetime("us"),
        "source": pl.String,
    }


def test_in_their_span_only(world: World) -> None:
    world.decide([loan(1)])
    decide(world, 1, "approve")
    final = NOW + 5 * MINUTE
    assert labels(world, end=final).is_empty()
    assert labels(world, start=final).height == 1
    assert labels(world, start=final + MINUTE).schema == labels(world).schema


def test_what_is_none(world: World) -> None:
    world.decide([loan(1), loan(2), loan(3, amount=95_000.0), loan(4)])
    world.desk.undo(ANN, decide(world, 1, "approve"))  # Undone, and then timed out.
    case = world.desk.take(BOB, seed(world, 2))
    world.desk.decide(BOB, case.id, "approve", reason="agreed")
    decide(world, 3, "approve")  # The first of two.
    decide(world, 4, "escalate")
    world.clock.forward(3 * DAY)
    world.desk.time_out()
    assert labels(world).is_empty()


def test_not_from_rehearsals(world: World) -> None:
    world.decide([loan(1)], rehearsed=True)
    decide(world, 1, "approve")
    assert labels(world).is_empty()


def test_of_two_people_it_is_the_one_who_closed_it(world: World) -> None:
    world.decide([loan(1, amount=95_000.0)])
    decide(world, 1, "approve")
    case = world.desk.take(BOB, world.case(1).id)
    world.desk.decide(BOB, case.id, "approve", reason="agreed")
    assert labels(world)["source"].to_list() == ["review person:bob"]


def test_the_last_verdict_counts(world: World) -> None:
    world.decide([loan(1), loan(2, outcome="approve")])
    decide(world, 1, "approve")
    world.clock.forward(MINUTE)
    world.desk.override(BOB, f"loans/{KEY}/1@0", "block", reason="agreed")
    world.desk.override(BOB, f"loans/{KEY}/2@0", "block", reason="agreed")
    assert labels(world).select("loan_id", "label", "known_at").rows() == [
        (1, 1.0, NOW + MINUTE),
        (2, 1.0, NOW + MINUTE),
    ]


def test_what_was_known_stays_known(world: World) -> None:
    """A span gives the same labels whatever is decided after it."""
    world.decide([loan(1)])
    decide(world, 1, "approve")
    world.clock.forward(DAY)
    before = labels(world, end=NOW + DAY)
    assert before["label"].to_list() == [0.0]
    world.desk.override(BOB, f"loans/{KEY}/1@0", "block", reason="agreed")
    assert labels(world, end=NOW + DAY).equals(before)
    assert labels(world)["label"].to_list() == [1.0]


def test_an_automation_without_labels(tmp_path: Path) -> None:
    world = make_world(tmp_path, actions=False, labels={})
    world.decide([loan(1)])
    decide(world, 1, "approve")
    assert labels(world).is_empty()

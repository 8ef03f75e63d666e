"""Seeded cases: their answer is the truth, their proposal is wrong, and they look like the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from aios.lake import Lake
from aios.review.seeds import answers, seed, seeded_rows, seeds_among
from aios.review.tables import CASES
from tests.aios.record.fresh import fresh_log
from tests.aios.review.lakes import REVIEW, fill, week
from tests.conftest import make_automation

pytestmark = pytest.mark.unit


@pytest.fixture
def made(tmp_path: Path) -> tuple[Any, Lake]:
    automation, platform = make_automation(tmp_path, review=REVIEW)
    lake = platform.lake(automation.name)
    fill(automation, lake)
    return automation, lake


def test_the_answer_is_the_matured_label_and_the_proposal_is_wrong(made: Any) -> None:
    automation, lake = made
    rows = seeded_rows(automation, lake, week(4), 12)
    truth = pl.concat([lake.read("labels", week(i)) for i in range(1, 5)])
    found = rows.join(truth, on="loan_id")
    assert found.height == 12
    assert found.filter((pl.col("answer") == "block") != (pl.col("label") == 1)).is_empty()
    assert rows.filter(pl.col("answer") == pl.col("proposal")).is_empty()
    assert sorted(rows["answer"].value_counts()["count"]) == [6, 6]


def test_errors_of_both_kinds_are_seeded_where_one_is_rare(made: Any) -> None:
    automation, lake = made
    waiting = seeded_rows(automation, lake, week(4), 1000)["loan_id"].to_list()
    for key in lake.partitions("labels"):
        rare = pl.col("loan_id").is_in(waiting[::20]).cast(pl.Float64).alias("label")
        lake.write("labels", key, lake.read("labels", key).with_columns(rare))
    rows = seeded_rows(automation, lake, week(4), 6)
    assert rows["answer"].value_counts()["count"].to_list() == [3, 3]


def test_only_decisions_that_had_gone_to_review_and_whose_label_was_known_before(made: Any) -> None:
    automation, lake = made
    rows = seeded_rows(automation, lake, week(3), 1000)
    assert set(rows["outcome"]) == {"review"}
    # Labels of the last week but one are learned in this very week: too late.
    assert set(rows["partition"]) == {week(0), week(1)}
    assert rows["amount"].null_count() == 0
    assert seeded_rows(automation, lake, week(0), 10).is_empty()


def test_the_same_call_takes_the_same_and_another_partition_others(made: Any) -> None:
    automation, lake = made
    taken = [seeded_rows(automation, lake, week(i), 10)["decision"].to_list() for i in (4, 4, 5)]
    assert taken[0] == taken[1] != taken[2]
    other = seeded_rows(automation, lake, week(4), 10, b"salt")["decision"].to_list()
    assert other != taken[0]


def test_of_an_event_decided_again_the_newest_decision_is_taken(made: Any) -> None:
    automation, lake = made
    again = lake.read("decisions", week(0)).with_columns(revision=pl.lit(1, pl.Int64))
    for name in ("events", "features"):
        rows = lake.read(name, week(0)).with_columns(revision=pl.lit(1, pl.Int64))
        lake.write(name, week(1), rows)
    lake.write("decisions", week(1), again)
    rows = seeded_rows(automation, lake, week(4), 1000)
    assert week(0) not in set(rows["partition"])
    assert set(rows.filter(pl.col("partition") == week(1))["revision"]) == {1}
    assert rows["loan_id"].is_unique().all()


def test_seeds_are_the_declared_share_of_all_cases_also_where_few_wait() -> None:
    counts = [seeds_among(10, 0.02, b"salt", week(i)) for i in range(2000)]
    assert set(counts) == {0, 1}
    assert sum(counts) / (10 * 2000 + sum(counts)) == pytest.approx(0.02, abs=0.003)


def test_outcomes_that_say_the_same_leave_nothing_to_seed(made: Any) -> None:
    automation, _ = made
    review = automation.spec.review
    assert answers(review) == {0.0: ("approve", "block"), 1.0: ("block", "approve")}
    assert answers(review.model_copy(update={"labels": {"approve": 0.0}})) == {}


def test_seeding_again_changes_nothing(made: Any, tmp_path: Path) -> None:
    automation, lake = made
    log = fresh_log(tmp_path / "db")

    def again() -> int:
        with log.database.writing() as connection:
            return seed(
                connection, automation, lake, week(4), waiting=400, now=10**15, rehearsed=False
            )

    first = again()
    assert first in (8, 9)
    assert again() == 0
    with log.database.reading() as connection:
        rows = connection.execute(sa.select(CASES)).mappings().all()
    assert len(rows) == first
    assert all(row["answer"] and row["answer"] != row["proposal"] for row in rows)

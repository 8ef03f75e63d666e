"""Measures of reviewing: counted from verdicts that stand, with intervals that keep their level."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from aios.database import Database
from aios.identity.tables import micros
from aios.lake import Lake
from aios.review.measures import Measures, measure
from aios.review.reviewed import Reviewed, outcomes_by_people, read
from aios.review.reviewed import reviewed as as_frames
from aios.review.tables import CASES, VERDICTS
from tests.aios.record.fresh import fresh_log
from tests.aios.review.rows import OPENED, case, verdict
from tests.conftest import make_automation

pytestmark = pytest.mark.unit

NOW = OPENED + timedelta(days=3)
Rows = list[dict[str, Any]]
MADE = pl.DataFrame(
    {
        "outcome": ["approve", "block", "review"],
        "rule": ["small", "risky", "unsure"],
        "model_version": [1, 1, 1],
        "rows": [70, 10, 20],
    }
)


def reviewed(cases: Rows, verdicts: Rows, overridden: pl.DataFrame | None = None) -> Reviewed:
    tables = ((CASES, cases), (VERDICTS, verdicts))
    rows = [
        [[one[column.name] for column in table.columns] for one in some] for table, some in tables
    ]
    return as_frames(rows[0], rows[1], overridden)


def measured(cases: Rows, verdicts: Rows, overridden: pl.DataFrame | None = None) -> Measures:
    found = reviewed(cases, verdicts, overridden)
    return measure(found, MADE, NOW, approving=["approve"], review_cost=12.0, action_costs=40.0)


def ten(changed: int, reviewer: str = "ann", start: int = 0, **other: Any) -> tuple[Rows, Rows]:
    """Ten closed cases, `changed` of them with another outcome than proposed."""
    cases = [
        case(start + i, outcome="block" if i < changed else "approve", **other) for i in range(10)
    ]
    return cases, [verdict(one, reviewer, one["outcome"]) for one in cases]


def test_counts_changed_proposals_by_rule_version_reviewer_and_slice() -> None:
    first, second = ten(3), ten(1, "ben", 10, rule="halted", slices={"region": "south"})
    found = measured(first[0] + second[0], first[1] + second[1]).overrides
    assert (found["all"]["all"].hits, found["all"]["all"].n) == (4, 20)
    assert {name: one.hits for name, one in found["rule"].items()} == {"halted": 1, "unsure": 3}
    assert found["reviewer"]["person:ann"].value == pytest.approx(0.3)
    assert found["slice"]["region=south"].hits == 1
    assert found["model_version"]["1"].n == 20
    low, high = found["rule"]["unsure"].low, found["rule"]["unsure"].high
    assert (low, high) == pytest.approx((0.1078, 0.6032), abs=1e-4)  # Wilson's of 3 in 10


def test_verdicts_taken_back_and_time_outs_are_no_persons_verdict() -> None:
    kept, undone, late = case(1, outcome="block"), case(2), case(3, outcome="block")
    verdicts = [
        verdict(kept, "ann", "block"),
        verdict(undone, "ann", "block", undone_at=micros(NOW)),
        verdict(undone, "ann", "approve"),
        verdict(late, "x", "block", verdict="time_out", reviewer="service:desk"),
    ]
    found = measured([kept, undone, late], verdicts)
    assert (found.overrides["all"]["all"].hits, found.overrides["all"]["all"].n) == (1, 2)
    assert found.verdicts == 2


def test_the_last_verdict_in_effect_counts_and_an_override_replaces_it() -> None:
    one = case(1, outcome="block")
    verdicts = [
        verdict(one, "ann", "approve", in_effect=False),
        verdict(one, "ben", "approve"),
        verdict(one, "cleo", "block", verdict="override"),
    ]
    found = outcomes_by_people(reviewed([one], verdicts))
    assert found.select("outcome", "overridden", "automatic").rows() == [("block", True, False)]


def test_seeded_cases_count_for_the_catch_rate_and_the_cost_only() -> None:
    cases, verdicts = ten(0)
    seeds = [case(50 + i, answer="block") for i in range(4)]
    verdicts += [verdict(one, "ann", "block") for one in seeds[:3]]
    verdicts += [verdict(seeds[3], "ann", "approve")]
    found = measured(cases + seeds, verdicts)
    assert (found.caught.hits, found.caught.n) == (3, 4)
    assert found.overrides["all"]["all"].n == 10
    assert found.overrides["reviewer"]["person:ann"].n == 10
    assert found.cases == {"closed": 10}
    assert found.cost == 14 * 12.0 + 40.0
    assert found.cost_per_decision == pytest.approx(found.cost / 100)


def test_an_overridden_automatic_decision_is_no_longer_straight_through() -> None:
    ghost = case(7)
    given = verdict(ghost, "ann", "block", case=None, verdict="override")
    known = pl.DataFrame(
        {"decision": [ghost["decision"]], "proposal": ["approve"], "rule": ["small"],
         "model_version": [1]},
    )  # fmt: skip
    found = measured([], [given], known)
    assert found.straight_through.hits == 79
    assert found.automatic["rule"]["small"].hits == 1
    assert found.automatic["rule"]["risky"].hits == 0
    assert found.automatic["all"]["all"].n == 80
    assert found.overrides["all"]["all"].n == 0


def test_times_are_from_taking_to_the_verdict_and_from_opening_to_closing() -> None:
    cases = [case(i) for i in range(3)]
    verdicts = [
        verdict(one, "ann", "approve", seconds=10.0 * (i + 1)) for i, one in enumerate(cases)
    ]
    waiting = case(9, state="open", outcome=None, closed_at=None)
    found = measured([*cases, waiting], verdicts)
    assert (found.to_verdict.n, found.to_verdict.p50) == (3, 20.0)
    assert found.to_verdict.p95 == pytest.approx(29.0)
    assert found.to_close.p50 == 3600.0
    assert (found.overdue.hits, found.overdue.n) == (1, 4)  # due after two days, now after three
    assert found.waiting.p50 == timedelta(days=3).total_seconds()


def test_agreement_is_that_of_the_first_two_people_on_a_blind_case() -> None:
    cases = [case(i, double=True) for i in range(5)]
    given = [("approve", "approve"), ("block", "block"), ("approve", "block"), ("block", None)]
    verdicts = []
    for one, (first, second) in zip(cases[:4], given, strict=True):
        verdicts += [verdict(one, "ann", first), verdict(one, "ben", second)]
    verdicts.append(verdict(cases[4], "ann", "approve"))
    verdicts.append(verdict(cases[4], "cleo", "block", verdict="override"))
    found = measured(cases, verdicts).agreement
    assert found.pairs == 3
    assert found.kappa == pytest.approx(0.4)


def test_who_approves_without_looking_stands_out_and_the_others_do_not() -> None:
    cases: Rows = []
    verdicts: Rows = []
    for i in range(120):
        wrong = i % 4 == 0
        seed = i % 6 == 0
        one = case(i, answer="block" if seed else None)
        cases.append(one)
        right = "block" if wrong or seed else "approve"
        who = ("ann", "ben", "ted")[i % 3]
        if who == "ted":
            verdicts.append(verdict(one, who, "approve", seconds=1.5))
        else:
            verdicts.append(verdict(one, who, right, seconds=45.0))
    found = measured(cases, verdicts).reviewers
    assert any("less than 5 s" in one for one in found["person:ted"].noted)
    assert any("the others" in one for one in found["person:ted"].noted)
    assert found["person:ann"].noted == []
    assert found["person:ben"].noted == []


def test_verdicts_given_in_a_batch_are_not_quick() -> None:
    cases = [case(i) for i in range(20)]
    verdicts = [verdict(one, "ann", "approve", seconds=0.1, batch="b") for one in cases]
    assert measured(cases, verdicts).reviewers["person:ann"].quick.n == 0


def test_nothing_reviewed_is_nothing_known() -> None:
    found = measured([], [])
    assert found.overrides["all"]["all"].value is None
    assert (found.agreement.kappa, found.to_close.p95, found.reviewers) == (None, None, {})
    json.dumps(found.as_dict())


def test_read_takes_one_automations_rows_and_finds_what_was_overridden(tmp_path: Path) -> None:
    automation, lake = make_automation(tmp_path)[0], Lake(tmp_path / "lake")
    name = automation.name
    log = fresh_log(tmp_path / "db")
    closed = case(1, automation=name, outcome="block")
    old = case(2, automation=name, closed_at=micros(OPENED - timedelta(days=9)))
    other = case(3, automation="other")
    ghost = case(4, automation=name, decision=f"{name}/2026-03-01/4@0")
    verdicts = [
        verdict(closed, "ann", "block"),
        verdict(old, "ann", "approve"),
        verdict(other, "ann", "approve"),
        verdict(ghost, "ann", "block", case=None, verdict="override"),
    ]
    _store(log.database, [closed, old, other], verdicts)
    lake.write(
        "decisions",
        "2026-03-01",
        pl.DataFrame({"loan_id": [4, 5], "revision": [0, 0], "outcome": ["approve"] * 2,
                      "rule": ["small"] * 2, "model_version": [3, 3]}),
    )  # fmt: skip
    found = read(log.database, automation, lake, since=OPENED - timedelta(days=1))
    assert found.cases["id"].to_list() == ["case1"]
    assert outcomes_by_people(found).select("rule", "model_version", "overridden").rows() == [
        ("unsure", 1, True),
        ("small", 3, True),
    ]
    assert read(log.database, automation, lake).cases.height == 2


def _store(database: Database, cases: Rows, verdicts: Rows) -> None:
    with database.writing() as connection:
        connection.execute(sa.insert(CASES), cases)
        connection.execute(sa.insert(VERDICTS), verdicts)


def test_measures_of_reviewed_are_the_same_in_any_order() -> None:
    cases, verdicts = ten(4)
    turned = Reviewed(
        reviewed(cases[::-1], []).cases, reviewed([], verdicts[::-1]).verdicts,
        reviewed([], []).overridden,
    )  # fmt: skip
    one = measure(turned, MADE, NOW, approving=["approve"])
    assert one == measure(reviewed(cases, verdicts), MADE, NOW, approving=["approve"])

"""The performance alarm: what an era is, and how the verdicts of its losses combine."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from aios.statistics.performance import PerformanceVerdict
from aios_assets.lifecycle.alarm import Alarm, era_of
from model_registry.ledger import Change
from tests.conftest import START, make_automation

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def change(version: int, week: int, kind: str = "promotion") -> Change:
    at = START + timedelta(weeks=week)
    return Change("loans", version, at, datetime(2026, 1, 1), "gate", "", "", None, kind)  # type: ignore[arg-type]


def verdict(status: str, *, alarm: int | None = None, batches: int = 3) -> PerformanceVerdict:
    return PerformanceVerdict(
        status, (1.0,) * batches, alarm, alarm, 0.1, 0.1, 500, 500, 0.01  # type: ignore[arg-type]
    )  # fmt: skip


def test_champions_that_passed_the_gate_carry_an_era_on(tmp_path: Path) -> None:
    ours, platform = make_automation(tmp_path)
    lake = platform.lake(ours.name)
    changes = [change(1, 2), change(3, 4), change(5, 6)]
    for week in range(8):
        key = (START + timedelta(weeks=week)).strftime("%Y-%m-%d")
        lake.write_json("performance", key, {"status": "steady"})
    assert era_of(ours, lake, changes) == changes


def test_an_era_begins_with_a_champion_trained_because_of_an_alarm(tmp_path: Path) -> None:
    ours, platform = make_automation(tmp_path)
    lake = platform.lake(ours.name)
    # The partition that ends in week 4 is the one that begins in week 3.
    lake.write_json("performance", "2024-01-22", {"status": "worse"})
    changes = [change(1, 2), change(3, 4), change(5, 6)]
    assert [one.version for one in era_of(ours, lake, changes)] == [3, 5]


def test_a_rollback_begins_an_era(tmp_path: Path) -> None:
    ours, platform = make_automation(tmp_path)
    changes = [change(1, 2), change(3, 4), change(1, 5, "rollback"), change(5, 6)]
    found = era_of(ours, platform.lake(ours.name), changes)
    assert [one.version for one in found] == [1, 5]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("steady", "steady"), "steady"),
        (("worse", "steady"), "worse"),
        (("steady", "worse"), "worse"),
        (("insufficient", "steady"), "steady"),
        (("insufficient", "insufficient"), "insufficient"),
    ],
)
def test_the_gravest_verdict_counts(statuses: tuple[str, str], expected: str) -> None:
    brier, wrong = (verdict(one) for one in statuses)
    assert Alarm(1, {"brier": brier, "wrong_class": wrong}).status == expected


def test_an_alarm_is_raised_once_and_stays() -> None:
    now = Alarm(1, {"brier": verdict("steady"), "wrong_class": verdict("worse", alarm=2)})
    later = Alarm(1, {"wrong_class": verdict("worse", alarm=2, batches=4)})
    assert (now.status, now.raised_now) == ("worse", True)
    assert (later.status, later.raised_now) == ("worse", False)

"""Decisions: one for each prediction, aligned with it, naming every version behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aios import lake as lake_module
from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.decisions import build_decisions, decide_window
from aios_assets.lifecycle.predictions import score_window
from tests.aios_assets.test_predictions import Ratio, features
from tests.conftest import POLICY, make_automation

pytestmark = pytest.mark.unit

RULES = [
    {"name": "risky", "when": "score >= 0.7", "outcome": "block", "reason": "."},
    {"name": "many", "when": "loans_28d > 15", "outcome": "block", "reason": "."},
    {"name": "safe", "when": "score < 0.4 and amount < 8", "outcome": "approve", "reason": "."},
]


def case(directory: Path, rows: int, **overrides: Any) -> tuple[Automation, Lake, Window]:
    ours, platform = make_automation(directory, policy=POLICY | {"rules": RULES}, **overrides)
    lake, window = platform.lake("loans"), ours.windows()[0]
    lake.write("features", window.key, features(rows))
    return ours, lake, window


def oracle(number: int) -> tuple[str, str, str]:
    score = number / 20
    if number % 5 == 4:
        return "review", "missing_input", "missing_input"
    fired = [
        name
        for name, holds in [
            ("risky", score >= 0.7), ("many", number > 15), ("safe", score < 0.4 and number < 8),
        ]
        if holds
    ]  # fmt: skip
    first = fired[0] if fired else "unclear"
    outcome = {"risky": "block", "many": "block", "safe": "approve"}.get(first, "review")
    return outcome, first, ",".join(fired)


@pytest.mark.parametrize("chunk", [250_000, 7])
def test_decisions_are_aligned_with_predictions_and_name_their_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(lake_module, "CHUNK", chunk)
    ours, lake, window = case(tmp_path, 25)
    score_window(ours, lake, window, (6, Ratio(20)), [])
    counts = decide_window(ours, lake, window)
    decisions = lake.read("decisions", window.key)
    predictions = lake.read("predictions", window.key)
    kept = [
        "loan_id",
        "customer",
        "event_time",
        "known_at",
        "revision",
        "score",
        "model_version",
        "feature_digest",
    ]
    assert decisions.select(kept).equals(predictions.select(kept))
    verdicts = decisions.select("outcome", "rule", "fired").rows()
    assert verdicts == [oracle(number) for number in range(25)]
    named = decisions.select("policy_hash", "code_version", "model_version").unique().rows()
    assert named == [(ours.policy.hash, ours.code_version, 6)]
    assert decisions["feature_digest"].null_count() == 0
    assert counts["rows"].sum() == 25
    assert dict(counts.group_by("outcome").agg(pl.col("rows").sum()).rows()) == {
        outcome: sum(oracle(n)[0] == outcome for n in range(25))
        for outcome in ("approve", "block", "review")
    }


def test_without_a_champion_everything_goes_to_review(tmp_path: Path) -> None:
    ours, lake, window = case(tmp_path, 9)
    score_window(ours, lake, window, None, [(1, Ratio(20))])
    assert decide_window(ours, lake, window).rows() == [("review", "missing_input", 9)]
    assert lake.read("decisions", window.key)["model_version"].null_count() == 9


def test_a_policy_of_the_score_alone(tmp_path: Path) -> None:
    ours, platform = make_automation(
        tmp_path, policy={"version": 1, "rules": [], "otherwise": {"outcome": "accept"}}
    )
    lake, window = platform.lake("loans"), ours.windows()[0]
    lake.write("features", window.key, features(3))
    score_window(ours, lake, window, (1, Ratio(20)), [])
    assert decide_window(ours, lake, window).rows() == [("accept", "otherwise", 3)]


def test_no_predictions_give_no_decisions(tmp_path: Path) -> None:
    ours, lake, window = case(tmp_path, 0)
    score_window(ours, lake, window, (1, Ratio(20)), [])
    assert decide_window(ours, lake, window).is_empty()
    assert lake.read("decisions", window.key).schema["outcome"] == pl.String


def test_deciding_again_leaves_the_same_bytes(tmp_path: Path) -> None:
    ours, lake, window = case(tmp_path, 25)
    score_window(ours, lake, window, (1, Ratio(20)), [])
    decide_window(ours, lake, window)
    before = lake.path("decisions", window.key).read_bytes()
    decide_window(ours, lake, window)
    assert lake.path("decisions", window.key).read_bytes() == before


def test_a_rule_that_cannot_be_evaluated_leaves_the_last_decisions(tmp_path: Path) -> None:
    ours, lake, window = case(tmp_path, 25)
    score_window(ours, lake, window, (1, Ratio(20)), [])
    decide_window(ours, lake, window)
    before = lake.path("decisions", window.key).read_bytes()
    rules = [{"name": "odd", "when": "amount > 'much'", "outcome": "approve", "reason": "."}]
    odd, _ = make_automation(tmp_path, policy=POLICY | {"rules": rules})
    with pytest.raises(AiosError, match="cannot be evaluated"):
        decide_window(odd, lake, window)
    assert lake.path("decisions", window.key).read_bytes() == before


@pytest.mark.parametrize(("events", "passed"), [(25, True), (26, False)])
def test_the_asset_proves_that_every_event_was_decided(
    tmp_path: Path, events: int, passed: bool
) -> None:
    ours, lake, window = case(tmp_path, 25)
    score_window(ours, lake, window, (1, Ratio(20)), [])
    lake.write("events", window.key, features(events))
    _, platform = make_automation(tmp_path, policy=POLICY | {"rules": RULES})
    result = dg.materialize(
        [build_decisions(ours)],
        partition_key=window.key,
        resources={"platform": platform},
        raise_on_error=False,
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.blocking) == ("complete", passed, True)
    assert check.metadata["events"].value == events

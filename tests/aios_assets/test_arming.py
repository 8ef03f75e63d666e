"""Arming in its parts: what is drawn, what is broken, what a replayed rollout makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from aios.automation import Automation
from aios.record.log import open_log
from aios.rollouts import Rollout, Targets
from aios.statistics.maturity import DelayCurve
from aios_assets.arming.arm import chosen_features
from aios_assets.arming.faults import (
    FLIPPED,
    UNIT,
    Fault,
    FlippedLabels,
    LeakedFeature,
    NullFeature,
    ShuffledColumn,
    ShuffledInTraining,
    SlowModel,
    StaleJoin,
    UnitChange,
    all_faults,
)
from aios_assets.arming.figures import Rate, Tried, summary
from aios_assets.arming.history import History, Part
from aios_assets.arming.trials import Trial, play
from aios_assets.arming.versions import Version, Workshop
from aios_assets.arming.windows import SPANS, block_length, draw, ends, longest, on_window_time
from model_registry import armed
from tests.conftest import START, loans, make_automation, settings_in

pytestmark = pytest.mark.unit

WEEK = timedelta(weeks=1)
PARTS, ROWS = 8, 200
LABELS_TAKE = timedelta(days=10)
PACE = np.ones((2, 50))
DECLARED: dict[str, Any] = {
    "canary": [0.25],
    "unit": "id",
    "reopen": "14d",
    "patience": 6,
    "metrics": {"loss": {"margin": 0.1}},
}


def rows_of_loans(rows: int, *, start: int, weeks: int, seed: int) -> pl.DataFrame:
    """Rows as the lake has them: features, and the label with when it was learned."""
    known = pl.col("applied_at") + start * WEEK
    return loans(rows, seed=seed, weeks=weeks).select(
        pl.col("loan_id") + 10_000 * start,
        "customer",
        known.alias("event_time"),
        known.alias("known_at"),
        pl.lit(0).alias("revision"),
        "amount",
        pl.col("amount").log().alias("log_amount"),
        "region",
        pl.lit(1.0).alias("loans_28d"),
        pl.col("defaulted").cast(pl.Float64).alias("label"),
        (known + LABELS_TAKE).alias("label_known_at"),
    )


def history_in(directory: Path, **overrides: Any) -> History:
    """A made-up past: 600 rows to train on, then eight weeks of 200."""
    automation: Automation
    automation, _ = make_automation(directory, **{"rollout": DECLARED, **overrides})
    past = rows_of_loans(800, start=-20, weeks=20, seed=1)
    parts = [
        Part(
            f"{START + number * WEEK:%Y-%m-%d}",
            START + number * WEEK,
            WEEK,
            rows_of_loans(ROWS, start=number, weeks=1, seed=10 + number),
        )
        for number in range(PARTS)
    ]
    curve = DelayCurve.of(np.full(500, LABELS_TAKE.days), np.zeros(0))
    recipe = automation.spec.candidates[0]
    return History(automation, 3, recipe, past.head(600), past.tail(200), parts, curve)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return history_in(tmp_path_factory.mktemp("history"))


def true_risk(rows: pl.DataFrame) -> np.ndarray:
    logit = 2.5 * (rows["log_amount"].to_numpy() - 9.5) / 0.8 - 1.5
    return 1 / (1 + np.exp(-(logit + 1.5 * (rows["region"] == "east").to_numpy())))


def version(history: History, seed: int, *, wrong: float = 0.0, slower: float = 1.0) -> Version:
    """A version that knows the risk but for a little noise; `wrong` mixes in its opposite."""
    rng, risk = np.random.default_rng(seed), true_risk(history.live)
    logit = np.log(risk / (1 - risk)) + rng.normal(0, 0.2, len(risk))
    scores = (1 - wrong) / (1 + np.exp(-logit)) + wrong * (1 - risk)
    workshop = Workshop(history, 0)
    return Version(
        scorer=None,  # type: ignore[arg-type]  # nothing is scored again here
        held=np.empty(0),
        scores=workshop._by_part(scores),
        outcomes=workshop._by_part(workshop._outcomes(scores)),
        pace=PACE * slower,
    )


def played(history: History, challenger: Version, seed: int = 0) -> Trial:
    rng = np.random.default_rng(seed)
    length = longest(history.declared, WEEK)
    return play(history, version(history, 1000 + seed), challenger, draw(rng, PARTS, length), rng)


# Windows


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 99))
def test_a_window_is_full_and_made_of_blocks_of_consecutive_partitions(
    parts: int, length: int, seed: int
) -> None:
    drawn = draw(np.random.default_rng(seed), parts, length)
    assert len(drawn) == length
    assert set(drawn) <= set(range(parts))
    block = block_length(parts, length)
    breaks = {place for place in range(1, length) if drawn[place] != drawn[place - 1] + 1}
    assert breaks <= set(range(block, length, block))
    if parts >= length + SPANS - 1:
        assert not breaks


def test_a_window_lasts_as_long_as_the_longest_rollout(history: History) -> None:
    declared = Rollout.model_validate({**DECLARED, "canary": [0.1, 0.5]})
    assert longest(declared, WEEK) == 3 * 6 + 2


def test_rows_keep_their_distances_on_the_time_of_a_window(history: History) -> None:
    drawn = [4, 5, 0]
    moments = ends(history.parts, drawn)
    assert np.diff(np.array(moments)).tolist() == [WEEK, WEEK]
    for position, end in zip(drawn, moments, strict=True):
        part = history.parts[position]
        moved = part.rows.with_columns(on_window_time(part, end))
        assert moved["known_at"].is_between(end - WEEK, end, closed="left").all()
        assert ((moved["label_known_at"] - moved["known_at"]) == LABELS_TAKE).all()


# Faults


@pytest.mark.parametrize("fault", all_faults(["amount", "region"], ["amount"]), ids=repr)
def test_a_fault_changes_its_own_column_where_it_is_and_nothing_else(
    history: History, fault: Fault
) -> None:
    parts = [part.rows for part in history.parts[:3]]
    for place in ("training", "held out", "live"):
        found = fault.put(place, parts, 7)
        touched = fault.feature or "label"
        for before, after in zip(parts, found, strict=True):
            assert_frame_equal(after.drop(touched), before.drop(touched))
        changed = any(
            a[touched].to_list() != b[touched].to_list() for a, b in zip(parts, found, strict=True)
        )
        assert changed == (place in fault.places and not isinstance(fault, SlowModel))


def test_what_each_fault_does(history: History) -> None:
    parts = [part.rows for part in history.parts[:3]]

    def live(fault: Fault) -> list[list[Any]]:
        return [one[fault.feature].to_list() for one in fault.put("live", parts, 7)]

    own = [one["amount"].to_list() for one in parts]
    assert live(NullFeature("amount")) == [[None] * ROWS] * 3
    assert live(UnitChange("amount")) == [[value * UNIT for value in one] for one in own]
    assert live(StaleJoin("amount"))[1:] == own[:2]
    shuffled = live(ShuffledColumn("amount"))
    assert [sorted(one) for one in shuffled] == [sorted(one) for one in own]
    (flipped,) = FlippedLabels().put("training", parts[:1], 7)
    assert (flipped["label"] != parts[0]["label"]).mean() == pytest.approx(FLIPPED, abs=0.1)
    assert set(flipped["label"]) == {0.0, 1.0}


@pytest.mark.parametrize("feature", ["amount", "region"])
def test_a_leak_tells_the_label_in_the_columns_own_values(history: History, feature: str) -> None:
    (leaked,) = LeakedFeature(feature).put("training", [history.fit], 7)
    assert sorted(leaked[feature]) == sorted(history.fit[feature])
    if feature == "amount":
        risky = leaked.filter(pl.col("label") == 1)["amount"].min()
        assert risky >= leaked.filter(pl.col("label") == 0)["amount"].max()  # type: ignore[operator]
    else:
        rarest = history.fit["region"].value_counts().sort("count")["region"][0]
        assert leaked.filter(region=rarest)["label"].mean() == 1.0


# Trials


def test_an_equal_version_becomes_champion_by_way_of_its_canary(history: History) -> None:
    found = played(history, version(history, 3), 3)
    assert (found.outcome, found.stage, found.promoted) == ("promoted", "champion", True)
    assert abs(found.harm) < 0.05
    assert 0 < found.decided < found.most
    assert found.most == pytest.approx(0.25, abs=0.1)


def test_a_harmful_version_ends_in_shadow_and_decides_nothing(history: History) -> None:
    for seed in range(2):
        found = played(history, version(history, seed, wrong=0.4), seed)
        assert found.outcome == "worse"
        assert found.stage == "shadow"
        assert (found.decided, found.most, found.promoted) == (0.0, 0.0, False)
        assert found.harm > 0.1
        assert found.metrics
        assert found.rows == found.partitions * ROWS


def test_labels_are_not_seen_before_they_are_known(history: History) -> None:
    """A version that only labels tell from the champion is ended when they have come."""

    def ended_after(past: History) -> int:
        like_the_champion = version(past, 0).outcomes
        challenger = replace(version(past, 1, wrong=0.35), outcomes=like_the_champion)
        found = played(past, challenger)
        assert (found.outcome, found.metrics) == ("worse", ("loss",))
        return found.partitions

    later = pl.col("label_known_at") + 2 * WEEK
    late = replace(
        history,
        parts=[replace(one, rows=one.rows.with_columns(later)) for one in history.parts],
        curve=DelayCurve.of(np.full(500, (LABELS_TAKE + 2 * WEEK).days), np.zeros(0)),
    )
    assert ended_after(history) >= 2
    assert ended_after(late) == ended_after(history) + 2


def test_a_version_that_does_not_score_is_ended_for_its_errors(history: History) -> None:
    whole = version(history, 1)
    scores = [np.where(np.arange(len(one)) % 3 == 0, np.nan, one) for one in whole.scores]
    found = played(history, replace(whole, scores=scores))
    assert found.outcome == "worse"
    assert "errors" in found.metrics
    assert found.missing == pytest.approx(1 / 3, abs=0.01)
    assert Tried(Fault(), found, None, None).harmful(history.declared)


def test_a_trial_is_the_same_again_with_the_same_seed(history: History) -> None:
    assert played(history, version(history, 3), 5) == played(history, version(history, 3), 5)


# Figures


def test_a_rate_has_wilsons_interval_and_none_without_trials() -> None:
    rate = Rate.of([True] * 3 + [False] * 7)
    assert (rate.value, rate.hits, rate.n) == (0.3, 3, 10)
    assert (rate.low, rate.high) == pytest.approx((0.1078, 0.6032), abs=1e-4)
    none, every = Rate.of([False] * 10), Rate.of([True] * 10)
    assert (none.low, none.high) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert (every.low, every.high) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert Rate.of([]).value is None


def trial(**given: Any) -> Trial:
    usual: dict[str, Any] = {
        "outcome": "worse", "stage": "shadow", "partitions": 2, "rows": 400, "metrics": ("loss",),
        "decided": 0.0, "most": 0.0, "promoted": False, "harm": 0.5, "missing": 0.0, "slower": 0.0,
    }  # fmt: skip
    return Trial(**{**usual, **given})


def test_only_harmful_versions_count_for_detection() -> None:
    promoted: dict[str, Any] = {"outcome": "promoted", "promoted": True}
    tried = [
        Tried(FlippedLabels(), trial(), True, None),
        Tried(FlippedLabels(), trial(**promoted), False, 3),
        Tried(FlippedLabels(), trial(**promoted), True, None),
        Tried(FlippedLabels(), trial(harm=0.01, **promoted), False, None),
        Tried(SlowModel(), trial(harm=0.0, slower=9.0, metrics=("latency",)), None, None),
    ]
    found = summary(tried, Rollout.model_validate(DECLARED))
    assert (found["trials"], found["harmful"], found["kept"]) == (5, 4, 2)
    assert found["detection"]["value"] == 0.75
    assert found["rollout"]["value"] == 0.5
    assert (found["gate"]["hits"], found["gate"]["n"]) == (2, 3)
    assert (found["drift"]["hits"], found["drift_partitions"]) == (1, 3)
    assert found["metrics"]["latency"]["hits"] == 1
    assert found["harmless"] | {"ended": None} == {"n": 1, "ended": None, "promoted": 1}


def test_columns_to_break_are_the_most_important_ones_and_one_that_hardly_counts() -> None:
    found = chosen_features({"a": 0.5, "b": 0.3, "c": 0.2, "d": 0.0, "e": -0.01})
    assert found == ["a", "b", "e"]


# What follows from it


def rate(value: float | None, n: int = 50) -> dict[str, Any]:
    return {"value": value, "low": 0.0, "high": 1.0, "n": n}


def test_below_target_says_why_and_only_the_newest_arming_counts(tmp_path: Path) -> None:
    log, targets = open_log(settings_in(tmp_path)), Targets(detection=0.8, false_rollback=0.1)

    def arm(
        detection: dict[str, Any], false_rollback: dict[str, Any], code: str = "a1"
    ) -> str | None:
        body = {
            "detection": detection, "false_rollback": false_rollback, "trials": 50, "seed": 0,
            "code_version": code, "file": f"{log.size():064d}",
        }  # fmt: skip
        armed.record(log, "loans", "person:kim", body)
        return armed.below_target(log, "loans", targets, code_version="a1")

    assert "never armed" in (armed.below_target(log, "loans", targets, code_version="a1") or "")
    assert arm(rate(0.8), rate(0.1)) is None
    assert "70% of 50 harmful" in (arm(rate(0.7), rate(0.0)) or "")
    assert "20% of 50 equal" in (arm(rate(1.0), rate(0.2)) or "")
    assert "code version b2, this is a1" in (arm(rate(1.0), rate(0.0), code="b2") or "")
    assert "only 3 harmful" in (arm(rate(1.0, n=3), rate(0.0)) or "")
    assert "only 0 harmful" in (arm(rate(None, n=0), rate(0.0)) or "")
    assert arm(rate(0.9), rate(0.05)) is None
    assert "never armed" in (armed.below_target(log, "other", targets, code_version="a1") or "")
    assert log.last("armed", "loans").actor == "person:kim"  # type: ignore[union-attr]


def test_a_version_shuffled_in_training_does_not_need_the_column(history: History) -> None:
    """Taught on the mixed column, a version loses what it told, and no more than that."""
    workshop = Workshop(history, 0)
    sound = workshop.train(1)
    reference, timed = workshop.timed([sound, sound])
    assert (reference.pace == np.ones((2, 50))).all()
    assert 0.2 < np.median(timed.pace) < 5

    def loss(one: Version) -> float:
        label = history.live["label"].to_numpy()
        return float(np.mean((np.concatenate(one.scores) - label) ** 2))

    broken = workshop.with_fault(sound, ShuffledColumn("region"))
    taught = workshop.train(1, ShuffledInTraining("region"))
    assert loss(sound) < loss(taught) < loss(broken)
    assert next(iter(workshop.importance(sound))) in ("amount", "log_amount")
    assert any(workshop.drifted(NullFeature("amount")))
    assert not any(workshop.drifted(ShuffledColumn("amount")))

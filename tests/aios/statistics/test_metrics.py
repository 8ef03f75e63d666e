"""Metrics: agreement with reference implementations, coverage, slices, and undefined cases."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.statistics.metrics import (
    HIGHER_IS_BETTER,
    Estimate,
    evaluate,
    losses,
)
from aios.statistics.slices import by_slice, fairness_gaps

pytestmark = pytest.mark.unit


def scored(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a base rate of about 0.15, and scores that rank them imperfectly."""
    risk = generator.normal(size=n)
    label = (generator.random(n) < 1 / (1 + np.exp(2.2 - 1.2 * risk))).astype(float)
    return label, 1 / (1 + np.exp(2.2 - 1.2 * risk + 0.5 * generator.normal(size=n)))


def predicted(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    signal = generator.normal(size=n)
    return 2 * signal + generator.normal(size=n), 1.8 * signal + 0.1


def values(task: str, label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    return {name: found.value for name, found in evaluate(task, label, score).items()}


def test_values_agree_with_scikit_learn() -> None:
    from sklearn import metrics as sk

    label, score = scored(np.random.default_rng(0), 3000)
    score = np.round(score, 2)
    found = values("classification", label, score)
    assert found == pytest.approx(
        {
            "roc_auc": sk.roc_auc_score(label, score),
            "average_precision": sk.average_precision_score(label, score),
            "brier": sk.brier_score_loss(label, score),
            "log_loss": sk.log_loss(label, score),
            "accuracy": sk.accuracy_score(label, score >= 0.5),
            "base_rate": label.mean(),
        }
    )
    label, score = predicted(np.random.default_rng(0), 3000)
    found = values("regression", label, score)
    assert found == pytest.approx(
        {
            "mae": sk.mean_absolute_error(label, score),
            "rmse": sk.root_mean_squared_error(label, score),
            "r2": sk.r2_score(label, score),
            "bias": np.mean(score - label),
        }
    )


@pytest.mark.parametrize(("task", "draw"), [("classification", scored), ("regression", predicted)])
def test_intervals_cover_the_truth_as_often_as_they_say(task: str, draw: object) -> None:
    generator = np.random.default_rng(1)
    truth = evaluate(task, *draw(generator, 400_000))  # type: ignore[operator]
    covered = dict.fromkeys(truth, 0)
    for _ in range(400):
        for name, found in evaluate(task, *draw(generator, 400), 0.9).items():  # type: ignore[operator]
            covered[name] += found.low <= truth[name].value <= found.high
    for name, times in covered.items():
        assert 0.85 <= times / 400 <= 0.95, (name, times)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_nan_never_zero(task: str, n: int) -> None:
    for found in evaluate(task, np.ones(n), np.full(n, 0.3)).values():
        assert all(math.isnan(part) for part in (found.value, found.low, found.high))
        assert found.n == n


def test_one_class_leaves_ranking_undefined_and_the_rest_defined() -> None:
    found = evaluate("classification", np.zeros(100), np.linspace(0, 0.4, 100))
    assert math.isnan(found["roc_auc"].value)
    assert math.isnan(found["average_precision"].low)
    assert found["base_rate"].value == 0
    assert found["base_rate"].high > 0
    assert found["accuracy"].value == 1


def test_ranking_with_a_single_positive_is_undefined() -> None:
    found = evaluate("classification", np.r_[1.0, np.zeros(99)], np.linspace(0, 0.4, 100))
    assert math.isnan(found["roc_auc"].value)
    assert math.isnan(found["average_precision"].value)


def test_constant_label_leaves_r2_undefined() -> None:
    found = evaluate("regression", np.ones(100), np.linspace(0, 1, 100))
    assert math.isnan(found["r2"].value)
    assert found["mae"].value == pytest.approx(0.5)


def test_perfect_ranking_of_few_rows_is_not_certain() -> None:
    label = np.r_[np.zeros(50), np.ones(5)]
    found = evaluate("classification", label, label)["roc_auc"]
    assert found.value == found.high == 1
    assert 0.4 < found.low < 0.7


def test_rows_without_label_or_score_do_not_count() -> None:
    label, score = scored(np.random.default_rng(2), 500)
    gaps = np.r_[np.nan, 0.0, 1.0], np.r_[0.5, np.nan, np.inf]
    longer = evaluate("classification", np.r_[label, gaps[0]], np.r_[score, gaps[1]])
    assert longer == evaluate("classification", label, score)
    assert longer["brier"].n == 500


def test_scores_that_are_not_probabilities_are_ranked_only() -> None:
    label, score = scored(np.random.default_rng(3), 500)
    found = evaluate("classification", label, 10 * score)
    assert math.isnan(found["brier"].value)
    assert math.isnan(found["accuracy"].value)
    assert found["roc_auc"] == evaluate("classification", label, score)["roc_auc"]


def test_bad_input_is_named() -> None:
    with pytest.raises(AiosError, match="task 'ranking'"):
        evaluate("ranking", np.zeros(3), np.zeros(3))
    with pytest.raises(AiosError, match="label 2"):
        evaluate("classification", np.array([0.0, 1, 2]), np.zeros(3))
    with pytest.raises(AiosError, match=r"\(3,\)"):
        evaluate("classification", np.zeros(3), np.zeros(4))
    with pytest.raises(AiosError, match="slice rows"):
        by_slice("regression", np.zeros(3), np.zeros(3), pl.DataFrame({"a": [1]}))


rows = st.integers(4, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.integers(0, 8), min_size=n, max_size=n),
    )
)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_reversing_scores_or_classes_mirrors_the_auc(drawn: tuple[list, list]) -> None:
    label, score = np.array(drawn[0], dtype=float), np.array(drawn[1]) / 8
    straight = evaluate("classification", label, score)["roc_auc"]
    for mirrored in (
        evaluate("classification", label, 1 - score)["roc_auc"],
        evaluate("classification", 1 - label, score)["roc_auc"],
    ):
        flipped = Estimate(1 - mirrored.value, 1 - mirrored.high, 1 - mirrored.low, mirrored.n)
        assert vars(straight) == pytest.approx(vars(flipped), nan_ok=True, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter_and_bounds_enclose(drawn: tuple, random: object) -> None:
    label, score = np.array(drawn[0], dtype=float), np.array(drawn[1]) / 8
    order = list(range(len(label)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for task in ("classification", "regression"):
        straight = evaluate(task, label, score)
        mixed = evaluate(task, label[order], score[order])
        for name, found in straight.items():
            assert vars(found) == pytest.approx(vars(mixed[name]), nan_ok=True, abs=1e-9)
            if not math.isnan(found.value):
                assert found.low <= found.value + 1e-12
                assert found.value <= found.high + 1e-12


def test_losses_keep_the_rows_and_average_to_the_brier_score() -> None:
    label, score = scored(np.random.default_rng(4), 300)
    label[7] = np.nan
    found = losses("classification", label, score)
    assert np.flatnonzero(np.isnan(found)).tolist() == [7]
    assert np.nanmean(found) == pytest.approx(
        evaluate("classification", label, score)["brier"].value
    )
    assert losses("regression", np.array([3.0]), np.array([1.0])) == pytest.approx([4.0])


def test_slices_are_long_and_small_ones_are_listed_without_estimate() -> None:
    label, score = scored(np.random.default_rng(5), 400)
    slices = pl.DataFrame(
        {
            "region": ["north"] * 300 + ["south"] * 90 + [None] * 10,
            "new": [True] * 200 + [False] * 200,
        }
    )
    found = by_slice("classification", label, score, slices)
    assert found.columns == ["slice", "value", "n", "metric", "estimate", "low", "high"]
    assert found.height == 5 * len(evaluate("classification", label, score))
    brier = found.filter(pl.col("metric") == "brier")
    assert brier["value"].to_list() == ["false", "true", "(missing)", "north", "south"]
    assert brier["n"].to_list() == [200, 200, 10, 300, 90]
    assert brier["estimate"].is_nan().to_list() == [False, False, True, False, False]
    north = brier.row(3, named=True)
    assert north["estimate"] == evaluate("classification", label[:300], score[:300])["brier"].value
    assert by_slice("classification", label, score, slices.select([])).is_empty()


def test_fairness_gaps_name_the_extreme_groups_and_those_left_out() -> None:
    group = ["a"] * 200 + ["b"] * 200 + ["c"] * 200 + ["d"] * 20
    label = np.tile([1.0, 0.0], 310)
    share = np.r_[np.full(200, 0.5), np.full(200, 0.2), np.full(200, 0.3), np.full(20, 1.0)]
    rank = np.r_[[np.arange(200) // 2 / 100] * 3].ravel()
    score = np.where(np.r_[rank, np.zeros(20)] < share, 0.9, 0.1)
    selected, found = fairness_gaps(label, score, pl.DataFrame({"group": group}), 0.5).iter_rows(
        named=True
    )
    assert (selected["rate"], found["rate"]) == ("selection_rate", "true_positive_rate")
    for row in (selected, found):
        assert (row["highest"], row["lowest"], row["groups"]) == ("a", "b", 3)
        assert row["gap"] == pytest.approx(0.3)
        assert row["left_out"] == ["d"]


def test_fairness_with_one_group_is_undefined_not_fair() -> None:
    found = fairness_gaps(np.ones(100), np.ones(100), pl.DataFrame({"g": ["a"] * 100}), 0.5)
    assert found["gap"].is_nan().all()
    assert found["highest"].to_list() == [None, None]


def test_direction_of_every_comparable_metric_is_known() -> None:
    tasks = ("classification", "regression", "extraction")
    known = {name for task in tasks for name in evaluate(task, np.ones(0), np.ones(0))}
    assert known - {"base_rate", "bias"} == set(HIGHER_IS_BETTER)

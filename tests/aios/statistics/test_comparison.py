"""Paired differences: sign, coverage, and undefined cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.statistics.comparison import paired_difference
from aios.statistics.metrics import HIGHER_IS_BETTER, evaluate

pytestmark = pytest.mark.unit

CLASSIFICATION = ("roc_auc", "average_precision", "brier", "log_loss", "accuracy")
REGRESSION = ("mae", "rmse", "r2")
EXTRACTION = ("document_f1", "documents_right")


def task_of(metric: str) -> str:
    if metric in EXTRACTION:
        return "extraction"
    return "regression" if metric in REGRESSION else "classification"


def draw(
    metric: str, generator: np.random.Generator, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and the scores of a better and of a worse model."""
    signal, noise = generator.normal(size=n), generator.normal(size=(3, n))
    if metric in REGRESSION:
        return 2 * signal + noise[0], 2 * signal + 0.2 * noise[1], 1.8 * signal + 0.5 * noise[2]
    if metric in EXTRACTION:  # the F1 of documents of four fields, which are hard in common
        hard = 1 / (1 + np.exp(3 + signal[:, None]))
        wrong = [(generator.random((n, 4)) < hard * part).sum(axis=1) for part in (1, 2)]
        return np.ones(n), 1 - wrong[0] / 4, 1 - wrong[1] / 4
    label = (generator.random(n) < 1 / (1 + np.exp(1.5 - 1.5 * signal))).astype(float)
    better, worse = (
        1 / (1 + np.exp(1.5 - 1.5 * signal - size * noise[row]))
        for row, size in enumerate((0.3, 0.7))
    )
    return label, better, worse


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_better_challenger_is_positive_and_is_the_difference_of_the_metrics(metric: str) -> None:
    label, better, worse = draw(metric, np.random.default_rng(0), 5000)
    task = task_of(metric)
    gap = evaluate(task, label, better)[metric].value - evaluate(task, label, worse)[metric].value
    found = paired_difference(metric, label, better, worse)
    assert found.value == pytest.approx(abs(gap))
    assert found.low < found.value < found.high
    assert found.n == 5000
    swapped = paired_difference(metric, label, worse, better)
    assert (swapped.value, swapped.low) == pytest.approx((-found.value, -found.high))


@pytest.mark.parametrize(
    "metric", [metric for metric in HIGHER_IS_BETTER if metric != "average_precision"]
)
def test_interval_covers_the_true_difference(metric: str) -> None:
    assert 0.86 <= coverage(metric, repetitions=400) <= 0.94


@pytest.mark.loop
def test_bootstrap_interval_covers_the_true_difference() -> None:
    assert 0.84 <= coverage("average_precision", repetitions=200) <= 0.96


def coverage(metric: str, repetitions: int) -> float:
    generator = np.random.default_rng(1)
    label, better, worse = draw(metric, generator, 200_000)
    task = task_of(metric)
    ours, theirs = (evaluate(task, label, score)[metric].value for score in (better, worse))
    truth = abs(ours - theirs)
    covered = 0
    for index in range(repetitions):
        rows = draw(metric, generator, 400)
        found = paired_difference(metric, *rows, confidence=0.9, seed=index)
        covered += found.low <= truth <= found.high
    return covered / repetitions


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(HIGHER_IS_BETTER)), st.integers(0, 50), st.integers(0, 60))
def test_a_model_never_differs_from_itself(metric: str, seed: int, n: int) -> None:
    label, score, _ = draw(metric, np.random.default_rng(seed), n)
    found = paired_difference(metric, label, score, score)
    if not math.isnan(found.value):
        assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_nan(metric: str, n: int) -> None:
    found = paired_difference(metric, np.ones(n), np.full(n, 0.6), np.full(n, 0.5))
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
def test_one_class_is_nan(metric: str) -> None:
    generator = np.random.default_rng(2)
    found = paired_difference(metric, np.zeros(90), generator.random(90), generator.random(90))
    assert math.isnan(found.value)
    assert math.isnan(found.low)


def test_rows_missing_on_either_side_do_not_count() -> None:
    label, better, worse = draw("brier", np.random.default_rng(3), 300)
    gaps = [
        np.r_[part, gap]
        for part, gap in zip(
            (label, better, worse), np.where(np.eye(3) == 1, np.nan, 1.0), strict=True
        )
    ]
    assert paired_difference("brier", *gaps) == paired_difference("brier", label, better, worse)


def test_same_seed_gives_the_same_bootstrap() -> None:
    rows = draw("average_precision", np.random.default_rng(4), 300)
    first, again, other = (paired_difference("average_precision", *rows, seed=s) for s in (1, 1, 2))
    assert first == again != other


def test_bad_input_is_named() -> None:
    with pytest.raises(AiosError, match="metric 'f1'"):
        paired_difference("f1", np.ones(2), np.ones(2), np.ones(2))
    with pytest.raises(AiosError, match="champion scores"):
        paired_difference("mae", np.ones(2), np.ones(2), np.ones(3))

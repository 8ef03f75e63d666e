"""Acting on the surest: thresholds keep their error rate, bounds keep their level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.statistics.selective import (
    at_threshold,
    calibration,
    calibration_error,
    curve,
    straight_through,
    upper_bound,
)

pytestmark = pytest.mark.unit

ROWS = st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.7, 0.9, 0.99]), st.booleans()), min_size=1)


@given(ROWS, st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_what_is_acted_on_is_never_more_often_wrong_than_asked(rows, max_wrong) -> None:
    confidence, right = (np.array(part, dtype=float) for part in zip(*rows, strict=True))
    found = straight_through(confidence, right, max_wrong)
    acted = confidence >= found.threshold
    assert found.share == pytest.approx(acted.mean())
    assert found.wrong <= max_wrong
    if acted.any():
        assert found.wrong == pytest.approx(1 - right[acted].mean())
    for lower in set(confidence[~acted]):
        assert 1 - right[confidence >= lower].mean() > max_wrong


@given(ROWS)
def test_the_curve_ends_with_all_rows(rows) -> None:
    confidence, right = (np.array(part, dtype=float) for part in zip(*rows, strict=True))
    found = curve(confidence, right)
    assert found.coverage[-1] == 1
    assert found.wrong[-1] == pytest.approx(1 - right.mean())
    assert (np.diff(found.coverage) > 0).all()


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 100), (10, 10)])
def test_the_bound_is_clopper_and_pearsons(wrong: int, n: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(wrong, n, alternative="less").proportion_ci(0.95, method="exact").high
    assert upper_bound(wrong, n) == pytest.approx(expected)


def test_the_bound_covers_at_its_level() -> None:
    draw = np.random.default_rng(0)
    covered = [upper_bound(int(draw.binomial(300, 0.02)), 300) >= 0.02 for _ in range(2000)]
    assert np.mean(covered) >= 0.94


def test_calibrated_rows_have_a_small_error_and_miscalibrated_ones_a_large_one() -> None:
    draw = np.random.default_rng(1)
    confidence = draw.random(5000)
    right = (draw.random(5000) < confidence).astype(float)
    assert calibration_error(calibration(confidence, right)) < 0.03
    assert calibration_error(calibration(confidence**4, right)) > 0.2


def test_a_threshold_keeps_its_meaning_on_other_rows() -> None:
    draw = np.random.default_rng(2)
    confidence = draw.random(20_000)
    right = (draw.random(20_000) < confidence**0.2).astype(float)
    chosen = straight_through(confidence[:10_000], right[:10_000], 0.05)
    other = at_threshold(confidence[10_000:], right[10_000:], chosen.threshold)
    assert other.share == pytest.approx(chosen.share, abs=0.03)
    assert other.wrong == pytest.approx(0.05, abs=0.015)


def test_rows_that_were_not_judged_do_not_count() -> None:
    found = straight_through(np.array([0.9, np.nan, 0.8]), np.array([1.0, 0.0, np.nan]), 0.01)
    assert (found.n, found.share) == (1, 1.0)
    assert straight_through(np.array([]), np.array([]), 0.01).share == 0

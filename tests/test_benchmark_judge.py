"""The yardstick of the judge's benchmark does what Kayenta's rule says."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.kayenta import classify, group_score, hodges_lehmann

pytestmark = pytest.mark.unit


def test_the_interval_is_that_of_all_differences() -> None:
    generator = np.random.default_rng(0)
    before, after = np.sort(generator.normal(0, 1, 60)), np.sort(generator.normal(1.5, 1, 50))
    differences = np.sort(np.subtract.outer(after, before).ravel())
    shift, low, high = hodges_lehmann(before, after)
    assert shift == pytest.approx(np.median(differences), abs=0.01)
    reach = 2.3263 * (60 * 50 * 111 / 12) ** 0.5 + 0.5
    assert low == pytest.approx(differences[round(1500 - reach) - 1])
    assert high == pytest.approx(differences[round(1500 + reach) - 1])


def test_labels_follow_the_interval_and_the_ratio_of_the_means() -> None:
    generator = np.random.default_rng(1)
    before, after = generator.normal(10, 1, (2, 60))
    assert classify(before, after) == "Pass"
    assert classify(before, after + 2) == "High"
    assert classify(before, after - 2) == "Low"
    assert classify(before, after + 2, increase=1.5) == "Pass"
    assert classify(before, np.append(after + 2, np.nan)) == "High"
    assert classify(before, np.full(60, np.nan)) == "Nodata"
    few = np.where(generator.random((2, 200)) < 0.05, 1.0, 0.0)
    assert classify(*few) == "Pass"


def test_the_score_counts_passes_and_fails_open() -> None:
    assert group_score(["Pass", "High", "Pass", "Low"]) == 50
    assert group_score(["Pass", "Error", "Pass"]) == 100
    assert group_score(["Pass", "High"], critical=True) == 0
    assert group_score(["Pass", "Nodata"]) == 0
    assert group_score(["Error", "Error"]) == 100

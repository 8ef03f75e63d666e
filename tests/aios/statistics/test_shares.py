"""Shares, differences and kappa: the textbook's figures, and intervals that keep their level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.statistics.shares import agreement, difference, share

pytestmark = pytest.mark.unit


@given(st.integers(0, 50), st.integers(0, 50))
def test_an_interval_holds_its_share_and_lies_within_0_and_1(hits: int, more: int) -> None:
    found = share(hits, hits + more)
    assert 0 <= found.low <= found.high <= 1
    assert found.value is None or found.low <= found.value <= found.high


def test_newcombes_interval_is_that_of_his_example() -> None:
    found = difference(share(56, 70), share(48, 80))
    assert found
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=2e-4)
    assert difference(share(1, 2), share(0, 0)) is None


def test_kappa_and_its_error_are_those_of_fleiss_cohen_and_everitt() -> None:
    """Their example of 200 cases in three kinds: kappa 0.429, standard error 0.054."""
    table = [[53, 5, 2], [11, 14, 5], [1, 6, 3]]
    names = ["a", "b", "c"]
    first = [names[i] for i, row in enumerate(table) for count in row for _ in range(2 * count)]
    second = [names[j] for row in table for j, count in enumerate(row) for _ in range(2 * count)]
    found = agreement(first, second)
    assert found.pairs == 200
    assert (found.kappa, found.error) == pytest.approx((0.429, 0.054), abs=1e-3)


def test_kappa_without_two_kinds_says_nothing_and_full_agreement_is_not_sure() -> None:
    assert agreement([], []).kappa is None
    assert agreement(["a"] * 5, ["a"] * 5).kappa is None
    found = agreement(["a", "b"] * 5, ["a", "b"] * 5)
    assert (found.kappa, found.high) == (1.0, 1.0)
    assert found.low < 0.5


@pytest.mark.parametrize(("quality", "pairs"), [(0.0, 100), (0.6, 100), (0.6, 400), (0.9, 200)])
def test_kappas_interval_misses_as_often_as_it_says(quality: float, pairs: int) -> None:
    """Two judges know the truth with chance `quality` each, else guess: kappa is its square."""
    draw = np.random.default_rng(11)
    shares, missed, rounds = np.array([0.6, 0.3, 0.1]), 0, 600

    def judged(truth: np.ndarray) -> list[str]:
        guess = draw.choice(3, size=pairs, p=shares)
        return [str(one) for one in np.where(draw.random(pairs) < quality, truth, guess)]

    for _ in range(rounds):
        truth = draw.choice(3, size=pairs, p=shares)
        found = agreement(judged(truth), judged(truth))
        missed += not found.low <= quality**2 <= found.high
    assert missed / rounds < 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5

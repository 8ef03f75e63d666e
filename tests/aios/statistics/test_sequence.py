"""Bounds of a mean at every look: level, power, and what the rows do not support."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.statistics.sequence import MIN_MOVED, bounds, rows_needed

pytestmark = pytest.mark.unit

RATE = 0.05


def noise(generator: np.random.Generator, shape: tuple[int, int], correlation: float) -> np.ndarray:
    """Draw standard normal series along the second axis, of first-order autocorrelation."""
    values = generator.normal(size=shape)
    for step in range(1, shape[1]):
        values[:, step] = (
            correlation * values[:, step - 1] + (1 - correlation**2) ** 0.5 * values[:, step]
        )
    return values


def ever_wrong(series: np.ndarray, looks: range, mean: float = 0.0, rate: float = RATE) -> float:
    """Share of the series whose low bound, or whose high bound, is wrong at any look."""
    wrong = np.zeros(2)
    for values in series:
        seen = [bounds(values[:n], error_rate=rate, first=looks[0]) for n in looks]
        wrong += any(b.low > mean for b in seen), any(b.high < mean for b in seen)
    return float(wrong.max()) / len(series)


def tolerated(count: int) -> float:
    """Three standard errors above the stated rate."""
    return RATE + 3 * (RATE * (1 - RATE) / count) ** 0.5


@pytest.mark.parametrize("correlation", [0, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("points", [10, 60])
def test_the_error_over_all_looks_holds_for_dependent_rows(correlation: float, points: int) -> None:
    series = noise(np.random.default_rng(points), (120, 24 * points), correlation)
    looks = range(max(100, points), 24 * points + 1, points)
    assert ever_wrong(series, looks) <= tolerated(120)


SHAPES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "skewed to the left": lambda x: math.exp(0.5) - np.exp(x),
    "skewed to the right": lambda x: np.exp(x) - math.exp(0.5),
    "heavy tails": lambda x: np.sign(x) * (np.exp(x**2 / 3) - 1),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("correlation", [0, 0.5])
def test_the_error_holds_for_rows_that_are_not_normal(shape: str, correlation: float) -> None:
    series = SHAPES[shape](noise(np.random.default_rng(2), (120, 1440), correlation))
    assert ever_wrong(series, range(120, 1441, 120)) <= tolerated(120)


@pytest.mark.parametrize("rate", [0.003, 0.01, 0.03, 0.5])
def test_a_rate_of_rare_events_is_bounded_at_every_look(rate: float) -> None:
    events = 1.0 * (np.random.default_rng(3).random((200, 2000)) < rate)
    assert ever_wrong(events, range(100, 2001, 100), mean=rate) <= tolerated(200)


def test_the_error_holds_over_many_looks_from_few_rows_on() -> None:
    series = np.random.default_rng(4).normal(size=(40, 6000))
    assert ever_wrong(series, range(50, 6001, 100)) <= tolerated(40)


def test_a_shift_of_a_quarter_of_a_deviation_is_found() -> None:
    series = np.random.default_rng(5).normal(0.25, 1, (100, 400))
    assert np.mean([bounds(one, error_rate=RATE).low > 0 for one in series]) > 0.9
    correlated = 0.3 + noise(np.random.default_rng(6), (50, 8000), 0.9)
    assert np.mean([bounds(one, error_rate=RATE).low > 0 for one in correlated]) > 0.9


def test_blocks_grow_with_the_memory_of_the_series() -> None:
    generator = np.random.default_rng(7)
    blocks = [
        np.median(
            [bounds(one, error_rate=RATE).block for one in noise(generator, (30, 2000), memory)]
        )
        for memory in (0, 0.99)
    ]
    assert blocks[1] >= 4 * blocks[0]


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_a_row_counts_as_much_as_its_neighbours_leave_it(correlation: float) -> None:
    series = noise(np.random.default_rng(13), (60, 320), correlation)
    found = np.median([bounds(one, error_rate=RATE).deviation for one in series])
    assert 1 < found / ((1 + correlation) / (1 - correlation)) ** 0.5 < 1.6


def test_the_side_to_which_rows_are_skewed_has_the_wider_bound() -> None:
    values = np.random.default_rng(14).normal(size=1000)
    for rows, wider in ((np.exp(values), 1), (-np.exp(values), -1)):
        found = bounds(rows, error_rate=RATE)
        ratio = (found.high - found.mean) / (found.mean - found.low)
        assert ratio**wider > 1.1
    even = bounds(values, error_rate=RATE)
    assert even.high - even.mean == pytest.approx(even.mean - even.low)


def test_a_walk_has_no_bounds() -> None:
    walks = np.random.default_rng(8).normal(size=(50, 400)).cumsum(axis=1)
    found = [bounds(one, error_rate=RATE) for one in walks]
    assert np.mean([math.isinf(one.low) and math.isinf(one.high) for one in found]) > 0.8


def test_few_rows_have_no_bounds() -> None:
    found = bounds(np.ones(99), error_rate=RATE)
    assert (found.rows, found.low, found.high, found.mean) == (99, -math.inf, math.inf, 1)
    nothing = bounds(np.array([]), error_rate=RATE)
    assert nothing.rows == 0
    assert (nothing.low, nothing.high) == (-math.inf, math.inf)
    assert math.isnan(nothing.mean)


def test_values_that_are_not_finite_do_not_count() -> None:
    values = np.random.default_rng(9).normal(size=300)
    holes = np.insert(values, 100, [np.nan, np.inf, -np.inf])
    assert bounds(holes, error_rate=RATE) == bounds(values, error_rate=RATE)


def test_models_that_agree_on_every_row_are_close_and_never_worse() -> None:
    found = bounds(np.zeros(300), error_rate=RATE)
    assert found.low < 0 < found.high < 0.011
    assert bounds(np.zeros(3000), error_rate=RATE).high < found.high / 9
    assert bounds(np.zeros(300), error_rate=RATE, reach=50).high == pytest.approx(50 * found.high)


def test_a_handful_of_bad_rows_is_not_worse_and_is_reckoned_with() -> None:
    values = np.zeros(600)
    values[: 40 * (MIN_MOVED - 1) : 40] = 1
    found = bounds(values, error_rate=RATE)
    assert found.rare
    assert found.low < 0
    assert 1.5 * found.mean < found.high < 0.06
    values[-1] = 1
    assert not bounds(values, error_rate=RATE).rare


def test_bad_rows_in_clusters_tell_less_than_as_many_alone() -> None:
    alone, together = np.zeros((2, 1000))
    alone[::100] = 1
    together[500:510] = 1
    high = [bounds(one, error_rate=RATE).high for one in (alone, together)]
    assert high[1] > 2 * high[0]


def test_rows_that_all_differ_are_not_rare_however_few() -> None:
    values = np.array([99.0, 101, 98, 0.1, 100, -0.2, 102, 0.3, 97, 103])
    found = bounds(values, error_rate=RATE, first=10)
    assert not found.rare
    assert found.high - found.low > 30


def test_a_row_that_never_varies_is_its_own_mean() -> None:
    found = bounds(np.ones(300), error_rate=RATE)
    assert 0.95 < found.low < 1 < found.high < 1.05


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(100, 400),
    scale=st.floats(1e-6, 1e6),
    memory=st.sampled_from([0.0, 0.6]),
)
def test_bounds_follow_sign_and_unit(seed: int, rows: int, scale: float, memory: float) -> None:
    values = np.exp(noise(np.random.default_rng(seed), (1, rows), memory)[0])
    found, turned = bounds(values, error_rate=RATE), bounds(-scale * values, error_rate=RATE)
    assert found.low <= found.mean <= found.high
    assert turned.low == pytest.approx(-scale * found.high, rel=1e-6)
    assert turned.high == pytest.approx(-scale * found.low, rel=1e-6)
    stricter = bounds(values, error_rate=RATE / 10)
    assert stricter.low <= found.low
    assert stricter.high >= found.high


def test_rows_needed_is_when_about_half_of_such_series_are_decided() -> None:
    generator = np.random.default_rng(11)
    decided, series = 0, generator.normal(0.15, 1, (60, 200))
    for values in series:
        found = bounds(values - values.mean() + 0.15, error_rate=RATE)
        further = rows_needed(found, 0.0, error_rate=RATE)
        assert further
        longer = np.concatenate([values, generator.normal(0.15, 1, further)])
        decided += bounds(longer, error_rate=RATE).low > 0
    assert 0.3 <= decided / len(series) <= 0.8


def test_rows_needed_from_nothing_seen_is_exact() -> None:
    found = bounds(np.zeros(200), error_rate=RATE)
    further = rows_needed(found, 0.005, error_rate=RATE)
    assert further
    assert bounds(np.zeros(200 + further), error_rate=RATE).high < 0.005
    assert bounds(np.zeros(199 + further), error_rate=RATE).high >= 0.005


def test_rows_needed_knows_when_it_is_decided_or_hopeless() -> None:
    values = np.random.default_rng(12).normal(0.5, 1, 400)
    found = bounds(values, error_rate=RATE)
    assert rows_needed(found, 0.0, error_rate=RATE) == 0
    assert rows_needed(found, 0.9, error_rate=RATE) == 0
    assert rows_needed(found, found.mean, error_rate=RATE) is None
    assert rows_needed(found, found.mean + 1e-9, error_rate=RATE) is None
    assert rows_needed(bounds(np.array([]), error_rate=RATE), 0.1, error_rate=RATE) is None
    near, far = (rows_needed(found, t, error_rate=RATE) for t in (found.mean + 0.01, 0.6))
    assert near
    assert far
    assert near > far


@pytest.mark.parametrize("rate", [0, 1, -0.1, math.nan])
def test_an_impossible_error_rate_is_refused(rate: float) -> None:
    with pytest.raises(AiosError, match="between 0 and 1"):
        bounds(np.zeros(10), error_rate=rate)

"""How long labels take, from a history in which some still wait."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.statistics.maturity import DelayCurve

pytestmark = pytest.mark.unit


def history(
    seed: int, events: int, mean: float, followed: float, never: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Delays and ages without a label of events spread evenly over the last `followed` days."""
    generator = np.random.default_rng(seed)
    age, delay = generator.uniform(0, followed, events), generator.exponential(mean, events)
    delay[generator.random(events) < never] = np.inf
    return delay[delay <= age], age[delay > age]


def curve(*given: np.ndarray) -> DelayCurve:
    found = DelayCurve.of(*given)
    assert found is not None
    return found


@pytest.mark.parametrize("age", [3.0, 10.0, 25.0])
def test_young_events_without_a_label_do_not_make_labels_look_fast(age: float) -> None:
    delays, waiting = history(0, 5000, 10, 120)
    true = 1 - np.exp(-age / 10)
    assert curve(delays, waiting).matured(np.array([age])) == pytest.approx(true, abs=0.03)
    assert np.mean(delays <= age) > true + 0.01


def test_a_young_history_does_not_pretend_that_all_is_known() -> None:
    # Twenty days of history of labels that take thirty: most are still to come.
    found = curve(*history(1, 3000, 30, 20))
    assert found.ever == 1
    assert found.matured(np.full(10, 20.0)) == pytest.approx(1 - np.exp(-20 / 30), abs=0.06)
    assert found.age_of(0.8) is None
    assert found.wait(np.full(10, 5.0), 0.8) is None


def test_events_that_never_get_a_label_are_not_waited_for() -> None:
    found = curve(*history(2, 5000, 5, 300, never=0.3))
    assert found.ever == pytest.approx(0.7, abs=0.03)
    assert found.matured(np.full(5, 100.0)) == pytest.approx(1, abs=0.01)
    assert found.age_of(0.5) == pytest.approx(5 * np.log(2), abs=0.4)


def test_a_fixed_delay_is_known_exactly() -> None:
    found = curve(np.full(200, 7.0), np.arange(70) / 10)
    assert found.age_of(0.8) == 7
    assert found.matured(np.array([6.9, 7.0, 7.1, 30.0])) == 0.75
    assert found.wait(np.array([6.0, 3.0]), 1.0) == pytest.approx(4)
    assert found.wait(np.array([6.0, 3.0]), 0.5) == pytest.approx(1)
    assert found.wait(np.array([8.0, 9.0]), 1.0) == 0


def test_waiting_brings_the_share_that_it_promises() -> None:
    found = curve(*history(3, 4000, 10, 200))
    ages = np.random.default_rng(4).uniform(0, 14, 500)
    days = found.wait(ages, 0.8)
    assert days
    assert found.matured(ages) < 0.8
    assert found.matured(ages + days + 1e-6) >= 0.8 > found.matured(ages + days - 0.5)


def test_too_little_history_gives_no_curve() -> None:
    assert DelayCurve.of(np.array([]), np.array([])) is None
    assert DelayCurve.of(np.ones(29), np.ones(1000)) is None
    assert DelayCurve.of(np.ones(30), np.array([])) is not None


def test_no_events_have_no_labels() -> None:
    found = curve(np.ones(30), np.array([]))
    assert found.matured(np.array([])) == 0
    assert found.wait(np.array([]), 0.5) is None


def test_a_label_known_before_its_event_counts_at_once() -> None:
    assert curve(np.full(40, -1.0), np.array([])).matured(np.array([0.0])) == 1


def test_unusable_numbers_are_refused() -> None:
    with pytest.raises(AiosError, match="not finite"):
        DelayCurve.of(np.array([np.nan]), np.array([]))
    with pytest.raises(AiosError, match="share"):
        curve(np.ones(30), np.array([])).age_of(1.1)


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.floats(0, 100), min_size=30, max_size=80),
    waiting=st.lists(st.floats(0, 150), max_size=80),
)
def test_the_curve_rises_from_0_to_1_at_most(delays: list[float], waiting: list[float]) -> None:
    found = curve(np.array(delays), np.array(waiting))
    shares = [found.matured(np.array([age])) for age in np.linspace(0, 200, 50)]
    assert all(0 <= one <= 1 + 1e-12 for one in shares)
    assert all(a <= b + 1e-12 for a, b in pairwise(shares))
    middle = found.age_of(0.5)
    if middle is not None:
        assert found.matured(np.array([middle])) >= 0.5 - 1e-12

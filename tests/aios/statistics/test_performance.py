"""The performance alarm: level over a whole sequence, delay, and bad input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.statistics.metrics import losses
from aios.statistics.performance import PerformanceVerdict, Sample, performance_verdict

pytestmark = pytest.mark.unit

QUIET, WORSE = 0.11, 0.17


def errors(n: int, mean: float) -> Sample:
    """A batch of zero-one losses with this mean."""
    return Sample(n, mean, mean * (1 - mean))


def stream(
    generator: np.random.Generator, rates: np.ndarray, n: int, gate: int = 1000
) -> tuple[Sample, list[Sample]]:
    """A gate sample at the quiet rate and one batch of zero-one losses for each rate."""
    baseline = errors(gate, generator.binomial(gate, QUIET) / gate)
    return baseline, [errors(n, hits / n) for hits in generator.binomial(n, rates)]


def delays(rows: int, quiet: int, looks: int, repetitions: int) -> np.ndarray:
    """Batches from the change to the alarm; 0 or less is a false alarm, infinity a miss."""
    generator = np.random.default_rng(20)
    rates = np.r_[np.full(quiet, QUIET), np.full(looks, WORSE)]
    found = []
    for _ in range(repetitions):
        verdict = performance_verdict(*stream(generator, rates, rows))
        found.append(math.inf if verdict.alarm is None else verdict.alarm - quiet + 1)
    return np.array(found)


@pytest.mark.parametrize(("rows", "gate"), [(500, 1000), (100, 300)])
def test_quiet_streams_keep_the_rate_over_eighty_looks(rows: int, gate: int) -> None:
    generator = np.random.default_rng(7)
    alarms = 0
    for _ in range(150):
        baseline, batches = stream(generator, np.full(80, QUIET), rows, gate)
        alarms += performance_verdict(baseline, batches).status == "worse"
    assert alarms <= 5


def test_rate_holds_under_mild_autocorrelation_of_batch_means() -> None:
    generator = np.random.default_rng(8)
    spread = math.sqrt(QUIET * (1 - QUIET) / 500)
    alarms = 0
    for _ in range(150):
        noise = generator.normal(size=80)
        for t in range(1, 80):
            noise[t] = 0.3 * noise[t - 1] + math.sqrt(1 - 0.09) * noise[t]
        baseline, _ = stream(generator, np.full(1, QUIET), 500)
        batches = [errors(500, max(QUIET + spread * z, 0.0)) for z in noise]
        alarms += performance_verdict(baseline, batches).status == "worse"
    assert alarms <= 6


def test_heavy_tailed_losses_keep_the_rate() -> None:
    generator = np.random.default_rng(9)
    alarms = 0
    for _ in range(120):
        draws = generator.lognormal(0, 1.5, size=(80, 100))
        gate = Sample.of(generator.lognormal(0, 1.5, size=500))
        alarms += performance_verdict(gate, [Sample.of(row) for row in draws]).status == "worse"
    assert alarms <= 2


def test_change_after_a_quiet_time_is_found_within_three_batches() -> None:
    found = delays(rows=500, quiet=25, looks=3, repetitions=300)
    assert np.mean((found >= 1) & (found <= 3)) > 0.93


def test_change_in_small_batches_is_found_within_as_many_rows() -> None:
    found = delays(rows=100, quiet=25, looks=20, repetitions=200)
    assert np.mean((found >= 1) & (found <= 18)) > 0.93


def test_change_after_two_hundred_quiet_batches_is_not_much_slower() -> None:
    found = delays(rows=500, quiet=200, looks=4, repetitions=30)
    assert np.mean((found >= 1) & (found <= 4)) > 0.9


def test_alarm_names_the_start_and_the_size_of_the_change() -> None:
    batches = [errors(500, QUIET)] * 30 + [errors(500, WORSE)] * 6
    verdict = performance_verdict(errors(1000, QUIET), batches)
    assert (verdict.status, verdict.since) == ("worse", 30)
    assert verdict.alarm in (31, 32)
    assert verdict.baseline == pytest.approx(QUIET)
    assert verdict.recent == pytest.approx(WORSE)
    assert verdict.n_baseline == 1000 + 30 * 500


def test_alarm_stays_once_raised() -> None:
    bad = [errors(500, QUIET)] * 10 + [errors(500, 0.3)] * 2
    first = performance_verdict(errors(1000, QUIET), bad)
    later = performance_verdict(errors(1000, QUIET), [*bad, *[errors(500, 0.05)] * 20])
    assert (later.status, later.alarm, later.since) == ("worse", first.alarm, first.since)


def test_model_worse_than_at_the_gate_from_its_first_batch_is_found() -> None:
    verdict = performance_verdict(errors(1000, QUIET), [errors(500, 0.2)] * 4)
    assert (verdict.status, verdict.since) == ("worse", 0)


def test_worsening_below_the_minimum_effect_never_alarms() -> None:
    batches = [errors(100_000, QUIET)] * 20 + [errors(100_000, QUIET * 1.15)] * 200
    assert performance_verdict(errors(100_000, QUIET), batches).status == "steady"


def test_an_improvement_never_alarms() -> None:
    batches = [errors(500, QUIET)] * 10 + [errors(500, 0.02)] * 50
    verdict = performance_verdict(errors(1000, QUIET), batches)
    assert verdict.status == "steady"
    assert verdict.evidence[-1] < 1


def test_too_little_data_is_insufficient_not_steady() -> None:
    enough = errors(1000, QUIET)
    assert performance_verdict(errors(99, QUIET), [enough]).status == "insufficient"
    assert performance_verdict(enough, []).status == "insufficient"
    assert performance_verdict(enough, [errors(49, 0.9)]).status == "insufficient"
    assert performance_verdict(Sample(0, 0.0, 0.0), [enough]).status == "insufficient"


def test_tiny_and_empty_batches_are_joined_and_indices_name_the_given_batches() -> None:
    def split(rate: float) -> list[Sample]:
        return [errors(200, rate), Sample(0, 0.0, 0.0), *[errors(25, rate)] * 4]

    batches = split(QUIET) * 20 + split(0.25) * 4
    verdict = performance_verdict(errors(1000, QUIET), batches)
    assert verdict.status == "worse"
    assert len(verdict.evidence) == len(batches)
    assert verdict.since == 120


def test_losses_without_any_spread_do_not_crash() -> None:
    perfect = Sample(1000, 0.0, 0.0)
    assert performance_verdict(perfect, [perfect] * 5).status == "steady"
    assert performance_verdict(perfect, [errors(500, 0.2)] * 5).status == "worse"
    constant = Sample(1000, 0.5, 0.0)
    assert performance_verdict(constant, [constant] * 5).status == "steady"


def test_a_loss_in_any_unit_gives_the_same_verdict() -> None:
    def scaled(factor: float) -> PerformanceVerdict:
        samples = [
            Sample(500, rate * factor, rate * (1 - rate) * factor**2)
            for rate in [QUIET] * 10 + [WORSE] * 5
        ]
        return performance_verdict(samples[0], samples)

    assert scaled(1.0).evidence == pytest.approx(scaled(1e6).evidence, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"false_alarm_rate": 0.0}, "false_alarm_rate"),
        ({"min_effect": 0.0}, "min_effect"),
        ({"batches": [errors(500, QUIET), Sample(5, float("nan"), 0.0)]}, "batch 1"),
        ({"batches": [Sample(500, -1.0, 0.0)]}, "batch 0"),
    ],
)
def test_bad_input_is_named(change: dict, named: str) -> None:
    given_values = {"batches": [errors(500, QUIET)]} | change
    with pytest.raises(AiosError, match=named):
        performance_verdict(errors(1000, QUIET), given_values.pop("batches"), **given_values)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=25), st.integers(60, 600))
def test_a_verdict_never_depends_on_later_batches(rates: list[float], n: int) -> None:
    batches = [errors(n, rate) for rate in rates]
    whole = performance_verdict(errors(800, QUIET), batches)
    for seen in range(1, len(batches) + 1):
        early = performance_verdict(errors(800, QUIET), batches[:seen])
        assert early.evidence == whole.evidence[:seen] or whole.alarm is not None
        assert (early.status == "worse") == (whole.alarm is not None and whole.alarm < seen)


def test_sample_counts_only_finite_losses() -> None:
    assert Sample.of(np.array([0.0, 1.0, np.nan, np.inf])) == Sample(2, 0.5, 0.25)
    assert Sample.of(np.array([np.nan])).n == 0


class RetrainedStream:
    """The plain loop around the alarm: train, gate, score in batches, retrain at an alarm."""

    train, gate, batch = 2000, 1000, 500

    def __init__(self, file: Path) -> None:
        rows = pl.read_csv(file).to_numpy()
        self.features, self.label = rows[:, :3], rows[:, 3]

    def loss(self, model: object, start: int, stop: int) -> Sample:
        score = model.predict(self.features[start:stop])  # type: ignore[attr-defined]
        return Sample.of(losses("classification", self.label[start:stop], score))

    def alarms(self) -> list[int]:
        """Rows seen when each alarm was raised."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        raised, start, now = [], 0, 0
        while True:
            gated = start + self.train
            model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
            model.fit(self.features[start:gated], self.label[start:gated])
            baseline = self.loss(model, gated, gated + self.gate)
            now = first = max(now, gated + self.gate)
            batches: list[Sample] = []
            while True:
                if now + self.batch > len(self.label):
                    return raised
                batches.append(self.loss(model, now, now + self.batch))
                now += self.batch
                verdict = performance_verdict(baseline, batches)
                if verdict.since is not None:
                    break
            raised.append(now)
            start = first + verdict.since * self.batch


@pytest.fixture
def sea(datasets: Path) -> Path:
    return datasets / "sea_control"


@pytest.mark.loop
def test_stationary_stream_raises_at_most_one_alarm(sea: Path) -> None:
    assert len(RetrainedStream(sea / "sea_no_drift_40k.csv").alarms()) <= 1


@pytest.mark.loop
def test_every_change_of_the_stream_is_noticed_within_1500_rows(sea: Path) -> None:
    raised = RetrainedStream(sea / "sea_derived_drift_50k.csv").alarms()
    for change in (12_500, 25_000, 37_500):
        assert any(change < row <= change + 1500 for row in raised), raised
    assert len(raised) <= 4

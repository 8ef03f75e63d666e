"""Is the champion doing worse than when it was chosen? An alarm that may be looked at every batch.

An ordinary test repeated at each batch cries wolf sooner or later. Here each batch k is a possible
start of a lasting change. The evidence for a start k and a worsening d is the likelihood ratio
against "the same mean before and after", whatever that mean is:

    e(k, t, d) = exp((d * D - d^2 / 2) / V)

with D the mean loss of batches k+1..t minus that of the gate sample and batches 1..k together, and
V the variance of D when nothing changed. For normal means this is the ratio of the recursive
residuals of Brown, Durbin and Evans (1975): the gate sample's own uncertainty is inside V, and
every quiet batch makes the baseline sharper. The evidence at t mixes over starts and sizes,

    E(t) = sum_k w_k mean_d e(k, t, d),    w_k = c / ((k + c) (k + c + 1)),    sum_k w_k = 1

which without a change is a nonnegative martingale of mean 1, so that by Ville's inequality
P(E(t) >= 1/a for any t) <= a. The false-alarm rate is therefore that of the champion's whole life,
not of one look (mixture over the start: Shiryaev 1963; e-detectors: Shin, Ramdas, Rinaldo 2024).
The statement is exact for normal means of known variance; here V is estimated, and the rate was
simulated for zero-one, heavy-tailed and autocorrelated losses.
The weights fall slowly: a start after 100 quiet batches weighs 1/640, which a clear change makes
up for in a batch.

Losses are skewed, and a normal likelihood ratio overstates the evidence of a few bad rows. V
therefore takes two thirds of the rows' variance from before k and one third from after, or the
variance of all rows if that is larger: with the tilted variance s0^2 + (s1^2 - s0^2) / 3 the
exponent d^2 / 2V equals the Kullback-Leibler divergence of the two means to third order.

Practical size: the sizes d are 2 and 5 times `min_effect`, so that a worsening below `min_effect`
loses evidence with every batch, and the mean since the likeliest start must be worse by it.

Assumptions and what was simulated: batch means are close to normal (batches are joined until they
have 50 rows). Batches may share a mild common effect: V allows each batch mean a standard deviation
of 0.15 `min_effect` beyond its rows' own spread, and the overdispersion seen in the batches before
k. With a first-order autocorrelation of 0.3 between batch means the realised rate over 80 batches
stays below twice the stated one. Strong seasons in the loss are changes to this test, not noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from aios.errors import AiosError

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES: Final = np.array([2.0, 5.0])
START_SCALE: Final = 25.0
COMMON_EFFECT: Final = 0.15
DISPERSION_WEIGHT: Final = 10.0
MIN_BATCH: Final = 50
MIN_BASELINE: Final = 100
LARGEST: Final = 1e300


@dataclass(frozen=True)
class Sample:
    """Rows, mean and variance of the per-row loss of one batch."""

    n: int
    mean: float
    var: float

    @classmethod
    def of(cls, losses: np.ndarray) -> Sample:
        """Summarise per-row losses; losses that are not finite do not count."""
        losses = losses[np.isfinite(losses)]
        if not len(losses):
            return cls(0, 0.0, 0.0)
        return cls(len(losses), float(losses.mean()), float(losses.var()))


@dataclass(frozen=True)
class PerformanceVerdict:
    """The verdict after the last batch; once "worse", it stays so for the same champion.

    Attributes:
        status: "worse" once the alarm was raised, "steady", or "insufficient".
        evidence: E(t) after each batch, one for each batch given; the alarm is at
            1 / false_alarm_rate.
        alarm: Index of the batch at which the alarm was raised, or None.
        since: Index of the batch at which the change most likely began, or None.
        baseline: Mean loss before the likeliest change, gate sample included.
        recent: Mean loss since the likeliest change, up to the alarm or the last batch.
        n_baseline: Rows behind `baseline`.
        n_recent: Rows behind `recent`.
        false_alarm_rate: Chance of any alarm in this champion's life if nothing changes.
    """

    status: Literal["steady", "worse", "insufficient"]
    evidence: tuple[float, ...]
    alarm: int | None
    since: int | None
    baseline: float
    recent: float
    n_baseline: int
    n_recent: int
    false_alarm_rate: float


def performance_verdict(
    baseline: Sample,
    batches: Sequence[Sample],
    *,
    false_alarm_rate: float = 0.01,
    min_effect: float = 0.2,
) -> PerformanceVerdict:
    """Judge whether the champion's loss has risen.

    Args:
        baseline: Loss of the champion on the gate's rows, which it was not trained on.
        batches: Loss of each batch of matured labels since the champion started, in time order,
            all of them at every call. Empty batches are skipped, small ones joined.
        false_alarm_rate: Chance of any alarm over the whole sequence if nothing changes.
        min_effect: Smallest worsening that matters, relative to the baseline's mean loss (0.2:
            a fifth more loss).

    Returns:
        "insufficient" while the baseline has fewer than 100 rows or the batches fewer than 50.

    Raises:
        AiosError: A rate or effect out of range, a loss that is negative or not finite.
    """
    _check(baseline, batches, false_alarm_rate, min_effect)
    groups = _joined(batches)
    if baseline.n < MIN_BASELINE or not groups:
        return PerformanceVerdict(
            "insufficient",
            (1.0,) * len(batches),
            None,
            None,
            baseline.mean if baseline.n else float("nan"),
            float("nan"),
            baseline.n,
            0,
            false_alarm_rate,
        )
    history = _History([baseline, *(sample for _, _, sample in groups)])
    evidence = np.ones(len(batches))
    alarm = since = None
    for t, (_, last, _) in enumerate(groups, start=1):
        log_evidence, start, worsening = _evidence(history, t, min_effect)
        evidence[last:] = min(np.exp(min(log_evidence, 690.0)), LARGEST)
        crossed = log_evidence >= -np.log(false_alarm_rate)
        if crossed and worsening >= min_effect * history.level(t):
            alarm, since = last, groups[start][0]
            break
    return PerformanceVerdict(
        "steady" if alarm is None else "worse",
        tuple(evidence.tolist()),
        alarm,
        since,
        baseline=float(history.mean[start]),
        recent=float(history.mean[start] + worsening),
        n_baseline=int(history.rows[start]),
        n_recent=int(history.rows[t] - history.rows[start]),
        false_alarm_rate=false_alarm_rate,
    )


class _History:
    """Running sums over the gate sample (position 0) and the batches (1..T)."""

    def __init__(self, samples: list[Sample]) -> None:
        self.n = np.array([sample.n for sample in samples], dtype=np.float64)
        self.means = np.array([sample.mean for sample in samples])
        square = np.array([sample.var + sample.mean**2 for sample in samples])
        self.rows = self.n.cumsum()
        self.rows_squared = np.r_[0.0, (self.n[1:] ** 2).cumsum()]
        self.total = (self.n * self.means).cumsum()
        self.mean = self.total / self.rows
        self.squares = (self.n * square).cumsum()
        self.variance = np.maximum(self.squares / self.rows - self.mean**2, 0.0)

    def level(self, t: int) -> float:
        """The loss that effects are relative to: the gate's, or if that is 0, all rows' so far."""
        return float(self.means[0] or self.mean[t])

    def dispersion(self, t: int, common: float) -> np.ndarray:
        """Variance of batch means over what their rows explain, from the batches before each k.

        Shape (t,) for k = 0..t-1; at least 1, and 1 for the first.
        """
        expected = self.variance[1:t] * (1 / self.n[1:t] + 1 / self.rows[: t - 1]) + common
        squares = (self.means[1:t] - self.mean[: t - 1]) ** 2
        ratio = np.divide(squares, expected, out=np.zeros(t - 1), where=expected > 0)
        seen = DISPERSION_WEIGHT + np.r_[0.0, ratio.cumsum()]
        scale: np.ndarray = seen / (DISPERSION_WEIGHT + np.arange(t))
        return scale.clip(min=1.0)


def _evidence(history: _History, t: int, min_effect: float) -> tuple[float, int, float]:
    """Logarithm of E(t), the likeliest start k, and the worsening since."""
    effect = min_effect * history.level(t)
    if effect == 0:
        return 0.0, 0, 0.0
    starts = np.arange(t)
    before = history.rows[:t]
    after = history.rows[t] - before
    worsening = (history.total[t] - history.total[:t]) / after - history.mean[:t]

    common = (COMMON_EFFECT * effect) ** 2
    spread_after = (history.squares[t] - history.squares[:t]) / after
    spread_after -= ((history.total[t] - history.total[:t]) / after) ** 2
    tilted = (2 * history.variance[:t] + np.maximum(spread_after, 0.0)) / 3
    row = np.maximum(tilted, history.variance[t])
    batch_row = row * history.dispersion(t, common)
    squared = history.rows_squared
    gate = history.rows[0]
    noise_before = gate * row + (before - gate) * batch_row + common * squared[:t]
    noise_after = after * batch_row + common * (squared[t] - squared[:t])
    variance = noise_before / before**2 + noise_after / after**2

    sizes = effect * SIZES[:, None]
    ratios = np.logaddexp.reduce((sizes * worsening - sizes**2 / 2) / variance)
    prior = np.log(START_SCALE / ((starts + START_SCALE) * (starts + START_SCALE + 1)))
    by_start = ratios - np.log(len(SIZES)) + prior
    not_yet = np.log(START_SCALE / (t + START_SCALE))
    start = int(by_start.argmax())
    return float(np.logaddexp.reduce([*by_start, not_yet])), start, float(worsening[start])


def _joined(batches: Sequence[Sample]) -> list[tuple[int, int, Sample]]:
    """Consecutive batches joined to at least `MIN_BATCH` rows, as (first, last, sample)."""
    groups: list[tuple[int, int, Sample]] = []
    first, waiting = 0, Sample(0, 0.0, 0.0)
    for index, batch in enumerate(batches):
        if not waiting.n:
            first = index
        waiting = _join(waiting, batch)
        if waiting.n >= MIN_BATCH:
            groups.append((first, index, waiting))
            waiting = Sample(0, 0.0, 0.0)
    return groups


def _join(one: Sample, other: Sample) -> Sample:
    n = one.n + other.n
    if not one.n or not other.n:
        return one if one.n else other
    mean = (one.n * one.mean + other.n * other.mean) / n
    square = one.n * (one.var + one.mean**2) + other.n * (other.var + other.mean**2)
    return Sample(n, mean, max(square / n - mean**2, 0.0))


def _check(
    baseline: Sample, batches: Sequence[Sample], false_alarm_rate: float, min_effect: float
) -> None:
    if not 0 < false_alarm_rate < 1:
        raise AiosError(f"false_alarm_rate {false_alarm_rate}", fix="choose one in (0, 1)")
    if not min_effect > 0:
        raise AiosError(f"min_effect {min_effect}", fix="choose a positive share, such as 0.2")
    for where, sample in (
        ("baseline", baseline),
        *((f"batch {i}", b) for i, b in enumerate(batches)),
    ):
        if sample.n and not (np.isfinite([sample.mean, sample.var]).all() and sample.mean >= 0):
            raise AiosError(
                f"mean loss {sample.mean}, variance {sample.var}",
                where=where,
                fix="pass finite losses that are 0 or more, as aios.statistics.metrics.losses does",
            )

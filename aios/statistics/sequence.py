"""How much worse is the challenger on the mean, at every look, for rows that depend on each other?

The rows are paired differences in time order. They are averaged by block, and the block means
b_1..b_m carry a mixture t-test (Lai 1976; Gronau, Ly, Wagenmakers 2020; Perez-Ortiz et al. 2022;
Wang and Ramdas 2023). With T the t statistic of the block means against a mean mu, v = m - 1, and a
normal mixture over the standardised effect, the evidence against mu is

    E = r^(-1/2) [(1 + T^2 / v) / (1 + T^2 / (r v))]^((v + 1) / 2),     r = 1 + rows * g

which for independent normal block means is a nonnegative martingale of mean 1 whatever their
variance, so that P(E >= 1/c at any look) <= c (Ville 1939). It is solved for T in closed form:

    T^2 <= v (K - 1) / (1 - K / r),    K = (r / c^2)^(1 / m),    no bound where K >= r

E is the mean of the evidence for a mean above and for a mean below mu, and the part that points
away from the data is at most 1; hence a bound on one side of error rate a is the bound on both
sides at c = 2 / (1 + 1/a). g is 10 / `first`: the sequence begins at `first` rows, spends nothing
before, and is tightest there.

Blocks. There are at most 64. While neighbouring blocks correlate by 0.3 or more, pairs of blocks
are joined; the correlation is corrected for the bias of a short series (Kendall 1954,
+ (1 + 3 f) / m), raised by half a standard error, and never taken below what the finer blocks
predict under a first-order autoregression, f (1 + f) / 2. What remains at the end widens the bounds
by sqrt((1 + f) / (1 - f)). Where 8 blocks would be left with a correlation above 0.4, the memory of
the series is too long for its length, and there are no bounds.

Skewness. A studentised mean of rows skewed to the left lies too high. The low bound is widened for
skewness to the left, the high bound for skewness to the right, by the first two terms of Hall's
transformation (1992) with twice the sample's skewness (it is estimated too small) beyond the
standard error sqrt(6 / n) that a symmetric sample has, of the rows or of the blocks, whichever is
larger.

Rare differences. Where most rows have one value (0 for models that mostly agree) and the others
fall into fewer than 16 of 64 blocks, a t statistic means nothing. Then only the rate of
the others is bounded, by a beta-binomial mixture (Robbins 1970) or, without any, by 1 - a^(1/n),
and a row is taken to lie at most `reach` from the commonest value. Others closer than n / 32 rows
are a cluster, and with d the mean size of the cluster that one of k others lies in, they count as
k / d in n / d rows. Such bounds include the commonest value: models that agree are never worse, and
are not worse once there are enough rows.

The martingale is exact for blocks of a fixed length. Blocks chosen from the data, and a series that
goes on in larger ones, make it an approximation, which was simulated (docs/judge.md): over 24 looks
for first-order autocorrelation up to 0.9, normal, skewed, heavy-tailed and rare zero-one rows. What
breaks it: fewer than about ten
independent stretches of rows in a series whose noise looks short-lived at first (a yearly season),
losses whose rare catastrophes have not happened yet (no method without a known range has a bound
then), and a mean that drifts: the bounds are about the mean of the rows seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from aios.errors import AiosError

MOST_BLOCKS: Final = 64
FEWEST_BLOCKS: Final = 8
JOIN_ABOVE: Final = 0.3
REFUSE_ABOVE: Final = 0.4
CORRELATION_ERRORS: Final = 0.5
SKEWNESS_FACTOR: Final = 2.0
MIN_MOVED: Final = 16
CLOSE: Final = 32
TIGHTEST: Final = 10.0
MOST_ROWS: Final = 1 << 40


@dataclass(frozen=True)
class Bounds:
    """Bounds of the mean of `rows` values; each holds at all looks with its error rate.

    `low` is -inf and `high` is inf where the rows do not support one. `block` is the number of rows
    in a block, `correlation` that of neighbouring blocks, already paid for in the bounds. What
    `rows_needed` extrapolates from: `deviation`, the standard deviation of one row as it counts for
    the mean (correlation included); `left` and `right`, the skewness of the mean to either side;
    `usual`, the commonest value if there is one; `moved`, the rows that differ from it, and
    `cluster`, how many of them count as one. `rare` tells that only their rate was bounded.
    """

    rows: int
    blocks: int
    block: int
    mean: float
    low: float
    high: float
    correlation: float
    deviation: float = math.nan
    left: float = 0.0
    right: float = 0.0
    usual: float = 0.0
    moved: int = 0
    cluster: float = 1.0
    rare: bool = False


def bounds(
    values: np.ndarray,
    *,
    error_rate: float,
    above: float | None = None,
    first: int = 100,
    reach: float | None = None,
) -> Bounds:
    """Bound the mean of dependent values from below and from above, at every look.

    Args:
        values: Shape (n,), in time order; values that are not finite do not count.
        error_rate: Probability that `low` ever exceeds the mean, over all looks.
        above: Probability that `high` ever falls below the mean; `error_rate` too where None.
        first: Rows before which there are no bounds, and at which they are tightest.
        reach: Farthest that a row can lie from the commonest value, used where nearly all rows have
            it; the larger of 1 and the farthest seen where None.
    """
    above = error_rate if above is None else above
    _check(error_rate, first)
    _check(above, first)
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    n = len(values)
    if not n:
        return Bounds(0, 0, 0, math.nan, -math.inf, math.inf, math.nan)
    # Of a value that most rows have by far, any 64 rows are the majority.
    mean, usual = float(values.mean()), float(np.median(values[:: max(n // MOST_BLOCKS, 1)]))
    differs = values != usual
    count = int(np.count_nonzero(differs))
    rare = _occupied(differs) < MIN_MOVED and count <= n / 2
    none = Bounds(
        n, 0, 1, mean, -math.inf, math.inf, math.nan,
        usual=usual, moved=count, cluster=_cluster(differs) if rare else 1.0, rare=rare,
    )  # fmt: skip
    if n < max(first, FEWEST_BLOCKS):
        return replace(none, deviation=math.nan if rare else float(values.std()))
    if rare:
        less, more = _rare(values - usual, (error_rate, above), reach)
        return replace(none, blocks=n, low=usual - less, high=usual + more, correlation=0.0)
    means, correlation = _blocks(values)
    count = len(means)
    inflation = (1 + correlation) / (1 - correlation)
    error = math.sqrt(float(means.var(ddof=1)) / count * inflation)
    left, right = _skewness(values, means, inflation)
    widths = [
        error * _leaning(t, skewness) if math.isfinite(t) else math.inf
        for t, skewness in (
            (_quantile(count, n, error_rate, first, correlation), left),
            (_quantile(count, n, above, first, correlation), right),
        )
    ]
    return replace(
        none, blocks=count, block=n // count, low=mean - widths[0], high=mean + widths[1],
        correlation=correlation, deviation=error * math.sqrt(n), left=left, right=right,
    )  # fmt: skip


def rows_needed(
    found: Bounds,
    target: float,
    *,
    error_rate: float,
    first: int = 100,
    reach: float | None = None,
) -> int | None:
    """Further rows until a bound passes `target`, should mean and spread stay as they are.

    A mean below the target waits for the high bound to fall below it, a mean above it for the low
    bound to rise above it. Half of the time it takes longer: the mean does not stay.

    Returns:
        0 where the bound has passed already; None where the mean equals the target, where there are
        no rows to extrapolate from, or where it would take more than 2^40.
    """
    _check(error_rate, first)
    upward = found.mean < target
    if found.mean == target or not found.rows:
        return None
    if (found.high < target) if upward else (found.low > target):
        return 0
    gap = abs(found.mean - target)
    size = 1.0 if reach is None else reach

    def passes(n: int) -> bool:
        moved = found.moved * n / found.rows
        if found.rare and moved < MIN_MOVED * found.cluster:
            share = _rate_above(moved / found.cluster, n / found.cluster, error_rate)
            return share * size < (target - found.usual if upward else found.usual - target)
        deviation = found.deviation
        if found.rare:
            rate = found.moved / found.rows
            deviation = size * math.sqrt(rate * (1 - rate) * found.cluster)
        count = max(found.blocks, n // found.block) if found.block > 1 else n
        skewness = (found.right if upward else found.left) * math.sqrt(found.rows / n)
        t = _quantile(min(count, MOST_BLOCKS), n, error_rate, first)
        return deviation / math.sqrt(n) * _leaning(t, skewness) < gap

    low = max(found.rows, first)
    if passes(low):
        return low - found.rows
    high = 2 * low
    while not passes(high):
        low, high = high, 2 * high
        if high > MOST_ROWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high - found.rows


def _check(error_rate: float, first: int) -> None:
    if not 0 < error_rate < 1:
        raise AiosError(f"error rate {error_rate}", fix="choose a rate between 0 and 1")
    if first < 1:
        raise AiosError(f"bounds from row {first}", fix="choose 1 row or more")


def _blocks(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Means of blocks, joined until they hardly correlate, and how they still do."""
    n = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    count = n // math.ceil(n / MOST_BLOCKS)
    correlation = 0.0
    while True:
        edges = np.arange(count + 1) * n // count
        at_edges = sums[edges]
        means = (at_edges[1:] - at_edges[:-1]) / (edges[1:] - edges[:-1])
        predicted = correlation * (1 + correlation) / 2
        correlation = max(_neighbours(means), predicted)
        if correlation < JOIN_ABOVE or count // 2 < FEWEST_BLOCKS:
            return means, correlation
        count //= 2


def _neighbours(means: np.ndarray) -> float:
    """Correlation of neighbouring blocks, from 0 to below 1, taken on the safe side."""
    count = len(means)
    centred = means - means.mean()
    power = float(centred @ centred)
    if power == 0:
        return 0.0
    raw = float(centred[1:] @ centred[:-1]) / power
    raw += (1 + 3 * min(max(raw, 0.0), 1.0)) / count
    error = math.sqrt(max(1 - raw * raw, 0.0) / count)
    return min(max(raw + CORRELATION_ERRORS * error, 0.0), 0.97)


def _skewness(values: np.ndarray, means: np.ndarray, inflation: float) -> tuple[float, float]:
    """Skewness of the mean to the left and to the right, as sizes, beyond what chance gives."""
    wider = math.sqrt(inflation)
    (left, right), blocks = _lean(values), _lean(means)
    return max(left * wider, blocks[0]), max(right * wider, blocks[1])


def _lean(values: np.ndarray) -> tuple[float, float]:
    """Skewness of the mean of independent values, either side, less its standard error."""
    centred = values - values.mean()
    variance = float(centred @ centred) / len(centred)
    if variance == 0:
        return 0.0, 0.0
    skewness = float(centred**2 @ centred) / len(centred) / variance**1.5
    beyond = max(abs(skewness) - math.sqrt(6 / len(values)), 0.0) / math.sqrt(len(values))
    return (beyond, 0.0) if skewness < 0 else (0.0, beyond)


def _quantile(count: int, n: int, error_rate: float, first: int, correlation: float = 0.0) -> float:
    """Largest t statistic of `count` blocks that is no evidence yet; inf where none would be."""
    if correlation > REFUSE_ABOVE:
        return math.inf
    r = 1 + TIGHTEST * n / first
    c = 2 / (1 + 1 / error_rate)
    k = (r / c**2) ** (1 / count) if count >= FEWEST_BLOCKS else math.inf
    return math.inf if k >= r else math.sqrt((count - 1) * (k - 1) / (1 - k / r))


def _leaning(t: float, skewness: float) -> float:
    """Widen a quantile for skewness to its side."""
    lean = SKEWNESS_FACTOR * skewness * t if skewness else 0.0
    return t * (1 + lean / 3 + lean**2 / 27)


def _occupied(chosen: np.ndarray) -> int:
    """How many blocks have a chosen row."""
    rows = np.flatnonzero(chosen)
    return len(np.unique(rows * min(MOST_BLOCKS, len(chosen)) // len(chosen)))


def _cluster(chosen: np.ndarray) -> float:
    """Mean size of the cluster that a chosen row lies in; 1 where none is chosen."""
    rows = np.flatnonzero(chosen)
    if not len(rows):
        return 1.0
    begins = np.flatnonzero(np.diff(rows, prepend=-len(chosen)) > len(chosen) / CLOSE)
    sizes = np.diff(begins, append=len(rows))
    return float(sizes @ sizes) / len(rows)


def _rare(
    distance: np.ndarray, rates: tuple[float, float], reach: float | None
) -> tuple[float, float]:
    """Distances from the commonest value to the bounds, by the rates of the rows beside it."""
    if reach is None:
        reach = max(1.0, float(np.abs(distance).max()))
    less, more = (
        reach * _rate_above(np.count_nonzero(side) / size, len(side) / size, rate)
        for side, rate in zip((distance < 0, distance > 0), rates, strict=True)
        for size in (_cluster(side),)
    )
    return less, more


def _rate_above(events: float, n: float, error_rate: float) -> float:
    """Upper bound, at every look, of the rate of what was seen `events` times in n rows."""
    if events == 0:
        return float(1 - error_rate ** (1 / n))
    kept = n - events
    # The logarithm of the likelihoods' mixture over beta(1/2, 1/2).
    mixture = math.lgamma(events + 0.5) + math.lgamma(kept + 0.5) - math.lgamma(n + 1)
    enough = mixture - math.log(math.pi) + math.log(error_rate)
    low, high = events / n, 1.0
    for _ in range(60):
        rate = (low + high) / 2
        if rate < 1 and events * math.log(rate) + kept * math.log1p(-rate) > enough:
            low = rate
        else:
            high = rate
    return high

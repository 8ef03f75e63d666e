"""Means of rows that share causes in blocks: all of a day, of a partition, of a customer."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

RESAMPLES = 2000


def interval(change: np.ndarray, block: np.ndarray, level: float, seed: int) -> tuple[float, float]:
    """Return an interval of the mean change, resampled by whole blocks.

    Percentiles of the bootstrap are too narrow for few blocks: they are taken at the level that
    makes them as wide as Student's interval (Hesterberg 2015, section 5.3).

    Args:
        change: Shape (n,).
        block: Shape (n,), the block of each.
        level: Chance that the interval misses.
        seed: Of the resampling.
    """
    from scipy.stats import t

    _, index = np.unique(block, return_inverse=True)
    size = int(index.max()) + 1
    sums, counts = np.bincount(index, change, size), np.bincount(index, minlength=size)
    drawn = np.random.default_rng(seed).integers(size, size=(RESAMPLES, size))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    wide = (size / (size - 1)) ** 0.5 * float(t.ppf(1 - level / 2, size - 1))
    tail = NormalDist().cdf(-wide)
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)

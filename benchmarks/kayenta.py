"""The yardsticks of `benchmarks.judge`: a port of Kayenta's Mann-Whitney judge, and a z-test.

The rule of Spinnaker's Kayenta (NetflixACAJudge with the Mann-Whitney classifier), from its
documentation and in our own words: NaN are dropped for each metric; the 98 % confidence interval of
the Hodges-Lehmann shift between canary and baseline decides. High where its lower end exceeds 0.25
times the absolute estimated shift and the ratio of the means is at least the allowed increase, Low
symmetrically, else Pass; an exception labels the metric Error. Group score = passes / (all but
Error and Nodata) x 100. A critical failure scores 0, half or more Nodata scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, Literal

import numpy as np

Label = Literal["Pass", "High", "Low", "Error", "Nodata"]

CONFIDENCE: Final = 0.98
TOLERANCE: Final = 0.25
STEPS: Final = 50


def classify(
    baseline: np.ndarray,
    canary: np.ndarray,
    *,
    increase: float = 1.0,
    decrease: float = 1.0,
) -> Label:
    """Label one metric by its points, unpaired; the arrays may differ in length."""
    try:
        baseline, canary = (np.sort(one[~np.isnan(one)]) for one in (baseline, canary))
    except TypeError:
        return "Error"
    if not len(baseline) or not len(canary):
        return "Nodata"
    if len(np.unique(np.concatenate([baseline, canary]))) == 1:
        return "Pass"
    shift, low, high = hodges_lehmann(baseline, canary)
    if not low > 0 and not high < 0:
        return "Pass"
    ratio = canary.mean() / baseline.mean() if baseline.mean() else float("inf")
    if low > TOLERANCE * abs(shift) and ratio >= increase:
        return "High"
    if high < -TOLERANCE * abs(shift) and ratio <= decrease:
        return "Low"
    return "Pass"


def hodges_lehmann(baseline: np.ndarray, canary: np.ndarray) -> tuple[float, float, float]:
    """Median of all differences between two sorted arrays, and its interval by ranks.

    The interval inverts the normal approximation of the Mann-Whitney statistic with continuity
    correction, as R's wilcox.test does for more than a few points.
    """
    n, m = len(baseline), len(canary)
    centre, error = n * m / 2, (n * m * (n + m + 1) / 12) ** 0.5
    reach = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * error + 0.5
    low, high = max(round(centre - reach), 1), min(round(centre + reach), n * m)
    if low > 1:
        # Where zero lies between the ends nothing else is asked of them.
        below, above = (
            int(np.searchsorted(one, other, side="right").sum())
            for one, other in ((canary, baseline), (baseline, canary))
        )
        if below >= low and above >= n * m - high + 1:
            return 0.0, -0.0, 0.0
    return (
        _ranked(baseline, canary, (n * m + 1) // 2),
        _ranked(baseline, canary, low),
        _ranked(baseline, canary, high),
    )


def _differences_up_to(baseline: np.ndarray, canary: np.ndarray, value: float) -> int:
    """Pairs with canary - baseline <= value."""
    return int(np.searchsorted(canary, baseline + value, side="right").sum())


def _ranked(baseline: np.ndarray, canary: np.ndarray, rank: int) -> float:
    """The difference of a rank among all pairs, by halving."""
    low, high = canary[0] - baseline[-1], canary[-1] - baseline[0]
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _differences_up_to(baseline, canary, middle) >= rank:
            high = middle
        else:
            low = middle
    return float(high)


def group_score(labels: Sequence[Label], critical: bool = False) -> float:
    """Score a group of metrics from 0 to 100; all of them critical or none."""
    failed = sum(one in ("High", "Low") for one in labels)
    if critical and failed:
        return 0.0
    if 2 * labels.count("Nodata") >= len(labels):
        return 0.0
    counted = [one for one in labels if one not in ("Error", "Nodata")]
    # Of nothing, everything passed.
    return 100.0 * counted.count("Pass") / len(counted) if counted else 100.0


def z_test_worse(harm: np.ndarray, error_rate: float) -> bool:
    """Call a challenger worse by an ordinary one-sided z-test on its paired harms."""
    error = harm.std(ddof=1) / len(harm) ** 0.5
    return bool(harm.mean() > NormalDist().inv_cdf(1 - error_rate) * error)

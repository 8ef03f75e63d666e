"""Shares of counted things with their intervals, and the agreement of two who judge the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np


@dataclass(frozen=True)
class Share:
    """`hits` of `n`, with an interval; without any, nothing is known: 0 to 1.

    Attributes:
        hits: How many had it.
        n: Of how many.
        value: The share; None where `n` is 0.
        low: Lower end of the interval.
        high: Upper end.
    """

    hits: int
    n: int
    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A difference with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How far two judges agree beyond chance.

    Attributes:
        pairs: Cases that both judged.
        agreed: Share of them with the same verdict.
        kappa: Cohen's kappa: 1 agree always, 0 as by chance; None without pairs, or where both
            always said the same one thing.
        error: Its standard error.
        low: Lower end of the interval.
        high: Upper end.
    """

    pairs: int
    agreed: Share
    kappa: float | None
    error: float | None
    low: float
    high: float


def quantile(level: float) -> float:
    """Return the normal quantile of a two-sided interval that misses with chance `level`."""
    return NormalDist().inv_cdf(1 - level / 2)


def share(hits: int, n: int, level: float = 0.05) -> Share:
    """Return a share with Wilson's score interval (1927), which holds at shares of 0 and 1."""
    if n == 0:
        return Share(0, 0, None, 0.0, 1.0)
    value = hits / n
    return Share(hits, n, value, *wilson(value, n, quantile(level)))


def wilson(value: float, n: float, z: float) -> tuple[float, float]:
    """Return Wilson's score interval (1927) of a share: inside [0, 1], around the share.

    Args:
        value: The share.
        n: Of how many.
        z: The normal quantile of its level.
    """
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * (value * (1 - value) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, min(centre - reach, value)), min(1.0, max(centre + reach, value))


def difference(one: Share, other: Share) -> Difference | None:
    """Return `one - other` with Newcombe's interval (1998, method 10) of their Wilson intervals.

    None where either counts nothing.
    """
    if one.value is None or other.value is None:
        return None
    value = one.value - other.value
    down = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    up = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return Difference(value, max(-1.0, value - down), min(1.0, value + up))


def agreement(first: Sequence[str], second: Sequence[str], level: float = 0.05) -> Agreement:
    """Return Cohen's kappa (1960) of two verdicts on each of the same cases.

    The standard error is that of Fleiss, Cohen and Everitt (1969) for large samples. It is 0 where
    they agreed on all of a few cases; the lower end then follows from Wilson's of their agreement.

    Args:
        first: The verdict of the one, a case each.
        second: The verdict of the other on the same cases.
        level: Chance that the interval misses.
    """
    n = len(first)
    agreed = share(sum(a == b for a, b in zip(first, second, strict=True)), n, level)
    kinds = {name: i for i, name in enumerate(sorted({*first, *second}))}
    if len(kinds) < 2:
        return Agreement(n, agreed, None, None, -1.0, 1.0)
    table = np.zeros((len(kinds), len(kinds)))
    for a, b in zip(first, second, strict=True):
        table[kinds[a], kinds[b]] += 1 / n
    rows, columns = table.sum(1), table.sum(0)
    observed, expected = float(np.trace(table)), float(rows @ columns)
    if expected == 1:
        return Agreement(n, agreed, None, None, -1.0, 1.0)
    kappa = (observed - expected) / (1 - expected)
    error = _error(table, kappa, expected) / n**0.5
    reach = quantile(level) * error
    low, high = max(-1.0, kappa - reach), min(1.0, kappa + reach)
    if observed == 1:
        low = (agreed.low - expected) / (1 - expected)
    return Agreement(n, agreed, kappa, error, low, high)


def _error(table: np.ndarray, kappa: float, expected: float) -> float:
    """Standard error of kappa for one pair, after Fleiss, Cohen and Everitt (1969), eq. 13."""
    rows, columns = table.sum(1), table.sum(0)
    same = np.diag(table)
    on = float((same * (1 - (rows + columns) * (1 - kappa)) ** 2).sum())
    crossed = table * (columns[:, None] + rows[None, :]) ** 2
    off = (1 - kappa) ** 2 * float(crossed.sum() - np.trace(crossed))
    spare = (kappa - expected * (1 - kappa)) ** 2
    return max(0.0, on + off - spare) ** 0.5 / (1 - expected)

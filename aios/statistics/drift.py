"""Has the distribution of the data changed? A verdict with a stated false-alarm rate.

Each column is compared on the full data: numbers by the two-sample Kolmogorov-Smirnov distance
and the change of their share of missing values, categories by total variation with Pearson's
chi-square test. A column drifts when its p-value passes the Benjamini-Hochberg procedure across
columns *and* its distance reaches a minimum effect: the first bounds false alarms in small
batches, the second keeps large batches from reporting differences that nobody would act on.

Rows are taken as independent draws. A batch that repeats entities has fewer effective rows than
it shows and raises more alarms than stated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import polars as pl

from aios.errors import AiosError
from aios.statistics.profile import (
    CategoricalProfile,
    NumericProfile,
    Profile,
    category_counts,
    is_numeric,
    profiled_column,
    sorted_values,
)

MIN_EXPECTED: Final = 5.0
MIN_VALUES: Final = 20
EXACT_BELOW: Final = 50.0

Status = Literal["stable", "drift", "insufficient"]


@dataclass(frozen=True)
class ColumnDrift:
    """One column's evidence.

    Attributes:
        column: Name.
        kind: "numeric" or "categorical".
        measure: What `distance` is: "ks", "null_share" (of a numeric column whose missing values
            moved more than its values did), or "total_variation".
        distance: Between 0 (same) and 1 (disjoint).
        p_value: Chance of such a distance without drift.
        adjusted: Benjamini-Hochberg adjusted p-value, to compare with the false-alarm rate.
        null_reference: Share of missing values in the reference.
        null_current: Share of missing values in the current rows.
        drifted: `adjusted` and `distance` both pass.
    """

    column: str
    kind: Literal["numeric", "categorical"]
    measure: Literal["ks", "null_share", "total_variation"]
    distance: float
    p_value: float
    adjusted: float
    null_reference: float
    null_current: float
    drifted: bool


@dataclass(frozen=True)
class DriftVerdict:
    """The verdict over all columns: drifted columns first, then by falling distance."""

    status: Status
    columns: tuple[ColumnDrift, ...]
    n_reference: int
    n_current: int
    false_alarm_rate: float

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that drifted."""
        return tuple(column.column for column in self.columns if column.drifted)


def drift_verdict(
    reference: Profile,
    current: pl.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    false_alarm_rate: float = 0.01,
    min_effect: float = 0.1,
    min_rows: int = 200,
) -> DriftVerdict:
    """Compare current rows with a reference, column by column.

    Without drift the chance that any column is reported is at most `false_alarm_rate`; with
    drift in some columns, at most that share of the reported ones is expected to be false. This
    is the procedure of Benjamini and Hochberg (1995), not its variant for arbitrary dependence
    (Benjamini and Yekutieli 2001): columns of one table depend on each other through common
    causes, the positive kind for which the former holds, and the latter would cost a factor
    log(columns) of sensitivity. Simulations with correlated columns hold the rate.

    Args:
        reference: Profile of the rows to compare with, usually the champion's training set.
        current: Rows to judge.
        columns: Columns to compare; all of the profile by default.
        false_alarm_rate: Level for all columns together.
        min_effect: Smallest distance that counts as drift.
        min_rows: Floor for reference and current; below it the verdict is "insufficient", the
            distances are still given and no column is reported as drifted.

    Raises:
        AiosError: A column is missing from either side, or changed between number and text.
    """
    if not 0 < false_alarm_rate < 1:
        raise AiosError(f"false_alarm_rate {false_alarm_rate}", fix="choose one in (0, 1)")
    names = list(reference.columns if columns is None else columns)
    if absent := [name for name in names if name not in reference.columns]:
        raise AiosError(
            f"no column {absent[0]!r}",
            where="drift reference",
            fix=f"choose from {', '.join(reference.columns)}",
        )
    found = [_compare(name, reference, profiled_column(current, name)) for name in names]
    adjusted = _benjamini_hochberg(np.array([one.p_value for one in found]))
    enough = min(reference.n, current.height) >= max(min_rows, 1)
    results = [
        ColumnDrift(
            column=name,
            kind="categorical" if one.measure == "total_variation" else "numeric",
            measure=one.measure,
            distance=one.distance,
            p_value=one.p_value,
            adjusted=float(q),
            null_reference=_ratio(reference.columns[name].nulls, reference.n),
            null_current=_ratio(one.nulls, current.height),
            drifted=bool(enough and q <= false_alarm_rate and one.distance >= min_effect),
        )
        for name, one, q in zip(names, found, adjusted, strict=True)
    ]
    results.sort(key=lambda result: (not result.drifted, -result.distance, result.column))
    status: Status = "insufficient"
    if enough:
        status = "drift" if any(result.drifted for result in results) else "stable"
    return DriftVerdict(status, tuple(results), reference.n, current.height, false_alarm_rate)


@dataclass(frozen=True)
class _Comparison:
    measure: Literal["ks", "null_share", "total_variation"]
    distance: float
    p_value: float
    nulls: int


def _compare(name: str, reference: Profile, column: pl.Series) -> _Comparison:
    profile = reference.columns[name]
    if isinstance(profile, NumericProfile):
        if profile.points.size and not is_numeric(column) and column.dtype != pl.Null:
            raise _type_changed(name, column, "numbers")
        numbers = column if is_numeric(column) else column.cast(pl.Float64, strict=False)
        return _compare_numeric(profile, reference.n, numbers)
    if profile.counts and is_numeric(column):
        raise _type_changed(name, column, "text")
    return _compare_categorical(profile, reference.n, column)


def _type_changed(name: str, column: pl.Series, expected: str) -> AiosError:
    return AiosError(
        f"column {name!r} is {column.dtype}, the reference has {expected}",
        where="drift",
        fix="cast it to the reference's type, or build the reference again",
    )


def _compare_numeric(profile: NumericProfile, n_reference: int, column: pl.Series) -> _Comparison:
    values, nulls = sorted_values(column)
    m, n = n_reference - profile.nulls, len(values)
    ks, p_values = 0.0, 1.0
    if min(m, n) >= MIN_VALUES:
        below, upto = (np.searchsorted(values, profile.points, s) / n for s in ("left", "right"))
        ks = max(
            float(np.abs(profile.below / m - below).max()),
            float(np.abs(profile.upto / m - upto).max()),
        )
        p_values = _kolmogorov(ks, m, n)
    if profile.nulls + nulls == 0 or min(n_reference, len(column)) == 0:
        return _Comparison("ks", ks, p_values, nulls)
    shift = abs(nulls / len(column) - profile.nulls / n_reference)
    p_nulls = _share_p(profile.nulls, n_reference, nulls, len(column))
    p = min(1.0, 2 * min(p_values, p_nulls))
    return _Comparison("ks" if ks >= shift else "null_share", max(ks, shift), p, nulls)


def _kolmogorov(distance: float, m: int, n: int) -> float:
    """Tail of the two-sample Kolmogorov-Smirnov distance.

    Kolmogorov's limit with the finite-sample correction of Stephens (1970). Ties make it larger
    than the exact tail, so discrete columns alarm less often than stated, never more.
    """
    root = math.sqrt(m * n / (m + n))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:
        return 1.0
    terms = np.arange(1, 101)
    tail = 2 * np.sum((-1.0) ** (terms - 1) * np.exp(-2 * (terms * scaled) ** 2))
    return float(np.clip(tail, 0.0, 1.0))


def _compare_categorical(
    profile: CategoricalProfile, n_reference: int, column: pl.Series
) -> _Comparison:
    counts, nulls = category_counts(column)
    if min(n_reference, len(column)) == 0:
        return _Comparison("total_variation", 0.0, 1.0, nulls)
    # Where the profile was cut off, a value outside it is uncounted, not new.
    known = profile.counts if profile.rest else dict.fromkeys(counts, 0) | profile.counts
    reference = [profile.rest, *known.values(), profile.nulls]
    current = [*(counts.get(value, 0) for value in known), nulls]
    current.insert(0, len(column) - sum(current))
    return _Comparison("total_variation", *_total_variation(reference, current), nulls)


def _total_variation(reference: list[int], current: list[int]) -> tuple[float, float]:
    """Total variation between two rows of counts, and its p-value by Pearson's chi-square.

    The first count is of the values not listed. Cells that expect fewer than 5 rows in the smaller
    sample join it. When even then it expects fewer, it joins the smallest other cell and its own
    share is tested exactly. Which cells are pooled depends on the sums over both samples only, so
    pooling favours neither.
    """
    table = np.array([reference, current], dtype=np.float64)
    m, n = table.sum(axis=1)
    expected = table.sum(axis=0) * min(m, n) / (m + n)
    pooled = expected < MIN_EXPECTED
    pooled[0] = True
    rare, cells = table[:, pooled].sum(axis=1), table[:, ~pooled]
    split = np.column_stack([cells, rare])
    distance = float(np.abs(split[0] / m - split[1] / n).sum() / 2)
    if rare.sum() * min(m, n) / (m + n) >= MIN_EXPECTED:
        return distance, _chi_square(split)
    if not cells.size or not rare.any():
        return distance, _chi_square(cells)
    p_rare = _share_p(int(rare[0]), int(m), int(rare[1]), int(n))
    cells[:, np.argmin(cells.sum(axis=0))] += rare
    return distance, min(1.0, 2 * min(p_rare, _chi_square(cells)))


def _chi_square(table: np.ndarray) -> float:
    if table.shape[1] < 2:
        return 1.0
    from scipy.special import chdtrc

    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(chdtrc(table.shape[1] - 1, ((table - expected) ** 2 / expected).sum()))


def _share_p(hits_reference: int, m: int, hits_current: int, n: int) -> float:
    """Two-sided p-value for equal shares in two samples.

    Fisher's exact test (twice the smaller tail of the hypergeometric distribution) while few hits
    are expected, the normal limit with Yates's continuity correction beyond.
    """
    hits, total = hits_reference + hits_current, m + n
    if hits in (0, total):
        return 1.0
    mean = n * hits / total
    variance = mean * (total - hits) / total * m / max(total - 1, 1)
    if min(mean, n - mean, hits - mean, m - hits + mean) >= EXACT_BELOW:
        z = max(abs(hits_current - mean) - 0.5, 0.0) / math.sqrt(variance)
        return math.erfc(z / math.sqrt(2))
    rising = hits_current >= mean
    tail, term, k = 0.0, _hypergeometric(hits_current, hits, n, total), hits_current
    while term > 0 and term > tail * 1e-12:
        tail += term
        if rising:
            term *= (hits - k) * (n - k) / ((k + 1) * (total - hits - n + k + 1))
        else:
            term *= k * (total - hits - n + k) / ((hits - k + 1) * (n - k + 1))
        k += 1 if rising else -1
    return min(1.0, 2 * tail)


def _hypergeometric(k: int, hits: int, n: int, total: int) -> float:
    def log_choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    chosen = log_choose(hits, k) + log_choose(total - hits, n - k) - log_choose(total, n)
    return math.exp(chosen)


def _benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    order = np.argsort(p_values)[::-1]
    ranks = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum.accumulate(p_values[order] * len(p_values) / ranks)
    return np.minimum(adjusted, 1.0)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")

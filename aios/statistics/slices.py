"""Metrics by slice, and how far groups are apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import polars as pl

from aios.errors import AiosError
from aios.statistics.metrics import as_vectors, evaluate

MISSING: Final = "(missing)"


def by_slice(
    task: str,
    label: np.ndarray,
    score: np.ndarray,
    slices: pl.DataFrame,
    min_rows: int = 50,
) -> pl.DataFrame:
    """Evaluate every value of every slice column.

    Args:
        task: As in `evaluate`.
        label: Shape (n,).
        score: Shape (n,).
        slices: n rows; one column for each way to slice. Nulls form the value "(missing)".
        min_rows: Slices below it are listed with their row count and NaN estimates.

    Returns:
        Columns slice, value (String), n (Int64), metric (String), estimate, low, high (Float64),
        ordered by slice column, value and metric.
    """
    label, score = as_vectors(label, score)
    _check_height(label, slices)
    rows = []
    for name in slices.columns:
        for value, index in _groups(slices[name]):
            kept = index if len(index) >= min_rows else index[:0]
            for metric, found in evaluate(task, label[kept], score[kept]).items():
                n = found.n if len(kept) else len(index)
                rows.append((name, value, n, metric, found.value, found.low, found.high))
    text, number = pl.String(), pl.Float64()
    schema = {"slice": text, "value": text, "n": pl.Int64(), "metric": text}
    schema |= {"estimate": number, "low": number, "high": number}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("slice", "value", "metric")


def fairness_gaps(
    label: np.ndarray,
    score: np.ndarray,
    slices: pl.DataFrame,
    threshold: float,
    min_rows: int = 50,
) -> pl.DataFrame:
    """Largest differences between groups in how often, and how rightly, they are selected.

    The selection rate is the share of a group's rows with score >= threshold (demographic
    parity); the true-positive rate is the same share among its rows with label 1 (equal
    opportunity: Hardt, Price, Srebro 2016). A group counts for a rate when that rate's
    denominator has at least `min_rows` rows.

    Returns:
        One row for each slice column and rate: slice, rate, gap, highest, highest_rate, lowest,
        lowest_rate, groups (how many were compared), left_out (names of groups with too few
        rows). With fewer than two groups the gap is NaN and no group is named.
    """
    label, score = as_vectors(label, score)
    _check_height(label, slices)
    valid = np.isfinite(label) & np.isfinite(score)
    selected = score >= threshold
    rows = []
    for name in slices.columns:
        groups = _groups(slices[name])
        for rate, counted in (
            ("selection_rate", valid),
            ("true_positive_rate", valid & (label == 1)),
        ):
            shares, left_out = {}, []
            for value, index in groups:
                kept = index[counted[index]]
                if len(kept) < min_rows:
                    left_out.append(value)
                else:
                    shares[value] = float(selected[kept].mean())
            rows.append((name, rate, *_widest(shares), len(shares), left_out))
    text, number = pl.String(), pl.Float64()
    schema = {"slice": text, "rate": text, "gap": number, "highest": text, "highest_rate": number}
    schema |= {"lowest": text, "lowest_rate": number, "groups": pl.Int64()}
    return pl.DataFrame(rows, schema=schema | {"left_out": pl.List(text)}, orient="row")


def _groups(column: pl.Series) -> list[tuple[str, np.ndarray]]:
    """Row positions of each value of a column, as text, in the order of the text."""
    text = column.cast(pl.String).fill_null(MISSING).alias("value")
    rows = pl.DataFrame([text]).with_row_index("row").group_by("value").agg("row").sort("value")
    return [
        (value, index.to_numpy()) for value, index in zip(rows["value"], rows["row"], strict=True)
    ]


def _widest(shares: dict[str, float]) -> tuple[float, str | None, float, str | None, float]:
    if len(shares) < 2:
        return float("nan"), None, float("nan"), None, float("nan")
    high: Callable[[str], float] = shares.__getitem__
    most, least = max(shares, key=high), min(shares, key=high)
    return shares[most] - shares[least], most, shares[most], least, shares[least]


def _check_height(label: np.ndarray, slices: pl.DataFrame) -> None:
    if slices.width and slices.height != len(label):
        raise AiosError(
            f"{slices.height} slice rows for {len(label)} labels",
            where="slices",
            fix="pass the slice columns of the same rows",
        )

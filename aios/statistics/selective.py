"""Acting only on the surest: accuracy against coverage, thresholds at a stated error rate.

A confidence is worth something when rows can be left out by it. Rows that were not judged (no
finite confidence or outcome) do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """Share of rows acted on, from the surest down, and the share of those that are wrong."""

    coverage: np.ndarray
    wrong: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True)
class StraightThrough:
    """What may be acted on at a stated error rate.

    Attributes:
        share: Rows acted on, as a share of all.
        threshold: The least confidence acted on; infinite where nothing may be.
        wrong: Rows acted on that were wrong, as a share of those acted on.
        wrong_high: Upper bound of that at 95 % (one-sided, Clopper and Pearson 1934).
        n: All rows.
    """

    share: float
    threshold: float
    wrong: float
    wrong_high: float
    n: int


@dataclass(frozen=True)
class Bin:
    """Rows of like confidence: how many, how sure on average, how many of them right."""

    n: int
    confidence: float
    right: float


def curve(confidence: np.ndarray, right: np.ndarray) -> Curve:
    """Return wrong share against coverage, one point for each distinct confidence.

    Args:
        confidence: Shape (n,).
        right: Shape (n,), 1 where the row was right, 0 where it was wrong.
    """
    confidence, right = _judged(confidence, right)
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) if len(ordered) else order
    wrong = np.cumsum(1 - right[order])[ends]
    taken = ends + 1
    return Curve(taken / max(len(ordered), 1), wrong / taken, ordered[ends])


def straight_through(
    confidence: np.ndarray, right: np.ndarray, max_wrong: float
) -> StraightThrough:
    """Return the largest share of rows, from the surest down, with at most `max_wrong` wrong."""
    found, n = curve(confidence, right), len(_judged(confidence, right)[0])
    allowed = np.flatnonzero(found.wrong <= max_wrong)
    if not len(allowed):
        return StraightThrough(0.0, float("inf"), 0.0, 1.0, n)
    at = allowed[-1]
    taken = round(found.coverage[at] * n)
    wrong = round(found.wrong[at] * taken)
    return StraightThrough(
        share=float(found.coverage[at]),
        threshold=float(found.threshold[at]),
        wrong=float(found.wrong[at]),
        wrong_high=upper_bound(wrong, taken),
        n=n,
    )


def at_threshold(confidence: np.ndarray, right: np.ndarray, threshold: float) -> StraightThrough:
    """Return what a threshold that was chosen elsewhere does on these rows."""
    confidence, right = _judged(confidence, right)
    acted = confidence >= threshold
    taken, wrong = int(acted.sum()), int((1 - right[acted]).sum())
    return StraightThrough(
        share=taken / max(len(right), 1),
        threshold=threshold,
        wrong=wrong / taken if taken else 0.0,
        wrong_high=upper_bound(wrong, taken),
        n=len(right),
    )


def upper_bound(wrong: int, n: int, level: float = 0.95) -> float:
    """Return the one-sided upper bound of a share, by Clopper and Pearson (1934)."""
    from scipy.stats import beta

    return float(beta.ppf(level, wrong + 1, n - wrong)) if wrong < n else 1.0


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[Bin]:
    """Divide rows by confidence into bins of equal number, surest last."""
    confidence, right = _judged(confidence, right)
    order = np.argsort(confidence, kind="stable")
    return [
        Bin(len(rows), float(confidence[rows].mean()), float(right[rows].mean()))
        for rows in np.array_split(order, min(bins, max(len(order), 1)))
        if len(rows)
    ]


def calibration_error(found: list[Bin]) -> float:
    """Return the expected calibration error: the mean distance of confidence and outcome."""
    n = sum(one.n for one in found)
    if not n:
        return float("nan")
    return sum(one.n * abs(one.confidence - one.right) for one in found) / n


def _judged(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(right, dtype=np.float64)
    both = np.isfinite(confidence) & np.isfinite(right)
    return confidence[both], right[both]

"""Metrics of predictions with confidence intervals, overall and by slice.

Rows without a finite label or score are not evaluated; `Estimate.n` says how many rows were.
A metric that the rows cannot define is NaN with NaN bounds: never zero, never an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from aios.errors import AiosError
from aios.statistics.shares import wilson

CLASSIFICATION: Final = "classification"
REGRESSION: Final = "regression"
EXTRACTION: Final = "extraction"
HIGHER_IS_BETTER: Final[dict[str, bool]] = {
    "roc_auc": True,
    "average_precision": True,
    "brier": False,
    "log_loss": False,
    "accuracy": True,
    "mae": False,
    "rmse": False,
    "r2": True,
    "document_f1": True,
    "documents_right": True,
}
DECISION_THRESHOLD: Final = 0.5
PROBABILITY_FLOOR: Final = 1e-15


@dataclass(frozen=True)
class Estimate:
    """A metric's value, the bounds of its confidence interval, and the rows behind it."""

    value: float
    low: float
    high: float
    n: int


def evaluate(
    task: str, label: np.ndarray, score: np.ndarray, confidence: float = 0.95
) -> dict[str, Estimate]:
    """Evaluate scores against labels.

    Args:
        task: "classification" (labels 0/1, scores the probability of 1), "regression", or
            "extraction" (labels 1, scores the F1 of each document's key fields).
        label: Shape (n,).
        score: Shape (n,), row by row with `label`.
        confidence: Level of each interval.

    Returns:
        For classification roc_auc (DeLong's variance on the logit scale), average_precision
        (Boyd's logit interval), brier, log_loss, accuracy at 0.5 and base_rate (Wilson); for
        regression mae, rmse, r2 (delta method) and bias, the mean of score - label; for extraction
        document_f1 (mean) and documents_right (share without a fault, Wilson). Probability
        metrics are NaN when a score lies outside [0, 1].

    Raises:
        AiosError: Unknown task, shapes that differ, or labels other than 0 and 1.
    """
    label, score = evaluated_rows(task, label, score)
    z = normal_quantile(confidence)
    if task == CLASSIFICATION:
        return _classification(label, score, z)
    if task == EXTRACTION:
        found = {"document_f1": _mean(score, z), "documents_right": _share(score >= 1, z)}
        return {metric: Estimate(*bounds, len(score)) for metric, bounds in found.items()}
    return _regression(label, score, z)


def losses(task: str, label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Loss of each row: the squared difference of score and label.

    For classification that is the row's Brier loss, for regression its squared error, so that
    the mean is minimised by the true probability or the conditional mean. Shape (n,), in the
    rows' order, NaN where label or score is missing.
    """
    _check_task(task)
    label, score = as_vectors(label, score)
    error: np.ndarray = score - label
    return error**2


def evaluated_rows(
    task: str, label: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a finite label and score as float64, checked for the task."""
    _check_task(task)
    label, score = as_vectors(label, score)
    valid = np.isfinite(label) & np.isfinite(score)
    if not valid.all():
        label, score = label[valid], score[valid]
    if task == CLASSIFICATION and not ((label == 0) | (label == 1)).all():
        strange = label[(label != 0) & (label != 1)][0]
        raise AiosError(
            f"label {strange:g} in a classification",
            where="label",
            fix="encode the two classes as 0 and 1, or declare the task as regression",
        )
    return label, score


def normal_quantile(confidence: float) -> float:
    """Two-sided standard normal quantile for a confidence level."""
    if not 0 < confidence < 1:
        raise AiosError(f"confidence {confidence}", fix="choose a level between 0 and 1")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def delong_components(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components of the area under the ROC curve.

    Component i of the positives is the share of negatives ranked below positive i (ties count
    half), and conversely; both have the AUC as their mean. DeLong, DeLong, Clarke-Pearson (1988),
    computed from ranks as in Sun and Xu (2014): O(n log n).

    Returns:
        Arrays of shape (positives,) and (negatives,), in row order.
    """
    positive, negative = score[label == 1], score[label == 0]
    return _share_below(positive, negative), 1 - _share_below(negative, positive)


def average_precision(label: np.ndarray, score: np.ndarray) -> float:
    """Mean precision at each positive, tied scores taken as one step; NaN without positives."""
    order = np.argsort(-score, kind="stable")
    return weighted_average_precision(label[order], last_of_ties(score[order]), None)


def last_of_ties(ordered: np.ndarray) -> np.ndarray:
    """Positions of the last row of each run of equal values."""
    return np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True]) if len(ordered) else ordered


def weighted_average_precision(
    label: np.ndarray, steps: np.ndarray, weight: np.ndarray | None
) -> float:
    """Average precision of rows already ordered by falling score.

    Args:
        label: Shape (n,), ordered.
        steps: Positions that end a run of ties, from `last_of_ties`.
        weight: Shape (n,), or None for ones.
    """
    hits = np.cumsum(label if weight is None else label * weight)[steps]
    rows = steps + 1.0 if weight is None else np.cumsum(weight)[steps]
    if not len(hits) or hits[-1] == 0:
        return float("nan")
    precision = np.divide(hits, rows, out=np.zeros(len(hits)), where=rows > 0)
    return float(np.sum(np.diff(hits, prepend=0.0) * precision) / hits[-1])


def log_losses(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each row, probabilities clipped to [1e-15, 1 - 1e-15]."""
    clipped = np.clip(score, PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    likelihood: np.ndarray = np.where(label == 1, clipped, 1 - clipped)
    loss: np.ndarray = -np.log(likelihood)
    return loss


def r2_influence(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Influence of each row on r2 = 1 - MSE / Var(label), for the delta method; shape (n,)."""
    error, spread = (score - label) ** 2, (label - label.mean()) ** 2
    mse, variance = error.mean(), spread.mean()
    influence: np.ndarray = mse * (spread - variance) / variance**2 - (error - mse) / variance
    return influence


def _classification(label: np.ndarray, score: np.ndarray, z: float) -> dict[str, Estimate]:
    n = len(label)
    probability = n > 0 and score.min() >= 0 and score.max() <= 1
    rows = (label, score) if probability else (label[:0], score[:0])
    hit = (rows[1] >= DECISION_THRESHOLD) == (rows[0] == 1)
    found = {
        "roc_auc": _roc_auc(label, score, z),
        "average_precision": _average_precision(label, score, z),
        "brier": _mean((rows[1] - rows[0]) ** 2, z),
        "log_loss": _mean(log_losses(*rows), z),
        "accuracy": _share(hit, z),
        "base_rate": _share(label, z),
    }
    return {metric: Estimate(*bounds, n) for metric, bounds in found.items()}


def _regression(label: np.ndarray, score: np.ndarray, z: float) -> dict[str, Estimate]:
    error = score - label
    mse = _mean(error**2, z)
    found: dict[str, Bounds] = {
        "mae": _mean(np.abs(error), z),
        "rmse": _root(mse),
        "r2": _r2(label, score, z),
        "bias": _mean(error, z),
    }
    return {metric: Estimate(*bounds, len(label)) for metric, bounds in found.items()}


Bounds = tuple[float, float, float]
UNDEFINED: Final[Bounds] = (float("nan"),) * 3


def _root(mse: Bounds) -> Bounds:
    value, low, high = np.sqrt(np.maximum(mse, 0.0)).tolist()
    return value, low, high


def _roc_auc(label: np.ndarray, score: np.ndarray, z: float) -> Bounds:
    positives, negatives = delong_components(label, score)
    fewest = min(len(positives), len(negatives))
    if fewest < 2:
        return UNDEFINED
    auc = float(positives.mean())
    error = np.sqrt(positives.var(ddof=1) / len(positives) + negatives.var(ddof=1) / len(negatives))
    if error == 0:
        # A perfect ranking has no variance to estimate; it is no surer than its rarer class.
        return auc, *wilson(auc, fewest, z)
    return auc, *_logit_interval(auc, float(error) / (auc * (1 - auc)), z)


def _average_precision(label: np.ndarray, score: np.ndarray, z: float) -> Bounds:
    """Logit interval with variance 1 / (positives * AP * (1 - AP)): Boyd, Eng, Page (2013)."""
    positives = int(label.sum())
    if min(positives, len(label) - positives) < 2:
        return UNDEFINED
    value = average_precision(label, score)
    if value >= 1:
        return value, *wilson(value, positives, z)
    return value, *_logit_interval(value, (positives * value * (1 - value)) ** -0.5, z)


def _logit_interval(value: float, error: float, z: float) -> tuple[float, float]:
    logit = np.log(value / (1 - value))
    low, high = 1 / (1 + np.exp(-(logit - z * error))), 1 / (1 + np.exp(-(logit + z * error)))
    return float(low), float(high)


def _mean(values: np.ndarray, z: float) -> Bounds:
    n = len(values)
    if n < 2:
        return UNDEFINED
    value = float(values.mean())
    reach = student_quantile(z, n - 1) * float(values.std(ddof=1)) / n**0.5
    return value, value - reach, value + reach


def student_quantile(z: float, freedom: int) -> float:
    """Student's t quantile for a normal quantile, by Fisher's expansion; within 1 % from 5 df."""
    first = (z**3 + z) / (4 * freedom)
    return z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def _share(hit: np.ndarray, z: float) -> Bounds:
    if len(hit) < 2:
        return UNDEFINED
    value = float(hit.mean())
    return value, *wilson(value, len(hit), z)


def _r2(label: np.ndarray, score: np.ndarray, z: float) -> Bounds:
    n = len(label)
    if n < 3 or np.ptp(label) == 0:
        return UNDEFINED
    value = 1 - float(((score - label) ** 2).mean() / label.var())
    reach = z * float(r2_influence(label, score).std(ddof=1)) / n**0.5
    return value, value - reach, min(1.0, value + reach)


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of `others` below each value, ties as half."""
    if not len(others):
        return np.full(len(values), np.nan)
    ordered = np.sort(others)
    order = np.argsort(values)
    keys = values[order]
    share = np.empty(len(values))
    below = np.searchsorted(ordered, keys, "left") + np.searchsorted(ordered, keys, "right")
    share[order] = below / (2 * len(others))
    return share


def as_vectors(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 vectors of one length, or raise an AiosError."""
    label, score = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if label.ndim != 1 or label.shape != score.shape:
        raise AiosError(
            f"labels of shape {label.shape} and scores of shape {score.shape}",
            fix="pass one label and one score for each row",
        )
    return label, score


def _check_task(task: str) -> None:
    tasks = (CLASSIFICATION, REGRESSION, EXTRACTION)
    if task not in tasks:
        raise AiosError(f"task {task!r}", fix=f"use one of: {', '.join(tasks)}")

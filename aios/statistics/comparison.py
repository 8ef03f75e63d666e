"""Which of two models is better, on the same rows, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from aios.errors import AiosError
from aios.statistics.metrics import (
    CLASSIFICATION,
    DECISION_THRESHOLD,
    HIGHER_IS_BETTER,
    REGRESSION,
    delong_components,
    evaluated_rows,
    last_of_ties,
    log_losses,
    normal_quantile,
    r2_influence,
    student_quantile,
    weighted_average_precision,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROW_VALUES: Final[dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "brier": lambda label, score: (score - label) ** 2,
    "log_loss": log_losses,
    "accuracy": lambda label, score: 1.0 * ((score >= DECISION_THRESHOLD) == (label == 1)),
    "mae": lambda label, score: np.abs(score - label),
    "document_f1": lambda label, score: score,
    "documents_right": lambda label, score: 1.0 * (score >= 1),
}
REGRESSION_METRICS: Final = frozenset({"mae", "rmse", "r2"})
BOOTSTRAP_ROWS: Final = 20_000_000


@dataclass(frozen=True)
class Difference:
    """How much better the challenger is: positive is better, whatever the metric's direction."""

    metric: str
    value: float
    low: float
    high: float
    n: int


def paired_difference(
    metric: str,
    label: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of two models' metric on the same rows, with its confidence interval.

    Pairing removes the noise that both models share. roc_auc uses DeLong's covariance (1988);
    brier, log_loss, accuracy, mae and the metrics of extraction the mean of the rows' differences;
    rmse and r2 the delta method; average_precision a bootstrap stratified by class (200 to 1,000
    resamples).

    Args:
        metric: A key of `HIGHER_IS_BETTER`.
        label: Shape (n,).
        challenger: Scores of the model under evaluation, shape (n,).
        champion: Scores of the model in service on the same rows, shape (n,).
        confidence: Level of the interval.
        seed: Seed of the bootstrap.

    Returns:
        The difference, signed so that positive means that the challenger is better. NaN with NaN
        bounds where the rows do not define the metric. Rows without a finite label and two finite
        scores do not count.
    """
    if metric not in HIGHER_IS_BETTER:
        raise AiosError(f"metric {metric!r}", fix=f"use one of {', '.join(HIGHER_IS_BETTER)}")
    label, challenger, champion = _common_rows(metric, label, challenger, champion)
    z = normal_quantile(confidence)
    value, error = _difference(metric, label, challenger, champion, seed)
    if metric in ROW_VALUES and len(label) > 1:
        z = student_quantile(z, len(label) - 1)
    if not HIGHER_IS_BETTER[metric]:
        value = -value
    return Difference(metric, value, value - z * error, value + z * error, len(label))


def _common_rows(
    metric: str, label: np.ndarray, challenger: np.ndarray, champion: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    task = REGRESSION if metric in REGRESSION_METRICS else CLASSIFICATION
    scores = [np.asarray(score, dtype=np.float64) for score in (challenger, champion)]
    if scores[0].shape != scores[1].shape:
        raise AiosError(
            f"{scores[0].shape} challenger scores and {scores[1].shape} champion scores",
            fix="score the same rows with both models",
        )
    both = np.isfinite(scores[0]) & np.isfinite(scores[1])
    evaluated_rows(task, label, scores[0])
    kept = both & np.isfinite(np.asarray(label, dtype=np.float64))
    return np.asarray(label, dtype=np.float64)[kept], scores[0][kept], scores[1][kept]


def _difference(
    metric: str, label: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int
) -> tuple[float, float]:
    """Challenger minus champion and its standard error."""
    undefined = float("nan"), float("nan")
    if metric in ROW_VALUES:
        values = ROW_VALUES[metric]
        return _mean(values(label, challenger) - values(label, champion))
    if metric == "rmse":
        return _rmse(label, challenger, champion)
    if metric == "r2":
        if len(label) < 3 or np.ptp(label) == 0:
            return undefined
        gain = (challenger - label) ** 2 - (champion - label) ** 2
        influence = r2_influence(label, challenger) - r2_influence(label, champion)
        return -float(gain.mean() / label.var()), _mean(influence)[1]
    if min(label.sum(), len(label) - label.sum()) < 2:
        return undefined
    if metric == "roc_auc":
        return _roc_auc(label, challenger, champion)
    return _average_precision(label, challenger, champion, seed)


def _mean(values: np.ndarray) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    return float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5


def _rmse(label: np.ndarray, challenger: np.ndarray, champion: np.ndarray) -> tuple[float, float]:
    if len(label) < 2:
        return float("nan"), float("nan")
    squares = [(score - label) ** 2 for score in (challenger, champion)]
    roots = [float(square.mean()) ** 0.5 for square in squares]
    influence = [
        (square - root**2) / (2 * root) if root else square
        for square, root in zip(squares, roots, strict=True)
    ]
    return roots[0] - roots[1], _mean(influence[0] - influence[1])[1]


def _roc_auc(
    label: np.ndarray, challenger: np.ndarray, champion: np.ndarray
) -> tuple[float, float]:
    ours, theirs = delong_components(label, challenger), delong_components(label, champion)
    classes = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    variance = sum(float(part.var(ddof=1)) / len(part) for part in classes)
    return float(classes[0].mean()), variance**0.5


def _average_precision(
    label: np.ndarray, challenger: np.ndarray, champion: np.ndarray, seed: int
) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    orders = [np.argsort(-score, kind="stable") for score in (challenger, champion)]
    steps = [
        last_of_ties(score[order])
        for score, order in zip((challenger, champion), orders, strict=True)
    ]
    classes = [np.flatnonzero(label == value) for value in (0, 1)]

    def gap(weight: np.ndarray | None) -> float:
        ours, theirs = (
            weighted_average_precision(
                label[order], step, None if weight is None else weight[order]
            )
            for order, step in zip(orders, steps, strict=True)
        )
        return ours - theirs

    resamples = int(np.clip(BOOTSTRAP_ROWS / len(label), 200, 1000))
    gaps = np.empty(resamples)
    for resample in range(resamples):
        weight = np.zeros(len(label))
        for rows in classes:
            drawn = generator.integers(len(rows), size=len(rows))
            weight[rows] = np.bincount(drawn, minlength=len(rows))
        gaps[resample] = gap(weight)
    return gap(None), float(gaps.std(ddof=1))

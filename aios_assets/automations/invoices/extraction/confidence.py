"""Confidence: how likely what was picked is right, learned from documents left out of training."""

from __future__ import annotations

from typing import Any

import numpy as np

from .decoding import Picked
from .fields import FIELDS, KEY_FIELDS

LARGEST = 50.0  # logit beyond which a probability is 0 or 1 to the last digit
CONSTANT = 1e-6  # spread up to which a number counts as the same for all documents

Scale = dict[str, Any]
"""A logistic regression as plain data: `weights` and `shift`."""


def of_field(picked: Picked) -> list[float]:
    """Return what the confidence of a field is computed from."""
    top, second = picked.score, picked.second
    return [
        _logit(top), _logit(second), top - second, picked.votes, picked.alike, picked.known,
        float(np.log1p(picked.support)),
        picked.sure, float(picked.from_memory), float(picked.constrained),
    ]  # fmt: skip


def fit(
    picked: list[dict[str, Picked]], right: list[dict[str, float]], *, seed: int
) -> dict[str, Scale]:
    """Train the calibration of each field and of the document.

    Args:
        picked: Of each document, by field, by models that had not seen it.
        right: 1 or 0 for each field that has truth; other fields are left out.
        seed: Of the fits.

    Returns:
        A scale for each field that was ever read, and one for the `document`.
    """
    scales: dict[str, Scale] = {}
    for field in FIELDS:
        rows = [(p[field], r[field]) for p, r in zip(picked, right, strict=True) if field in r]
        rows = [(one, value) for one, value in rows if one.text is not None]
        if rows:
            features, values = [of_field(one) for one, _ in rows], [value for _, value in rows]
            scales[field] = _scale(features, values, seed)
    whole = [float(all(r.get(field, 1.0) for field in KEY_FIELDS)) for r in right]
    scales["document"] = _scale([of_document(scales, one) for one in picked], whole, seed)
    return scales


def of_document(scales: dict[str, Scale], picked: dict[str, Picked]) -> list[float]:
    """Return what the confidence of a document is computed from: how sure all fields are."""
    return [_logit(float(np.prod([sure(scales, field, picked[field]) for field in KEY_FIELDS])))]


def sure(scales: dict[str, Scale], field: str, picked: Picked) -> float:
    """Return the confidence of a field, 0 to 1; 0 where nothing was read."""
    if picked.text is None or field not in scales:
        return 0.0
    return _probability(scales[field], of_field(picked))


def sure_of_document(scales: dict[str, Scale], picked: dict[str, Picked]) -> float:
    """Return the probability that all key fields are right."""
    if any(picked[field].text is None for field in KEY_FIELDS):
        return 0.0
    return _probability(scales["document"], of_document(scales, picked))


def _scale(rows: list[list[float]], right: list[float], seed: int) -> Scale:
    """Fit a logistic regression to targets that are never quite 0 or 1.

    Where hardly a reading was wrong, the data alone would make anything certain. As Platt (1999)
    has it, n right ones count as right with probability (n + 1) / (n + 2).
    """
    from sklearn.linear_model import LogisticRegression

    target, table = np.array(right), np.array(rows)
    n = np.array([(target == 0).sum(), (target == 1).sum()])
    probability = np.where(target == 1, (n[1] + 1) / (n[1] + 2), 1 / (n[0] + 2))
    mean, spread = table.mean(axis=0), table.std(axis=0)
    # What varies by rounding alone is constant: divided by it, a weight would be astronomical.
    spread = np.where(spread > CONSTANT, spread, 1.0)
    model = LogisticRegression(C=0.3, random_state=seed).fit(
        np.repeat((table - mean) / spread, 2, axis=0),
        np.tile([1.0, 0.0], len(target)),
        sample_weight=np.stack([probability, 1 - probability], axis=1).reshape(-1),
    )
    return {
        "weights": (model.coef_[0] / spread).tolist(),
        "shift": float(model.intercept_[0] - (model.coef_[0] * mean / spread).sum()),
    }


def _probability(scale: Scale, features: list[float]) -> float:
    logit = float(np.dot(scale["weights"], features) + scale["shift"])
    return float(1 / (1 + np.exp(-np.clip(logit, -LARGEST, LARGEST))))


def _logit(p: float) -> float:
    p = min(max(p, 1e-3), 1 - 1e-3)
    return float(np.log(p / (1 - p)))

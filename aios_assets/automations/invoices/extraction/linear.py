"""The linear tagger: logistic regressions over hashed words and letters, in scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from .fields import FIELDS
from .segments import Page
from .tagging import BUCKETS, grams, layout

CONTEXT = ("left", "above")


def fit(
    pages: list[Page], targets: list[np.ndarray], *, seed: int, strength: float = 1.0
) -> tuple[Any, list[int]]:
    """Train one logistic regression for each field that occurs.

    Returns:
        One estimator for all of them, and the fields' columns.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    table, wanted = features(pages), np.concatenate(targets)
    columns = [int(column) for column in np.flatnonzero(wanted.any(axis=0))]
    one = LogisticRegression(C=strength, solver="liblinear", random_state=seed)
    return OneVsRestClassifier(one).fit(table, wanted[:, columns].astype(int)), columns


def probabilities(model: Any, columns: list[int], page: Page) -> np.ndarray:
    """Return the probability of each field for each segment, shape (n, fields)."""
    if not len(page):
        return np.zeros((0, len(FIELDS)))
    found = np.zeros((len(page), len(FIELDS)))
    found[:, columns] = model.predict_proba(features([page]))
    return found


def features(pages: list[Page]) -> Any:
    """Return the segments of pages, one below the other, as a sparse table."""
    from scipy.sparse import csr_matrix, hstack

    columns: list[int] = []
    ends = [0]
    for page in pages:
        own = [grams(text) for text in page.texts]
        for at in range(len(page)):
            row = list(own[at])
            for shift, name in enumerate(CONTEXT, start=1):
                beside = getattr(page, name)[at]
                if beside >= 0:
                    row += [shift * BUCKETS + one for one in own[beside]]
            columns += sorted(set(row))
            ends.append(len(columns))
    shape = (len(ends) - 1, BUCKETS * (1 + len(CONTEXT)))
    texts = csr_matrix((np.ones(len(columns), dtype=np.float32), columns, ends), shape=shape)
    places = np.concatenate([_steps(layout(page)) for page in pages])
    return hstack([texts, csr_matrix(places)], format="csr")


def _steps(place: np.ndarray) -> np.ndarray:
    """Return each number in eight steps, so that a line can follow it."""
    edges = np.arange(1, 8) / 8
    return (place[:, :, None] > edges).reshape(len(place), -1).astype(np.float32)

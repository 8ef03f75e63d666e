"""The simulated signal: as hard as the real file's, broken by the drift, mended by retraining."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from aios_assets.automations.claims import features, simulator

if TYPE_CHECKING:
    import polars as pl

pytestmark = pytest.mark.loop

SEEDS = range(4)
LEARNED = datetime(2025, 8, 1)
PERIODS = {
    "before": (datetime(2025, 1, 15), simulator.DRIFT),
    "after": (datetime(2025, 4, 1), LEARNED),
    "later": (datetime(2025, 9, 1), simulator.END),
}


def tables(seed: int) -> tuple[pl.DataFrame, Any]:
    labels = simulator.labels(simulator.START, datetime(2026, 3, 1), seed)
    events = simulator.events(simulator.START, simulator.END, seed)
    first = events.drop_nulls(["claim_id", "event_time"]).unique(
        "claim_id", keep="first", maintain_order=True
    )
    facts = features.claim(first).join(labels.select("claim_id", "label"), on="claim_id")
    inputs = facts.drop("claim_id", "event_time", "known_at", "label").to_pandas()
    return facts, inputs.astype(dict.fromkeys(features.WORDS, "category"))


def test_drift_costs_a_model_and_retraining_recovers() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import brier_score_loss, roc_auc_score

    results: dict[str, list[tuple[float, float]]] = {}
    for seed in SEEDS:
        facts, inputs = tables(seed)
        labels = facts["label"].to_numpy()

        def within(start: datetime, end: datetime, facts: pl.DataFrame = facts) -> np.ndarray:
            return facts["known_at"].is_between(start, end, closed="left").to_numpy()

        for trained, end in (("old", datetime(2025, 1, 1)), ("new", LEARNED)):
            rows = within(simulator.START, end)
            model = HistGradientBoostingClassifier(
                max_iter=120,
                learning_rate=0.05,
                max_leaf_nodes=7,
                min_samples_leaf=40,
                l2_regularization=5,
                categorical_features="from_dtype",
                random_state=0,
            ).fit(inputs[rows], labels[rows])
            for name, period in PERIODS.items():
                rows = within(*period)
                scores = model.predict_proba(inputs[rows])[:, 1]
                result = (
                    roc_auc_score(labels[rows], scores),
                    brier_score_loss(labels[rows], scores),
                )
                results.setdefault(f"{trained} {name}", []).append(result)
    mean = {name: np.mean(values, axis=0) for name, values in results.items()}
    assert 0.77 < mean["old before"][0] < 0.85
    assert mean["old after"][0] < mean["old before"][0] - 0.1
    assert mean["old after"][1] > mean["old before"][1] * 1.15
    assert mean["new later"][0] > mean["old later"][0] + 0.1
    assert mean["new later"][1] < mean["old later"][1]

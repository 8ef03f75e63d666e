"""The model card of a candidate, from its declaration, its training set and its metrics."""

import numpy as np
import polars as pl

from aios.automation import Automation
from aios.digest import frame_digest
from aios.learner import ModelStep
from aios.learning import Candidate
from aios.statistics.metrics import Estimate
from aios.statistics.selective import calibration, calibration_error, straight_through
from aios.statistics.slices import fairness_gaps
from aios_assets.lifecycle.common import mean_of
from model_registry.cards import Card, TrainingData, limits, model_card

CONFIDENCE = 0.95


def write_card(
    automation: Automation,
    candidate: Candidate,
    frame: pl.DataFrame,
    metrics: dict[str, Estimate],
    slices: pl.DataFrame,
    scores: np.ndarray,
) -> str:
    """Return the model card of a candidate that was measured on the holdout of a training set.

    Groups are compared at the score above which as many rows lie as have label 1.
    """
    spec, held = automation.spec, frame.filter("holdout")
    data = TrainingData(
        rows=frame.height - held.height,
        held_out=held.height,
        first=frame["event_time"].min(),  # type: ignore[arg-type]
        last=frame["event_time"].max(),  # type: ignore[arg-type]
        digest=frame_digest(frame),
        label_delay=str(spec.label.delay),
        window=f"the newest {candidate.window} rows" if candidate.window else "all labelled rows",
    )
    gaps = pl.DataFrame()
    if spec.slices and spec.task == "classification":
        threshold = float(np.quantile(scores, 1 - mean_of(held["label"]))) if held.height else 0.5
        gaps = fairness_gaps(held["label"].to_numpy(), scores, held.select(spec.slices), threshold)
    return model_card(
        Card(
            automation=automation.name,
            candidate=candidate.name,
            intended_use=spec.description,
            owners=spec.owners,
            risk=spec.risk,
            task=spec.task,
            label=spec.label.column,
            metric=spec.gate.metric,
            params=candidate.params,
            data=data,
            metrics=metrics,
            confidence=CONFIDENCE,
            slices=slices,
            gaps=gaps,
            limits=limits(frame.select(list(spec.feature_columns)), slices),
            verdict=None,
            promotion=spec.promotion,
        )
    )


def write_extraction_card(
    learner: ModelStep,
    candidate: Candidate,
    frame: pl.DataFrame,
    metrics: dict[str, Estimate],
    slices: pl.DataFrame,
    confidence: np.ndarray,
    right: np.ndarray,
) -> str:
    """Return the model card of a candidate that reads documents.

    Args:
        learner: Whose candidate.
        candidate: The recipe.
        frame: Its training set.
        metrics: On the holdout.
        slices: On the holdout.
        confidence: Of each held-out document, shape (n,).
        right: 1 where all its key fields are right, shape (n,).
    """
    automation, spec, held = learner.automation, learner.spec, frame.filter("holdout")
    bins = calibration(confidence, right)
    automatic = straight_through(confidence, right, spec.max_wrong)
    said = [
        f"Straight-through: {automatic.share:.0%} of the documents are read without a wrong key "
        f"field but for {automatic.wrong:.1%} (at most {spec.max_wrong:.0%} asked; 95 % bound "
        f"{automatic.wrong_high:.1%}), from confidence {automatic.threshold:.3f} on.",
        f"Calibration error {calibration_error(bins):.3f}. Confidence and share right by tenths: "
        + ", ".join(f"{one.confidence:.2f} {one.right:.2f}" for one in bins),
        "Says nothing about layouts and languages that it has not seen: watch the drift report.",
    ]
    data = TrainingData(
        rows=frame.height - held.height,
        held_out=held.height,
        first=frame["event_time"].min(),  # type: ignore[arg-type]
        last=frame["event_time"].max(),  # type: ignore[arg-type]
        digest=frame_digest(frame),
        label_delay="as people find them",
        window=f"the newest {candidate.window}" if candidate.window else "all documents with truth",
    )
    return model_card(
        Card(
            automation=learner.name,
            candidate=candidate.name,
            intended_use=automation.spec.description,
            owners=automation.spec.owners,
            risk=automation.spec.risk,
            task="extraction",
            label=", ".join(spec.key_fields),
            metric=spec.gate.metric,
            params=candidate.params,
            data=data,
            metrics=metrics,
            confidence=CONFIDENCE,
            slices=slices,
            gaps=pl.DataFrame(),
            limits=said,
            verdict=None,
            promotion=spec.promotion,
        )
    )

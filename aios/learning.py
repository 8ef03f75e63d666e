"""How a model is learned and kept: candidates, training, gate, drift, performance, retraining."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aios.values import Duration, Model, Name, Reference, Share, wrong

METRICS = {
    "classification": ["roc_auc", "average_precision", "brier", "log_loss", "accuracy"],
    "regression": ["mae", "rmse", "r2"],
    "extraction": ["document_f1", "documents_right"],
}


class Candidate(Model):
    """A recipe that trains a model: `train(features, label, *, seed, **params)`."""

    name: Name
    train: Reference
    params: dict[str, Any] = {}
    window: Annotated[int, Field(ge=50)] | None = None


class Training(Model):
    """How much evidence a training needs and how it is divided."""

    min_rows: Annotated[int, Field(ge=20)] = 200
    min_per_class: Annotated[int, Field(ge=2)] = 10
    window: Annotated[int, Field(ge=50)] | None = None
    holdout: Share = 0.25
    seed: int = 0


class Gate(Model):
    """The offline bar: at least `floor`, and not worse than the champion by `margin`."""

    metric: str = "roc_auc"  # of METRICS for the automation's task
    floor: float = 0.55
    margin: Annotated[float, Field(ge=0)] = 0.02
    confidence: Share = 0.8
    min_rows: Annotated[int, Field(ge=20)] = 100


class Drift(Model):
    """The drift budget: how sure, how large, on how many rows, how often in a row."""

    false_alarm_rate: Share = 0.01
    min_effect: Share = 0.1
    min_rows: Annotated[int, Field(ge=20)] = 200
    confirm: Annotated[int, Field(ge=1)] = 2
    ignore: list[str] = []


class Performance(Model):
    """When realised loss on matured labels counts as worse than at the gate.

    `min_effect` is a share of the loss at the gate; `false_alarm_rate` is for an era:
    from one alarm's champion to the next alarm.
    """

    false_alarm_rate: Share = 0.02
    min_effect: Annotated[float, Field(gt=0)] = 0.2


class Retrain(Model):
    """Which measurements start a retrain, and how long it then rests."""

    triggers: list[Literal["drift", "performance", "labels"]] = [
        "drift",
        "performance",
        "labels",
    ]
    growth: Annotated[float, Field(gt=0)] = 0.25
    cooldown: Duration = timedelta(days=28)


class Learned(Model):
    """A model with its whole life: candidates, training, gate, drift, performance, retraining."""

    task: Literal["classification", "regression", "extraction"]
    candidates: list[Candidate] = Field(min_length=1)
    training: Training = Training()
    gate: Gate = Gate()
    drift: Drift = Drift()
    performance: Performance = Performance()
    retrain: Retrain = Retrain()
    promotion: Literal["manual", "automatic"] = "manual"
    aliases: Literal["restore", "adopt"] = "restore"

    @model_validator(mode="after")
    def _judged_by_its_task(self) -> Learned:
        if self.gate.metric not in METRICS[self.task]:
            allowed = ", ".join(METRICS[self.task])
            raise wrong(f"a model of {self.task} is judged by one of {allowed}", "gate", "metric")
        names = [one.name for one in self.candidates]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise wrong(f"'{name}' is declared twice", "candidates", i, "name")
        return self

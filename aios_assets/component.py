"""The `Automation` component: from a folder's declaration to Dagster definitions."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict

from aios.automation import Automation as DeclaredAutomation
from aios.known import last_before
from aios.learner import ModelStep, learners, model_steps
from aios.settings import Settings
from aios_assets.lifecycle.actions import build_actions
from aios_assets.lifecycle.decisions import build_decisions
from aios_assets.lifecycle.drift import build_drift_report, watched_features
from aios_assets.lifecycle.drill import build_rollback_drill
from aios_assets.lifecycle.events import build_events
from aios_assets.lifecycle.extraction import (
    build_extraction_candidate,
    build_extraction_training_set,
    scores_of_documents,
    watched_inputs,
)
from aios_assets.lifecycle.extraction_performance import build_extraction_performance
from aios_assets.lifecycle.features import build_features, build_online_features
from aios_assets.lifecycle.gate import build_gate
from aios_assets.lifecycle.labels import build_labels
from aios_assets.lifecycle.performance import build_performance
from aios_assets.lifecycle.predictions import build_predictions
from aios_assets.lifecycle.reviews import build_reviews
from aios_assets.lifecycle.rollout_report import build_rollout_report
from aios_assets.lifecycle.shadow import build_shadow
from aios_assets.lifecycle.steps import build_step
from aios_assets.lifecycle.training import build_candidate, build_training_set
from aios_assets.lifecycle.truth import build_truth
from jobs.actions import build_actions_job, build_reviews_job
from jobs.batch import build_batch_job, build_schedule
from jobs.drill import build_drill_job, build_drill_schedule
from jobs.retrain import build_retrain_job
from sensors.actions import build_actions_sensor
from sensors.new_data import build_new_data_sensor
from sensors.retrain import build_retrain_sensor
from sensors.reviews import build_reviews_sensor
from sensors.rollout import build_rollout_sensor

STAGES = [
    build_events,
    build_features,
    build_online_features,
    build_predictions,
    build_decisions,
    build_labels,
    build_performance,
    build_training_set,
]


class Attributes(BaseModel):
    """What stands under `attributes`; `aios.spec` judges it, with file, line and field."""

    model_config = ConfigDict(extra="allow")


class Automation(dg.Component):
    """A business process that a model helps decide, with its whole life as assets."""

    def __init__(self, declared: DeclaredAutomation) -> None:
        self.declared = declared

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Let any attributes through to `load`, where one exact error can be given."""
        return Attributes

    @classmethod
    def load(cls, attributes: Any, context: dg.ComponentLoadContext) -> "Automation":
        """Load the declaration of the folder that is being read."""
        return cls.from_folder(context.path)

    @classmethod
    def from_folder(cls, folder: Path) -> "Automation":
        """Load the declaration of a folder.

        Raises:
            AiosError: It is wrong; names file, line and field.
        """
        return cls(DeclaredAutomation.load(folder, Settings.from_env()))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the automation's assets, jobs, schedule and sensors."""
        declared = self.declared
        learning, rollout = learners(declared), declared.spec.rollout
        review, actions = declared.spec.review, declared.spec.actions
        return dg.Definitions(
            assets=[
                *(build(declared) for build in STAGES),
                *(build_step(declared, step) for step in declared.spec.steps),
                *_own_model(declared),
                *([build_shadow(declared), build_rollout_report(declared)] if rollout else []),
                *([build_reviews(declared)] if review else []),
                *([build_actions(declared)] if actions else []),
                *(asset for learner in model_steps(declared) for asset in _model_of_step(learner)),
                *(build_rollback_drill(declared, one) for one in learning),
            ],
            jobs=[
                build_batch_job(declared),
                *(build_retrain_job(declared, one) for one in learning),
                *(build_drill_job(declared, one) for one in learning),
                *([build_reviews_job(declared)] if review else []),
                *([build_actions_job(declared)] if actions else []),
            ],
            schedules=[
                build_schedule(declared),
                *(build_drill_schedule(one) for one in learning),
            ],
            sensors=[
                build_new_data_sensor(declared),
                *(build_retrain_sensor(declared, one) for one in learning),
                *([build_rollout_sensor(declared)] if rollout else []),
                *([build_reviews_sensor(declared)] if review else []),
                *([build_actions_sensor(declared)] if actions else []),
            ],
        )


def _own_model(declared: DeclaredAutomation) -> list[dg.AssetsDefinition]:
    return [
        *(build_candidate(declared, one) for one in declared.spec.candidates),
        build_gate(declared, declared),
        build_drift_report(declared, declared, watched_features(declared)),
    ]


def _model_of_step(learner: ModelStep) -> list[dg.AssetsDefinition]:
    declared = learner.automation
    before = last_before(declared, learner.step.name)
    return [
        build_truth(learner),
        build_extraction_training_set(learner),
        *(build_extraction_candidate(learner, one) for one in learner.spec.candidates),
        build_gate(declared, learner, scores_of_documents(learner)),
        build_extraction_performance(learner),
        build_drift_report(declared, learner, watched_inputs(learner), after=before),
    ]


def broken_automation(folder: Path, error: Exception) -> dg.Definitions:
    """Return one asset that stands for a folder that cannot be loaded and carries the error."""
    message = str(error)
    check = dg.AssetCheckSpec(
        "declaration", asset=[folder.name, "declaration"], description="The declaration loads."
    )

    @dg.asset(
        key=[folder.name, "declaration"],
        group_name=folder.name,
        kinds={"error"},
        description=f"**This automation could not be loaded.**\n\n```\n{message}\n```",
        metadata={"error": dg.MetadataValue.text(message)},
        check_specs=[check],
    )
    def declaration() -> dg.MaterializeResult:
        raise dg.Failure(description=message, allow_retries=False)

    @dg.sensor(
        name=f"{folder.name}_broken_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks the broken automation red.",
    )
    def broken_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        if context.cursor == message:
            return dg.SensorResult(skip_reason=message)
        evaluation = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey([folder.name, "declaration"]),
            check_name="declaration",
            passed=False,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={"error": dg.MetadataValue.text(message)},
        )
        return dg.SensorResult(asset_events=[evaluation], cursor=message)

    return dg.Definitions(assets=[declaration], sensors=[broken_sensor])

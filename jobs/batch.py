"""The production path of one partition: events to decisions, and the watch over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from aios.automation import Automation
from aios.learner import model_steps
from aios.windows import window_at

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

# Without online_features: serving is refreshed by its own automation condition.
_STAGES = ["features", "predictions", "decisions", "labels", "performance", "drift_report"]
_OF_MODEL_STEP = ["truth", "performance", "drift_report"]

_DEFAULT_CRON = {"daily": "0 2 * * *", "weekly": "0 2 * * 1", "monthly": "0 2 1 * *"}


def batch_nouns(automation: Automation) -> list[str]:
    """Return the names of the assets that a partition's production path consists of."""
    steps = [step.name for step in automation.spec.steps]
    learned = [one.asset(noun) for one in model_steps(automation) for noun in _OF_MODEL_STEP]
    rollout = ["shadow", "rollout_report"] if automation.spec.rollout else []
    return ["events", *steps, *learned, *_STAGES, *rollout]


def batch_job_name(automation: str) -> str:
    """Return the name of an automation's batch job."""
    return f"{automation}_batch"


def build_batch_job(automation: Automation) -> UnresolvedAssetJobDefinition:
    """Build the job that takes a partition from its source to decisions and reports."""
    return dg.define_asset_job(
        batch_job_name(automation.name),
        selection=[dg.AssetKey([automation.name, noun]) for noun in batch_nouns(automation)],
        description=f"One partition of {automation.name}: from the source to decisions, matured "
        "labels, performance and drift. Running it again changes nothing.",
        tags={"aios/automation": automation.name},
    )


def build_schedule(automation: Automation) -> dg.ScheduleDefinition:
    """Build the schedule that runs the newest complete partition at the automation's cadence."""
    cadence = automation.spec.cadence

    @dg.schedule(
        name=f"{automation.name}_schedule",
        job_name=batch_job_name(automation.name),
        cron_schedule=automation.spec.schedule or _DEFAULT_CRON[cadence],
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Runs the newest complete partition.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = context.scheduled_execution_time.replace(tzinfo=None)
        current = window_at(cadence, now)
        previous = window_at(cadence, current.start - (current.end - current.start) / 2)
        end = automation.binding.end
        if previous.start < automation.binding.start or (end and previous.start >= end):
            return dg.SkipReason(f"{previous.key} lies outside the automation's time")
        return dg.RunRequest(
            run_key=f"{previous.key}-{automation.code_version}", partition_key=previous.key
        )

    return schedule

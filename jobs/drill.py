"""Drills of the rollback: apart from everything that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from aios.automation import Automation
from aios.learner import Learner

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

_WEEKLY = "0 4 * * 1"


def drill_job_name(learner: str) -> str:
    """Return the name of the drill of an automation or of one of its model steps."""
    return f"{learner.replace('.', '_')}_drill"


def build_drill_job(automation: Automation, learner: Learner) -> UnresolvedAssetJobDefinition:
    """Build the job that rehearses the rollback of what learns."""
    return dg.define_asset_job(
        drill_job_name(learner.name),
        selection=[dg.AssetKey([automation.name, learner.asset("rollback_drill")])],
        description=f"Rehearses and times the rollback of {learner.name}. Who decides stays who "
        "decides.",
        tags={"aios/automation": automation.name},
    )


def build_drill_schedule(learner: Learner) -> dg.ScheduleDefinition:
    """Build the schedule of the drills: every Monday at 04:00 UTC, once it is turned on."""
    return dg.ScheduleDefinition(
        name=f"{drill_job_name(learner.name)}_schedule",
        job_name=drill_job_name(learner.name),
        cron_schedule=_WEEKLY,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Rehearses the rollback every week.",
    )

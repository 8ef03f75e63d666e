"""What drains the outbox, and what looks at the reviewing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from aios.automation import Automation

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


def actions_job_name(automation: str) -> str:
    """Return the name of the job that drains an automation's outbox."""
    return f"{automation}_actions"


def reviews_job_name(automation: str) -> str:
    """Return the name of the job that keeps verdicts as labels and measures the reviewing."""
    return f"{automation}_reviews"


def build_actions_job(automation: Automation) -> UnresolvedAssetJobDefinition:
    """Build the job that sends every action that is due."""
    return dg.define_asset_job(
        actions_job_name(automation.name),
        selection=[dg.AssetKey([automation.name, "actions"])],
        description=f"Sends the actions of {automation.name} that are due, until none is. A "
        "long-running `aios worker` does the same sooner; both at once are safe.",
        tags={"aios/automation": automation.name},
    )


def build_reviews_job(automation: Automation) -> UnresolvedAssetJobDefinition:
    """Build the job that turns verdicts into labels."""
    return dg.define_asset_job(
        reviews_job_name(automation.name),
        selection=[dg.AssetKey([automation.name, "reviews"])],
        description=f"Keeps what people decided in {automation.name} as labels, and measures the "
        "reviewing.",
        tags={"aios/automation": automation.name},
    )

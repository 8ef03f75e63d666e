"""Retraining: from the training set to the gate, apart from the production path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from aios.automation import Automation

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


def retrain_job_name(automation: str) -> str:
    """Return the name of an automation's retraining job."""
    return f"{automation}_retrain"


def build_retrain_job(automation: Automation) -> UnresolvedAssetJobDefinition:
    """Build the job that trains all candidates and takes them to the gate."""
    nouns = ["training_set", *(one.name for one in automation.spec.candidates), "gate"]
    return dg.define_asset_job(
        retrain_job_name(automation.name),
        selection=[dg.AssetKey([automation.name, noun]) for noun in nouns],
        description=f"Trains every candidate of {automation.name} on what is known at the end of "
        "the partition, registers the versions and judges them at the gate.",
        tags={"aios/automation": automation.name},
    )

"""Retraining: from the training set to the gate, apart from the production path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from aios.automation import Automation
from aios.learner import Learner

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


def retrain_job_name(learner: str) -> str:
    """Return the name of the retraining job of an automation or of one of its model steps."""
    return f"{learner.replace('.', '_')}_retrain"


def retrain_nouns(learner: Learner) -> list[str]:
    """Return the names of the assets from a learner's training set to its gate."""
    candidates = [one.name for one in learner.spec.candidates]
    return [learner.asset(noun) for noun in ("training_set", *candidates, "gate")]


def build_retrain_job(automation: Automation, learner: Learner) -> UnresolvedAssetJobDefinition:
    """Build the job that trains all candidates and takes them to the gate."""
    return dg.define_asset_job(
        retrain_job_name(learner.name),
        selection=[dg.AssetKey([automation.name, noun]) for noun in retrain_nouns(learner)],
        description=f"Trains every candidate of {learner.name} on what is known at the end of "
        "the partition, registers the versions and judges them at the gate.",
        tags={"aios/automation": automation.name},
    )

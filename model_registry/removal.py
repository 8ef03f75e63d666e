"""Forgetting an automation: for a rehearsal that starts again from nothing."""

from __future__ import annotations

from model_registry.registry import Registry


def forget(registry: Registry, automation: str) -> None:
    """Remove the automation's registered model with all versions, and delete its runs.

    Version numbers begin at 1 again. Runs are marked deleted in MLflow; `mlflow gc` removes them.
    """
    if automation not in registry.automations():
        return
    with registry.writing(automation):
        registry.client.delete_registered_model(automation)
        experiment = registry.experiment(automation)
        for run in registry.client.search_runs([experiment], max_results=1000):
            registry.client.delete_run(run.info.run_id)

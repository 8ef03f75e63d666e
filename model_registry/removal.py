"""Forgetting an automation: for a rehearsal that starts again from nothing."""

from __future__ import annotations

from model_registry import approvals, ledger, rollout
from model_registry.registry import Registry, pages


def forget(registry: Registry, automation: str) -> None:
    """Remove the automation's registered model with all versions, and delete its runs.

    Version numbers begin at 1 again, and so does the ledger; the record keeps all leaves. Runs are
    marked deleted in MLflow; `mlflow gc` removes them.
    """
    if automation not in registry.automations():
        return
    with registry.writing(automation):
        # Numbers begin again: what was approved of a version must not hold for its namesake.
        for request in approvals.requests(registry.log, automation):
            if request.state in ("open", "approved"):
                approvals.close(registry.log, request.number, "overtaken")
        ledger.forget(registry.log, automation)
        rollout.forget(registry.log, automation)
        registry.client.delete_registered_model(automation)
        experiment = registry.experiment(automation)
        # What is deleted leaves the search, so each list is taken before the first is deleted.
        models = pages(registry.client.search_logged_models, experiment_ids=[experiment])
        for model in list(models):
            registry.client.delete_logged_model(model.model_id)
        for run in list(pages(registry.client.search_runs, experiment_ids=[experiment])):
            registry.client.delete_run(run.info.run_id)

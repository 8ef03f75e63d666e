"""Addresses that the UI links to: MLflow runs and versions, reports in the lake."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from aios.lake import Lake
    from model_registry.registry import ModelVersion


def mlflow_address() -> str:
    """Return where the MLflow UI listens (`AIOS_MLFLOW_UI`)."""
    return os.environ.get("AIOS_MLFLOW_UI", "http://127.0.0.1:5000")


def mlflow_run(experiment: str, version: ModelVersion) -> dg.UrlMetadataValue:
    """Link to the run that trained a version."""
    return dg.MetadataValue.url(
        f"{mlflow_address()}/#/experiments/{experiment}/runs/{version.run_id}"
    )


def mlflow_version(version: ModelVersion) -> dg.UrlMetadataValue:
    """Link to a version in the registry."""
    return dg.MetadataValue.url(
        f"{mlflow_address()}/#/models/{version.automation}/versions/{version.number}"
    )


def console_page(path: str) -> dg.UrlMetadataValue:
    """Link to a page of the console, where it listens (`AIOS_CONSOLE_UI`)."""
    address = os.environ.get("AIOS_CONSOLE_UI", "http://127.0.0.1:3001")
    return dg.MetadataValue.url(f"{address}/{path}")


def model_card(version: ModelVersion) -> dg.UrlMetadataValue:
    """Link to the model card of a version in the console."""
    return console_page(f"rollouts/{version.automation}/cards/{version.number}")


def page(reports: Lake, dataset: str, partition: str) -> dg.UrlMetadataValue:
    """Link to a report for people, which the console serves."""
    return console_page(f"reports/{reports.root.name}/{dataset}/{partition}.html")

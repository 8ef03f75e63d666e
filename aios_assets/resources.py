"""Lazy clients that assets use: the lake, the feature store and the model registry."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from aios.lake import Lake
from aios.settings import Settings, configure_libraries

if TYPE_CHECKING:
    from feature_repo.store import Store
    from model_registry.registry import Registry


class Platform(dg.ConfigurableResource):
    """The services of one AIOS home; nothing is opened before it is used."""

    home: str
    mlflow_uri: str
    artifacts: str
    online_store: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Platform:
        """Return the platform that the environment describes."""
        return cls(
            home=str(settings.home),
            mlflow_uri=settings.mlflow_uri,
            artifacts=settings.artifacts,
            online_store=settings.online_store,
        )

    def lake(self, automation: str) -> Lake:
        """Return the lake of one automation."""
        return Lake(Path(self.home) / "lake" / automation)

    def reports(self, automation: str) -> Lake:
        """Return where the pages about an automation are written for people."""
        return Lake(Path(self.home) / "reports" / automation)

    @property
    def store(self) -> Store:
        """The Feast feature store."""
        return _open_store(self.home, self.online_store)

    @property
    def registry(self) -> Registry:
        """The MLflow model registry."""
        return _open_registry(self.mlflow_uri, self.artifacts)


@lru_cache(maxsize=4)
def _open_store(home: str, online_store: str | None) -> Store:
    from feature_repo.store import open_store

    configure_libraries()
    return open_store(Path(home), online_url=online_store)


@lru_cache(maxsize=4)
def _open_registry(uri: str, artifacts: str) -> Registry:
    from model_registry.registry import Registry

    configure_libraries()
    return Registry(uri, Path(artifacts))

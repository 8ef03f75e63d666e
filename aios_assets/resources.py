"""Lazy clients that assets use: the lake, the feature store and the model registry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from aios.identity.access import Access
from aios.lake import Lake
from aios.settings import Settings, configure_libraries

if TYPE_CHECKING:
    from aios.record.log import Log
    from feature_repo.store import Store
    from model_registry.registry import Registry


@dataclass(frozen=True)
class Platform:
    """The services of one AIOS home; nothing is opened before it is used.

    A plain object and no configurable resource: addresses may hold passwords, and Dagster shows a
    resource's configuration to everyone.
    """

    settings: Settings

    def lake(self, automation: str) -> Lake:
        """Return the lake of one automation."""
        return Lake(self.settings.home / "lake" / automation)

    def reports(self, automation: str) -> Lake:
        """Return where the pages about an automation are written for people."""
        return Lake(self.settings.home / "reports" / automation)

    @property
    def log(self) -> Log:
        """The record."""
        return self.registry.log

    @property
    def access(self) -> Access:
        """The rules of who may do what."""
        return Access.load(self.settings.access)

    @property
    def store(self) -> Store:
        """The Feast feature store."""
        return _open_store(self.settings)

    @property
    def registry(self) -> Registry:
        """The MLflow model registry."""
        return _open_registry(self.settings)


@lru_cache(maxsize=4)
def _open_store(settings: Settings) -> Store:
    from feature_repo.store import open_store

    configure_libraries()
    return open_store(
        settings.home, online_url=settings.online_store, registry_url=settings.feast_registry
    )


@lru_cache(maxsize=4)
def _open_registry(settings: Settings) -> Registry:
    from model_registry.registry import open_registry

    configure_libraries()
    return open_registry(settings)

"""Three gated versions of `claims`, made once for a process and copied for each test."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aios.automation import Automation
from aios.database import Database
from aios.identity.access import Access
from aios.identity.actors import Actor, Role
from aios.identity.directory import Directory
from aios.record.log import Log
from aios.settings import PROJECT, Settings
from model_registry.authority import Authority
from model_registry.registry import Registry
from tests.conftest import write_automation
from tests.model_registry.opening import registry_in
from tests.model_registry.recipes import boosting, enrol

NAME = "claims"
_KEPT: list[TemporaryDirectory[str]] = []
_PATHS = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
]


def person(name: str, *roles: Role) -> Actor:
    return Actor(name, "person", frozenset(roles))


OLGA = person("olga", "operator", "auditor")
ALICE = person("alice", "ml_engineer")
ANN = person("ann", "approver")
BOB = person("bob", "approver")


def people(log: Log, *actors: Actor) -> None:
    """Register people, an operator first."""
    directory = Directory(log.database)
    for actor in (OLGA, *(actors or (ALICE, ANN, BOB))):
        directory.add(actor)


def registry_at(folder: Path, *, own: bool = False) -> Registry:
    """Versions 1 and 2, trained by the platform, and 3, trained by Ann; all passed the gate.

    Args:
        folder: Where to.
        own: Copy the artefacts too, for tests that break them.
    """
    source = _made()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("mlflow.db", "record.db"):
        with (
            closing(sqlite3.connect(source / name)) as old,
            closing(sqlite3.connect(folder / name)) as new,
        ):
            old.backup(new)
    shutil.copytree(source / "keys", folder / "keys")
    if own:
        shutil.copytree(source / "artifacts", folder / "artifacts")
        with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
            for table, column in _PATHS:
                database.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                    (str(source), str(folder)),
                )
    return registry_in(folder, patience=5)


def authority_over(registry: Registry, folder: Path, **declared: Any) -> Authority:
    """The champion of `claims` under the project's rules, declared as given."""
    write_automation(folder / "automations" / NAME, **{"promotion": "manual", **declared})
    return authority_at(registry, folder)


def authority_at(registry: Registry, folder: Path) -> Authority:
    """The same, as `authority_over` declared it before."""
    where = folder / "automations" / NAME
    settings = Settings.embedded(folder, where.parent)
    return Authority(registry, Access.load(PROJECT / "access"), Automation.load(where, settings))


@cache
def _made() -> Path:
    _KEPT.append(TemporaryDirectory(prefix="aios-claims-"))
    folder = Path(_KEPT[0].name)
    registry, model = registry_in(folder), boosting()
    for key, trainer in (("a", None), ("b", None), ("c", "person:ann")):
        lineage = {"dataset_digest": f"digest of {key}"}
        lineage |= {"trained_by": trainer} if trainer else {}
        registry.set_stage(enrol(registry, key, model, lineage=lineage), "gated")
    assert isinstance(registry.log.database, Database)
    registry.log.database.engine.dispose()
    return folder

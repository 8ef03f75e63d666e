"""Whole loops on real stores: an automation with eight rehearsed weeks, copied for each test."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aios import clock
from aios.automation import Automation, load_automation
from aios.lake import Lake
from aios.settings import Settings
from aios_assets.cli import shell
from aios_assets.definitions import build_definitions
from aios_assets.instance import open_instance, run_job
from aios_assets.rehearsal import State, rehearse
from aios_assets.resources import Platform
from model_registry.registry import ModelVersion, Registry
from tests.conftest import START, loans, settings_in, write_automation, write_table

NAME = "loans"
REHEARSED = 8
"""Weeks that the prepared home has behind it."""
SMALL: dict[str, Any] = {
    "training": {"min_rows": 100, "min_per_class": 5, "seed": 3},
    "gate": {"floor": 0.55, "margin": 0.2, "min_rows": 20},
    "retrain": {"cooldown": "21d"},
}
"""Two retrains within eight weeks of 60 loans each, both promoted."""


QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def key(week: int) -> str:
    """The partition of a week, counted from 0."""
    return f"{START + timedelta(weeks=week):%Y-%m-%d}"


def end_of(week: int) -> datetime:
    """The moment at which a week is complete."""
    return START + timedelta(weeks=week + 1)


DAMAGED = {100: ("region", "moon"), 200: ("amount", -5.0), 300: ("customer", None)}
"""Ids of the loans that break the contract; number 150 comes twice, 50 is corrected later."""


def history_of_loans() -> pl.DataFrame:
    """Twenty weeks of about 60 loans, three damaged, one repeated, one corrected."""
    table = loans(1200)
    for identity, (column, value) in DAMAGED.items():
        broken = pl.when(pl.col("loan_id") == identity).then(pl.lit(value))
        table = table.with_columns(broken.otherwise(pl.col(column)).alias(column))
    again = table.filter(pl.col("loan_id") == 150)
    later = pl.col("applied_at") + timedelta(weeks=2)
    corrected = table.filter(pl.col("loan_id") == 50).with_columns(later, amount=pl.lit(5000.0))
    return pl.concat([table, again, corrected]).sort("applied_at", maintain_order=True)


class Loop:
    """An automation on real stores below one directory, and what its users do with it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings: Settings = settings_in(root)
        self.platform = Platform(self.settings)
        self.lake: Lake = self.platform.lake(NAME)
        self.folder = self.settings.automations / NAME
        self._instance: dg.DagsterInstance | None = None
        self._repository: dg.RepositoryDefinition | None = None

    @property
    def instance(self) -> dg.DagsterInstance:
        if self._instance is None:
            self._instance = open_instance(self.settings)
        return self._instance

    @property
    def repository(self) -> dg.RepositoryDefinition:
        if self._repository is None:
            self._repository = build_definitions(self.settings).get_repository_def()
        return self._repository

    @property
    def automation(self) -> Automation:
        return load_automation(NAME, self.settings)

    @property
    def registry(self) -> Registry:
        return self.platform.registry

    def restart(self) -> None:
        """Forget what a process remembers of the folder's code and of its definitions."""
        self._repository = None
        for name in [name for name in sys.modules if name.startswith("aios_automations.")]:
            del sys.modules[name]

    def run(self, kind: str, week: int, **tags: str) -> None:
        """Run `loans_<kind>` for a week as `aios run` and the rehearsal do."""
        job = self.repository.get_job(f"{NAME}_{kind}")
        ops = _ops("drifted") if kind == "batch" else {}
        with clock.at(end_of(week)):
            run_job(self.instance, job, key(week), tags=tags, ops=ops)

    def execute(
        self, kind: str, week: int, *, page: str = "drifted", **arguments: Any
    ) -> dg.ExecuteInProcessResult:
        """Run a job for a week and return what Dagster says of it, failed or not."""
        job = self.repository.get_job(f"{NAME}_{kind}")
        with clock.at(end_of(week)):
            return job.execute_in_process(
                instance=self.instance,
                partition_key=key(week),
                raise_on_error=False,
                run_config={**QUIET, "ops": _ops(page) if kind == "batch" else {}},
                **arguments,
            )

    def rehearse(self, weeks: int, **arguments: Any) -> State:
        """Rehearse the first weeks."""
        end = START + timedelta(weeks=weeks)
        _, _, state = rehearse(NAME, self.settings, end=end, progress=lambda *_: None, **arguments)
        return state

    def redeclare(self, **overrides: Any) -> None:
        """Write the folder anew, as a developer who changes the declaration or the code."""
        chosen: dict[str, Any] = {"table": history_of_loans(), **SMALL, **overrides}
        write_automation(self.folder, **chosen)
        self.restart()

    def change_table(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Change the source, row order and all other columns kept as text."""
        path = self.folder / "loans.csv"
        table = change(pl.read_csv(path, infer_schema=False))
        write_table(path, table)

    def versions(self) -> list[ModelVersion]:
        return self.registry.versions(NAME)

    def decided_by(self, week: int) -> set[int | None]:
        """The model versions that the decisions of a week name."""
        return set(self.lake.read("decisions", key(week))["model_version"])

    def champions(self) -> list[tuple[int, datetime, str, int | None]]:
        """The champion's history without wall-clock times."""
        from model_registry.champion import history

        return [(c.version, c.at, c.kind, c.previous) for c in history(self.registry, NAME)]

    def files(self, *datasets: str, before: int | None = None) -> dict[str, bytes]:
        """The lake's files by path, of some datasets or all, of weeks before one or all."""
        return {
            str(path.relative_to(self.lake.root)): path.read_bytes()
            for path in sorted(self.lake.root.rglob("*"))
            if path.is_file()
            and not path.name.startswith(".")
            and (not datasets or path.relative_to(self.lake.root).parts[0] in datasets)
            and (before is None or path.stem < key(before))
        }

    def service(self, week: int) -> tuple[Any, ...]:
        """Everything in service before a week: its files, its champions, its versions."""
        files = self.files("predictions", "decisions", "features", "events", before=week)
        return files, self.champions(), [(v.number, v.stage) for v in self.versions()]


def _ops(page: str) -> dict[str, Any]:
    """When Evidently draws its page."""
    return {f"{NAME}__drift_report": {"config": {"page": page}}}


def in_week(week: int) -> pl.Expr:
    """Rows of the source, all text, whose time lies in a week."""
    at = pl.col("applied_at").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    return at.is_between(START + timedelta(weeks=week), end_of(week), closed="left")


def new_loop(root: Path, empty_mlflow: Path, patch: pytest.MonkeyPatch, **overrides: Any) -> Loop:
    """Write an automation below a directory, on an empty MLflow store."""
    loop = Loop(root)
    database = loop.settings.home / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    _copy_database(empty_mlflow, database)
    chosen: dict[str, Any] = {"table": history_of_loans(), **SMALL, **overrides}
    write_automation(loop.folder, **chosen)
    enter(loop, patch)
    return loop


def enter(loop: Loop, patch: pytest.MonkeyPatch) -> None:
    """Let everything that reads the environment see this loop's home."""
    for name in ("AIOS_MLFLOW_URI", "AIOS_ARTIFACTS", "AIOS_ONLINE_STORE"):
        patch.delenv(name, raising=False)
    patch.setenv("AIOS_HOME", str(loop.settings.home))
    patch.setenv("AIOS_AUTOMATIONS", str(loop.settings.automations))
    patch.setenv("DAGSTER_HOME", str(loop.settings.home / "dagster"))


def copy_loop(source: Loop, root: Path) -> Loop:
    """Copy a loop with all its state to another directory.

    MLflow keeps absolute paths of artefacts, so they are rewritten; SQLite files are copied
    through SQLite, with what is still in their logs.
    """
    ignored = shutil.ignore_patterns("*.db", "*.db-wal", "*.db-shm", "__pycache__", "locks")
    shutil.copytree(source.root, root, ignore=ignored, dirs_exist_ok=True)
    for database in [*source.root.rglob("*.db")]:
        target = root / database.relative_to(source.root)
        if database.parent.name == "feast":
            shutil.copy(database, target)
        else:
            _copy_database(database, target)
    with closing(sqlite3.connect(root / "home" / "mlflow" / "mlflow.db")) as connection:
        for table, column in _PATHS:
            connection.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)",
                (str(source.root), str(root)),
            )
        connection.commit()
    return Loop(root)


_PATHS = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
]


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Loop:
    """An automation with eight rehearsed weeks, to copy or to look at; never to change."""
    with pytest.MonkeyPatch.context() as patch:
        loop = new_loop(tmp_path_factory.mktemp("prepared"), empty_mlflow, patch)
        loop.rehearse(REHEARSED)
        return loop


@pytest.fixture
def loop(prepared: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """A copy of the prepared automation, to do anything with."""
    copied = copy_loop(prepared, tmp_path / "loop")
    enter(copied, monkeypatch)
    yield copied
    copied.restart()


@pytest.fixture(autouse=True)
def _wide_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which no table is cut."""
    monkeypatch.setattr(shell.console, "width", 200)


def checks_of(result: dg.ExecuteInProcessResult) -> Mapping[str, dg.AssetCheckEvaluation]:
    """The checks that a run made, `asset/check` by name."""
    return {
        f"{one.asset_key.path[-1]}/{one.check_name}": one
        for one in result.get_asset_check_evaluations()
    }


def metadata_of(result: dg.ExecuteInProcessResult, noun: str) -> Mapping[str, Any]:
    """The metadata that a run recorded for one asset."""
    (event,) = result.asset_materializations_for_node(f"{NAME}__{noun}")
    return event.metadata

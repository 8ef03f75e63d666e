"""MLflow's tracking store and model registry: one lazy client, and model versions as plain values.

One registered model and one experiment stand for one automation and carry its name.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from aios.errors import AiosError
from aios.locks import held
from aios.record.log import Log, open_log
from model_registry import verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

    from aios.settings import Settings

Stage = Literal["registered", "gated", "rejected", "champion", "retired"]
STAGES: tuple[str, ...] = get_args(Stage)

KEY_TAG = "aios.key"
STAGE_TAG = "aios.stage"
CANDIDATE_TAG = "aios.candidate"
TRAINED_UNTIL_TAG = "aios.trained_until"
METRICS_TAG = "aios.metrics"
DIGEST_TAG = "aios.artifact_digest"
TRAINED_BY_TAG = "aios.trained_by"

TRAINING = "service:training"
"""Who trains where no person does it by hand."""

DESCRIPTION_LIMIT = 5000
"""Characters that MLflow's schema keeps of a version's description."""

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class ModelVersion:
    """One trained artefact of an automation.

    Attributes:
        number: The version's number in the registry, from 1.
        key: What the version was trained for; the same key never makes two versions.
        trained_until: Exclusive end of the training data, UTC-naive.
        created: When it was registered (wall clock), UTC-naive.
        metrics: Point estimates, with their bounds under `<metric>_low` and `<metric>_high`.
        source: Where its files are.
        card: Its model card with the approvals so far; shortened to what MLflow's schema holds.
    """

    automation: str
    number: int
    candidate: str
    key: str
    stage: str
    run_id: str
    trained_until: datetime
    created: datetime
    metrics: dict[str, float]
    tags: dict[str, str]
    source: str
    card: str = field(repr=False)

    @property
    def label(self) -> str:
        """The version in words: `claims version 3`."""
        return f"{self.automation} version {self.number}"

    @property
    def digest(self) -> str:
        """SHA-256 of its signed manifest, hex; empty where it has none."""
        return self.tags.get(DIGEST_TAG, "")

    @property
    def trained_by(self) -> str:
        """Who trained it: `service:training`, or a person who ran the training by hand."""
        return self.tags.get(TRAINED_BY_TAG, TRAINING)


class Registry:
    """Access to the MLflow stores of one home; opens nothing until it is used.

    Args:
        uri: SQLAlchemy or HTTP address of MLflow's store, `sqlite:///<path>` when embedded.
        artifact_root: Directory, or address of an object store, for the artefacts of new
            automations.
        log: The record that champions are kept in.
        patience: Seconds to wait for another writer before giving up.
    """

    def __init__(
        self, uri: str, artifact_root: str | Path, log: Log, *, patience: float = 20.0
    ) -> None:
        self.uri, self.log, self.patience = uri, log, patience
        remote = "://" in str(artifact_root)
        self.artifact_root = (
            str(artifact_root) if remote else Path(artifact_root).absolute().as_uri()
        )
        beside = Path(tempfile.gettempdir(), "aios") if remote else Path(artifact_root).parent
        self._locks = beside / "locks"

    @cached_property
    def client(self) -> Any:
        """An `MlflowClient` whose database failures are `AiosError`s.

        Raises:
            AiosError: The store cannot be opened, or stays locked for `patience` seconds.
        """
        if self._database:
            self._open_database(self._database)
        from mlflow import MlflowClient

        return _Guarded(MlflowClient(tracking_uri=self.uri, registry_uri=self.uri), self.uri)

    def experiment(self, automation: str) -> str:
        """The id of the automation's experiment; makes it when it is missing."""
        found = self.client.get_experiment_by_name(automation)
        if found:
            return str(found.experiment_id)
        location = f"{self.artifact_root}/{automation}"
        return str(self.client.create_experiment(automation, artifact_location=location))

    def automations(self) -> list[str]:
        """Names of the automations that have a registered model, sorted."""
        return sorted(model.name for model in pages(self.client.search_registered_models))

    def versions(self, automation: str) -> list[ModelVersion]:
        """Every complete version of an automation, oldest first; empty before the first one.

        Versions that something else put under the name, without this package's tags, are left out.
        """
        rows = pages(self.client.search_model_versions, filter_string=f"name='{automation}'")
        return sorted(
            (_version(row) for row in rows if KEY_TAG in row.tags), key=lambda item: item.number
        )

    def get(self, automation: str, number: int) -> ModelVersion:
        """One version.

        Raises:
            AiosError: The automation or the version does not exist; says which do.
        """
        if version := self._find(automation, number):
            return version
        known = self.versions(automation)
        if known:
            have = ", ".join(str(version.number) for version in known)
            raise AiosError(
                f"version {number} does not exist",
                where=automation,
                fix=f"choose one of: {have}",
            )
        have = ", ".join(self.automations()) or "none yet"
        raise AiosError(
            f"no model version of {automation!r} is registered",
            where="model registry",
            fix=f"train it first, or name an automation that has versions: {have}",
        )

    def _find(self, automation: str, number: int) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        try:
            row = self.client.get_model_version(automation, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return _version(row) if KEY_TAG in row.tags else None

    def set_stage(self, version: ModelVersion, stage: Stage) -> None:
        """Note how far a version has come; what the gate says of it goes on record as well."""
        if stage not in STAGES:
            raise AiosError(
                f"unknown stage {stage!r}",
                where=version.label,
                fix=f"use one of: {', '.join(STAGES)}",
            )
        if stage in verdicts.VERDICTS:
            verdicts.record(self.log, version, stage)
        self.client.set_model_version_tag(version.automation, str(version.number), STAGE_TAG, stage)

    @contextmanager
    def writing(self, automation: str) -> Iterator[None]:
        """Hold the automation for writing, on this machine.

        MLflow has no compare-and-swap, so what reads, decides and writes does it under this
        lock. The lock is a file beside the artefacts and ends with its process; writers on
        other machines are not held back by it.

        Raises:
            AiosError: Another process keeps the lock or the database longer than `patience`.
        """
        with self._lock(automation):
            if self._database:
                self.client  # noqa: B018  a new database is made before it is tried
                self._try_to_write(self._database)
            yield

    @property
    def _database(self) -> Path | None:
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        path = self._locks / f"{name}.lock"
        late = AiosError(
            f"another process has been writing for {self.patience:g} s",
            where=str(path),
            fix="wait for it to end, then run this again; nothing was changed",
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise AiosError(
                f"cannot write here: {error.strerror}",
                where=str(path),
                fix="give the process write access to it, or free some disk",
            ) from error
        with held(path, self.patience, lambda: late):
            yield

    def _open_database(self, path: Path) -> None:
        if not path.exists():
            with self._lock("database"):
                if not path.exists():
                    _create_database(path, self.artifact_root)
        self._try_to_write(path)

    def _try_to_write(self, path: Path) -> None:
        """Take and release the write lock: MLflow itself would retry a locked file for minutes."""
        try:
            with closing(sqlite3.connect(path, timeout=self.patience)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
        except sqlite3.Error as error:
            raise _unreachable(self.uri, error) from error


def open_registry(settings: Settings) -> Registry:
    """Return the registry of a home."""
    return Registry(settings.mlflow_uri, settings.artifacts, open_log(settings))


def metrics_json(metrics: dict[str, float]) -> str:
    """Metrics as JSON; NaN as null."""
    clean = {name: value if value == value else None for name, value in metrics.items()}
    return json.dumps(clean, sort_keys=True)


def _version(row: MlflowVersion) -> ModelVersion:
    metrics = json.loads(row.tags.get(METRICS_TAG, "{}"))
    return ModelVersion(
        automation=row.name,
        number=int(row.version),
        candidate=row.tags[CANDIDATE_TAG],
        key=row.tags[KEY_TAG],
        stage=row.tags[STAGE_TAG],
        run_id=row.run_id,
        trained_until=datetime.fromisoformat(row.tags[TRAINED_UNTIL_TAG]),
        created=datetime.fromtimestamp(row.creation_timestamp / 1000, UTC).replace(tzinfo=None),
        metrics={k: float("nan") if v is None else float(v) for k, v in metrics.items()},
        tags=dict(row.tags),
        source=row.source,
        card=row.description or "",
    )


def pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Yield what an MLflow search finds, page after page."""
    token = None
    while True:
        page = search(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _create_database(path: Path, artifact_root: str) -> None:
    """Make MLflow's tables in a file aside, then move it in place.

    The migrations take seconds and do not survive being killed half-way.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.new")
    for leftover in path.parent.glob(f"{aside.name}*"):
        leftover.unlink()
    store = SqlAlchemyStore(f"{SQLITE}{aside}", artifact_root)
    store.engine.dispose()
    # Of two who change the mode at once, SQLite turns one away without waiting.
    with closing(sqlite3.connect(aside)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    os.replace(aside, path)


def _unreachable(uri: str, error: Exception) -> AiosError:
    reason = str(error).splitlines()[0]
    from sqlalchemy.engine import make_url

    return AiosError(
        f"MLflow's database cannot be used: {reason}",
        where=make_url(uri).render_as_string(hide_password=True),
        fix="end the process that holds it or restore access, then run this again; "
        "what was registered before is untouched",
    )


class _Guarded:
    """A client whose failures to reach the database say where and what to do."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client, self._uri = client, uri

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            from mlflow.exceptions import MlflowException
            from sqlalchemy.exc import OperationalError

            try:
                return method(*args, **kwargs)
            except OperationalError as error:
                raise _unreachable(self._uri, error) from error
            except MlflowException as error:
                if error.error_code != "TEMPORARILY_UNAVAILABLE":
                    raise
                raise _unreachable(self._uri, error) from error

        return call

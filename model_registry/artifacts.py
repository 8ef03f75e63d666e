"""The files of a version: fetching them, and what to do when they are damaged."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path

from aios.errors import AiosError
from model_registry.manifest import REGISTERED, digest_of, leaf_key, problem
from model_registry.registry import ModelVersion, Registry


@contextmanager
def unchanged_files(registry: Registry, version: ModelVersion) -> Iterator[Path]:
    """Yield the folder with a version's files, which are as they were signed at registration.

    Raises:
        AiosError: They are missing or changed, or the block cannot read them.
    """
    with _local_files(registry, version) as directory:
        wrong = problem(directory, registry.log, version.automation, version.key)
        if wrong:
            raise damaged(version, f"{wrong} ({version.source})")
        if not _recorded(registry, version, directory):
            raise damaged(
                version, f"other files were registered under its number ({version.source})"
            )
        try:
            yield directory
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise damaged(version, f"its files cannot be read: {error}") from error


def _recorded(registry: Registry, version: ModelVersion, directory: Path) -> bool:
    """Tell whether the record says that these files are that version; MLflow can be edited."""
    name, digest = version.automation, digest_of(directory)
    if registry.log.find(leaf_key(name, version.number, version.key, digest)):
        return True
    # A home whose record was lost or begins anew knows none of its versions.
    return next(registry.log.entries(kind=REGISTERED, automation=name), None) is None


def requirements(*packages: str) -> list[str]:
    """Return pip requirements of MLflow and the packages, as installed."""
    return [f"{package}=={installed(package)}" for package in ("mlflow", *packages)]


@contextmanager
def _local_files(registry: Registry, version: ModelVersion) -> Iterator[Path]:
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    directory = None
    if is_local_uri(version.source):
        directory = Path(local_file_uri_to_path(version.source))
        if not directory.is_dir():
            raise damaged(version, f"its artefact is missing: {directory}")
    # A copy of our own: nobody changes it between the check and the load.
    with tempfile.TemporaryDirectory() as aside:
        try:
            if directory:
                local = shutil.copytree(directory, Path(aside, "model"), symlinks=True)
            else:
                local = download_artifacts(
                    artifact_uri=version.source, dst_path=aside, tracking_uri=registry.uri
                )
        except Exception as error:  # every artefact store raises its own kind
            raise AiosError(
                f"its artefact cannot be fetched: {error}",
                where=version.label,
                fix="Restore access to the store, or free some disk, then run this again.",
            ) from error
        yield Path(local)


class Damaged(AiosError):
    """A version's files are missing, or are not what was registered."""


def damaged(version: ModelVersion, what: str) -> Damaged:
    """Return the error of a version whose files are not what was registered."""
    return Damaged(
        what,
        where=version.label,
        fix=f"restore the files from a backup, or retrain; until then use another version "
        f"(aios rollback {version.automation})",
    )

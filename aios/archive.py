"""What a decision needs later and could lose: the code and the policy that made it.

Kept in the automation's lake, once for each version: every file that `code_version` covers, and
the text of the policy by its hash; for each partition, also the packages that ran it. What is
read back must have the digest that it is kept under.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.policy import Policy, load_policy
from aios.settings import PROJECT

CODE, POLICIES, MADE_BY = "archive/code", "archive/policies", "archive/environments"

# What computes features and scores; a change of one of these may change a last bit.
_PACKAGES = ("polars", "numpy", "pandas", "pyarrow", "duckdb", "feast", "mlflow", "scikit-learn",
             "scipy", "skops", "torch")  # fmt: skip
# Our own packages that do.
_OURS = ("aios", "aios_assets/lifecycle", "feature_repo", "model_registry")


def keep(automation: Automation, lake: Lake, partition: str) -> None:
    """Keep what the decisions of a partition name: code, policy, and the environment.

    Raises:
        AiosError: The folder was edited since it was loaded, so that the code that runs can no
            longer be kept.
    """
    lake.write_json(MADE_BY, partition, environment())
    if not lake.has(POLICIES, automation.policy.hash, "yaml"):
        text = (automation.folder / automation.spec.policy).read_bytes()
        lake.write_bytes(POLICIES, automation.policy.hash, "yaml", text)
    if lake.has(CODE, automation.code_version, "json"):
        return
    files = _files(automation.folder)
    if _code_version(files) != automation.code_version:
        raise AiosError(
            "the folder was edited while it was in use; what runs can no longer be kept",
            where=str(automation.folder),
            fix="Reload the code location, or run again: the new files are read then.",
        )
    lake.write_json(CODE, automation.code_version, files)


def archived_versions(lake: Lake) -> list[str]:
    """Return the code versions that are kept."""
    return lake.partitions(CODE, "json")


@contextmanager
def restored(name: str, lake: Lake, code_version: str) -> Iterator[Path]:
    """Yield a folder with an automation's files as they were, apart from the present folder.

    Args:
        name: The automation, and the name of the folder.
        lake: Its lake.
        code_version: Which.

    Raises:
        AiosError: They are not kept, or the copy was changed.
    """
    if not lake.has(CODE, code_version, "json"):
        raise AiosError(
            f"code version {code_version} is not in the archive",
            where=str(lake.root / CODE),
            fix="Restore the lake's archive from a backup, or the folder from version control.",
        )
    files, path = lake.read_json(CODE, code_version), lake.path(CODE, code_version, "json")
    if _code_version(files) != code_version:
        raise _changed(f"code version {code_version}", path)
    with tempfile.TemporaryDirectory(prefix="aios-code-") as aside:
        folder = Path(aside, code_version, name)
        for relative, text in files.items():
            target = folder / relative
            if ".." in target.parts:
                raise _changed(f"code version {code_version}", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode(errors="surrogateescape"))
        try:
            yield folder
        finally:
            _forget_modules(folder)


def archived_policy(lake: Lake, policy_hash: str) -> Policy:
    """Return the policy of a hash.

    Raises:
        AiosError: It is not kept, or the copy was changed.
    """
    path = lake.path(POLICIES, policy_hash, "yaml")
    if not path.exists():
        raise AiosError(
            f"policy {policy_hash} is not in the archive",
            where=str(path),
            fix="Restore the lake's archive from a backup.",
        )
    policy = load_policy(path)
    if policy.hash != policy_hash:
        raise _changed(f"policy {policy_hash}", path)
    return policy


def made_by(lake: Lake, partition: str) -> dict[str, str]:
    """Return the environment that decided a partition; empty where it was not kept."""
    if not lake.has(MADE_BY, partition, "json"):
        return {}
    return dict(lake.read_json(MADE_BY, partition))


@cache
def _environment() -> str:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    digest = hashlib.sha256()
    for package in _OURS:
        for path in sorted((PROJECT / package).rglob("*.py")):
            digest.update(path.relative_to(PROJECT).as_posix().encode() + path.read_bytes())
    return json.dumps(found | {"aios": digest.hexdigest()[:12], "system": sys.platform})


def environment() -> dict[str, str]:
    """Return the versions of what computes: Python, packages, and our own code as a digest."""
    return dict(json.loads(_environment()))


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes().decode(errors="surrogateescape")
        for path in folder.rglob("*")
        if path.suffix in {".py", ".yaml"}
    }


def _code_version(files: dict[str, str]) -> str:
    """Return what `Automation.code_version` is for a folder of these files; "" for no files."""
    digest = hashlib.sha256()
    try:
        for name in sorted(files, key=PurePosixPath):
            digest.update(name.encode() + files[name].encode(errors="surrogateescape"))
    except (AttributeError, TypeError):
        return ""
    return digest.hexdigest()[:12]


def _forget_modules(folder: Path) -> None:
    loaded = []
    for name, module in list(sys.modules.items()):
        if name.startswith("aios_automations."):
            paths = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or ""]
            if any(Path(path).is_relative_to(folder) for path in paths):
                loaded.append(name)
    for name in loaded:
        del sys.modules[name]


def _changed(what: str, path: Path) -> AiosError:
    return AiosError(
        f"the archived {what} was changed: it no longer has that digest",
        where=str(path),
        fix="Restore the file from a backup.",
    )

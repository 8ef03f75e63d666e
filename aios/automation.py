"""An automation at run time: its declaration, the functions of its folder, its data."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from aios import clock
from aios.declaration import load_spec
from aios.errors import AiosError
from aios.identity.resources import Automation as Resource
from aios.lake import Lake
from aios.policy import Policy, load_policy
from aios.settings import Settings
from aios.spec import Spec
from aios.windows import Window, window_at, window_of, windows_between

_PACKAGE = "aios_automations"


@dataclass(frozen=True)
class Binding:
    """The data an automation runs on: another file than declared, and its span of time."""

    data: Path | None
    start: datetime
    end: datetime | None


@dataclass(frozen=True)
class Automation:
    """One declared automation with everything that its folder holds.

    Attributes:
        name: The folder's name; the group and the key prefix of all its assets.
        folder: Where its files are.
        spec: The checked declaration.
        binding: The data in use.
    """

    name: str
    folder: Path
    spec: Spec
    binding: Binding

    @classmethod
    def load(cls, folder: Path, settings: Settings) -> Automation:
        """Load the declaration of a folder, bound to the data that the lake remembers.

        Raises:
            AiosError: The declaration, its policy or a function it names is wrong.
        """
        spec = load_spec(folder)
        lake = Lake(settings.home / "lake" / folder.name)
        automation = cls(folder.name, folder, spec, _read_binding(lake, spec))
        automation.check()
        return automation

    def bound_to(self, binding: Binding) -> Automation:
        """Return the same automation on other data."""
        return Automation(self.name, self.folder, self.spec, binding)

    def check(self) -> None:
        """Raise an AiosError where the folder does not hold what the declaration names."""
        known = {*self.spec.columns, *self.spec.feature_columns, "score"}
        self.policy.check_columns(known)
        if self.spec.review:
            self.spec.review.check_columns(known)
        for reference in self.references:
            path = self.folder / _file(reference)
            if not path.exists():
                raise AiosError(
                    f"'{reference}' names a module that is not in the folder",
                    where=str(self.folder / "defs.yaml"),
                    fix=f"Write {path.relative_to(self.folder)}, or correct the reference.",
                )

    @cached_property
    def references(self) -> list[str]:
        """Every `module:function` that the declaration names."""
        references = [view.function for view in self.spec.features]
        references += [candidate.train for candidate in self.spec.candidates]
        for step in self.spec.steps:
            references += [one for one in (step.function, step.page) if one]
            if step.model:
                references += [step.model.truth, step.model.same, step.model.load]
                references += [candidate.train for candidate in step.model.candidates]
        if self.spec.actions:
            references += [call.body for call in self.spec.actions.calls]
        if self.spec.source.module:
            references += [f"{self.spec.source.module}:events"]
        return references

    @cached_property
    def policy(self) -> Policy:
        """The policy in force."""
        return load_policy(self.folder / self.spec.policy)

    @cached_property
    def code_version(self) -> str:
        """The digest of every file that decides how this automation behaves."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            if path.suffix in {".py", ".yaml"}:
                name = path.relative_to(self.folder).as_posix()
                digest.update(name.encode() + path.read_bytes())
        return digest.hexdigest()[:12]

    def function(self, reference: str) -> Callable[..., Any]:
        """Return the function `module:name` of the folder.

        Raises:
            AiosError: The module fails to import, or has no such function.
        """
        return load_function(self.folder, reference)

    def module(self, name: str) -> ModuleType:
        """Import a module of the folder; siblings may import each other relatively."""
        return load_module(self.folder, name)

    @property
    def belongs_to(self) -> Automation:
        """Itself: its own model decides in it."""
        return self

    @property
    def resource(self) -> Resource:
        """What the access rules know of it."""
        return Resource(self.name, self.spec.risk, tuple(self.spec.owners))

    def asset(self, noun: str) -> str:
        """Return the name of an asset of the automation's own model."""
        return noun

    def window(self, key: str) -> Window:
        """Return the window of a partition key that this automation has."""
        window = window_of(self.spec.cadence, key)
        if window.end <= self.binding.start or (
            self.binding.end and window.start >= self.binding.end
        ):
            raise AiosError(
                f"partition {key} lies outside the automation's time",
                where=self.name,
                fix=f"It runs from {self.binding.start:%Y-%m-%d} to "
                f"{self.binding.end or clock.now():%Y-%m-%d}.",
            )
        return window

    def windows(self) -> list[Window]:
        """Return all complete windows up to now."""
        end = min(self.binding.end or clock.now(), clock.now())
        windows = windows_between(self.spec.cadence, self.binding.start, end)
        return [window for window in windows if window.end <= clock.now()]


def load_function(folder: Path, reference: str) -> Callable[..., Any]:
    """Return the function `module:name` of an automation's folder.

    Raises:
        AiosError: The module fails to import, or has no such function.
    """
    module_name, _, name = reference.partition(":")
    module = load_module(folder, module_name)
    if not callable(getattr(module, name, None)):
        raise AiosError(
            f"module '{module_name}' has no function '{name}'",
            where=str(folder / _file(reference)),
            fix=f"Define {name}, or correct the reference '{reference}'.",
        )
    return getattr(module, name)


def load_module(folder: Path, name: str) -> ModuleType:
    """Import a module of an automation's folder, under a package name of the folder's own."""
    package = f"{_PACKAGE}.{folder.name}_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    _ensure_package(_PACKAGE, None)
    _ensure_package(package, folder)
    try:
        return importlib.import_module(f"{package}.{name}")
    except AiosError:
        raise
    except Exception as error:
        raise AiosError(
            f"importing '{name}' failed: {type(error).__name__}: {error}",
            where=str(folder / _file(name)),
            fix="Mend the module.",
        ) from error


def _file(reference: str) -> Path:
    return Path(*reference.partition(":")[0].split(".")).with_suffix(".py")


def automation_folders(settings: Settings) -> list[Path]:
    """Return the folder of every automation, in order of name."""
    if not settings.automations.is_dir():
        return []
    return sorted(path.parent for path in settings.automations.glob("[!_.]*/defs.yaml"))


def load_automation(name: str, settings: Settings) -> Automation:
    """Load one automation by name.

    Raises:
        AiosError: There is none of that name, or its declaration is wrong.
    """
    folders = {folder.name: folder for folder in automation_folders(settings)}
    if name not in folders:
        raise AiosError(
            f"there is no automation '{name}'",
            where=str(settings.automations),
            fix=f"Known: {', '.join(folders) or 'none'}. Make one with 'aios new'.",
        )
    return Automation.load(folders[name], settings)


def write_binding(lake: Lake, binding: Binding) -> None:
    """Remember the data that an automation runs on."""
    value = {"data": binding.data, "start": binding.start, "end": binding.end}
    lake.write_bytes("source", "binding", "json", json.dumps(value, default=str).encode())


def _read_binding(lake: Lake, spec: Spec) -> Binding:
    path = lake.path("source", "binding", "json")
    if path.exists():
        value = json.loads(path.read_text())
        return Binding(
            data=Path(value["data"]) if value["data"] else None,
            start=datetime.fromisoformat(value["start"]),
            end=datetime.fromisoformat(value["end"]) if value["end"] else None,
        )
    return declared_binding(spec)


def declared_binding(spec: Spec) -> Binding:
    """Return the data that the declaration itself names, in whole windows."""
    first = datetime.combine(spec.source.start, datetime.min.time())
    start = window_at(spec.cadence, first).start
    if not spec.source.end:
        return Binding(None, start, None)
    end = datetime.combine(spec.source.end, datetime.min.time())
    return Binding(None, start, windows_between(spec.cadence, start, end)[-1].end)


def _ensure_package(name: str, folder: Path | None) -> None:
    if name in sys.modules:
        return
    package = ModuleType(name)
    package.__path__ = [str(folder)] if folder else []
    sys.modules[name] = package

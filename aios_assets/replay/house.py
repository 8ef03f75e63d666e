"""An empty house: a home aside in which partitions are made again from what is stored.

It holds links to what was there before a partition (events, and of earlier partitions the steps'
outputs and the features' views), so the lifecycle's own functions run in it as they did then,
and nothing that they write reaches the real home.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from aios.archive import restored
from aios.automation import Automation, load_automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.settings import Settings
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.formats import Scorer


@dataclass(frozen=True)
class House:
    """A home aside for one code version of an automation.

    Attributes:
        automation: As its code was.
        stored: The real lake; only read.
        platform: The services of the house: a lake and a feature store of its own, and the real
            model registry.
        archived: Whether the code came from the archive.
    """

    automation: Automation
    stored: Lake
    platform: Platform
    archived: bool

    @property
    def lake(self) -> Lake:
        """The lake aside."""
        return self.platform.lake(self.automation.name)

    def furnish(self, key: str) -> None:
        """Link what was there before a partition, and its events."""
        spec = self.automation.spec
        made = [step.name for step in spec.steps]
        made += [f"views/{view.name}" for view in spec.features]
        self._link("events", lambda other: other <= key)
        for dataset in made:
            self._link(dataset, lambda other: other < key)
            self.lake.path(dataset, key).unlink(missing_ok=True)

    def clear(self, key: str) -> None:
        """Remove what was made of a partition, once it has been compared."""
        for path in self.lake.root.rglob(f"{key}.*"):
            path.unlink()

    def link(self, dataset: str, key: str) -> None:
        """Take a partition's rows as they are stored."""
        target = self.lake.path(dataset, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(self.stored.path(dataset, key).resolve())

    def _link(self, dataset: str, wanted: Any) -> None:
        have = set(self.lake.partitions(dataset))
        for key in self.stored.partitions(dataset):
            if key not in have and wanted(key):
                self.link(dataset, key)

    @contextmanager
    def narrow(self, key: str, before: list[str], rows: pl.Series) -> Iterator[Platform]:
        """Yield a smaller house with only some rows of a partition, for a step that asks no more.

        Args:
            key: The partition.
            before: The datasets that the step reads.
            rows: Which rows (boolean).
        """
        with tempfile.TemporaryDirectory(prefix="aios-replay-") as aside:
            platform = Platform(replace(self.platform.settings, home=Path(aside)))
            lake = platform.lake(self.automation.name)
            for dataset in before:
                lake.write(dataset, key, self.lake.read(dataset, key).filter(rows))
            yield platform


class Houses:
    """Opens a house for each code version, one at a time, and the models in use.

    Args:
        name: The automation.
        settings: The real ones.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.platform = Platform(settings)
        self._stack = ExitStack()
        self._house: House | None = None
        self._scorers: dict[int, Scorer] = {}

    def __enter__(self) -> Houses:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, code_version: str) -> House:
        """Return the house of a code version.

        Raises:
            AiosError: The folder has another version now, and the archive does not hold this one.
        """
        if self._house is None or self._house.automation.code_version != code_version:
            self._house = None
            self._stack.close()
            self._house = self._open(code_version)
        return self._house

    def scorer(self, number: int | None) -> tuple[int, Scorer] | None:
        """Load a version of the automation's own model; None for none.

        Raises:
            AiosError: It does not exist any more, or does not load.
        """
        from model_registry.formats import load

        if number is None:
            return None
        if number not in self._scorers:
            registry = self.platform.registry
            # A partition has a champion and a challenger at most.
            self._scorers = dict(list(self._scorers.items())[-1:])
            self._scorers[number] = load(registry, registry.get(self.name, number))
        return number, self._scorers[number]

    def _open(self, code_version: str) -> House:
        stored = self.platform.lake(self.name)
        present = self.present()
        automation, archived = present, False
        if automation is None or automation.code_version != code_version:
            try:
                folder = self._stack.enter_context(restored(self.name, stored, code_version))
            except AiosError as error:
                now = present.code_version if present else "gone"
                what = f"{error.what}; the folder's own is {now}"
                raise AiosError(what, where=error.where, fix=error.fix) from error
            automation, archived = Automation.load(folder, self.settings), True
        aside = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="aios-replay-"))
        home = Path(os.path.realpath(aside))
        settings = replace(self.settings, home=home, online_store=None, feast_registry=None)
        return House(automation, stored, Platform(settings), archived)

    def present(self) -> Automation | None:
        """Return the automation as its folder is now; None where it does not load."""
        try:
            return load_automation(self.name, self.settings)
        except AiosError:
            return None

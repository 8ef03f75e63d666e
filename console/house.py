"""What every page of one console uses: the platform, the rules, the sessions, the limits."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.automation import Automation, automation_folders
from aios.errors import AiosError
from aios.identity.access import Access, Action, Denied, authorise
from aios.identity.guard import Guard
from aios.identity.resources import Context, Resource
from aios.identity.resources import Platform as Everything
from aios_assets.resources import Platform
from console.limits import Rate
from console.sessions import LocalCode, Sessions

if TYPE_CHECKING:
    from aios.identity.actors import Actor
    from aios.record.log import Log
    from aios.review.measures import Measures
    from aios.settings import Settings
    from console.options import Options

_RENEWED = 60.0
_OFFERED = 10_000
_Signature = tuple[tuple[str, int, int], ...]


@dataclass
class House:
    """One console's state; opens nothing until it is used.

    Attributes:
        settings: Where state lives.
        options: How the console is run.
    """

    settings: Settings
    options: Options

    def __post_init__(self) -> None:
        self.local = LocalCode(self.options)
        self.writes = Rate(self.options.writes)
        self.attempts = Rate(self.options.attempts)
        self.refusals = Rate(self.options.refusals)
        self.said = Said()
        self._offered: dict[tuple[Any, ...], bool] = {}
        self._access: tuple[_Signature, Access] | None = None
        self._measures: dict[str, tuple[float, Measures]] = {}
        self._automations: dict[str, tuple[_Signature, Automation]] = {}

    @cached_property
    def platform(self) -> Platform:
        """The lake, the registry and the record."""
        return Platform(self.settings)

    @cached_property
    def log(self) -> Log:
        """The record."""
        from aios.record.log import open_log

        return open_log(self.settings)

    @cached_property
    def sessions(self) -> Sessions:
        """Who is signed in."""
        return Sessions(self.settings.keys, self.log, self.options)

    @property
    def access(self) -> Access:
        """The rules of now: read again when a file of theirs changes."""
        signature = _signature(self.settings.access.glob("*.cedar*"))
        if self._access is None or self._access[0] != signature:
            self._access = signature, Access.load(self.settings.access)
        return self._access[1]

    def guard(self, actor: Actor) -> Guard:
        """Return the rules, asked on behalf of an actor; denials go on record."""
        return Guard(actor, self.access, self.log)

    def may(self, actor: Actor, action: Action, resource: Resource | None = None) -> bool:
        """Tell whether to offer an act; asks the rules and records nothing."""
        about = resource or Everything()
        access = self.access
        asked = (access.digest, actor, actor.roles, action, about)
        if asked not in self._offered:
            if len(self._offered) > _OFFERED:
                self._offered.clear()
            self._offered[asked] = _allowed(access, actor, action, about)
        return self._offered[asked]

    def names(self) -> list[str]:
        """Return the name of every automation, in order."""
        return [folder.name for folder in automation_folders(self.settings)]

    def automation(self, name: str) -> Automation:
        """Return an automation, loaded again when a file of its folder changed.

        Raises:
            AiosError: There is none of that name, or its declaration is wrong.
        """
        folders = {folder.name: folder for folder in automation_folders(self.settings)}
        if name not in folders:
            raise AiosError("there is no such automation", fix="Choose one of the list.")
        folder = folders[name]
        binding = self.platform.lake(name).path("source", "binding", "json")
        signature = _signature([*folder.glob("*.yaml"), *folder.glob("*.py"), binding])
        known = self._automations.get(name)
        if known is None or known[0] != signature:
            known = signature, Automation.load(folder, self.settings)
            self._automations[name] = known
        return known[1]

    def measured(self, name: str, measure: Callable[[], Measures]) -> Measures:
        """Return an automation's measures, at most a minute old: they are read from all it did."""
        now = time.monotonic()
        known = self._measures.get(name)
        if known is None or now - known[0] > _RENEWED:
            known = now, measure()
            self._measures[name] = known
        return known[1]

    def automations(self) -> dict[str, Automation]:
        """Return every automation that loads, by name."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.automation(name)
            except AiosError:
                continue  # the health page says what is wrong with it
        return found


def _allowed(access: Access, actor: Actor, action: Action, resource: Resource) -> bool:
    context = Context(reviewed_by=() if action == "review" else None)
    try:
        authorise(access, actor, action, resource, context)
    except Denied:
        return False
    return True


class Said(OrderedDict[str, str]):
    """What the next page tells a session, of the thousand that were told something last."""

    def __setitem__(self, session: str, text: str) -> None:
        """Keep a text for a session; the oldest goes where there are too many."""
        super().__setitem__(session, text)
        while len(self) > 1_000:
            self.popitem(last=False)


def _signature(paths: Any) -> _Signature:
    stats = []
    for path in sorted(paths):
        stat = Path(path).stat() if Path(path).exists() else None
        stats.append((str(path), stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0))
    return tuple(stats)

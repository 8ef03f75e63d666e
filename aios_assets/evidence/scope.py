"""What a pack is about: an automation, a span of time, and the folder it grows in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.automation import Automation
from aios.errors import AiosError
from aios.evidence.manifest import as_json, is_safe
from aios.lake import Lake
from aios.learner import Learner, learners
from aios.windows import Window, windows_between

if TYPE_CHECKING:
    from aios_assets.resources import Platform


_NAMED = 8


@dataclass(frozen=True)
class Lack:
    """Evidence that the pack should hold and does not.

    Attributes:
        what: In words.
        why: In words.
        file: Name of the file that should hold it.
        empty: Whether the file is not there, or holds nothing at all.
    """

    what: str
    why: str
    file: str
    empty: bool = False


@dataclass
class Folder:
    """A pack's files while they are written, and what turned out to be missing.

    Attributes:
        root: An empty folder.
        digests: Name -> SHA-256 in hex of what was written.
        sizes: Name -> bytes.
        lines: Name -> number of lines, of what `write_lines` wrote.
        lacks: What is missing, in the order in which it was noticed.
    """

    root: Path
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    lacks: list[Lack] = field(default_factory=list)

    def write(self, name: str, content: bytes) -> str:
        """Write one file and return its name."""
        assert is_safe(name), name
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.digests[name] = sha256(content).hexdigest()
        self.sizes[name] = len(content)
        return name

    def write_json(self, name: str, value: Any) -> str:
        """Write plain data, NaN and infinities as null."""
        return self.write(name, as_json(plain(value)))

    def write_lines(self, name: str, values: Iterable[Mapping[str, Any]]) -> int:
        """Write one JSON object a line and return how many."""
        lines = [json.dumps(one, sort_keys=True, ensure_ascii=False) + "\n" for one in values]
        self.write(name, "".join(lines).encode())
        self.lines[name] = len(lines)
        return len(lines)

    def lack(self, what: str, why: str, file: str, *, empty: bool = False) -> None:
        """Note something that is missing; the first reason for it stays."""
        if all(one.what != what for one in self.lacks):
            self.lacks.append(Lack(what, why, file, empty))


def grouped(lacks: Iterable[Lack]) -> dict[str, str]:
    """Return why -> what is missing for that reason, in words, with the first few named."""
    groups: dict[str, list[str]] = {}
    for one in lacks:
        groups.setdefault(one.why, []).append(one.what)
    found = {}
    for why, names in groups.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        found[why] = "; ".join(names[:_NAMED]) + more
    return found


@dataclass(frozen=True)
class Scope:
    """An automation and a period: partitions that begin in `[start, end)`, UTC-naive."""

    automation: Automation
    platform: Platform
    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """The automation's name."""
        return self.automation.name

    @cached_property
    def learners(self) -> list[Learner]:
        """All whose models take part in a decision: the automation's steps, then itself."""
        return learners(self.automation)

    @cached_property
    def windows(self) -> list[Window]:
        """The partitions of the period that the automation's data span."""
        binding = self.automation.binding
        start = max(self.start, binding.start)
        end = min(self.end, binding.end or self.end)
        found = windows_between(self.automation.spec.cadence, start, end)
        return [one for one in found if self.holds(one.start)]

    @cached_property
    def keys(self) -> list[str]:
        """The keys of these partitions."""
        return [one.key for one in self.windows]

    def holds(self, moment: datetime) -> bool:
        """Tell whether a moment lies in the period."""
        return self.start <= moment < self.end

    def lake(self, learner: Learner | None = None) -> Lake:
        """Return the lake of the automation or of one of its learners."""
        return self.platform.lake(learner.name if learner else self.name)

    def partitions(
        self, dataset: str, suffix: str = "parquet", learner: Learner | None = None
    ) -> list[str]:
        """Return the keys of the period that a dataset holds."""
        lake = self.lake(learner)
        return [key for key in self.keys if lake.has(dataset, key, suffix)]

    def texts(
        self, folder: Folder, dataset: str, learner: Learner, file: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield partition and content of a dataset's JSON; what cannot be read, `file` lacks."""
        for key in self.partitions(dataset, "json", learner):
            try:
                yield key, dict(self.lake(learner).read_json(dataset, key))
            except AiosError as error:
                folder.lack(f"{dataset} of {learner.name}, {key}", error.what, file)


def duration(span: timedelta) -> str:
    """Return a span of time in words: whole days as `7 days`."""
    return f"{span.days} days" if span == timedelta(days=span.days) else str(span)


def plain(value: Any) -> Any:
    """Return a value as JSON allows it: times as ISO text, NaN as null, dataclasses as objects."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, Path):
        return str(value)
    return value

"""Whether a version could decide at once: its files, its load, its inputs and its answers.

What was loaded once stays in memory, so that a rollback has nothing to load. Its files are hashed
at every look all the same, and what is in memory counts only for files with that very manifest.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from aios.errors import AiosError
from aios.lake import Lake
from model_registry import formats, parts
from model_registry.artifacts import unchanged_files
from model_registry.formats import FrameScorer
from model_registry.frames import Kind
from model_registry.manifest import digest_of
from model_registry.registry import DIGEST_TAG, ModelVersion, Registry

Loaded = FrameScorer | dict[str, Any]
"""A scorer, or the parts of a model step."""

Check = Callable[[Loaded], Sequence[str]]
"""Says what is wrong with a loaded version, in words; nothing where all is well."""

DRILLS = "drills"
"""The dataset of a learner's drills, one JSON file each, named by its time."""

KEPT = 8
"""Versions that a process keeps in memory; the one not asked for longest goes first."""

_kept: OrderedDict[tuple[str, str, str], Loaded] = OrderedDict()
_keeping = Lock()


@dataclass(frozen=True)
class Readiness:
    """Whether a version could decide at once.

    Attributes:
        version: Its number.
        problems: What keeps it from deciding, in words; empty where nothing does.
        seconds: Of each stage that was reached: `files`, `load`, `signature`, `golden`.
    """

    version: int
    problems: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def ready(self) -> bool:
        """Tell whether nothing keeps it from deciding."""
        return not self.problems


def readiness(
    registry: Registry,
    version: ModelVersion,
    *,
    features: Mapping[str, Kind] | None,
    golden: Check | None,
) -> Readiness:
    """Check whether a version could decide at once; changes nothing and never takes another one.

    Args:
        registry: Where.
        version: Which.
        features: The features declared today; None for a model step, which has no signature.
        golden: Compares its golden predictions; None where there are none to compare.
    """
    seconds: dict[str, float] = {}
    try:
        loaded = load(registry, version, seconds=seconds)
        with timed(seconds, "signature"):
            problems = [] if features is None else misfits(loaded, features)
        # Rows of the day that it was trained on still fit it: the answers are asked for anyway.
        with timed(seconds, "golden"):
            problems += golden(loaded) if golden else []
    except AiosError as error:
        problems = [error.what]
    return Readiness(version.number, tuple(problems), seconds)


def load(
    registry: Registry, version: ModelVersion, *, seconds: dict[str, float] | None = None
) -> Loaded:
    """Load a version, or return it from memory, after all checks of its files.

    Args:
        registry: Where.
        version: Which.
        seconds: Gets how long its `files` and its `load` took.

    Raises:
        AiosError: Its files are missing or changed, its tag names another manifest, or it does
            not load.
    """
    spent = {} if seconds is None else seconds
    with ExitStack() as files:
        with timed(spent, "files"):
            directory = files.enter_context(unchanged_files(registry, version))
            digest = digest_of(directory)
            if digest != version.digest:
                raise AiosError(
                    f"its tag {DIGEST_TAG} is {version.digest or 'missing'}, its files are "
                    f"registered as {digest}",
                    where=version.label,
                    fix="set the tag as registered (aios record show, kind model_registered)",
                )
        with timed(spent, "load"):
            return _from_memory((registry.uri, version.label, digest), directory, version)


def forget() -> None:
    """Drop what is in memory, so that the next load is the first."""
    with _keeping:
        _kept.clear()


def misfits(loaded: Loaded, features: Mapping[str, Kind]) -> list[str]:
    """Say which features a scorer reads that are not declared as such any more."""
    if not isinstance(loaded, FrameScorer):
        return []
    wrong = []
    for name, kind in loaded.columns.items():
        if name not in features:
            wrong.append(f"it reads feature {name!r}, which is not declared any more")
        elif features[name] != kind:
            wrong.append(f"it reads feature {name!r} as a {kind}, declared is a {features[name]}")
    return wrong


def blocked(lake: Lake) -> str | None:
    """Say why a learner's rollouts are blocked: its latest drill failed; None where it did not.

    Args:
        lake: The learner's.
    """
    drills = lake.partitions(DRILLS, "json")
    if not drills:
        return None
    try:
        latest = lake.read_json(DRILLS, drills[-1])
    except AiosError as error:
        return f"the latest rollback drill cannot be read: {error.what}"
    if latest["ok"]:
        return None
    return f"the rollback drill of {latest['at']} failed, {latest['said']}"


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage took, also where it failed."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = time.perf_counter() - start


def _from_memory(key: tuple[str, str, str], directory: Path, version: ModelVersion) -> Loaded:
    with _keeping:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    loaded: Loaded = (
        parts.load_from(directory, version)
        if (directory / parts.PARTS_FILE).exists()
        else formats.load_from(directory, version)
    )
    with _keeping:
        _kept[key] = loaded
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return loaded

"""Whether a version loads, whatever kind of model it is, and who decides where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from aios import clock
from aios.errors import AiosError
from aios.record.leaves import Act
from model_registry import standby
from model_registry.artifacts import Damaged
from model_registry.ledger import changes, line
from model_registry.registry import ModelVersion, Registry

Loaded = TypeVar("Loaded")


def verify(registry: Registry, version: ModelVersion) -> None:
    """Load a version, or find it in memory with its files as they were.

    Raises:
        AiosError: It does not load; says why, and what to do.
    """
    standby.load(registry, version)


def load_or_before(
    registry: Registry, version: ModelVersion, load: Callable[[Registry, ModelVersion], Loaded]
) -> tuple[ModelVersion, Loaded, list[str]]:
    """Load a champion; where its files were tampered with or lost, the champion before it.

    Args:
        registry: Where.
        version: Who should decide.
        load: How a version of this kind is loaded.

    Returns:
        Who decides, what was loaded, and why each champion after it did not load.

    Raises:
        AiosError: Neither the version nor a champion before it loads.
    """
    known = changes(registry.log, version.automation)
    until = max((i for i, one in enumerate(known) if one.version == version.number), default=0)
    lost: list[Damaged] = []
    # One that was rolled back must not come back because the one after it was damaged.
    for number in dict.fromkeys([version.number, *reversed(line(known[: until + 1]))]):
        one = registry.get(version.automation, number)
        try:
            return one, load(registry, one), [str(error) for error in lost]
        except Damaged as error:
            # Anything else may be over in a moment, and lets nobody else decide.
            lost.append(error)
            _record_loss(registry, one, error)
    raise lost[0]


def _record_loss(registry: Registry, version: ModelVersion, error: AiosError) -> None:
    body = {"what": "a model does not load", "version": version.number, "why": error.what}
    today = f"{clock.wall():%Y-%m-%d}"
    key = f"incident/{today}/{version.automation}/{version.number}/{error.what}"[:400]
    act = Act("incident", version.automation, "service:registry", body, key=key)
    registry.log.append(act)

"""Where a model version came from: its data, the gate's verdict, and who let it decide."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios.digest import frame_digest
from aios.errors import AiosError
from aios.windows import Window
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion


@dataclass(frozen=True)
class Origin:
    """A model version that took part in a decision.

    Attributes:
        model: The registered model: an automation, or one of its model steps.
        version: Its number.
        candidate: The recipe that trained it.
        dataset_digest: Of its training set.
        dataset: "intact" where the stored training set still has that digest, else what became
            of it.
        rows: That it was trained on.
        data_from: When the oldest of them was known.
        data_to: When the newest of them was known.
        trained_until: Exclusive end of its data.
        code_version: Of the code that trained it.
        seed: Of its training.
        metrics: On the holdout.
        gate: The gate's verdict on it: status, estimate, reasons.
        promoted: The change that let it decide: who, when, why, on what evidence.
        lost: What could not be found, and why.
    """

    model: str
    version: int
    candidate: str = ""
    dataset_digest: str = ""
    dataset: str = ""
    rows: int | None = None
    data_from: datetime | None = None
    data_to: datetime | None = None
    trained_until: datetime | None = None
    code_version: str = ""
    seed: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    promoted: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def origin_of(platform: Platform, model: str, number: int, window: Window) -> Origin:
    """Return where a version came from, as far as that is still known.

    Args:
        platform: Where everything is.
        model: The registered model's name; also of its lake.
        number: The version.
        window: The partition that it decided.
    """
    lost: list[str] = []
    promoted = _promoted(platform, model, number, window, lost)
    try:
        version = platform.registry.get(model, number)
    except AiosError as error:
        return Origin(model, number, promoted=promoted, lost=[*lost, error.what])
    tags = version.tags
    partition = tags.get("aios.partition", "")
    data = _training_set(platform, model, partition, tags.get("aios.dataset_digest", ""))
    return Origin(
        model,
        number,
        candidate=version.candidate,
        dataset_digest=tags.get("aios.dataset_digest", ""),
        rows=int(tags["aios.rows"]) if "aios.rows" in tags else None,
        trained_until=version.trained_until,
        code_version=tags.get("aios.code_version", ""),
        seed=tags.get("aios.seed", ""),
        metrics=dict(version.metrics),
        gate=_gate(platform, version, partition, lost),
        promoted=promoted,
        lost=lost,
        **data,
    )


def _promoted(
    platform: Platform, model: str, number: int, window: Window, lost: list[str]
) -> dict[str, Any]:
    """Return the change in force at the window's end, or the later one by which it stood in."""
    from model_registry.champion import history

    changes = [c for c in history(platform.registry, model) if c.version == number]
    before = [change for change in changes if change.at < window.end]
    if not changes:
        lost.append("the history names no one who promoted it")
        return {}
    return asdict((before or changes)[-1])


def _training_set(platform: Platform, model: str, partition: str, digest: str) -> dict[str, Any]:
    lake = platform.lake(model)
    if not lake.has("training_set", partition):
        return {"dataset": f"missing: {lake.path('training_set', partition)}"}
    try:
        frame = lake.read("training_set", partition)
    except AiosError as error:
        return {"dataset": error.what}
    known = frame["known_at"] if "known_at" in frame.columns else None
    intact = frame_digest(frame) == digest
    return {
        "dataset": "intact" if intact else "changed: the stored file has another digest",
        "data_from": known.min() if known is not None else None,
        "data_to": known.max() if known is not None else None,
    }


def _gate(
    platform: Platform, version: ModelVersion, partition: str, lost: list[str]
) -> dict[str, Any]:
    lake = platform.lake(version.automation)
    if not lake.has("gate", partition, "json"):
        lost.append(f"the gate's verdict is missing: {lake.path('gate', partition, 'json')}")
        return {}
    verdict = lake.read_json("gate", partition)
    own = verdict["candidates"].get(version.candidate, {})
    return {
        "partition": partition,
        "status": own.get("status"),
        "reasons": own.get("reasons", []),
        "estimate": own.get("estimate"),
        "against": verdict.get("champion"),
        "chosen": verdict.get("chosen") == version.candidate,
    }

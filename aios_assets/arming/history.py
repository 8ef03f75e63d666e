"""What an arming replays: an automation's past, cut into rows to learn from and rows to live on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from aios.automation import Automation
from aios.errors import AiosError
from aios.rollouts import Rollout
from aios_assets.lifecycle.rollout_evidence import delay_curve
from aios_assets.lifecycle.training import refuse_too_little, training_rows

if TYPE_CHECKING:
    from aios.lake import Lake
    from aios.learning import Candidate
    from aios.statistics.maturity import DelayCurve
    from aios_assets.resources import Platform

FEWEST_PARTS: Final = 3
"""Partitions that must be left to replay."""

LABELLED: Final = 0.95
"""Share of a partition's labels that must be known: what has none yet cannot be realised loss."""


@dataclass(frozen=True)
class Part:
    """A partition to replay.

    Attributes:
        key: Of the partition.
        start: When it began; what is replayed keeps the distances to it.
        length: How long it lasted.
        rows: Its features, one row an event, with `label` and `label_known_at` where known.
    """

    key: str
    start: datetime
    length: timedelta
    rows: pl.DataFrame


@dataclass(frozen=True)
class History:
    """An automation's past as an arming sees it.

    Attributes:
        automation: Whose.
        champion: The version in force; its recipe is what is trained.
        candidate: That recipe.
        fit: Rows to train on, oldest label first.
        held: The newest rows before the cut, for the offline gate.
        parts: The partitions after the cut, in order of time.
        curve: How long labels take.
    """

    automation: Automation
    champion: int
    candidate: Candidate
    fit: pl.DataFrame
    held: pl.DataFrame
    parts: list[Part]
    curve: DelayCurve | None

    @property
    def declared(self) -> Rollout:
        """How the automation's versions roll out."""
        declared = self.automation.spec.rollout
        assert declared
        return declared

    @property
    def columns(self) -> list[str]:
        """Names of the features."""
        return list(self.automation.spec.feature_columns)

    @property
    def live(self) -> pl.DataFrame:
        """The rows of all partitions."""
        return pl.concat([part.rows for part in self.parts])

    @property
    def bounds(self) -> np.ndarray:
        """Where each partition begins in `live`, and where the last one ends."""
        return np.cumsum([0, *(part.rows.height for part in self.parts)])


def read_history(automation: Automation, platform: Platform) -> History:
    """Read an automation's past and cut it: models learn before the cut and are replayed after it.

    The cut leaves half of the labelled partitions to replay, or fewer where the first half has too
    few labels to train on. Nothing is written.

    Raises:
        AiosError: There is no rollout to arm, no champion, or too little history.
    """
    from model_registry.champion import champion

    if automation.spec.rollout is None:
        raise AiosError(
            "it declares no rollout: there is nothing to arm",
            where=automation.name,
            fix="Declare 'rollout' in its defs.yaml.",
        )
    deciding = champion(platform.registry, automation.name)
    if deciding is None:
        raise AiosError(
            "no version decides yet: there is no recipe to replay",
            where=automation.name,
            fix=f"Run or rehearse it until a version passes the gate: aios rehearse "
            f"{automation.name}.",
        )
    recipes = {one.name: one for one in automation.spec.candidates}
    if deciding.candidate not in recipes:
        raise AiosError(
            f"the champion's recipe '{deciding.candidate}' is not declared any more",
            where=deciding.label,
            fix="Arm after a version of a declared recipe has become champion.",
        )
    lake = platform.lake(automation.name)
    keys, curve = _labelled(automation, lake)
    training, replayed = _cut(automation, lake, keys)
    held = int(training.height * automation.spec.training.holdout)
    return History(
        automation,
        deciding.number,
        recipes[deciding.candidate],
        training.head(training.height - held),
        training.tail(held),
        _parts(automation, lake, replayed),
        curve,
    )


def _labelled(automation: Automation, lake: Lake) -> tuple[list[str], DelayCurve | None]:
    """Return the partitions whose labels are known, and how long labels took."""
    known = lake.partitions("labels")
    if not known:
        return [], None
    last = automation.window(known[-1])
    curve = delay_curve(automation, lake, last)
    if curve is None:
        return [], None
    keys = []
    for key in lake.partitions("features"):
        if key > last.key or not lake.rows("features", key):
            continue
        learned = lake.read("features", key, ["known_at"])["known_at"]
        ages = ((last.end - learned).dt.total_seconds() / 86_400).to_numpy()
        if curve.matured(np.maximum(ages, 0.0)) >= LABELLED:
            keys.append(key)
    return keys, curve


def _cut(automation: Automation, lake: Lake, keys: list[str]) -> tuple[pl.DataFrame, list[str]]:
    """Return the training rows before the cut, and the partitions after it."""
    short: AiosError | None = None
    for position in range((len(keys) - 1) // 2, len(keys) - FEWEST_PARTS):
        window = automation.window(keys[position])
        try:
            rows, _ = training_rows(lake, automation, window)
            refuse_too_little(automation, rows, window)
        except AiosError as error:
            short = error
        else:
            return rows, keys[position + 1 :]
    why = f": {short.what}" if short else ""
    raise AiosError(
        f"{len(keys)} partitions with known labels are too little history{why}",
        where=automation.name,
        fix=f"Arm when labels suffice to train on, and for {FEWEST_PARTS} partitions beyond them.",
    ) from short


def _parts(automation: Automation, lake: Lake, keys: list[str]) -> list[Part]:
    identity = automation.spec.id
    labels = lake.read_all("labels")
    assert labels is not None
    known = labels.unique(identity, keep="last", maintain_order=True).select(
        identity, "label", pl.col("known_at").alias("label_known_at")
    )
    parts = []
    for key in keys:
        window = automation.window(key)
        rows = lake.read("features", key).join(
            known, on=identity, how="left", maintain_order="left"
        )
        parts.append(Part(key, window.start, window.end - window.start, rows))
    return parts

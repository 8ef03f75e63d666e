"""Faults to inject: what a broken version is taught, what it is shown offline, and what it reads.

Each fault says what it changes in the rows that a version is trained on, in the held-out rows that
the offline gate judges it by, and in the rows that it scores when it is live. A fault that lives
only in production changes nothing offline: no gate can catch it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
import polars as pl

FLIPPED: Final = 0.3
"""Share of the labels that are flipped."""
UNIT: Final = 100.0
SLOWER: Final = 10.0

Place = Literal["training", "held out", "live"]


@dataclass(frozen=True)
class Fault:
    """A fault of a version; this one changes nothing.

    Attributes:
        feature: The column it is in; empty where it is in none.
    """

    feature: str = ""

    kind: ClassVar[str] = "none"
    places: ClassVar[tuple[Place, ...]] = ()
    slower: ClassVar[float] = 1.0

    @property
    def offline(self) -> bool:
        """Whether anything of it shows before the version is live."""
        return self.places != ("live",)

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Return consecutive frames of rows with the fault in them.

        Args:
            parts: In order of time; those before a frame are what was known before it.
            rng: What is drawn.
        """
        return list(parts)

    def put(self, place: Place, parts: Sequence[pl.DataFrame], seed: int) -> list[pl.DataFrame]:
        """Return the frames as a version with this fault meets them at a place."""
        return self.apply(parts, np.random.default_rng(seed)) if place in self.places else [*parts]


class NullFeature(Fault):
    """The version's pipeline does not fill a column any more."""

    kind, places = "null feature", ("live",)

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Make the column null."""
        empty = pl.lit(None).cast(parts[0].schema[self.feature]).alias(self.feature)
        return [part.with_columns(empty) for part in parts]


class UnitChange(Fault):
    """A column of numbers comes in a hundredth of its unit."""

    kind, places = "unit change", ("live",)

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Multiply the column."""
        return [part.with_columns(pl.col(self.feature) * UNIT) for part in parts]


class StaleJoin(Fault):
    """A column is joined as of one partition ago: the values are those of other, earlier rows."""

    kind, places = "stale join", ("live",)

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Give each partition the values of the one before it; the first, its own in reverse."""
        values = [part[self.feature] for part in parts]
        before = [values[0].reverse(), *values[:-1]]
        return [
            part.with_columns(old.gather(np.arange(part.height) % len(old)))
            for part, old in zip(parts, before, strict=True)
        ]


class ShuffledColumn(Fault):
    """A column's values belong to other rows of the same partition."""

    kind: ClassVar[str] = "shuffled column"
    places: ClassVar[tuple[Place, ...]] = ("live",)

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Mix the column's values within each frame."""
        return [
            part.with_columns(part[self.feature].gather(rng.permutation(part.height)))
            for part in parts
        ]


class ShuffledInTraining(ShuffledColumn):
    """The same, already when the version was trained: it never learned from the column."""

    kind, places = "shuffled in training", ("training", "held out", "live")


class LeakedFeature(Fault):
    """A column that knows the label, in training and offline; live it is what it really is.

    Its values stay its own, handed out in the order of the label: no profile of the column alone
    shows it.
    """

    kind, places = "leaked feature", ("training", "held out")

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Sort the column's values by the label."""
        return [self._leak(part, rng) for part in parts]

    def _leak(self, part: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        values = part[self.feature]
        if values.dtype.is_numeric():
            ordered = values.sort(nulls_last=False)
        else:
            # The rarest words come with the greatest labels.
            counted = part.select(self.feature).with_columns(
                often=pl.len().over(self.feature), order=pl.col(self.feature).is_null()
            )
            ordered = counted.sort("often", "order", self.feature, descending=[True, True, False])[
                self.feature
            ]
        rows = np.lexsort((rng.random(part.height), part["label"].to_numpy()))
        place = np.empty(part.height, dtype=np.int64)
        place[rows] = np.arange(part.height)
        return part.with_columns(ordered.gather(place).alias(self.feature))


class FlippedLabels(Fault):
    """Part of the labels that the version was trained on are wrong."""

    kind, places = "flipped labels", ("training",)

    def apply(self, parts: Sequence[pl.DataFrame], rng: np.random.Generator) -> list[pl.DataFrame]:
        """Mirror labels within the range that they have: 1 becomes 0, and 0 becomes 1."""
        found = []
        for part in parts:
            label = part["label"].to_numpy()
            chosen = rng.random(part.height) < FLIPPED
            mirrored = np.where(chosen, label.min() + label.max() - label, label)
            found.append(part.with_columns(pl.Series("label", mirrored)))
        return found


class SlowModel(Fault):
    """The version takes ten times as long for a row."""

    kind, places, slower = "slow model", ("live",), SLOWER


OF_A_FEATURE: tuple[type[Fault], ...] = (
    NullFeature, UnitChange, StaleJoin, ShuffledColumn, ShuffledInTraining, LeakedFeature,
)  # fmt: skip


def all_faults(features: Sequence[str], numbers: Sequence[str]) -> list[Fault]:
    """Return every fault to inject: those of a column in each of the named ones.

    Args:
        features: Columns to break.
        numbers: Which columns are numbers: only these have a unit.
    """
    found = [
        kind(feature)
        for kind in OF_A_FEATURE
        for feature in features
        if kind is not UnitChange or feature in numbers
    ]
    return [*found, FlippedLabels(), SlowModel()]

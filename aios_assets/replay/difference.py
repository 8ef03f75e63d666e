"""Stored rows beside recomputed ones, bit by bit and in blocks, and what is found about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import polars as pl

from aios.lake import CHUNK, Lake

_KEPT = 20
"""Differences of a partition that are kept with their values; all of them are counted."""
_DIGESTS = {"feature_digest", "content_digest"}


@dataclass(frozen=True)
class Difference:
    """One value that is not what it was.

    Attributes:
        event: The event's id.
        revision: Which revision of it.
        stage: "events", a step, "features", "predictions" or "decisions".
        column: Which column of that stage; "row" where the whole row is missing.
        stored: What is stored.
        recomputed: What came out now.
    """

    event: Any
    revision: int
    stage: str
    column: str
    stored: Any
    recomputed: Any


@dataclass(frozen=True)
class Example:
    """The first row in which a column differs, whole."""

    difference: Difference
    stored: dict[str, Any]
    recomputed: dict[str, Any]


class Tally:
    """What is found about a partition's rows, stage after stage.

    A row's cause is the first stage in which it differs; what differs in later ones follows.

    Args:
        rows: Rows of the partition.
        chosen: Which of them are looked at; all by default.
    """

    def __init__(self, rows: int, chosen: np.ndarray | None = None) -> None:
        self.chosen = np.ones(rows, dtype=bool) if chosen is None else chosen
        self.different = np.zeros(rows, dtype=bool)
        self.lost = np.zeros(rows, dtype=bool)
        self.causes: Counter[tuple[str, str]] = Counter()
        self.examples: dict[tuple[str, str], Example] = {}
        self.differences: list[Difference] = []
        self.reasons: Counter[str] = Counter()
        self.extra: Counter[str] = Counter()
        """By dataset, stored rows of no event."""
        self.notes: list[str] = []

    def lose(self, rows: np.ndarray | slice, reason: str) -> None:
        """Mark rows as not replayed."""
        fresh = np.zeros_like(self.lost)
        fresh[rows] = True
        fresh &= self.chosen & ~self.lost
        if fresh.any():
            self.lost |= fresh
            self.reasons[reason] += int(fresh.sum())

    def compare(
        self,
        stage: str,
        identity: str,
        stored: Iterator[pl.DataFrame],
        recomputed: Iterator[pl.DataFrame],
        ignore: Sequence[str] = (),
    ) -> None:
        """Compare a stage's rows, both in blocks of one size and in the same order."""
        before = self.different.copy()
        start = 0
        for old, new in zip(stored, recomputed, strict=True):
            part = slice(start, start + new.height)
            self._compare_block(stage, identity, old, new, part, before[part], ignore)
            start = part.stop

    def _compare_block(
        self,
        stage: str,
        identity: str,
        old: pl.DataFrame,
        new: pl.DataFrame,
        part: slice,
        before: np.ndarray,
        ignore: Sequence[str],
    ) -> None:
        looked_at = self.chosen[part] & ~self.lost[part]
        masks = {
            name: mask & looked_at
            for name in dict.fromkeys([*new.columns, *old.columns])
            if name not in ignore and (mask := _differing_in(name, old, new)).any()
        }
        values = [mask for name, mask in masks.items() if name not in _DIGESTS]
        plainly = np.logical_or.reduce(values) if values else np.zeros(new.height, dtype=bool)
        for name, mask in masks.items():
            self.different[part] |= mask
            fresh = mask & ~before & ~plainly if name in _DIGESTS else mask & ~before
            if not fresh.any():
                continue
            self.causes[stage, name] += int(fresh.sum())
            for row in np.flatnonzero(fresh)[: max(1, _KEPT - len(self.differences))]:
                self._keep(
                    stage, identity, name, old.row(row, named=True), new.row(row, named=True)
                )

    def _keep(
        self, stage: str, identity: str, name: str, old: dict[str, Any], new: dict[str, Any]
    ) -> None:
        one = Difference(
            event=new.get(identity, old.get(identity)),
            revision=new.get("revision", old.get("revision", 0)),
            stage=stage,
            column=name,
            stored=old.get(name),
            recomputed=new.get(name),
        )
        self.examples.setdefault((stage, name), Example(one, old, new))
        if len(self.differences) < _KEPT:
            self.differences.append(one)

    def miss(self, stage: str, what: str, rows: np.ndarray) -> None:
        """Mark rows that are not stored ("row"), or not in their place ("order")."""
        fresh = rows & self.chosen & ~self.different
        self.different |= fresh
        if fresh.any():
            self.causes[stage, what] += int(fresh.sum())


def differing(stored: pl.Series, recomputed: pl.Series) -> np.ndarray:
    """Tell for each row whether two columns differ: floats by their bits, and nulls apart.

    Columns of different types differ in every row.
    """
    if stored.dtype != recomputed.dtype:
        return np.ones(len(recomputed), dtype=bool)
    if not stored.dtype.is_float():
        return stored.ne_missing(recomputed).to_numpy()
    nulls = np.zeros(len(stored), dtype=bool)
    if stored.null_count() or recomputed.null_count():
        nulls = (stored.is_null() != recomputed.is_null()).to_numpy()
    return (_bits(stored) != _bits(recomputed)) | nulls


def blocks(
    lake: Lake, dataset: str, key: str, columns: list[str] | None = None
) -> Iterator[pl.DataFrame]:
    """Yield a partition in frames of exactly `CHUNK` rows but for the last, whoever wrote it.

    Columns that the file does not have are left out.
    """
    if columns is not None and lake.has(dataset, key):
        have = pl.read_parquet_schema(lake.path(dataset, key))
        columns = [name for name in columns if name in have]
    if lake.rows(dataset, key) <= CHUNK:
        yield lake.read(dataset, key, columns)
        return
    held: list[pl.DataFrame] = []
    height = 0
    for frame in lake.stream(dataset, key, columns):
        held.append(frame)
        height += frame.height
        while height > CHUNK:
            whole = pl.concat(held)
            yield whole[:CHUNK]
            held, height = [whole[CHUNK:]], height - CHUNK
    yield pl.concat(held)


def same_rows(stored: Iterator[pl.DataFrame], recomputed: Iterator[pl.DataFrame]) -> bool:
    """Tell whether two datasets are the same, bit by bit, row by row."""
    for old, new in zip_longest(stored, recomputed):
        if old is None or new is None or old.columns != new.columns or old.height != new.height:
            return False
        if any(differing(old[name], new[name]).any() for name in new.columns):
            return False
    return True


def _differing_in(name: str, old: pl.DataFrame, new: pl.DataFrame) -> np.ndarray:
    if name not in old.columns or name not in new.columns:
        return np.ones(new.height, dtype=bool)
    return differing(old[name], new[name])


def _bits(column: pl.Series) -> np.ndarray:
    values = column.fill_null(0.0).to_numpy()
    return values.view(np.int64 if values.dtype == np.float64 else np.int32)

"""Windows of history to roll out in: consecutive partitions, or blocks of them drawn again.

A history that holds at least `SPANS` distinct windows is cut into windows of consecutive
partitions. A shorter one is bootstrapped by block (Kuensch 1989): blocks of consecutive partitions
are drawn with replacement and put one after the other until the window is full. A block is about
the square root of the history long, so that what neighbouring partitions share is kept within a
block; it is broken where two blocks meet. All windows come from the same partitions: they are not
independent of each other, and intervals that take them as independent are too narrow.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from aios.rollouts import Rollout
    from aios_assets.arming.history import Part

SPANS: Final = 10
ORIGIN: Final = datetime(2000, 1, 1)
"""When a replayed window begins: its partitions follow each other from there on."""


def longest(declared: Rollout, length: timedelta) -> int:
    """Return the partitions that the longest rollout takes: no stage ends before its patience does.

    Args:
        declared: How versions roll out.
        length: Of a partition.
    """
    stages = (1 + len(declared.canary)) * declared.patience
    return stages + math.ceil(declared.reopen / length)


def block_length(parts: int, length: int) -> int:
    """Return how many consecutive partitions are drawn at once, a whole window where it can be."""
    return length if parts - length + 1 >= SPANS else max(math.ceil(math.sqrt(parts)), 1)


def draw(rng: np.random.Generator, parts: int, length: int) -> list[int]:
    """Draw a window: the positions of `length` partitions out of `parts`."""
    block = block_length(parts, length)
    drawn: list[int] = []
    while len(drawn) < length:
        first = int(rng.integers(0, parts - block + 1))
        drawn += range(first, first + block)
    return drawn[:length]


def ends(parts: list[Part], drawn: list[int]) -> list[datetime]:
    """Return when each partition of a window ends, on the window's own time."""
    moments, moment = [], ORIGIN
    for position in drawn:
        moment += parts[position].length
        moments.append(moment)
    return moments


def on_window_time(part: Part, end: datetime) -> list[pl.Expr]:
    """Return the times of a partition's rows moved to where the window has it."""
    moved = end - part.length - part.start
    return [pl.col(name) + moved for name in ("event_time", "known_at", "label_known_at")]

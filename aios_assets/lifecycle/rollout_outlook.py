"""What a rollout still waits for, and when it should have it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from aios.rollouts import OF_LABELS, Rollout
from aios.statistics.maturity import DelayCurve
from aios.windows import Cadence, Window, window_at

FARTHEST = 60
"""Partitions beyond which no moment is foretold."""


@dataclass(frozen=True)
class Seen:
    """What a verdict rests on.

    Attributes:
        known_at: When each event became known, UTC-naive; shape (n,).
        labelled: Whether its label is known; shape (n,).
        partitions: How many partitions they come from.
        curve: How long labels take; None where history does not show it.
    """

    known_at: pl.Series
    labelled: pl.Series
    partitions: int
    curve: DelayCurve | None

    @classmethod
    def of(cls, frame: pl.DataFrame, curve: DelayCurve | None) -> "Seen":
        """Take it from the rows of a subject."""
        return cls(
            frame["known_at"], frame["label"].is_not_null(), frame["began"].n_unique(), curve
        )


def labels_of(seen: Seen, end: datetime) -> dict[str, Any]:
    """Return how many of the rows' labels are known, and the share that has matured."""
    return {
        "events": len(seen.known_at),
        "known": int(seen.labelled.sum()),
        "matured": seen.curve.matured(_ages(seen, end)) if seen.curve else 0.0,
        "measurable": seen.curve is not None,
    }


def waits_for(
    declared: Rollout,
    metrics: Sequence[Mapping[str, Any]],
    seen: Seen,
    window: Window,
    cadence: Cadence,
    *,
    last: bool,
) -> list[dict[str, Any]]:
    """Return what stands between a version and its next step.

    The moments are means, should the rates of events and labels, and the difference of the two
    models, stay as they are.

    Args:
        declared: The rollout.
        metrics: Fields of the `MetricVerdict`s.
        seen: What they rest on.
        window: The partition at whose end they were judged.
        cadence: Of the automation.
        last: Whether the next step is to champion, which provisional verdicts do not allow.

    Returns:
        For each: `metric`, `what` is missing in words, `rows` more (None where unknown),
        `partitions` more and the moment `at` (both None where they cannot be foretold).
    """
    ends = _ends(cadence, window.end)
    ahead = list(_labels_ahead(seen, window, ends)) if seen.curve else []
    found = []
    for one in metrics:
        if not one["critical"]:
            continue
        if one["status"] == "insufficient":
            needed = one["needed"]
            if needed is None:
                more = None
            elif one["metric"] in OF_LABELS:
                more = _first(ahead, lambda new, _, needed=needed: new >= needed)
            else:
                more = _by_rate(one, seen.partitions)
            found.append(_missing(one["metric"], _in_words(one), needed, more, ends))
        elif one["provisional"] and last:
            more = _first(ahead, lambda _, share: share >= declared.matured)
            what = f"{declared.matured:.0%} of the labels have to mature"
            found.append(_missing(one["metric"], what, None, more, ends))
    return found


def _in_words(one: Mapping[str, Any]) -> str:
    if one["needed"]:
        return f"{one['needed']:,} more rows ({one['reason']})"
    return str(one["reason"])


def _missing(
    metric: str, what: str, rows: int | None, more: int | None, ends: Sequence[datetime]
) -> dict[str, Any]:
    known = more is not None and more <= len(ends)
    return {
        "metric": metric,
        "what": what,
        "rows": rows,
        "partitions": more if known else None,
        "at": ends[more - 1].isoformat() if known and more else None,
    }


def _by_rate(one: Mapping[str, Any], partitions: int) -> int | None:
    due = one["rows"] + one["missing"]
    return max(math.ceil(one["needed"] * partitions / due), 1) if due else None


def _labels_ahead(
    seen: Seen, window: Window, ends: Sequence[datetime]
) -> Iterator[tuple[float, float]]:
    """Yield, for the end of each partition to come, the labels more than now and their share."""
    assert seen.curve
    curve, ages = seen.curve, _ages(seen, window.end)
    each = max(round(len(ages) / max(seen.partitions, 1)), 1)
    middles: list[datetime] = []
    now = float(seen.labelled.sum())
    for before, later in pairwise([window.end, *ends]):
        middles.append(before + (later - before) / 2)
        fresh = np.array([_days(middle, later) for middle in middles])
        every = np.concatenate([ages + _days(window.end, later), np.repeat(fresh, each)])
        share = curve.matured(every)
        yield share * curve.ever * len(every) - now, share


def _first(ahead: Sequence[tuple[float, float]], reached: Any) -> int | None:
    found = (more for more, one in enumerate(ahead, start=1) if reached(*one))
    return next(found, None)


def _ends(cadence: Cadence, end: datetime) -> list[datetime]:
    ends = []
    for _ in range(FARTHEST):
        end = window_at(cadence, end).end
        ends.append(end)
    return ends


def _ages(seen: Seen, end: datetime) -> np.ndarray:
    days = (pl.lit(end) - pl.col("at")) / pl.duration(days=1)
    frame = seen.known_at.alias("at").to_frame().select(days.alias("age"))
    ages: np.ndarray = np.maximum(frame["age"].to_numpy(), 0.0)
    return ages


def _days(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / 86_400

"""Partitions as windows of time: which key stands for which span, at which cadence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from aios.errors import AiosError

Cadence = Literal["daily", "weekly", "monthly"]


@dataclass(frozen=True, order=True)
class Window:
    """One partition: `start` is inside, `end` is not (UTC, naive)."""

    start: datetime
    end: datetime

    @property
    def key(self) -> str:
        """The partition key: the first day, as Dagster writes it."""
        return self.start.strftime("%Y-%m-%d")


def window_at(cadence: Cadence, moment: datetime) -> Window:
    """Return the window that contains `moment`; weeks begin on Monday."""
    day = datetime(moment.year, moment.month, moment.day)
    if cadence == "daily":
        return Window(day, day + timedelta(days=1))
    if cadence == "weekly":
        monday = day - timedelta(days=day.weekday())
        return Window(monday, monday + timedelta(days=7))
    first = day.replace(day=1)
    return Window(first, (first + timedelta(days=32)).replace(day=1))


def window_of(cadence: Cadence, key: str) -> Window:
    """Return the window of a partition key.

    Raises:
        AiosError: The key is no date, or not the first day of a window.
    """
    fix = f"Give the first day of a {cadence} window as YYYY-MM-DD."
    try:
        window = window_at(cadence, datetime.combine(date.fromisoformat(key), datetime.min.time()))
    except ValueError:
        raise AiosError(f"{key!r} is not a date", where="partition", fix=fix) from None
    if window.key != key:
        raise AiosError(
            f"{key!r} lies inside the window that begins on {window.key}",
            where="partition",
            fix=fix,
        )
    return window


def windows_between(cadence: Cadence, start: datetime, end: datetime) -> list[Window]:
    """Return the windows that touch `[start, end)`, in order of time."""
    windows = []
    window = window_at(cadence, start)
    while window.start < end:
        windows.append(window)
        window = window_at(cadence, window.end)
    return windows

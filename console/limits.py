"""Limits of what one address, token or session may do, kept in this process's memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from aios.errors import AiosError


class TooMany(AiosError):
    """More than is allowed in a minute."""


class Rate:
    """So many in a minute for each key; buckets that refill steadily.

    Args:
        each_minute: How many, also at once.
        seconds: A clock that never goes back.
        kept: Keys in memory; the one not seen longest goes first.
    """

    def __init__(
        self, each_minute: int, seconds: Callable[[], float] = time.monotonic, kept: int = 10_000
    ) -> None:
        self._most, self._seconds, self._kept = each_minute, seconds, kept
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def allows(self, key: str) -> bool:
        """Count one more; tell whether it is within the limit."""
        with self._lock:
            now = self._seconds()
            left, at = self._left.pop(key, (float(self._most), now))
            left = min(left + (now - at) * self._most / 60, float(self._most))
            self._left[key] = (max(left - 1, 0.0) if left >= 1 else left, now)
            if len(self._left) > self._kept:
                self._left.popitem(last=False)
            return left >= 1

    def check(self, key: str, what: str) -> None:
        """Count one more.

        Raises:
            TooMany: It is above the limit.
        """
        if not self.allows(key):
            raise TooMany(f"too many {what} in a minute", fix="Wait a minute.")


class Once:
    """Names that count once.

    Args:
        kept: Names in memory; the oldest goes first.
    """

    def __init__(self, kept: int) -> None:
        self._kept, self._lock = kept, threading.Lock()
        self._taken: OrderedDict[str, None] = OrderedDict()

    def take(self, name: str) -> bool:
        """Take a name; tell whether nobody took it before."""
        with self._lock:
            if name in self._taken:
                return False
            self._taken[name] = None
            if len(self._taken) > self._kept:
                self._taken.popitem(last=False)
            return True

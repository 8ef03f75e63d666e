"""The platform's clock: wall time, or the moment a rehearsal has reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_moment: ContextVar[datetime | None] = ContextVar("aios_clock", default=None)


def now() -> datetime:
    """Return the current moment, UTC without tzinfo, as everything in the lake."""
    return _moment.get() or wall()


def wall() -> datetime:
    """Return the time of the machine, also in a rehearsal; UTC without tzinfo."""
    return datetime.now(UTC).replace(tzinfo=None)


def rehearsing() -> bool:
    """Tell whether `now()` is the moment that a rehearsal has reached."""
    return _moment.get() is not None


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Let `now()` answer `moment` (UTC, naive) inside the block."""
    token = _moment.set(moment)
    try:
        yield
    finally:
        _moment.reset(token)

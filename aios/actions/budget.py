"""The budget of repeated calls to a receiver: a token bucket that all workers share."""

from __future__ import annotations

from dataclasses import dataclass

_HOUR = 3_600_000_000


@dataclass(frozen=True)
class Bucket:
    """What is left to spend on repeated calls.

    Half of an hour's budget is there at once and the other half comes in over the hour: so no
    hour, wherever it begins, sees more than the budget.

    Attributes:
        tokens: Left at `at`.
        at: Microseconds.
    """

    tokens: float
    at: int

    @classmethod
    def full(cls, retries: int, now: int) -> Bucket:
        """Return the bucket of a receiver that nobody has called."""
        return cls(_capacity(retries), now)

    def at_time(self, retries: int, now: int) -> Bucket:
        """Return the bucket with what came in until `now`; a clock set back brings nothing."""
        passed = max(0, now - self.at)
        rate = max(retries - _capacity(retries), 1.0) / _HOUR
        return Bucket(min(_capacity(retries), self.tokens + passed * rate), max(now, self.at))

    def spend(self, calls: int) -> Bucket:
        """Return what is left after so many repeated calls."""
        return Bucket(self.tokens - calls, self.at)


def _capacity(retries: int) -> float:
    return max(1.0, retries / 2)

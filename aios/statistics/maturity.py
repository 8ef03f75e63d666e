"""How long labels take, from a history in which the young events still wait for theirs.

The share of events whose label is known at age t is estimated as 1 - S(t) with the product-limit
estimator S (Kaplan and Meier 1958) on the delay from an event to its label. An event without a
label is censored at its age. Leaving such events out would make labels look faster than they are,
the more so the younger the history.

Some events never get a label. The curve then ends below 1, and shares of the matured are given
relative to that end: what can still come is what counts. The end is believed only where the history
was followed long enough beyond the last label (Maller and Zhou 1992: with t the longest delay, u
the greatest age, and q the share of the n events labelled between 2 t - u and t, (1 - q)^n < 0.05);
else every event is taken to get a label sometime, which makes the shares too small rather than too
large.

Assumptions: the delay does not depend on the event's age in calendar time (a process that becomes
slower makes the curve too optimistic until the history shows it), nor on whether it is labelled
already by other means. Where only some outcomes get labels early (frauds are found at once, the
rest is presumed honest after a month), shares count labels, not outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aios.errors import AiosError

MIN_LABELS: Final = 30
FOLLOWED: Final = 0.05
STEPS: Final = 60


@dataclass(frozen=True, eq=False)
class DelayCurve:
    """Share of events whose label is known by an age.

    `ages` (days, rising, shape (k,)) are the delays at which the share rises, `known` the share of
    all events from there on, `ever` the share that gets a label at all, `labels` and `waiting` the
    events behind it.
    """

    ages: np.ndarray
    known: np.ndarray
    ever: float
    labels: int
    waiting: int

    @classmethod
    def of(cls, delays_days: np.ndarray, ages_of_unlabelled_days: np.ndarray) -> DelayCurve | None:
        """Estimate the curve from history.

        Args:
            delays_days: Days from event to label of the labelled events, shape (n,). A label known
                before its event counts as known at once.
            ages_of_unlabelled_days: Days since the events without a label, shape (m,).

        Returns:
            None where fewer than 30 labels are known: no curve, not a guess.
        """
        delays = _days(delays_days, "delays")
        waiting = _days(ages_of_unlabelled_days, "ages of events without a label")
        if len(delays) < MIN_LABELS:
            return None
        ages, counts = np.unique(delays, return_counts=True)
        # Events that still waited when a label of this age came.
        at_risk = len(delays) - np.searchsorted(np.sort(delays), ages)
        at_risk = at_risk + len(waiting) - np.searchsorted(np.sort(waiting), ages)
        known = 1 - np.cumprod(1 - counts / at_risk)
        ever = float(known[-1]) if _followed(delays, waiting) else 1.0
        return cls(ages, known, ever, len(delays), len(waiting))

    def matured(self, ages: np.ndarray) -> float:
        """Expected share of the labels, of events of these ages in days, that are known by now.

        Relative to the labels that will ever come; 0 for no events.
        """
        ages = _days(ages, "ages")
        return float(self._share(ages).mean()) if len(ages) else 0.0

    def age_of(self, share: float) -> float | None:
        """Age in days at which a share of the labels is known; None beyond what history shows."""
        reached = np.flatnonzero(self.known >= _of_one(share) * self.ever - 1e-12)
        if share == 0:
            return 0.0
        return float(self.ages[reached[0]]) if len(reached) else None

    def wait(self, ages: np.ndarray, share: float) -> float | None:
        """Days until events of these ages are expected to have a share of their labels.

        Returns:
            0 where they have it already; None for no events, or beyond what history shows.
        """
        ages = _days(ages, "ages")
        share = _of_one(share)
        if not len(ages) or self.known[-1] < share * self.ever - 1e-12:
            return None
        if self.matured(ages) >= share:
            return 0.0
        low, high = 0.0, float(self.ages[-1])
        for _ in range(STEPS):
            middle = (low + high) / 2
            if self.matured(ages + middle) >= share - 1e-12:
                high = middle
            else:
                low = middle
        return high

    def _share(self, ages: np.ndarray) -> np.ndarray:
        steps = np.concatenate([[0.0], self.known / self.ever])
        return steps[np.searchsorted(self.ages, ages, side="right")]


def _followed(delays: np.ndarray, waiting: np.ndarray) -> bool:
    """Tell whether the history is long enough beyond the last label to believe the curve's end."""
    longest, oldest = float(delays.max()), float(max(delays.max(), waiting.max(initial=0.0)))
    late = np.count_nonzero(delays > 2 * longest - oldest)
    events = len(delays) + len(waiting)
    return bool((1 - late / events) ** events < FOLLOWED)


def _days(values: np.ndarray, what: str) -> np.ndarray:
    days = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(days).all():
        raise AiosError(f"{what} that are not finite", fix="give days, one for each event")
    return np.maximum(days, 0.0)


def _of_one(share: float) -> float:
    if not 0 <= share <= 1:
        raise AiosError(f"share {share}", fix="choose a share between 0 and 1")
    return share

"""When a retrain is due: only because of something that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from aios.learning import Learned

# Labels that a model is taken to need: beyond them growth is a share of this many, since a share
# of all would let an old automation learn nothing new for years.
MEMORY = 4_000


@dataclass(frozen=True)
class Facts:
    """What is known at the end of a partition.

    Attributes:
        at: End of the partition, UTC-naive.
        labels: Labels learned so far.
        trained_on: Labels known when the latest training was tried; 0 before the first.
        last_try: End of the partition of the latest training, passed or not.
        drift: Verdicts of the champion's partitions, oldest first: "drift", "stable",
            "insufficient".
        performance: The champion's latest performance verdict.
        has_champion: Whether a champion is in force.
    """

    at: datetime
    labels: int
    trained_on: int
    last_try: datetime | None
    drift: Sequence[str]
    performance: str
    has_champion: bool


def retrain_reason(spec: Learned, facts: Facts) -> str | None:
    """Return why a retrain is due, or None where it is not.

    The first training is due as soon as there are enough labels. After that: drift confirmed in
    consecutive partitions, worse performance, or enough new labels, and never within the
    cool-down of the latest training.
    """
    if facts.labels < spec.training.min_rows:
        return None
    if facts.last_try is None:
        return f"{facts.labels} labels are enough for a first training"
    if facts.at - facts.last_try < spec.retrain.cooldown:
        return None
    recent = list(facts.drift)[-spec.drift.confirm :]
    fresh = facts.labels - facts.trained_on
    if "performance" in spec.retrain.triggers and facts.performance == "worse":
        return "realised performance is worse than at the gate"
    if "drift" in spec.retrain.triggers and recent == ["drift"] * spec.drift.confirm:
        return f"drift in {spec.drift.confirm} consecutive partitions"
    if "labels" in spec.retrain.triggers and (
        fresh >= spec.retrain.growth * min(facts.trained_on, MEMORY)
    ):
        return f"{fresh} new labels since the latest training on {facts.trained_on}"
    if not facts.has_champion and fresh:
        return "no champion is in force and there are new labels"
    return None

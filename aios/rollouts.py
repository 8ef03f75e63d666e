"""Staged rollouts as declared: which share a challenger decides, and by what it is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from aios.values import Duration, Model, Share, wrong

if TYPE_CHECKING:
    import numpy as np

Task = Literal["classification", "regression", "extraction"]
MetricName = Literal[
    "loss",
    "override_rate",
    "disagreement",
    "decision_mix",
    "score_shift",
    "errors",
    "latency",
    "cost",
]
OF_LABELS = ("loss", "override_rate")
"""Metrics that need the outcome of an event."""


class Watched(Model):
    """How much worse by a metric matters, and whether a rollout stops where it is not measured."""

    margin: Annotated[float, Field(gt=0)]
    critical: bool = False


METRICS: dict[MetricName, Watched] = {
    # A share of the champion's mean loss.
    "loss": Watched(margin=0.1, critical=True),
    # Shares of events.
    "override_rate": Watched(margin=0.02),
    "disagreement": Watched(margin=0.5),
    "decision_mix": Watched(margin=0.4),
    # In standard deviations of the champion's score.
    "score_shift": Watched(margin=2.0),
    "errors": Watched(margin=0.01, critical=True),
    # Shares of the champion's.
    "latency": Watched(margin=2.0),
    "cost": Watched(margin=0.5),
}
"""The metrics of the judge, with how they are watched where nothing else is declared."""


class Targets(Model):
    """What `aios arm` must have shown before a version rolls out without a person."""

    detection: Share = 0.8
    false_rollback: Share = 0.1


class Rollout(Model):
    """How a version that passed the gate becomes champion: in shadow, then by growing shares.

    `unit` is what stays with one model while the shares grow. `error_rate` is the chance that a
    rollout of an equal version is ended as worse, over all looks, metrics and stages. A verdict on
    labels is provisional until the share `matured` of them is known; late labels can take the
    version back for the time `reopen` after its promotion. A stage that comes to no verdict in
    `patience` partitions ends the rollout. A newer version waits for the one under way (`queue`),
    takes its place (`supersede`), or does so where the gate finds it surely `better` than that one.
    """

    canary: list[Share] = [0.05, 0.25, 0.5]
    unit: Literal["entity", "id"] = "entity"
    metrics: Annotated[dict[MetricName, Watched], Field(validate_default=True)] = {}
    error_rate: Share = 0.05
    min_rows: Annotated[int, Field(ge=20)] = 100
    matured: Share = 0.8
    reopen: Duration = timedelta(days=60)
    patience: Annotated[int, Field(ge=1)] = 12
    newer: Literal["better", "queue", "supersede"] = "better"
    approvals: list[Literal["canary", "champion"]] = []
    targets: Targets | None = None

    @field_validator("metrics", mode="before")
    @classmethod
    def _over_the_usual(cls, declared: object) -> object:
        """Let a declaration name only what differs: `{latency: {critical: true}}`."""
        if not isinstance(declared, dict):
            return declared
        usual: dict[str, object] = {name: one.model_dump() for name, one in METRICS.items()}
        for name, one in declared.items():
            known = usual.get(name)
            both = isinstance(known, dict) and isinstance(one, dict)
            usual[name] = {**known, **one} if both else one  # type: ignore[dict-item]
        return usual

    @model_validator(mode="after")
    def _grows(self) -> Rollout:
        for i, (share, larger) in enumerate(zip(self.canary, self.canary[1:], strict=False)):
            if larger <= share:
                raise wrong(f"each share must be larger than the one before ({share})", "canary", i)
        if not any(one.critical for one in self.metrics.values()):
            raise wrong("one metric must be critical, or nothing could stop a rollout", "metrics")
        return self


def places(units: Iterable[object], salt: str) -> np.ndarray:
    """Return where each unit stands between 0 and 1: the same for the same unit and salt.

    A unit is decided by the challenger while its place is below the share, so that a share that
    grows keeps everyone it had.

    Args:
        units: Values of the declared unit, one an event; they count by their text.
        salt: The rollout's own, so that not the same ones go first each time.
    """
    import numpy as np

    key = hashlib.sha256(salt.encode()).digest()
    known: dict[str, float] = {}

    def place(unit: str) -> float:
        if unit not in known:
            digest = hashlib.blake2b(unit.encode(), digest_size=8, key=key).digest()
            # As many bits as a float has: more of them would round up to 1.
            known[unit] = (int.from_bytes(digest) >> 11) / 2**53
        return known[unit]

    return np.array([place(str(unit)) for unit in units], dtype=np.float64)

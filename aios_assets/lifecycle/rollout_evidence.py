"""What a rollout is judged by: paired differences of challenger and champion, metric by metric."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from aios.rollouts import OF_LABELS, Rollout, Watched
from aios.statistics.maturity import DelayCurve
from aios.windows import Window
from aios_assets.lifecycle.shadow import seconds_of

if TYPE_CHECKING:
    from model_registry.judge import Series
    from model_registry.rollout import Move

_APPROVE, _BLOCK, _REVIEW = "approve", "block", "review"
_HOUR = 3600.0
# The error rate is spent half on the whole rollout and half on what is looked at apart.
SPENT = {"whole": 0.5, "canary": 0.25, "watch": 0.25}


@dataclass(frozen=True)
class Subject:
    """A version that is judged at the end of a partition.

    Attributes:
        run: Its moves since it entered shadow, up to that end.
        keys: The partitions since then that champion and version both scored.
        current: Those of them in its present stage.
    """

    run: "Sequence[Move]"
    keys: list[str]
    current: list[str]

    @property
    def here(self) -> "Move":
        """Where it stands."""
        return self.run[-1]

    @property
    def phase(self) -> str:
        """What is looked at apart from the whole: `canary`, `watch`; `whole` in shadow."""
        if self.here.state == "champion":
            return "watch"
        return "canary" if self.here.share else "whole"

    @property
    def since(self) -> datetime:
        """When its present phase began."""
        if self.phase == "canary":
            return next(move.at for move in self.run if move.share)
        return self.here.at


@dataclass
class Rows:
    """The rows of a subject, in the order in which they are judged.

    Attributes:
        frame: Rows of `shadow`, seen from the version: `own_score`, `own_outcome`, `other_score`,
            `other_outcome`, `event_time`, `known_at`, `partition`, `apart` (of the present phase),
            `label` and `label_known_at` where known.
        seconds: Relative extra time of the version by slice, with whether it is of the phase.
    """

    frame: pl.DataFrame
    seconds: dict[bool, list[float]] = field(default_factory=dict)


def rows_of(automation: Automation, lake: Lake, subject: Subject, window: Window) -> Rows:
    """Collect the paired rows of a subject and the labels known at the window's end."""
    version, identity = subject.here.version, automation.spec.id
    frames, seconds = [], {True: [0.0][:0], False: [0.0][:0]}
    for key in subject.keys:
        frame = lake.read("shadow", key)
        own = bool(frame["challenger"][0] == version)
        names = ("challenger", "champion") if own else ("champion", "challenger")
        apart = automation.window(key).end > subject.since
        frames.append(
            frame.select(
                identity,
                *(
                    pl.col(f"{who}_{what}").alias(f"{side}_{what}")
                    for who, side in zip(names, ("own", "other"), strict=True)
                    for what in ("score", "outcome")
                ),
                *("event_time", "known_at"),
                pl.lit(key).alias("partition"),
                pl.lit(apart).alias("apart"),
            )
        )
        if (found := seconds_of(lake, key)) is not None:
            ratio = found[names[0]] / np.maximum(found[names[1]], 1e-12) - 1
            seconds[apart] += ratio.tolist()
    labels = pl.concat(
        [
            lake.read("labels", key).rename({"known_at": "label_known_at"})
            for key in lake.partitions("labels")
            if key <= window.key
        ]
    ).unique(identity, keep="last", maintain_order=True)
    frame = pl.concat(frames).join(labels, on=identity, how="left", maintain_order="left")
    return Rows(frame, seconds)


def series_of(
    automation: Automation, rows: Rows, curve: DelayCurve | None, phase: str, end: datetime
) -> "tuple[list[Series], dict[str, float]]":
    """Return the series that a version is judged by.

    Every metric is judged over the whole rollout and, in canary and after promotion, over that
    phase alone, so that a long good shadow does not hide a bad canary.

    Args:
        automation: Whose version.
        rows: Its paired rows.
        curve: How long labels take; None where that is not known.
        phase: `whole` in shadow, `canary` or `watch`.
        end: The moment of the verdict, UTC-naive.

    Returns:
        The series, and the champion's own mean of each metric that is a share of it.
    """
    declared = automation.spec.rollout
    assert declared
    measured = _Measures(automation, declared, rows, curve, end)
    series: list[Series] = []
    for scope in dict.fromkeys(["whole", phase]):
        for name, watched in declared.metrics.items():
            series += [
                replace(one, scope=scope, weight=SPENT[scope] * one.weight / len(declared.metrics))
                for one in measured.series(name, watched, apart=scope != "whole")
            ]
    return series, measured.level


def delay_curve(automation: Automation, lake: Lake, window: Window) -> DelayCurve | None:
    """Return how labels matured so far, from all events of which one could be known."""
    identity = automation.spec.id
    keys = [key for key in lake.partitions("labels") if key <= window.key]
    labels = pl.concat([lake.read("labels", key) for key in keys]).rename({"known_at": "learned"})
    events = pl.concat(
        [
            lake.read("events", key, [identity, "known_at"])
            for key in lake.partitions("events")
            if key <= window.key
        ]
    ).unique(identity, keep="first", maintain_order=True)
    joined = events.join(labels, on=identity, how="left", maintain_order="left")
    days = pl.duration(days=1)
    waited = joined.select(
        ((pl.col("learned") - pl.col("known_at")) / days).alias("delay"),
        ((pl.lit(window.end) - pl.col("known_at")) / days).alias("age"),
    )
    known = waited.filter(pl.col("delay").is_not_null())["delay"].to_numpy()
    open_ages = waited.filter(pl.col("delay").is_null())["age"].to_numpy()
    return DelayCurve.of(np.maximum(known, 0.0), np.maximum(open_ages, 0.0))


class _Measures:
    """Turns rows into series, one metric after the other."""

    def __init__(
        self,
        automation: Automation,
        declared: Rollout,
        rows: Rows,
        curve: DelayCurve | None,
        end: datetime,
    ) -> None:
        self.automation, self.declared, self.rows = automation, declared, rows
        self.curve, self.end = curve, end
        self.level: dict[str, float] = {}

    def series(self, name: str, watched: Watched, *, apart: bool) -> "Iterable[Series]":
        """Return the series of a metric over the whole rollout, or over the phase apart."""
        from model_registry.judge import Series

        frame = self.rows.frame.filter("apart") if apart else self.rows.frame
        of_labels = name in OF_LABELS
        matured = 1.0
        if of_labels:
            matured = self._matured(frame)
            # In the order in which they were learned: what is judged only grows at its end.
            frame = frame.drop_nulls("label").sort("label_known_at", maintain_order=True)
        # The phase apart can end a rollout; that it was measured is asked of the whole.
        critical = watched.critical and not apart
        measure: Callable[..., list[Series]] = getattr(self, f"_{name}")
        for one in measure(frame, watched.margin, apart):
            yield replace(one, metric=one.metric or name, critical=critical, matured=matured)

    def _matured(self, frame: pl.DataFrame) -> float:
        if frame.is_empty():
            return 0.0
        age = frame.select((self.end - pl.col("known_at")) / pl.duration(days=1)).to_series()
        if self.curve is None:
            return 0.0
        return float(np.mean(self.curve.matured(np.maximum(age.to_numpy(), 0.0))))

    def _loss(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        own, other = (
            ((frame[f"{side}_score"] - frame["label"]) ** 2).to_numpy() for side in ("own", "other")
        )
        return self._relative("loss", own, other, margin)

    def _relative(
        self, name: str, own: np.ndarray, other: np.ndarray, margin: float
    ) -> "list[Series]":
        from model_registry.judge import Series

        level = float(np.nanmean(other)) if np.isfinite(other).any() else float("nan")
        self.level.setdefault(name, level)
        if not level > 0:
            why = "the champion has none to compare with" if len(other) else ""
            return [Series("", own - other, margin=1.0, due=len(own), error=why)]
        return [Series("", (own - other) / level, margin=margin, due=len(own))]

    def _override_rate(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        from model_registry.judge import Series

        if self.automation.spec.task != "classification":
            return []

        def wrong(side: str) -> pl.Series:
            outcome, label = pl.col(f"{side}_outcome"), pl.col("label")
            contradicted = ((outcome == _APPROVE) & (label == 1)) | (
                (outcome == _BLOCK) & (label == 0)
            )
            return frame.select(contradicted.cast(pl.Float64)).to_series()

        return [Series("", (wrong("own") - wrong("other")).to_numpy(), margin=margin)]

    def _disagreement(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        from model_registry.judge import Series

        differs = (frame["own_outcome"] != frame["other_outcome"]).cast(pl.Float64)
        return [Series("", differs.to_numpy(), margin=margin, limit=margin)]

    def _decision_mix(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        from model_registry.judge import Series

        outcomes = sorted({*frame["own_outcome"], *frame["other_outcome"]} - {None})
        found = []
        for outcome in outcomes:
            more = (frame["own_outcome"] == outcome).cast(pl.Float64) - (
                frame["other_outcome"] == outcome
            ).cast(pl.Float64)
            found += [
                Series(
                    f"decision_mix: {word} {outcome}",
                    sign * more.to_numpy(),
                    margin=margin,
                    limit=margin,
                    weight=0.5 / len(outcomes),
                )
                for sign, word in ((1, "more"), (-1, "less"))
            ]
        return found

    def _score_shift(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        from model_registry.judge import Series

        spread = frame["other_score"].std()
        if not isinstance(spread, float) or not spread > 0:
            return [Series("", np.empty(0), margin=margin, limit=margin)]
        shift = ((frame["own_score"] - frame["other_score"]).abs() / spread).to_numpy()
        return [Series("", shift, margin=margin, limit=margin)]

    def _errors(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        from model_registry.judge import Series

        own, other = (frame[f"{side}_score"].is_null() for side in ("own", "other"))
        harm = own.cast(pl.Float64) - other.cast(pl.Float64)
        return [Series("", harm.to_numpy(), margin=margin)]

    def _latency(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        from model_registry.judge import Series

        seconds = self.rows.seconds.get(True, []) + (
            [] if apart else self.rows.seconds.get(False, [])
        )
        return [Series("", np.array(seconds), margin=margin, limit=margin)]

    def _cost(self, frame: pl.DataFrame, margin: float, apart: bool) -> "list[Series]":
        costs = self.automation.spec.costs
        if costs is None:
            return []
        own, other = (
            (frame[f"{side}_outcome"] == _REVIEW).cast(pl.Float64).to_numpy() * costs.review
            for side in ("own", "other")
        )
        return self._relative("cost", own, other, margin)

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
from aios.windows import Window, windows_between
from aios_assets.lifecycle.hindsight import dataset_of
from aios_assets.lifecycle.shadow import seconds_of
from model_registry.judge import Series

if TYPE_CHECKING:
    from model_registry.stages import Move

_APPROVE, _BLOCK, _REVIEW = "approve", "block", "review"


@dataclass(frozen=True)
class Subject:
    """A version that is judged at the end of a partition.

    Attributes:
        run: Its moves since it entered shadow, up to that end.
        before: Partitions between its training and its rollout, of which `hindsight` tells.
        keys: The partitions since then that champion and version both scored.
        current: Those of them in its present stage.
    """

    run: "Sequence[Move]"
    before: list[str]
    keys: list[str]
    current: list[str]

    @property
    def here(self) -> "Move":
        """Where it stands."""
        return self.run[-1]


@dataclass(frozen=True)
class Rows:
    """The rows of a version in rollout, in the order of their partitions.

    Attributes:
        frame: The id, `own_score`, `own_outcome` (the version's), `other_score`, `other_outcome`
            (the champion's beside it), `event_time`, `known_at`, `began` (start of the row's
            partition), and `label`, `label_known_at` where known.
        seconds: Relative extra time of the version by slice of rows.
    """

    frame: pl.DataFrame
    seconds: list[float] = field(default_factory=list)


def rows_of(automation: Automation, lake: Lake, subject: Subject, window: Window) -> Rows:
    """Collect the paired rows of a subject and the labels known at the window's end."""
    version, identity = subject.here.version, automation.spec.id
    frames: list[pl.DataFrame] = []
    seconds: list[float] = []
    places = [(dataset_of(version), key) for key in subject.before]
    for dataset, key in [*places, *(("shadow", key) for key in subject.keys)]:
        frame = lake.read(dataset, key)
        own = bool(frame["challenger"][0] == version)
        names = ("challenger", "champion") if own else ("champion", "challenger")
        frames.append(
            frame.select(
                identity,
                *(
                    pl.col(f"{who}_{what}").alias(f"{side}_{what}")
                    for who, side in zip(names, ("own", "other"), strict=True)
                    for what in ("score", "outcome")
                ),
                *("event_time", "known_at"),
                pl.lit(automation.window(key).start).alias("began"),
            )
        )
        if dataset == "shadow" and (found := seconds_of(lake, key)) is not None:
            seconds += (found[names[0]] / np.maximum(found[names[1]], 1e-12) - 1).tolist()
    labels = labels_until(lake, window).unique(identity, keep="last", maintain_order=True)
    frame = pl.concat(frames).join(labels, on=identity, how="left", maintain_order="left")
    return Rows(frame, seconds)


def labels_until(lake: Lake, window: Window) -> pl.DataFrame:
    """Return every label learned until a window's end: id, `label`, `label_known_at`."""
    keys = [key for key in lake.partitions("labels") if key <= window.key]
    labels = pl.concat([lake.read("labels", key) for key in keys])
    return labels.rename({"known_at": "label_known_at"})


def starts_of(automation: Automation, subject: Subject, window: Window) -> list[datetime]:
    """Return the start of every partition after the first that a subject was scored in."""
    cadence = automation.spec.cadence
    begun = windows_between(
        cadence, automation.window([*subject.before, *subject.keys][0]).end, window.end
    )
    return [one.start for one in begun]


def series_of(
    automation: Automation,
    rows: Rows,
    curve: DelayCurve | None,
    starts: Sequence[datetime],
    end: datetime,
    *,
    arrived: bool = False,
) -> tuple[list[Series], dict[str, float]]:
    """Return the series that a version is judged by.

    Every metric is judged over the whole rollout, and once more from each of `starts` on, so that
    a long good beginning does not hide what turned bad later. Half of the error rate is spent on
    the whole; of the other half, the k-th start has the share 1 / (k (k + 1)).

    Args:
        automation: Whose version.
        rows: Its paired rows.
        curve: How long labels take; None where that is not known.
        starts: From when on else; a metric of labels counts those learned from then on.
        end: The moment of the verdict, UTC-naive.
        arrived: Whether it is champion: then only what became of its decisions is judged. How far
            it is from the one before it grows with time and says nothing against it.

    Returns:
        The series, and the champion's own mean of each metric that is a share of it.
    """
    declared = automation.spec.rollout
    assert declared
    measured = _Measures(automation, declared, rows, curve, end)
    series: list[Series] = []
    for k, start in enumerate([None, *starts]):
        share = 0.5 / (k * (k + 1)) if k else 0.5
        scope = f"since {start:%Y-%m-%d}" if start else "whole"
        for name, watched in declared.metrics.items():
            if arrived and name not in (*OF_LABELS, "errors"):
                continue
            series += [
                replace(one, scope=scope, weight=share * one.weight / len(declared.metrics))
                for one in measured.series(name, watched, start)
            ]
    return series, measured.level


def delay_curve(automation: Automation, lake: Lake, window: Window) -> DelayCurve | None:
    """Return how labels matured so far, from all events of which one could be known."""
    identity = automation.spec.id
    events = pl.concat(
        [
            lake.read("events", key, [identity, "known_at"])
            for key in lake.partitions("events")
            if key <= window.key
        ]
    ).unique(identity, keep="first", maintain_order=True)
    labels = labels_until(lake, window)
    joined = events.join(labels, on=identity, how="left", maintain_order="left")
    days = pl.duration(days=1)
    waited = joined.select(
        ((pl.col("label_known_at") - pl.col("known_at")) / days).alias("delay"),
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
        self.level: dict[str, float] = {}
        # In the order in which they were learned: what is judged only grows at its end.
        self.known = rows.frame.drop_nulls("label").sort("label_known_at", maintain_order=True)
        age = rows.frame.select((end - pl.col("known_at")) / pl.duration(days=1)).to_series()
        self.matured = (
            float(np.mean(curve.matured(np.maximum(age.to_numpy(), 0.0))))
            if curve and len(age)
            else 0.0
        )

    def series(self, name: str, watched: Watched, start: datetime | None) -> Iterable[Series]:
        """Return the series of a metric over the whole rollout, or from a start on."""
        of_labels = name in OF_LABELS
        frame, begun = (self.known, "label_known_at") if of_labels else (self.rows.frame, "began")
        if start:
            frame = frame.filter(pl.col(begun) >= start)
        # What came later can end a rollout; that it was measured is asked of the whole.
        critical = watched.critical and start is None
        matured = self.matured if of_labels else 1.0
        measure: Callable[..., list[Series]] = getattr(self, f"_{name}")
        for one in measure(frame, watched.margin):
            yield replace(one, metric=one.metric or name, critical=critical, matured=matured)

    def _loss(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        own, other = (
            ((frame[f"{side}_score"] - frame["label"]) ** 2).to_numpy() for side in ("own", "other")
        )
        return self._relative("loss", own, other, margin)

    def _relative(
        self, name: str, own: np.ndarray, other: np.ndarray, margin: float
    ) -> list[Series]:
        level = float(np.nanmean(other)) if np.isfinite(other).any() else float("nan")
        self.level.setdefault(name, level)
        if not level > 0:
            why = "the champion has none to compare with" if len(other) else ""
            return [Series("", own - other, margin=1.0, due=len(own), error=why)]
        return [Series("", (own - other) / level, margin=margin, due=len(own))]

    def _override_rate(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        if self.automation.spec.task != "classification":
            return []

        def wrong(side: str) -> pl.Series:
            outcome, label = pl.col(f"{side}_outcome"), pl.col("label")
            contradicted = ((outcome == _APPROVE) & (label == 1)) | (
                (outcome == _BLOCK) & (label == 0)
            )
            return frame.select(contradicted.cast(pl.Float64)).to_series()

        return [Series("", (wrong("own") - wrong("other")).to_numpy(), margin=margin)]

    def _disagreement(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        differs = (frame["own_outcome"] != frame["other_outcome"]).cast(pl.Float64)
        return [Series("", differs.to_numpy(), margin=margin, limit=margin)]

    def _decision_mix(self, frame: pl.DataFrame, margin: float) -> list[Series]:
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

    def _score_shift(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        spread = frame["other_score"].std()
        if not isinstance(spread, float) or not spread > 0:
            return [Series("", np.empty(0), margin=margin, limit=margin)]
        shift = ((frame["own_score"] - frame["other_score"]).abs() / spread).to_numpy()
        return [Series("", shift, margin=margin, limit=margin)]

    def _errors(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        own, other = (frame[f"{side}_score"].is_null() for side in ("own", "other"))
        harm = own.cast(pl.Float64) - other.cast(pl.Float64)
        return [Series("", harm.to_numpy(), margin=margin)]

    def _latency(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        seconds = np.array(self.rows.seconds if frame.height == self.rows.frame.height else [])
        return [Series("", seconds, margin=margin, limit=margin)]

    def _cost(self, frame: pl.DataFrame, margin: float) -> list[Series]:
        costs = self.automation.spec.costs
        if costs is None:
            return []
        own, other = (
            (frame[f"{side}_outcome"] == _REVIEW).cast(pl.Float64).to_numpy() * costs.review
            for side in ("own", "other")
        )
        return self._relative("cost", own, other, margin)

"""The performance alarm: is an era's loss worse than it was at the gate?"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from aios.lake import Lake
from aios.learner import Learner
from aios.statistics.metrics import losses
from aios.statistics.performance import PerformanceVerdict, Sample, performance_verdict
from aios.windows import Window
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.ledger import Change

EVEN_ODDS = 0.5
_COLUMNS = ["label", "score", "model_version"]
_LOSSES = {
    "classification": ["brier", "wrong_class"],
    "regression": ["squared"],
    "extraction": ["shortfall"],
}


@dataclass(frozen=True)
class Alarm:
    """What was found for each loss; together they keep the declared false-alarm rate."""

    champion: int
    verdicts: dict[str, PerformanceVerdict]

    @property
    def status(self) -> str:
        """The gravest of the verdicts: "worse", "steady" or "insufficient"."""
        found = {one.status for one in self.verdicts.values()}
        return next(status for status in ("worse", "steady", "insufficient") if status in found)

    @property
    def raised_now(self) -> bool:
        """Whether the last partition raised it."""
        return any(one.alarm == len(one.evidence) - 1 for one in self.verdicts.values())


def watch_era(learner: Learner, platform: Platform, window: Window) -> Alarm | None:
    """Judge the matured predictions of the era that a window's champion belongs to.

    The partitions' matured rows must be in the lake. A classification is watched by two losses:
    the Brier score, which sees probabilities go wrong, and the share of wrong classes at even
    odds, which sees a moved boundary that a smooth model's probabilities hide. Each has half of
    the false-alarm rate. An extraction is watched by what a document's F1 lacks of 1.

    Returns:
        The alarm, or None where no champion is in force.
    """
    from model_registry.champion import history

    lake, registry = platform.lake(learner.name), platform.registry
    changes = [one for one in history(registry, learner.name) if one.at < window.end]
    if not changes:
        return None
    era = era_of(learner, lake, changes)
    first = registry.get(learner.name, era[0].version)
    gate = lake.read(f"evaluation/{first.candidate}", first.tags["aios.partition"])
    of_era = pl.col("model_version").is_in([one.version for one in era])
    batches = [
        lake.read("performance", key, _COLUMNS).filter(of_era)
        for key in lake.partitions("performance")
        if learner.window(key).end > era[0].at and key <= window.key
    ]
    names = _LOSSES[learner.spec.task]
    settings = learner.spec.performance
    samples = {name: [_sample(name, rows) for rows in batches] for name in names}
    return Alarm(
        changes[-1].version,
        {
            name: performance_verdict(
                _sample(name, gate),
                [one for one in samples[name] if one.n],
                false_alarm_rate=settings.false_alarm_rate / len(names),
                min_effect=settings.min_effect,
            )
            for name in names
        },
    )


def era_of(learner: Learner, lake: Lake, changes: "list[Change]") -> "list[Change]":
    """Return the changes since the loss was last expected to be of another level.

    That is the first champion, a rollback, or a champion trained because of an alarm. A champion
    that passed the gate for any other reason is not worse than the one before it, so the evidence
    goes on: frequent retrains must not hide a slow loss.
    """
    worse = {
        learner.window(key).end
        for key in lake.partitions("performance", "json")
        if lake.read_json("performance", key)["status"] == "worse"
    }
    starts = [i for i, one in enumerate(changes) if one.kind == "rollback" or one.at in worse]
    return changes[max([0, *starts]) :]


def _sample(name: str, rows: pl.DataFrame) -> Sample:
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    if name == "wrong_class":
        return Sample.of(((score > EVEN_ODDS) != (label == 1)).astype(float))
    if name == "shortfall":
        return Sample.of(1 - score)
    return Sample.of(losses("regression", label, score))

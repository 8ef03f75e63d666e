"""What trials add up to: rates with their intervals, by fault and over all harmful versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aios.rollouts import Rollout
    from aios_assets.arming.faults import Fault
    from aios_assets.arming.trials import Trial

Z: Final = 1.959964
"""Of an interval of 95 %."""


@dataclass(frozen=True)
class Rate:
    """A share of trials with Wilson's interval (1927) of 95 %; without any trial, nothing is known.

    The interval takes trials as independent. They share a history, so it is too narrow.
    """

    value: float | None
    low: float
    high: float
    hits: int
    n: int

    @classmethod
    def of(cls, hits: Sequence[bool]) -> Rate:
        """Count how many are true."""
        n, found = len(hits), sum(hits)
        if not n:
            return cls(None, 0.0, 1.0, 0, 0)
        share, z2 = found / n, Z * Z
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = Z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
        low, high = max(middle - half, 0.0), min(middle + half, 1.0)
        return cls(share, 0.0 if found == 0 else low, 1.0 if found == n else high, found, n)

    @property
    def text(self) -> str:
        """The rate and its interval, in percent."""
        if self.value is None:
            return "-"
        return f"{self.value:.0%} [{100 * self.low:.0f}-{100 * self.high:.0f}]"


@dataclass(frozen=True)
class Tried:
    """A trial with a fault, and what else was asked of it.

    Attributes:
        fault: What was wrong with the version.
        trial: How its rollout went.
        gate: Whether the offline gate failed it; None where the fault does not show offline.
        drift: Partitions until drift was confirmed in the broken column; None where it was not.
    """

    fault: Fault
    trial: Trial
    gate: bool | None
    drift: int | None

    def harmful(self, declared: Rollout) -> bool:
        """Tell whether the version truly is worse by a margin that is declared to matter."""
        margins, trial = declared.metrics, self.trial
        return bool(
            trial.harm >= margins["loss"].margin
            or trial.missing >= margins["errors"].margin
            or trial.slower >= margins["latency"].margin
        )

    @property
    def detected(self) -> bool:
        """Whether gate or rollout ended it as worse."""
        return bool(self.gate) or self.trial.outcome == "worse"


def summary(tried: Sequence[Tried], declared: Rollout) -> dict[str, Any]:
    """Return the figures of trials with one fault, or with several, as plain data.

    Detection, delay and the share decided are of harmful versions; what became of the others is
    given apart.
    """
    bad = [one for one in tried if one.harmful(declared)]
    rest = [one.trial for one in tried if not one.harmful(declared)]
    ended = [one.trial for one in bad if one.trial.outcome == "worse"]
    delays = [one.drift for one in bad if one.drift is not None]
    gated = [one.gate for one in bad if one.gate is not None]
    metrics = Counter(name for trial in ended for name in trial.metrics)
    return {
        "trials": len(tried),
        "harmful": len(bad),
        "harm": _median([one.trial.harm for one in tried if one.trial.harm == one.trial.harm]),
        "gate": asdict(Rate.of(gated)),
        "drift": asdict(Rate.of([one.drift is not None for one in bad])),
        "drift_partitions": _median(delays),
        "rollout": asdict(Rate.of([one.trial.outcome == "worse" for one in bad])),
        "detection": asdict(Rate.of([one.detected for one in bad])),
        "partitions": _median([trial.partitions for trial in ended]),
        "rows": _median([trial.rows for trial in ended]),
        "metrics": {
            name: asdict(Rate.of([name in one.trial.metrics for one in bad]))
            for name, _ in metrics.most_common()
        },
        "stages": dict(sorted(Counter(trial.stage for trial in ended).items())),
        "decided": _mean([one.trial.decided for one in bad]),
        "most_decided": max((one.trial.most for one in bad), default=None),
        "promoted": sum(one.trial.promoted for one in bad),
        "kept": sum(one.trial.outcome == "promoted" for one in bad),
        "undecided": sum(one.trial.outcome == "undecided" for one in bad),
        "harmless": {
            "n": len(rest),
            "ended": asdict(Rate.of([trial.outcome == "worse" for trial in rest])),
            "promoted": sum(trial.outcome == "promoted" for trial in rest),
        },
        "ended_after": sorted(trial.partitions for trial in ended),
    }


def of_equals(trials: Sequence[Trial], refused: Sequence[bool]) -> dict[str, Any]:
    """Return the figures of rollouts of equal versions, as plain data.

    Args:
        trials: How they went.
        refused: Whether the offline gate failed them.
    """
    ended = [trial for trial in trials if trial.outcome == "worse"]
    settled = [trial for trial in trials if trial.outcome == "promoted"]
    return {
        "false_rollback": asdict(Rate.of([trial.outcome == "worse" for trial in trials])),
        "promoted": asdict(Rate.of([trial.outcome == "promoted" for trial in trials])),
        "undecided": asdict(Rate.of([trial.outcome == "undecided" for trial in trials])),
        "refused_by_gate": asdict(Rate.of(refused)),
        "metrics": dict(Counter(name for trial in ended for name in trial.metrics)),
        "partitions": _median([trial.partitions for trial in settled]),
        "rows": _median([trial.rows for trial in settled]),
        "largest_harm": max((trial.harm for trial in trials), default=None),
        "ended_after": sorted(trial.partitions for trial in ended),
    }


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if value == value]
    return fmean(known) if known else None


def _median(values: Sequence[float]) -> float | None:
    return float(median(values)) if values else None

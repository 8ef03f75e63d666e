"""Better, not worse, worse, or too little to say: the verdict on a challenger.

Each metric comes as a series of paired harms, challenger minus champion on the same row, positive
where the challenger is worse. `aios.statistics.sequence` bounds its mean so that the bounds hold at
every look.

    worse         low > limit and estimate >= margin
    better        high < 0, where the limit is 0
    not worse     high < margin
    insufficient  all else: few rows, missing rows, errors, or a mean that is not yet settled

`low` holds with the series' share of the error rate (shares add up, by weight, to the whole), so
that the chance that an equal challenger is ever called worse, by any metric at any look, is at most
`error_rate` (Bonferroni). `high` holds with the whole error rate: a challenger passes only if every
critical metric does, and an intersection of tests needs no split (Berger 1982). A worse verdict
wins over all others, and nothing that could not be measured is ever a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from aios.errors import AiosError
from aios.statistics.sequence import bounds, rows_needed

Status = Literal["better", "not worse", "worse", "insufficient"]

MOST_MISSING: Final = 0.05
"""Share of the rows due that may be missing. The rest says nothing: failing rows are often the bad
ones."""


@dataclass(frozen=True)
class Series:
    """One metric over one span of a rollout.

    Args:
        metric: Name of the metric.
        harm: Challenger minus champion, positive where the challenger is worse; shape (n,), in time
            order, NaN where a row could not be measured.
        margin: Least mean harm that matters, above 0, in harm's unit.
        limit: Mean harm that is still allowed: 0 for losses, the margin for a disagreement or a
            shift, which are never below 0.
        critical: The rollout stops where the metric cannot be measured.
        weight: Share of the error rate, relative to the other series. Weights that add up to less
            than 1 are shares as they stand, and leave the rest to series that come later.
        due: Rows that should be measured by now; all rows of `harm` where None.
        matured: Share of the rows' labels that are known by now.
        scope: Span of the rollout that the rows come from.
        error: Why the metric could not be computed at all.
    """

    metric: str
    harm: np.ndarray
    margin: float
    limit: float = 0.0
    critical: bool = True
    weight: float = 1.0
    due: int | None = None
    matured: float = 1.0
    scope: str = "whole"
    error: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that would make a verdict meaningless."""
        for name, value, right in (
            ("margin", self.margin, self.margin > 0),
            ("limit", self.limit, 0 <= self.limit <= self.margin),
            ("weight", self.weight, self.weight > 0),
            ("matured", self.matured, 0 <= self.matured <= 1),
        ):
            if not (right and math.isfinite(value)):
                fix = "margin > 0, 0 <= limit <= margin, weight > 0, 0 <= matured <= 1"
                raise AiosError(f"{name} {value}", where=f"{self.metric} ({self.scope})", fix=fix)


@dataclass(frozen=True)
class MetricVerdict:
    """Verdict on one series.

    `low` and `high` bound the mean harm and are infinite where there is no bound; `estimate` is NaN
    without a row. `missing` counts the rows due that are not measured. `needed` is the number of
    further rows until a verdict, should mean and spread stay as they are; None where unknown.
    """

    metric: str
    scope: str
    status: Status
    critical: bool
    estimate: float
    low: float
    high: float
    margin: float
    limit: float
    rows: int
    blocks: int
    block: int
    missing: int
    provisional: bool
    reason: str
    needed: int | None


@dataclass(frozen=True)
class Verdict:
    """What the metrics say together; `reasons` are sentences for a person, the deciding ones first.

    `provisional` is true where a verdict rests on labels of which too few have matured.
    """

    status: Status
    metrics: tuple[MetricVerdict, ...]
    reasons: tuple[str, ...]
    provisional: bool


def judge(series: Sequence[Series], *, error_rate: float, min_rows: int, matured: float) -> Verdict:
    """Judge a challenger by all its series at once.

    Args:
        series: One for each metric and scope, the same ones at each look: a series that cannot be
            computed comes with `error`, for its share of the error rate stays spent.
        error_rate: Chance that an equal challenger is ever called worse, over all looks and series.
        min_rows: Rows below which a series says nothing.
        matured: Share of the labels below which a verdict is provisional.
    """
    total = max(1.0, sum(one.weight for one in series))
    metrics = tuple(
        _metric(one, error_rate, error_rate * one.weight / total, min_rows, matured)
        for one in series
    )
    status, deciding = _overall(metrics)
    reasons = tuple(f"{one.metric} ({one.scope}): {one.reason}" for one in deciding)
    if not any(one.critical for one in metrics):
        reasons = (*reasons, "no critical metric was given")
    rests = all if status == "worse" else any
    provisional = bool(deciding) and rests(one.provisional for one in deciding)
    return Verdict(status, metrics, reasons, provisional)


def _overall(metrics: Sequence[MetricVerdict]) -> tuple[Status, list[MetricVerdict]]:
    """Overall status and the metrics that it rests on."""
    worse = [one for one in metrics if one.status == "worse"]
    critical = [one for one in metrics if one.critical]
    unclear = [one for one in critical if one.status == "insufficient"]
    better = [one for one in critical if one.status == "better"]
    if worse:
        return "worse", worse
    if unclear or not critical:
        return "insufficient", unclear
    return ("better" if better else "not worse"), better + [o for o in critical if o not in better]


def _metric(
    series: Series, error_rate: float, share: float, min_rows: int, matured: float
) -> MetricVerdict:
    harm = np.asarray(series.harm, dtype=np.float64).ravel()
    found = bounds(harm, error_rate=share, above=error_rate, first=min_rows)
    due = len(harm) if series.due is None else series.due
    verdict = MetricVerdict(
        series.metric, series.scope, "insufficient", series.critical, found.mean, found.low,
        found.high, series.margin, series.limit, found.rows, found.blocks, found.block,
        max(due - found.rows, 0), series.matured < matured, "", None,
    )  # fmt: skip
    problem = _unmeasured(verdict, series, due, min_rows)
    if problem:
        return replace(verdict, reason=problem, needed=_missing_rows(verdict, series, min_rows))
    status, reason = _status(verdict)
    if status != "insufficient":
        return replace(verdict, status=status, reason=reason, needed=0)
    if found.mean >= series.margin:
        needed = rows_needed(found, series.limit, error_rate=share, first=min_rows)
    else:
        needed = rows_needed(found, series.margin, error_rate=error_rate, first=min_rows)
    return replace(verdict, reason=reason, needed=needed)


def _unmeasured(verdict: MetricVerdict, series: Series, due: int, min_rows: int) -> str:
    """Why a series says nothing, or "" where it may."""
    if series.error:
        return f"could not be computed: {series.error}"
    if verdict.missing > MOST_MISSING * due:
        return f"{verdict.missing:,} of {due:,} rows due are missing"
    if verdict.rows < min_rows:
        return f"{verdict.rows:,} of at least {min_rows:,} rows"
    if math.isinf(verdict.low) and math.isinf(verdict.high):
        return f"the {verdict.rows:,} rows depend on each other too much"
    return ""


def _missing_rows(verdict: MetricVerdict, series: Series, min_rows: int) -> int | None:
    if series.error or verdict.missing > MOST_MISSING * (verdict.rows + verdict.missing):
        return None
    return min_rows - verdict.rows if verdict.rows < min_rows else None


def _status(verdict: MetricVerdict) -> tuple[Status, str]:
    span = (
        f"mean harm {verdict.estimate:.3g}, surely from {verdict.low:.3g} to {verdict.high:.3g}, "
        f"margin {verdict.margin:.3g}, {verdict.rows:,} rows"
    )
    if verdict.low > verdict.limit and verdict.estimate >= verdict.margin:
        return "worse", f"worse: {span}"
    if verdict.limit == 0 and verdict.high < 0:
        return "better", f"better: {span}"
    if verdict.high < verdict.margin:
        return "not worse", f"not worse: {span}"
    return "insufficient", f"not settled: {span}"

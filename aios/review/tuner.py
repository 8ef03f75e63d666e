"""New thresholds for a policy, from what its decisions cost where the truth is known.

The earlier half of the partitions chooses the thresholds, the later half judges them: the best of
many on the same rows would look better than it is. On the later half the difference in expected
cost per decision has a bootstrap interval over partitions (rows of one partition share causes),
its percentiles taken wider for few of them: the expanded percentile interval of Hesterberg (2015).
A policy is proposed only where the whole interval says that it costs less. Where no threshold is
any better, that happens with half of `level` at most (simulated: tests, docs/tuning.md).

What a decision costs is `costs.review` for a review, and `costs.wrong` for another outcome that
the truth contradicts. Reviewers are taken to be right.

Truth is a matured label, or else a person's verdict. Verdicts exist only where the present policy
asked for one, so moving a threshold over decisions without truth would be a guess: thresholds
are considered only where nearly all decisions that they change have one.

Where people have time for a share of the decisions only, thresholds that send them more are not
considered either. That share is counted in both halves: it does not look at the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from aios.errors import AiosError
from aios.policy import Policy
from aios.review.thresholds import Threshold, rewritten, thresholds, with_values
from aios.statistics.blocks import interval

if TYPE_CHECKING:
    from aios.spec import Costs

GRID = 60
"""Scores that are tried for each threshold."""

MIN_ROWS, MIN_BLOCKS, MIN_TRUTH = 1000, 6, 0.9
"""Decisions with truth; partitions in each half; share with truth of what would change."""

REGIONS, FEW = 20, 20
"""Equal parts of the scores that must each have truth, where more than a few decisions change."""

COARSE = 3
"""Of the scores, each so many is tried where two thresholds move at once."""


@dataclass(frozen=True)
class Tried:
    """A threshold's value, with the others as chosen.

    Attributes:
        rule: Its rule.
        value: The value.
        cost: Expected cost per decision, on the earlier half; None where it was not considered.
        why: Why it was not.
    """

    rule: str
    value: float
    cost: float | None
    why: str = ""


@dataclass(frozen=True)
class Tuning:
    """What came of a search.

    Attributes:
        status: "proposed", "keep" (nothing surely better), or "insufficient".
        why: In words.
        rows: Decisions old enough that their labels should be known.
        truth: How many of them have a truth, by where it comes from.
        partitions: How many they lie in.
        thresholds: Each present and proposed number, by rule.
        cost: Expected cost per decision under the present policy, on the later half.
        difference: What the chosen thresholds add to it there.
        low: Lower end of its interval.
        high: Upper end.
        reviewed: Share that goes to review there, at present and as chosen.
        level: Chance that the interval misses.
        tried: What was tried.
        policy: The new policy file; None unless proposed.
    """

    status: str
    why: str
    rows: int
    truth: dict[str, int]
    partitions: int
    thresholds: list[tuple[str, float, float]]
    cost: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    reviewed: tuple[float, float] | None = None
    level: float = 0.05
    tried: tuple[Tried, ...] = ()
    policy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


def costs_of(
    outcome: pl.Series, label: pl.Series, costs: Costs, approving: Sequence[str]
) -> np.ndarray:
    """Return what each decision costs.

    Args:
        outcome: What is decided.
        label: The truth: 0, 1 or null.
        costs: The declared costs.
        approving: Outcomes that are wrong where the label is 1; the others where it is 0.

    Returns:
        Shape (n,); not a number where the truth is not known.

    Raises:
        AiosError: The cost of an outcome is not declared.
    """
    decided = sorted(set(outcome.unique()) - {"review"})
    if missing := [name for name in decided if name not in costs.wrong]:
        raise AiosError(
            f"what a wrong {missing[0]!r} costs is not declared",
            where="costs",
            fix="Give it in 'costs: {wrong: {OUTCOME: COST}}' of defs.yaml.",
        )
    truth = label.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    found = np.where(np.isnan(truth), np.nan, 0.0)
    names = outcome.to_numpy()
    for name in decided:
        wrong = truth == (1.0 if name in approving else 0.0)
        found[(names == name) & wrong] = costs.wrong[name]
    found[(names == "review") & ~np.isnan(truth)] = costs.review
    return found


@dataclass(frozen=True)
class _Rows:
    """Some decisions, and what deciding them by a policy costs."""

    frame: pl.DataFrame
    costs: Costs
    approving: Sequence[str]

    def outcome(self, policy: Policy) -> pl.Series:
        return policy.decide(self.frame)["outcome"]

    def cost(self, outcome: pl.Series) -> np.ndarray:
        return costs_of(outcome, self.frame["label"], self.costs, self.approving)

    @cached_property
    def known(self) -> np.ndarray:
        return self.frame["label"].is_not_null().to_numpy()

    @cached_property
    def region(self) -> np.ndarray:
        """In which twentieth of all scores each decision lies."""
        rank = self.frame["score"].fill_nan(None).rank("average").fill_null(0)
        return (rank.to_numpy() * (REGIONS - 1e-9) / max(1, self.frame.height)).astype(int)

    def supported(self, before: pl.Series, after: pl.Series) -> bool:
        """Tell whether nearly all decisions that change have a truth, in each region of scores."""
        changed = (before != after).to_numpy()
        moved = np.bincount(self.region[changed], minlength=REGIONS)
        known = np.bincount(self.region[changed & self.known], minlength=REGIONS)
        counted = moved >= FEW
        return bool(
            known.sum() >= MIN_TRUTH * moved.sum()
            and (known[counted] >= MIN_TRUTH * moved[counted]).all()
        )


def tune(
    text: str,
    policy: Policy,
    decided: pl.DataFrame,
    costs: Costs,
    *,
    approving: Sequence[str] = ("approve",),
    capacity: float = 1.0,
    level: float = 0.05,
    grid: int = GRID,
    seed: int = 0,
) -> Tuning:
    """Look for thresholds that surely cost less than those of a policy.

    Args:
        text: The policy's file.
        policy: What it says.
        decided: One row a decision: the policy's inputs, `partition`, `label` (0, 1 or null where
            no truth is known) and `source` (where that is from).
        costs: What reviews and errors cost.
        approving: Outcomes that are wrong where the label is 1; the others where it is 0.
        capacity: Share of decisions that may go to review, or else as many as do at present.
        level: Chance that the interval of the difference misses.
        grid: Scores that are tried for each threshold.
        seed: Of the bootstrap.

    Raises:
        AiosError: The cost of an outcome is not declared.
    """
    found = thresholds(policy)
    keys = sorted(decided["partition"].unique())
    known = decided.filter(pl.col("label").is_not_null())
    basis: dict[str, Any] = {
        "rows": decided.height,
        "truth": dict(known.group_by("source").len().sort("source").iter_rows()),
        "partitions": len(keys),
        "level": level,
    }
    present = [(one.rule, one.value, one.value) for one in found]

    def ended(status: str, why: str, **more: Any) -> Tuning:
        return Tuning(status, why, **({"thresholds": present} | basis | more))

    if not found:
        return ended("keep", "no rule compares the score with a number")
    if known.height < MIN_ROWS or len(keys) < 2 * MIN_BLOCKS:
        return ended(
            "insufficient",
            f"{known.height} decisions with a known truth in {len(keys)} partitions; "
            f"{MIN_ROWS} in {2 * MIN_BLOCKS} are needed",
        )
    half = keys[len(keys) // 2]
    earlier = _Rows(decided.filter(pl.col("partition") < half), costs, approving)
    later = _Rows(decided.filter(pl.col("partition") >= half), costs, approving)
    most = max(capacity, _to_review(policy.decide(decided)["outcome"]))

    def in_time(new: Policy) -> bool:
        return _to_review(new.decide(decided)["outcome"]) <= most

    values, tried = _search(policy, found, earlier, grid, in_time if most < 1 else None)
    basis |= {"tried": tried}
    if values == [one.value for one in found]:
        return ended("keep", "no threshold with known truth around it costs less")
    chosen = with_values(policy, found, values)
    moved = [(one.rule, one.value, value) for one, value in zip(found, values, strict=True)]
    before, after = later.outcome(policy), later.outcome(chosen)
    if not later.supported(before, after):
        return ended("keep", "too few of the later decisions that would change have a known truth")
    old, new = later.cost(before), later.cost(after)
    rows = ~np.isnan(old)
    change = (new - old)[rows]
    low, high = interval(change, later.frame["partition"].to_numpy()[rows], level, seed)
    basis |= {"cost": float(old[rows].mean()), "difference": float(change.mean()),
              "low": low, "high": high, "thresholds": moved,
              "reviewed": (_to_review(before), _to_review(after))}  # fmt: skip
    if high >= 0:
        return ended("keep", "on the later half it is not surely cheaper")
    return ended(
        "proposed",
        f"{-change.mean():.3g} less per decision, {-high:.3g} to {-low:.3g} less "
        f"({1 - level:.0%}), on {int(rows.sum())} decisions that did not choose it; to review "
        f"goes {_to_review(after):.0%} instead of {_to_review(before):.0%}",
        policy=rewritten(text, policy, chosen),
    )


def _to_review(outcome: pl.Series) -> float:
    return float((outcome == "review").sum() / len(outcome))


def _search(
    policy: Policy,
    found: Sequence[Threshold],
    rows: _Rows,
    grid: int,
    in_time: Callable[[Policy], bool] | None,
) -> tuple[list[float], tuple[Tried, ...]]:
    """Return the cheapest thresholds, one after the other until none gets better.

    Two move at once only where people have no time for more: a wider search proposes more often
    what is not better.
    """
    scores = rows.frame["score"].drop_nulls().drop_nans().to_numpy()
    # Quantiles where most scores are, and even steps where few are.
    steps = np.linspace(0, 1, grid // 3)
    quantiles = np.quantile(scores, np.linspace(0, 1, grid - len(steps)))
    even = scores.min() + steps * np.ptp(scores)
    points = sorted({round(float(one), 4) for one in (*quantiles, *even)})
    before = rows.outcome(policy)

    @cache
    def cost(*values: float) -> tuple[float | None, str]:
        new = with_values(policy, found, values)
        after = rows.outcome(new)
        if not rows.supported(before, after):
            return None, "truth not known"
        if in_time and not in_time(new):
            return None, "more reviews than there is time for"
        return float(np.nanmean(rows.cost(after))), ""

    values = [one.value for one in found]
    least = cost(*values)[0] or 0.0
    tried: dict[int, list[Tried]] = {}
    while True:
        start = list(values)
        for i, one in enumerate(found):
            tried[i] = []
            for point in points:
                spent, why = cost(*values[:i], point, *values[i + 1 :])
                tried[i].append(Tried(one.rule, point, spent, why))
            possible = [(one.cost, one.value) for one in tried[i] if one.cost is not None]
            best = min(possible, default=(least, values[i]))
            if best[0] < least - 1e-9:
                least, values[i] = best
        if values == start and in_time:
            least, values = _traded(cost, least, values, points[::COARSE])
        if values == start:
            return values, tuple(one for group in tried.values() for one in group)


def _traded(
    cost: Callable[..., tuple[float | None, str]],
    least: float,
    values: list[float],
    points: Sequence[float],
) -> tuple[float, list[float]]:
    """Return the cheapest thresholds of those that differ in two, and what they cost.

    Where people have no more time, one threshold can only send them more if another sends less.
    """
    best = values
    for i, j in combinations(range(len(values)), 2):
        for one, other in product(points, repeat=2):
            new = list(values)
            new[i], new[j] = one, other
            spent, _ = cost(*new)
            if spent is not None and spent < least - 1e-9:
                least, best = spent, new
    return least, best

"""What reviewing is worth: how often people change what was proposed, agree, and look at all.

Verdicts that were taken back do not count. Seeded cases count for the catch rate and for what
reviewing costs, and for nothing else; what the desk decided for want of a person counts as overdue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import polars as pl

from aios.review.reviewed import Reviewed, outcomes_by_people
from aios.statistics.shares import Agreement, Difference, Share, agreement, difference, share

QUICK = 5.0
"""Seconds in which nobody reads a case."""

QUICK_SHARE, CATCH = 0.2, 0.8
"""The share of quick approvals that stands out, and the share of seeded errors to be caught."""


@dataclass(frozen=True)
class Spread:
    """Median and 95th percentile, in seconds; None where nothing was counted."""

    n: int
    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Signs:
    """What may tell that a reviewer approves without looking.

    Attributes:
        quick: Share of their approving verdicts, taken one by one, in less than `QUICK` seconds.
        caught: Share of seeded errors that they saw.
        overrides: Share of proposals that they changed.
        peers: By how much that differs from all others.
        noted: What stands out, in words; of all reviewers together wrong with chance 5 % at most
            for each of the three signs.
    """

    quick: Share
    caught: Share
    overrides: Share
    peers: Difference | None
    noted: list[str]


@dataclass(frozen=True)
class Measures:
    """All measures of an automation's reviewing.

    Attributes:
        decisions: Decisions made.
        straight_through: Share of them that no person touched.
        cases: Cases by state, seeded ones not counted.
        verdicts: Verdicts that stand, of seeded cases too.
        overrides: Changed outcomes by `all`, `rule`, `model_version`, `reviewer`, `slice` and
            `proposal` (shown or hidden), each by value.
        automatic: Overridden decisions that nobody had reviewed, by `all`, `rule`,
            `model_version`.
        agreement: Of two who reviewed the same case blindly.
        to_verdict: From taking a case to the verdict.
        to_close: From opening a case to closing it.
        overdue: Share of the cases closed after they were due, or waiting since.
        waiting: Age of the waiting cases.
        caught: Share of seeded errors that were seen.
        reviewers: Signs by reviewer.
        cost: What reviews and actions cost, in the currency of `costs`; None where not declared.
        cost_per_decision: The same by decision.
    """

    decisions: int
    straight_through: Share
    cases: dict[str, int]
    verdicts: int
    overrides: dict[str, dict[str, Share]]
    automatic: dict[str, dict[str, Share]]
    agreement: Agreement
    to_verdict: Spread
    to_close: Spread
    overdue: Share
    waiting: Spread
    caught: Share
    reviewers: dict[str, Signs]
    cost: float | None
    cost_per_decision: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return asdict(self)


def measure(
    reviewed: Reviewed,
    decisions: pl.DataFrame,
    now: datetime,
    *,
    approving: list[str],
    review_cost: float | None = None,
    action_costs: float = 0.0,
) -> Measures:
    """Measure an automation's reviewing.

    Args:
        reviewed: Its cases and verdicts.
        decisions: How many were made: `outcome`, `rule`, `model_version`, `rows`.
        now: The time that waiting cases are as old as.
        approving: The outcomes that let something happen.
        review_cost: What one review costs; None where not declared.
        action_costs: What the actions of these decisions cost.
    """
    standing = reviewed.standing
    real = standing.filter(pl.col("answer").is_null())
    final = outcomes_by_people(reviewed)
    cases = reviewed.cases.filter(pl.col("answer").is_null(), pl.col("state") != "superseded")
    made = int(decisions["rows"].sum())
    touched = decisions.filter(pl.col("outcome") == "review")["rows"].sum()
    automatic = final.filter("automatic")
    cost = None if review_cost is None else review_cost * standing.height + action_costs
    return Measures(
        decisions=made,
        straight_through=share(max(0, made - int(touched) - automatic.height), made),
        cases=dict(cases.group_by("state").len().sort("state").iter_rows()),
        verdicts=standing.height,
        overrides=_overrides(final.filter(~pl.col("automatic")), real),
        automatic=_automatic(automatic, decisions),
        agreement=_agreement(real),
        to_verdict=spread(_seconds(standing, "held_at", "at")),
        to_close=spread(
            _seconds(cases.filter(pl.col("state") == "closed"), "opened_at", "closed_at")
        ),
        overdue=_overdue(cases, now),
        waiting=spread(_ages(cases, now)),
        caught=_caught(standing),
        reviewers=_signs(standing, approving),
        cost=cost,
        cost_per_decision=cost / made if cost is not None and made else None,
    )


def spread(seconds: pl.Series) -> Spread:
    """Return the median and 95th percentile of some durations."""
    known = seconds.drop_nulls()
    return Spread(len(known), known.quantile(0.5, "linear"), known.quantile(0.95, "linear"))


def _seconds(frame: pl.DataFrame, start: str, end: str) -> pl.Series:
    passed = (pl.col(end) - pl.col(start)).dt.total_microseconds() / 1e6
    return frame.select(passed.alias("seconds")).to_series()


def _ages(cases: pl.DataFrame, now: datetime) -> pl.Series:
    waiting = cases.filter(pl.col("closed_at").is_null())
    return _seconds(waiting.with_columns(pl.lit(now).alias("now")), "opened_at", "now")


def _overdue(cases: pl.DataFrame, now: datetime) -> Share:
    end = pl.coalesce("closed_at", pl.lit(now))
    return share(cases.filter(end > pl.col("due_at")).height, cases.height)


def _by(frame: pl.DataFrame, column: str, hit: str) -> dict[str, Share]:
    found = (
        frame.drop_nulls(column)
        .group_by(pl.col(column).cast(pl.String))
        .agg(pl.col(hit).sum(), pl.len())
        .sort(column)
    )
    return {value: share(hits, n) for value, hits, n in found.iter_rows()}


def _overrides(final: pl.DataFrame, real: pl.DataFrame) -> dict[str, dict[str, Share]]:
    """Shares of changed proposals, of cases by what they are and of verdicts by who gave them."""
    sliced = final.explode("slices")
    given = _with_changed(real)
    shown = pl.when("shown").then(pl.lit("shown")).otherwise(pl.lit("hidden"))
    return {
        "all": {"all": share(int(final["overridden"].sum()), final.height)},
        "rule": _by(final, "rule", "overridden"),
        "model_version": _by(final, "model_version", "overridden"),
        "reviewer": _by(given, "reviewer", "changed"),
        "slice": _by(sliced, "slices", "overridden"),
        "proposal": _by(given.with_columns(shown.alias("proposal")), "proposal", "changed"),
    }


def _with_changed(standing: pl.DataFrame) -> pl.DataFrame:
    """Return verdicts on cases that name an outcome, and whether it was not the proposed one."""
    named = standing.filter(pl.col("outcome").is_not_null(), pl.col("case").is_not_null())
    return named.with_columns((pl.col("outcome") != pl.col("proposal")).alias("changed"))


def _automatic(final: pl.DataFrame, decisions: pl.DataFrame) -> dict[str, dict[str, Share]]:
    """Shares of overridden decisions among all that nobody reviewed."""
    made = decisions.filter(pl.col("outcome") != "review")

    def by(column: str) -> dict[str, Share]:
        total = made.drop_nulls(column).group_by(column).agg(pl.col("rows").sum()).sort(column)
        hits: Mapping[Any, int] = dict(final.group_by(column).len().iter_rows())
        return {str(value): share(hits.get(value, 0), n) for value, n in total.iter_rows()}

    total = {"all": share(final.height, int(made["rows"].sum()))}
    return {"all": total, "rule": by("rule"), "model_version": by("model_version")}


def _agreement(real: pl.DataFrame) -> Agreement:
    """Agreement of the first two verdicts of different people on each blindly doubled case."""
    blind = pl.col("double") & (pl.col("verdict") != "override")
    named = real.filter(blind, pl.col("outcome").is_not_null())
    firsts = named.unique(["case", "reviewer"], keep="first", maintain_order=True)
    pairs = firsts.group_by("case", maintain_order=True).agg(pl.col("outcome").head(2))
    both = [outcomes for outcomes in pairs["outcome"].to_list() if len(outcomes) == 2]
    return agreement([one for one, _ in both], [other for _, other in both])


def _caught(standing: pl.DataFrame, level: float = 0.05) -> Share:
    seeded = standing.filter(pl.col("answer").is_not_null(), pl.col("outcome").is_not_null())
    return share(seeded.filter(pl.col("outcome") == pl.col("answer")).height, seeded.height, level)


def _signs(standing: pl.DataFrame, approving: list[str]) -> dict[str, Signs]:
    people = standing["reviewer"].unique().sort().to_list()
    level = 0.05 / max(1, len(people))
    return {name: _signs_of(name, standing, approving, level) for name in people}


def _signs_of(name: str, standing: pl.DataFrame, approving: list[str], level: float) -> Signs:
    own = pl.col("reviewer") == name
    single = standing.filter(own, pl.col("batch").is_null(), pl.col("held_at").is_not_null())
    approved = single.filter(pl.col("outcome").is_in(approving))
    hasty = int((_seconds(approved, "held_at", "at") < QUICK).sum())
    quick = share(hasty, approved.height, level)
    caught = _caught(standing.filter(own), level)
    given = _with_changed(standing.filter(pl.col("answer").is_null()))

    def changed(who: pl.Expr) -> Share:
        rows = given.filter(who)
        return share(int(rows["changed"].sum()), rows.height, level)

    mine, others = changed(own), changed(~own)
    peers = difference(mine, others)
    noted = []
    if quick.low > QUICK_SHARE:
        noted.append(f"{quick.value:.0%} of approvals took less than {QUICK:g} s")
    if caught.high < CATCH:
        noted.append(f"saw {caught.hits} of {caught.n} seeded errors")
    if peers and peers.high < 0:
        noted.append(f"changes {mine.value:.0%} of proposals, the others {others.value:.0%}")
    return Signs(quick, caught, mine, peers, noted)

"""Reviews: what people decided, kept as labels, and what their reviewing is worth."""

from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from aios import clock
from aios.automation import Automation
from aios.identity.tables import micros
from aios.lake import Lake
from aios.windows import Window, window_at
from aios_assets.lifecycle.common import (
    DAILY,
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    stage,
)
from aios_assets.links import console_page
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from aios.review.measures import Measures, Spread
    from aios.statistics.shares import Agreement, Share

VERDICTS = "verdicts"
"""Labels that people found: id, `label`, `known_at`, `source`; one file a partition."""

LEAST_KAPPA = 0.4
"""Agreement beyond chance below which two reviewers hardly mean the same by an outcome."""


def keep_verdicts(automation: Automation, platform: Platform) -> int:
    """Write the labels that people found to the lake, by the partition in which they were final.

    Returns:
        How many there are.
    """
    from aios.review.labels import verdict_labels

    lake, cadence = platform.lake(automation.name), automation.spec.cadence
    first = automation.binding.start
    found = verdict_labels(platform.log.database, automation, first, clock.now())
    windows: dict[str, Window] = {}
    for moment in found["known_at"]:
        window = window_at(cadence, moment)
        windows[window.key] = window
    for key, window in sorted(windows.items()):
        inside = pl.col("known_at").is_between(window.start, window.end, closed="left")
        lake.write(VERDICTS, key, found.filter(inside))
    return found.height


def decisions_made(lake: Lake, since: str) -> pl.DataFrame:
    """Count decisions from a partition on: `outcome`, `rule`, `model_version`, `rows`."""
    names = ["outcome", "rule", "model_version"]
    found = lake.read_all("decisions", since=since, columns=names)
    if found is None:
        return pl.DataFrame(schema={**dict.fromkeys(names, pl.String), "rows": pl.UInt32})
    return found.group_by(names).agg(pl.len().alias("rows")).sort(names)


def measure_reviews(automation: Automation, platform: Platform) -> "Measures":
    """Measure the reviewing of all decisions since the first partition that has a case."""
    from aios.actions.costs import spent
    from aios.review.measures import measure
    from aios.review.reviewed import read

    spec, database = automation.spec, platform.log.database
    assert spec.review
    lake = platform.lake(automation.name)
    reviewed = read(database, automation, lake)
    # Seeded cases are of earlier partitions.
    since = reviewed.cases.filter(pl.col("answer").is_null())["partition"].min()
    last = lake.partitions("decisions")[-1:] or [""]
    return measure(
        reviewed,
        decisions_made(lake, str(since or last[0])),
        clock.wall(),
        approving=spec.review.approving,
        review_cost=spec.costs.review if spec.costs else None,
        action_costs=spent(database, automation),
    )


def build_reviews(automation: Automation) -> dg.AssetsDefinition:
    """Build the `reviews` asset of an automation whose decisions people review."""
    noun = "reviews"
    options = asset_options(automation, noun, kinds={"polars"})
    options.pop("partitions_def")

    @dg.asset(
        **options,
        deps=[[automation.name, "decisions"]],
        description="What people decided, written to the lake as labels with their provenance, "
        "and how the reviewing goes: overrides, agreement, time, seeded errors, cost. The queue "
        "itself is in the console.",
        freshness_policy=DAILY,
        check_specs=[
            check_spec(automation, noun, "in_time", "No case waits past its time."),
            check_spec(
                automation,
                noun,
                "attentive",
                "No reviewer approves in seconds, misses seeded errors, or changes far less than "
                "the others.",
            ),
            check_spec(
                automation,
                noun,
                "agreement",
                f"Two who review the same case blindly agree: kappa of {LEAST_KAPPA:g} or more "
                "is not excluded.",
            ),
        ],
    )
    def reviews(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage(noun):
            labels = keep_verdicts(automation, platform)
            found = measure_reviews(automation, platform)
        return dg.MaterializeResult(
            metadata={"labels": labels, **_metadata(automation, found)},
            check_results=_checks(found, _overdue(automation, platform)),
        )

    return reviews


def _overdue(automation: Automation, platform: Platform) -> int:
    """Count real cases past their time; those of a rehearsal wait for nobody."""
    from aios.review.tables import CASES

    late = sa.select(sa.func.count()).where(
        CASES.c.automation == automation.name,
        CASES.c.closed_at.is_(None),
        CASES.c.due_at < micros(clock.wall()),
        sa.not_(CASES.c.rehearsed),
    )
    with platform.log.database.reading() as connection:
        return connection.execute(late).scalar_one()


def _checks(found: "Measures", overdue: int) -> list[dg.AssetCheckResult]:
    noted = [f"{name}: {said}" for name, one in found.reviewers.items() for said in one.noted]
    both = found.agreement
    return [
        check_result("in_time", not overdue, overdue=overdue),
        check_result("attentive", not noted, noted="; ".join(noted) or "nothing"),
        check_result("agreement", both.high >= LEAST_KAPPA, pairs=both.pairs),
    ]


def figures(found: "Measures") -> list[tuple[str, str]]:
    """Return the measures of a reviewing in words and figures."""
    cost = found.cost_per_decision
    return [
        ("decisions", f"{found.decisions:,}"),
        ("cases", ", ".join(f"{n:,} {state}" for state, n in found.cases.items()) or "none"),
        ("straight through", _share(found.straight_through)),
        ("proposals changed", _share(found.overrides["all"]["all"])),
        ("decisions overridden", _share(found.automatic["all"]["all"])),
        ("overdue", _share(found.overdue)),
        ("seeded errors seen", _share(found.caught)),
        ("agreement, kappa", _kappa(found.agreement)),
        ("taken to verdict", _spread(found.to_verdict)),
        ("opened to closed", _spread(found.to_close)),
        ("age of those waiting", _spread(found.waiting)),
        ("cost of a decision", "not declared" if cost is None else f"{cost:.4g}"),
    ]


def _metadata(automation: Automation, found: "Measures") -> dict[str, Any]:
    changed = [
        [kind, name, _share(one)]
        for kind, values in found.overrides.items()
        for name, one in values.items()
    ]
    return {
        "reviewing": markdown_table(["", ""], figures(found)),
        "changed proposals": markdown_table(["by", "", "share"], changed),
        "queue": console_page(f"queue?automation={automation.name}"),
    }


def _share(one: "Share") -> str:
    if one.value is None:
        return "none to count"
    return f"{one.value:.1%} ({one.low:.1%} to {one.high:.1%}) of {one.n:,}"


def _kappa(one: "Agreement") -> str:
    if one.kappa is None:
        return f"none; {one.pairs} pairs"
    return f"{one.kappa:.2f} ({one.low:.2f} to {one.high:.2f}), {one.pairs} pairs"


def _spread(one: "Spread") -> str:
    if one.p50 is None or one.p95 is None:
        return "none to count"
    return f"p50 {_hours(one.p50)}, p95 {_hours(one.p95)}, of {one.n:,}"


def _hours(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 3600:.1f} h"

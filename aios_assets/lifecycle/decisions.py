"""Decisions: the policy applied to every prediction, naming all that produced it."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from aios import archive, clock
from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.consequences import REVIEW, follow
from aios.halts import RULE, Halted, halted, refuse_halted
from aios.lake import Lake
from aios.record.batches import record_decisions
from aios.record.changes import Changes
from aios.windows import Window
from aios_assets.lifecycle.assignment import kept
from aios_assets.lifecycle.common import (
    actor_of,
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    row_columns,
    row_metadata,
    stage,
    traced_windows,
)
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from sqlalchemy import Connection


def decide_window(
    automation: Automation,
    lake: Lake,
    window: Window,
    is_halted: Callable[[], bool] = lambda: False,
) -> pl.DataFrame:
    """Decide a window's predictions and store the decisions.

    Before each chunk of rows it is asked whether the automation is halted: all of the chunk goes
    to review then.

    Columns: id, entity, `event_time`, `known_at`, `revision`, `outcome`, `rule` (which decided),
    `fired` (all that fired), `score`, `model_version`, `<step>_version` of each model step,
    `policy_hash`, `code_version`, `feature_digest`.

    Returns:
        The number of rows by outcome and rule: `outcome`, `rule`, `rows`.
    """
    archive.keep(automation, lake, window.key)
    policy = automation.policy
    inputs = [name for name in policy.inputs if name != "score"]
    of_steps = [f"{step.name}_version" for step in automation.spec.model_steps]
    counts: Counter[tuple[str, str]] = Counter()
    versions = [
        pl.lit(policy.hash).alias("policy_hash"),
        pl.lit(automation.code_version).alias("code_version"),
    ]
    features = lake.stream("features", window.key, [*inputs, *of_steps])
    row = row_columns(automation)
    wanted = list(dict.fromkeys([*row, "score", "model_version", "feature_digest"]))
    with lake.writer("decisions", window.key) as write:
        for predictions in lake.stream("predictions", window.key, wanted):
            known = next(features) if inputs or of_steps else pl.DataFrame()
            given = predictions.select("score").hstack(known.select(inputs).get_columns())
            verdicts = policy.decide(given)
            if is_halted():
                verdicts = verdicts.with_columns(
                    outcome=pl.lit(REVIEW), rule=pl.lit(RULE), fired=pl.lit(RULE)
                )
            for outcome, rule, rows in verdicts.group_by("outcome", "rule").len().iter_rows():
                counts[outcome, rule] += rows
            write(
                predictions.hstack(verdicts.get_columns())
                .hstack(known.select(of_steps).get_columns())
                .select(
                    *row,
                    "outcome",
                    "rule",
                    "fired",
                    "score",
                    "model_version",
                    *of_steps,
                    *versions,
                    "feature_digest",
                )
            )
    return pl.DataFrame(
        [(*key, rows) for key, rows in sorted(counts.items())],
        schema={"outcome": pl.String, "rule": pl.String, "rows": pl.Int64},
        orient="row",
    )


def decide_and_record(
    automation: Automation, platform: Platform, window: Window, by: str
) -> pl.DataFrame:
    """Decide a window, record it, and let it have its consequences.

    A halt that comes before the decisions are on record sends them to review, all of them. A
    rehearsal replays the past, and a version asked for by name shows what it would have decided:
    they are not halted, and nothing follows from them.

    Returns:
        As `decide_window`.
    """
    lake, log, name = platform.lake(automation.name), platform.log, automation.name
    used = kept(lake, window.key)
    live = not clock.rehearsing() and not (used and used.named)

    def is_halted() -> bool:
        with log.database.reading() as connection:
            return live and halted(connection, name)

    while True:
        counts = decide_window(automation, lake, window, is_halted)
        decided = set(counts["outcome"]) - {REVIEW}

        def then(connection: "Connection", decided: set[str] = decided) -> None:
            if not live:
                return
            if decided:
                refuse_halted(connection, name)
            follow(connection, automation, lake, window.key, now=clock.wall(), rehearsed=False)

        try:
            record_decisions(log, lake, name, window.key, by, then)
        except Halted:
            continue
        return counts


def build_decisions(automation: Automation) -> dg.AssetsDefinition:
    """Build the `decisions` asset."""
    rules = "; ".join(
        f"{rule.name} -> {rule.outcome} where {rule.when}" for rule in automation.policy.rules
    )

    @dg.asset(
        **asset_options(automation, "decisions", kinds={"polars", "policy"}),
        deps=[[automation.name, "predictions"], [automation.name, "features"]],
        description=f"What the policy (version {automation.policy.version}, "
        f"{automation.policy.hash}) decides for each event, with the rule that decided, all "
        f"rules that fired, and every version behind it. Rules: {rules or 'none'}; "
        f"otherwise {automation.policy.otherwise.outcome}. Missing inputs go to review.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(
                automation,
                "decisions",
                "complete",
                "Every event has exactly one decision that names its versions.",
                blocking=True,
            )
        ],
    )
    def decisions(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake, by = platform.lake(automation.name), actor_of(context, platform.settings)
        with stage("decisions"):
            changes = Changes(platform.log, automation.resource, automation.policy.hash)
            changes.note_policy(by, rehearsing=clock.rehearsing())
            changes.note_code(automation.code_version, by)
            parts = {
                window.key: decide_and_record(automation, platform, window, by)
                for window in traced_windows(context, automation, lake, "decisions")
            }
            if out_of_reach := platform.log.settle():
                raise_alarm(
                    platform.settings.home, automation.name, "record", out_of_reach, out_of_reach
                )
            counts = pl.concat(parts.values())
        decided = int(counts["rows"].sum())
        expected = sum(lake.rows("events", key) for key in parts)
        return dg.MaterializeResult(
            metadata=_metadata(automation, lake, max(parts), counts),
            check_results=[
                check_result(
                    "complete", decided == expected, error=True, events=expected, decisions=decided
                )
            ],
        )

    return decisions


def _metadata(automation: Automation, lake: Lake, key: str, counts: pl.DataFrame) -> dict[str, Any]:
    total = counts.group_by("outcome", "rule").agg(pl.col("rows").sum()).sort("outcome", "rule")
    frame = next(lake.stream("decisions", key))
    return {
        **row_metadata(frame, int(total["rows"].sum())),
        "outcomes": markdown_table(["outcome", "rule", "rows"], total.rows()),
        "policy": f"version {automation.policy.version}, {automation.policy.hash}",
    }

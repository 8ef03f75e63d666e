"""Shadow: what the challenger would decide of each event, beside the champion, kept apart."""

from collections import Counter

import dagster as dg
import numpy as np
import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.assignment import Assignment, kept
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    row_columns,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.resources import Platform

DATASET = "shadow"


def shadow_window(automation: Automation, lake: Lake, window: Window) -> Counter[tuple[str, str]]:
    """Store what champion and challenger decide of each event of a window, where both scored.

    Columns: id, entity, `event_time`, `known_at`, `revision`, `champion` and `challenger` (their
    versions), `champion_score`, `challenger_score`, `champion_outcome`, `challenger_outcome`,
    `canary` (whether the challenger decided it). Empty where no rollout was under way.

    Returns:
        The number of events by both outcomes.
    """
    assignment = kept(lake, window.key) or Assignment(None)
    inputs = [name for name in automation.policy.inputs if name != "score"]
    of_both = [f"score_v{assignment.champion}", f"score_v{assignment.challenger}"]
    scored = assignment.challenger is not None and _has(lake, window, of_both)
    of_both = of_both if scored else ["champion_score", "challenger_score"]
    columns = [*row_columns(automation), "model_version", *(of_both if scored else [])]
    features = lake.stream("features", window.key, inputs)
    pairs: Counter[tuple[str, str]] = Counter()
    with lake.writer(DATASET, window.key) as write:
        for predictions in lake.stream("predictions", window.key, columns):
            known = next(features) if inputs else pl.DataFrame()
            if not scored:
                predictions = predictions.clear().with_columns(
                    pl.lit(None, dtype=pl.Float64).alias(name) for name in of_both
                )
                known = known.clear()
            block = decide_both(automation, predictions, known, of_both, assignment)
            pairs.update(block.select("champion_outcome", "challenger_outcome").iter_rows())
            write(block)
    return pairs


def decide_both(
    automation: Automation,
    predictions: pl.DataFrame,
    features: pl.DataFrame,
    of_both: list[str],
    assignment: Assignment,
) -> pl.DataFrame:
    """Return rows of `shadow`: what the policy makes of the scores of champion and challenger.

    Args:
        automation: Whose policy.
        predictions: Rows of `predictions`.
        features: What the policy asks for besides the score, row by row.
        of_both: The columns of the champion's and the challenger's scores.
        assignment: Who is who.
    """
    policy = automation.policy
    known = features.select(name for name in policy.inputs if name != "score").get_columns()
    outcomes = [
        policy.decide(predictions.select(pl.col(one).fill_nan(None).alias("score")).hstack(known))[
            "outcome"
        ]
        for one in of_both
    ]
    return predictions.select(
        *row_columns(automation),
        pl.lit(assignment.champion, dtype=pl.Int32).alias("champion"),
        pl.lit(assignment.challenger, dtype=pl.Int32).alias("challenger"),
        pl.col(of_both[0]).fill_nan(None).alias("champion_score"),
        pl.col(of_both[1]).fill_nan(None).alias("challenger_score"),
        outcomes[0].alias("champion_outcome"),
        outcomes[1].alias("challenger_outcome"),
        (pl.col("model_version") == (assignment.challenger or 0)).alias("canary"),
    )


def _has(lake: Lake, window: Window, columns: list[str]) -> bool:
    schema = pl.read_parquet_schema(lake.path("predictions", window.key))
    return set(columns) <= schema.keys()


def seconds_of(lake: Lake, key: str) -> dict[str, np.ndarray] | None:
    """Return the seconds a row of champion and challenger by slice; None where not measured."""
    if not lake.has("timing", f"shadow-{key}", "json"):
        return None
    found = lake.read_json("timing", f"shadow-{key}")
    return {who: np.array(values) for who, values in found.items()}


def build_shadow(automation: Automation) -> dg.AssetsDefinition:
    """Build the `shadow` asset."""

    @dg.asset(
        **asset_options(automation, DATASET, kinds={"polars", "policy"}),
        deps=[[automation.name, "predictions"], [automation.name, "features"]],
        description="What the version in rollout would decide of each event, beside what the "
        "champion decides. Kept apart from the decisions: nothing acts on it. Empty while no "
        "rollout is under way.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(automation, DATASET, "scored", "The challenger scored every event.")
        ],
    )
    def shadow(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake = platform.lake(automation.name)
        pairs: Counter[tuple[str, str]] = Counter()
        with stage(DATASET):
            keys = [window.key for window in windows_of(context, automation)]
            for key in keys:
                pairs += shadow_window(automation, lake, automation.window(key))
        last = kept(lake, keys[-1]) or Assignment(None)
        frame = lake.read(DATASET, keys[-1])
        missing = frame["challenger_score"].null_count() - frame["champion_score"].null_count()
        return dg.MaterializeResult(
            metadata={
                **row_metadata(frame, frame.height),
                "challenger": f"version {last.challenger}" if last.challenger else "none",
                "share": last.share,
                "decided by the challenger": int(frame["canary"].sum()),
                "outcomes": markdown_table(
                    ["champion", "challenger", "events"],
                    [(*pair, rows) for pair, rows in sorted(pairs.items())],
                ),
            },
            check_results=[check_result("scored", missing <= 0, rows_without_score=missing)],
        )

    return shadow

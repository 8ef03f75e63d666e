"""Features: plain functions over events, stored as Feast views and joined point in time."""

from typing import Any

import dagster as dg
import polars as pl

from aios.automation import Automation
from aios.digest import row_digests
from aios.errors import AiosError
from aios.known import known_events, last_before
from aios.lake import Lake
from aios.spec import View
from aios.windows import Window, window_at
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    row_metadata,
    stage,
    traced_windows,
    windows_of,
)
from aios_assets.resources import Platform
from feature_repo.registry import ViewDeclaration

_TYPES = {"number": pl.Float64, "category": pl.String}
# Event columns that travel with the features, so that later stages need no second join.
ROW = ["event_time", "known_at", "revision"]


def declare_views(automation: Automation, lake: Lake) -> list[ViewDeclaration]:
    """Return the automation's views as Feast needs to know them."""
    columns = automation.spec.columns
    return [
        ViewDeclaration(
            name=view.name,
            entity=view.entity,
            entity_type="integer" if columns[view.entity] == "integer" else "string",
            columns=dict(view.columns),
            path=str(lake.root / "views" / view.name),
            ttl=view.ttl,
            online=view.online,
            description=f"{view.name} features of {automation.name}",
            owner=automation.spec.owners[0],
            tags={"automation": automation.name, "code_version": automation.code_version},
        )
        for view in automation.spec.features
    ]


def compute_view(automation: Automation, lake: Lake, view: View, window: Window) -> pl.DataFrame:
    """Compute and store one view's rows for the events of a window.

    Raises:
        AiosError: The function fails, or does not return what the declaration says.
    """
    since = window_at(automation.spec.cadence, window.start - view.lookback).key
    keys = [key for key in lake.partitions("events") if since <= key <= window.key]
    events = pl.concat([known_events(automation, lake, key) for key in keys])
    events = events.filter(pl.col("known_at") >= window.start - view.lookback)
    where = f"{automation.folder / view.function.partition(':')[0]}.py, {view.function}"
    try:
        rows = automation.function(view.function)(events)
    except AiosError:
        raise
    except Exception as error:
        raise AiosError(
            f"the feature function failed: {type(error).__name__}: {error}",
            where=where,
            fix=f"Mend it, then materialize features for {window.key} again.",
        ) from error
    if not isinstance(rows, pl.DataFrame):
        raise AiosError(
            f"the feature function returned {type(rows).__name__}, not a polars DataFrame",
            where=where,
            fix="Return a polars DataFrame.",
        )
    missing = [c for c in (view.entity, "event_time", "known_at", *view.columns) if c not in rows]
    if missing:
        raise AiosError(
            f"the feature function returned no column {', '.join(missing)}",
            where=where,
            fix="Return the entity, event_time, known_at and every declared feature.",
        )
    rows = rows.filter(pl.col("known_at").is_between(window.start, window.end, closed="left"))
    casts = [pl.col(name).cast(_TYPES[kind]) for name, kind in view.columns.items()]
    try:
        rows = rows.select(view.entity, "event_time", "known_at", *casts)
    except pl.exceptions.InvalidOperationError as error:
        raise AiosError(
            f"the feature function returned a column of another type than declared: {error}",
            where=where,
            fix="Return numbers for 'number' and text for 'category', or correct the declaration.",
        ) from error
    lake.write(f"views/{view.name}", window.key, rows)
    return rows


def join_features(automation: Automation, platform: Platform, rows: pl.DataFrame) -> pl.DataFrame:
    """Join all features of the automation to rows, as known at each row's `known_at`.

    Args:
        automation: Whose features.
        platform: Where the feature store is.
        rows: Columns of the entities and `known_at`; any others are kept.

    Returns:
        The rows in the same order with one column for each feature and `feature_digest`.
    """
    store = platform.store
    store.apply(automation.name, declare_views(automation, platform.lake(automation.name)))
    entities = list(dict.fromkeys(view.entity for view in automation.spec.features))
    asked = rows.select(*entities, pl.col("known_at").alias("event_timestamp"))
    joined = store.point_in_time(automation.name, asked)
    features = joined.select(
        pl.col(name).cast(_TYPES[kind]) for name, kind in automation.spec.feature_columns.items()
    )
    rows = rows.drop(features.columns, strict=False)
    return rows.hstack(features).with_columns(row_digests(features).alias("feature_digest"))


def make_features(automation: Automation, platform: Platform, window: Window) -> pl.DataFrame:
    """Compute the views of a window and the feature row of each of its events."""
    lake = platform.lake(automation.name)
    events = known_events(automation, lake, window.key)
    for view in automation.spec.features:
        compute_view(automation, lake, view, window)
    features = join_features(automation, platform, events.select(_row_columns(automation)))
    lake.write("features", window.key, features)
    return features


def _row_columns(automation: Automation) -> list[str]:
    spec = automation.spec
    entities = [view.entity for view in spec.features]
    others = [*spec.slices, *(set(automation.policy.inputs) & set(spec.columns))]
    others = sorted(set(others) - set(spec.feature_columns))
    others += [f"{step.name}_version" for step in spec.model_steps]
    return list(dict.fromkeys([spec.id, spec.entity, *entities, *ROW, *others]))


def build_features(automation: Automation) -> dg.AssetsDefinition:
    """Build the `features` asset."""
    views = ", ".join(f"{view.name} (by {view.entity})" for view in automation.spec.features)

    @dg.asset(
        **asset_options(automation, "features", kinds={"polars", "feast"}),
        deps=[[automation.name, last_before(automation)]],
        description=f"One feature row for each event, joined by Feast as of the moment the event "
        f"was known. Views: {views}.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(automation, "features", "filled", "No feature is null in every row.")
        ],
    )
    def features(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage("features"):
            lake = platform.lake(automation.name)
            windows = traced_windows(context, automation, lake, "features")
            frames = [make_features(automation, platform, window) for window in windows]
        frame = pl.concat(frames)
        return dg.MaterializeResult(
            metadata=_metadata(automation, frame), check_results=[_filled(automation, frame)]
        )

    return features


def _metadata(automation: Automation, frame: pl.DataFrame) -> dict[str, Any]:
    missing = [
        (name, kind, float(frame[name].null_count() / max(frame.height, 1)))
        for name, kind in automation.spec.feature_columns.items()
    ]
    return {
        **row_metadata(frame, frame.height),
        "missing": markdown_table(["feature", "kind", "share missing"], missing),
    }


def _filled(automation: Automation, frame: pl.DataFrame) -> dg.AssetCheckResult:
    names = automation.spec.feature_columns
    empty = [name for name in names if frame.height and frame[name].null_count() == frame.height]
    return check_result("filled", not empty, empty_features=", ".join(empty) or "none")


def build_online_features(automation: Automation) -> dg.AssetsDefinition:
    """Build the `online_features` asset: the latest row of every entity, for serving."""
    options = asset_options(automation, "online_features", kinds={"feast", "sqlite"})

    @dg.asset(
        **options,
        deps=[[automation.name, "features"]],
        description="The latest features of every entity in Feast's online store.",
        automation_condition=(
            dg.AutomationCondition.eager()
            & dg.AutomationCondition.all_deps_blocking_checks_passed()
        ),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def online_features(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage("online_features"):
            *_, last = windows_of(context, automation)
            platform.store.apply(
                automation.name, declare_views(automation, platform.lake(automation.name))
            )
            rows = platform.store.materialize(automation.name, last.end)
        return dg.MaterializeResult(metadata={"rows_written": rows, "until": str(last.end)})

    return online_features

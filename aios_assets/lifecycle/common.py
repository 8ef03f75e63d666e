"""What every stage shares: keys, owners, partitions, and errors that reach the UI whole."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from aios import clock, telemetry
from aios.automation import Automation
from aios.errors import AiosError
from aios.identity.actors import DAGSTER, LOCAL, REHEARSAL, NotSignedIn
from aios.identity.session import current_actor
from aios.lake import Lake
from aios.settings import Settings
from aios.windows import Window
from model_registry.registry import TRAINING

DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2))
"""Of assets without partitions, which their sensors look after once a day."""

_ARROW_NAMES = {pl.String: "text", pl.Float64: "number", pl.Boolean: "boolean"}


def partitions_of(automation: Automation) -> dg.TimeWindowPartitionsDefinition:
    """Return the automation's partitions as Dagster's time windows."""
    start = automation.binding.start.strftime("%Y-%m-%d")
    end = automation.binding.end.strftime("%Y-%m-%d") if automation.binding.end else None
    match automation.spec.cadence:
        case "daily":
            return dg.DailyPartitionsDefinition(start_date=start, end_date=end)
        case "weekly":
            return dg.WeeklyPartitionsDefinition(start_date=start, end_date=end, day_offset=1)
        case _:
            return dg.MonthlyPartitionsDefinition(start_date=start, end_date=end)


def asset_options(automation: Automation, noun: str, *, kinds: set[str]) -> dict[str, Any]:
    """Return the arguments that every asset of an automation is declared with."""
    return {
        "key": [automation.name, noun],
        "group_name": automation.name,
        "owners": automation.spec.owners,
        "kinds": kinds,
        "partitions_def": partitions_of(automation),
        "code_version": automation.code_version,
        "tags": {"aios/automation": automation.name, "aios/risk": automation.spec.risk},
    }


def row_columns(automation: Automation) -> list[str]:
    """Return the columns that say which row of an event a row is about."""
    row = [automation.spec.id, automation.spec.entity, "event_time", "known_at", "revision"]
    return list(dict.fromkeys(row))


def windows_of(context: dg.AssetExecutionContext, automation: Automation) -> Iterator[Window]:
    """Yield the windows of a run in order of time, logging progress where there are several."""
    keys = sorted(context.partition_keys)
    for position, key in enumerate(keys, start=1):
        if len(keys) > 1:
            context.log.info(f"partition {key} ({position} of {len(keys)})")
        yield automation.window(key)


def traced_windows(
    context: dg.AssetExecutionContext, automation: Automation, lake: Lake, dataset: str
) -> Iterator[Window]:
    """Yield the windows of a run; what is done with each becomes a span of its sampled events.

    The span of ingestion is the root of an event's trace. See `aios.telemetry`.
    """
    for window in windows_of(context, automation):
        began = clock.wall()
        yield window
        if telemetry.share():
            telemetry.emit(
                dataset,
                automation=automation.name,
                events=lake.read(dataset, window.key, [automation.spec.id, "revision"]).rows(),
                start=began,
                root=dataset == "events",
                partition=window.key,
                rehearsed=clock.rehearsing(),
            )


def actor_of(context: dg.AssetExecutionContext, settings: Settings) -> str:
    """Return who started a run: a schedule, a sensor, a rehearsal, or who is signed in."""
    tags = context.run.tags
    for kind in ("schedule", "sensor"):
        if name := tags.get(f"dagster/{kind}_name"):
            return f"{kind}:{name}"
    if clock.rehearsing():
        return str(REHEARSAL)
    try:
        return str(current_actor(settings))
    except NotSignedIn:
        # Dagster's open-source edition has no users: who clicked there cannot be told.
        return str(DAGSTER)


def made_by(context: dg.AssetExecutionContext, settings: Settings) -> dict[str, str]:
    """Return the lineage of what a run trains: the run, and who trained by it.

    The local user, and who clicked in Dagster's UI without a token, train as the platform: only a
    person who is signed in counts as the trainer, who may not approve the model then.
    """
    actor = actor_of(context, settings)
    trainer = TRAINING if actor in (str(LOCAL), str(DAGSTER)) else actor
    return {"dagster_run": context.run.run_id, "trained_by": trainer}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Turn an `AiosError` into a Dagster failure that shows what is wrong and what to do."""
    try:
        yield
    except AiosError as error:
        raise dg.Failure(
            description=f"{name}: {error}",
            metadata={
                "what": error.what,
                "where": error.where or name,
                "what to do": error.fix or "See the error.",
            },
            allow_retries=False,
        ) from error


def check_spec(
    automation: Automation, noun: str, name: str, description: str, *, blocking: bool = False
) -> dg.AssetCheckSpec:
    """Declare a check on one of the automation's assets."""
    return dg.AssetCheckSpec(
        name=name, asset=[automation.name, noun], description=description, blocking=blocking
    )


def check_result(
    name: str, passed: bool, *, error: bool = False, **metadata: Any
) -> dg.AssetCheckResult:
    """Return a check's outcome; `error` makes a failure red instead of yellow."""
    severity = dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, metadata=metadata)


def mean_of(values: pl.Series) -> float:
    """Return the mean of a column of numbers; NaN where it has none."""
    mean = values.mean()
    return float(mean) if isinstance(mean, int | float) else float("nan")


def row_metadata(
    frame: pl.DataFrame, rows: int, notes: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return row count and column schema, with notes by column, under the UI's own names."""
    columns = [
        dg.TableColumn(name, _type_name(dtype), description=(notes or {}).get(name))
        for name, dtype in frame.schema.items()
    ]
    return {
        "dagster/partition_row_count": rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
    }


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> dg.MarkdownMetadataValue:
    """Return a small table as markdown metadata."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join(lines))


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _type_name(dtype: pl.DataType) -> str:
    if dtype.is_integer():
        return "integer"
    if dtype.is_temporal():
        return "time"
    return _ARROW_NAMES.get(type(dtype), str(dtype).lower())

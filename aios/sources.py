"""Reading events and labels of a span of time, from a module or from a table."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import polars as pl

from aios.automation import Automation, Binding
from aios.errors import AiosError
from aios.learner import ModelStep
from aios.values import ColumnType
from aios.windows import window_at

_ARRIVED = "__arrived_at"
_TRUE, _FALSE = ["true", "yes", "1", "t", "y"], ["false", "no", "0", "f", "n"]


def read_events(automation: Automation, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the raw events that became known in `[start, end)`.

    Returns:
        The columns as the source has them, without the label, plus `known_at`.
    """
    spec, data = automation.spec, automation.binding.data
    if spec.source.module:
        frame = automation.function(f"{spec.source.module}:events")(start, end, data)
    else:
        table = _table(automation)
        frame = table.filter(pl.col(_ARRIVED).is_between(start, end, closed="left"))
        if spec.known_at != "known_at":
            frame = frame.with_columns(pl.col(_ARRIVED).alias("known_at"))
        frame = frame.drop(_ARRIVED)
    return frame.drop(spec.label.column, strict=False)


def read_labels(automation: Automation, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the labels learned in `[start, end)`: id, `label` (float), `known_at`.

    A label that is empty or is no number is not learned, and so is left out.
    """
    spec, data = automation.spec, automation.binding.data
    if spec.source.module:
        frame = automation.function(f"{spec.source.module}:labels")(start, end, data)
    else:
        learned = pl.col(_ARRIVED) + spec.label.delay
        rows = _table(automation).filter(learned.is_between(start, end, closed="left"))
        frame = rows.select(
            typed(spec.contract.columns[spec.id].type, pl.col(spec.id)),
            label_values(pl.col(spec.label.column)).alias("label"),
            learned.alias("known_at"),
        )
    frame = frame.select(spec.id, pl.col("label").cast(pl.Float64).fill_nan(None), "known_at")
    return frame.drop_nulls().unique(spec.id, keep="last", maintain_order=True)


def read_truth(learner: ModelStep, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the right values learned in `[start, end)`: id, `known_at` and the step's fields.

    Raises:
        AiosError: The source's function returns no frame with these columns.
    """
    automation, model = learner.automation, learner.spec
    frame = automation.function(model.truth)(start, end, automation.binding.data)
    columns = [automation.spec.id, "known_at", *model.fields]
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AiosError(
            f"the truth has no column {', '.join(missing)}",
            where=f"{automation.folder}, {model.truth}",
            fix=f"Return {', '.join(columns)}; null where a field is absent.",
        )
    fields = [pl.col(name).cast(pl.String) for name in model.fields]
    frame = frame.select(automation.spec.id, "known_at", *fields)
    return frame.drop_nulls("known_at").unique(automation.spec.id, keep="last", maintain_order=True)


def bind(automation: Automation, data: Path | None) -> Binding:
    """Return the binding of an automation to a file, with the file's own span of time.

    Raises:
        AiosError: The file is missing, or cannot be read as this automation's source.
    """
    if data is None:
        return automation.binding
    if not data.exists():
        raise AiosError("there is no such file", where=str(data), fix="Give an existing file.")
    data = data.resolve()
    spec = automation.spec
    if spec.source.module:
        first, last = automation.function(f"{spec.source.module}:period")(data)
    else:
        probe = automation.bound_to(Binding(data, datetime.min, None))
        known = _table(probe)[_ARRIVED]
        first, last = known.min(), known.max()
    if first is None:
        raise AiosError("the table has no rows", where=str(data), fix="Give a table with events.")
    start = window_at(spec.cadence, first).start
    return Binding(data, start, window_at(spec.cadence, last).end)


def latest_event(automation: Automation) -> datetime | None:
    """Return when the source last learned of an event, or None where it cannot tell."""
    spec, data = automation.spec, automation.binding.data
    if spec.source.module:
        last: datetime = automation.function(f"{spec.source.module}:period")(data)[1]
        return last
    return _table(automation)[_ARRIVED].max()  # type: ignore[return-value]


def typed(kind: ColumnType, column: pl.Expr) -> pl.Expr:
    """Return a column in its declared type; what does not fit becomes null."""
    text = column.cast(pl.String).str.strip_chars()
    text = pl.when(text != "").then(text)
    match kind:
        case "integer":
            number = text.cast(pl.Float64, strict=False)
            whole = pl.when(number == number.floor()).then(number)
            # Directly where it can be: a double does not hold every id above 2^53.
            return pl.coalesce(value.cast(pl.Int64, strict=False) for value in (text, whole))
        case "number":
            number = text.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number)
        case "boolean":
            lower = text.str.to_lowercase()
            return pl.when(lower.is_in(_TRUE)).then(True).when(lower.is_in(_FALSE)).then(False)
        case "time":
            return _time(text)
        case _:
            return text


def label_values(column: pl.Expr) -> pl.Expr:
    """Return a label column as numbers; yes/no and true/false count as 1 and 0."""
    text = column.cast(pl.String).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    lower = text.str.to_lowercase()
    return (
        pl.when(number.is_finite())
        .then(number)
        .when(lower.is_in(_TRUE))
        .then(1.0)
        .when(lower.is_in(_FALSE))
        .then(0.0)
    )


def read_table(path: Path) -> pl.DataFrame:
    """Read a whole CSV (every column as text) or Parquet file.

    Raises:
        AiosError: The file is missing, empty, or not of its kind.
    """
    if not path.exists():
        raise AiosError("there is no such table", where=str(path), fix="Put the file there.")
    return _read_table(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read_table(path: Path, modified: int) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        return pl.read_csv(path, infer_schema=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise AiosError(
            f"the table cannot be read: {error}",
            where=str(path),
            fix="Give a CSV file with a header, or a Parquet file.",
        ) from error


def _table(automation: Automation) -> pl.DataFrame:
    spec = automation.spec
    path = automation.binding.data or (automation.folder / str(spec.source.table)).resolve()
    frame = read_table(path)
    clock_column = spec.known_at or spec.event_time
    for name in (spec.id, clock_column, spec.label.column):
        if name not in frame.columns:
            raise AiosError(
                f"column '{name}' is missing; the table has {', '.join(frame.columns)}",
                where=str(path),
                fix="Mend the table, or the names in defs.yaml.",
            )
    return _timed_table(path, path.stat().st_mtime_ns, clock_column)


@lru_cache(maxsize=4)
def _timed_table(path: Path, modified: int, clock_column: str) -> pl.DataFrame:
    # A row without a time is not lost: it arrives with the row before it and is quarantined.
    arrived = typed("time", pl.col(clock_column)).forward_fill().backward_fill()
    table = _read_table(path, modified).with_columns(arrived.alias(_ARRIVED))
    if table[_ARRIVED].null_count():
        raise AiosError(
            f"no value of column '{clock_column}' can be read as a time, such as "
            f"{table[clock_column].drop_nulls().head(1).to_list()}",
            where=str(path),
            fix="Write times as 2024-01-31 or 2024-01-31 14:30:00 (UTC).",
        )
    return table.sort(_ARRIVED, maintain_order=True)


def _time(text: pl.Expr) -> pl.Expr:
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d")
    naive = text.str.strip_suffix("Z").str.replace(r"\+00:?00$", "")
    return pl.coalesce(
        naive.str.to_datetime(pattern, strict=False, time_unit="us") for pattern in formats
    )

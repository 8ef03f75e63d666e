"""The table: the roles of its columns, its times and outcomes, and whether they suffice."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast

import polars as pl
from pydantic import TypeAdapter, ValidationError

from aios.errors import AiosError
from aios.sources import label_values, read_table, typed
from aios.values import Duration
from aios_assets.scaffold.names import TAKEN_BY_ROWS, speakable
from aios_assets.scaffold.values import read_as, readable, type_of

Task = Literal["classification", "regression"]

MIN_ROWS = 200
DAMAGED = 0.01
"""Largest share of rows without a readable time or id; the platform quarantines those rows."""


@dataclass(frozen=True)
class Table:
    """The table with the roles of its columns, rows in order of time.

    Attributes:
        data: The file.
        frame: The rows as the file has them.
        id: Column that is different in each row.
        entity: Column with what a row is about.
        time: Column with the event's time.
        target: Column with the outcome.
        times: The event times; null where they cannot be read.
        labels: The outcomes as numbers; null where they are not known.
    """

    data: Path
    frame: pl.DataFrame
    id: str
    entity: str
    time: str
    target: str
    times: pl.Series
    labels: pl.Series

    @property
    def first(self) -> datetime:
        """When the first event happened."""
        return cast("datetime", self.times.min())

    @property
    def last(self) -> datetime:
        """When the last event happened."""
        return cast("datetime", self.times.max())


def open_table(data: Path, *, id: str, entity: str, time: str, target: str) -> Table:
    """Read a table and check what its columns are said to be.

    Raises:
        AiosError: The file is no table, or a column cannot have its role.
    """
    if not data.is_file():
        raise AiosError("there is no such file", where=str(data), fix="Give an existing file.")
    if data.suffix not in {".csv", ".CSV", ".parquet"}:
        raise AiosError(
            f"a table is a CSV or Parquet file, not '{data.suffix or data.name}'",
            where=str(data),
            fix="Convert it, and name it .csv or .parquet.",
        )
    if not data.stat().st_size or (frame := read_table(data)).is_empty():
        raise AiosError("the table is empty", where=str(data), fix="Give a table with rows.")
    roles = {"--entity": entity, "--time": time, "--target": target, "--id": id}
    _check_roles(data, frame.columns, roles)
    frame = frame.sort(typed("time", pl.col(time)), maintain_order=True)
    times = _times(data, frame[time])
    _check_ids(data, frame, id)
    return Table(data, frame, id, entity, time, target, times, _labels(data, frame[target]))


def infer_task(table: Table, task: Task | None) -> Task:
    """Return the task; None infers it from the outcomes.

    Raises:
        AiosError: The outcomes are too few, all the same, or do not suit the task.
    """
    values = table.labels.drop_nulls().unique().sort()
    where, shown = f"{table.data}, column '{table.target}'", ", ".join(f"{v:g}" for v in values[:5])
    if values.len() < 2:
        raise AiosError(
            f"the target has one value only ({shown})" if shown else "the target is empty",
            where=where,
            fix="Give rows with different outcomes: from one alone nothing can be learned.",
        )
    labelled = table.labels.count()
    if labelled < MIN_ROWS:
        raise AiosError(
            f"{labelled} rows with a known '{table.target}' are too few, {MIN_ROWS} are needed",
            where=str(table.data),
            fix="Collect more rows first.",
        )
    if task == "regression" or values.to_list() == [0.0, 1.0]:
        return task or "classification"
    if task is None and values.len() > 20:
        return "regression"
    if values.len() == 2:
        raise AiosError(
            f"the target has the two classes {shown}; understood are 1 and 0, yes and no, "
            "true and false",
            where=where,
            fix="Write 1 for the outcome to predict and 0 for the other.",
        )
    raise AiosError(
        f"the target has {values.len()} values ({shown}, ...): a classification has two classes, "
        "more are not supported yet",
        where=where,
        fix="Make a yes/no column of the class that matters, or add '--task regression' if the "
        "values are amounts.",
    )


def check_delay(table: Table, delay: str) -> None:
    """Refuse a delay that is none, or that has not passed when the table ends.

    Raises:
        AiosError: It is one of these.
    """
    try:
        span = TypeAdapter(Duration).validate_python(delay)
    except (ValidationError, OverflowError) as error:
        raise AiosError(
            f"'{delay}' is no delay",
            where="--label-delay",
            fix="Give a whole number and a unit: 30d, 12h or 90m.",
        ) from error
    if span > table.last - table.first:
        raise AiosError(
            f"with a delay of {delay} no outcome is known before the table ends: it spans "
            f"{table.last - table.first}",
            where="--label-delay",
            fix="Give how long after its event an outcome is known.",
        )


def _check_roles(data: Path, columns: list[str], roles: Mapping[str, str]) -> None:
    for flag, name in roles.items():
        if name not in columns:
            raise _missing_column(data, columns, flag, name)
    target, time, keys = roles["--target"], roles["--time"], {roles["--entity"], roles["--id"]}
    if target in {time, *keys}:
        raise AiosError(
            f"'{target}' cannot be the target and also the entity, id or time",
            where="--target",
            fix="Name the column with the outcome.",
        )
    if time in keys:
        raise AiosError(
            f"'{time}' cannot be the time and also the entity or id",
            where="--time",
            fix="Name the column with the time of the event.",
        )
    taken = {time: TAKEN_BY_ROWS - {"event_time", "known_at"}, target: {"known_at"}}
    for flag, name in roles.items():
        if not speakable(name) or name in taken.get(name, TAKEN_BY_ROWS):
            raise AiosError(
                f"'{name}' is a name that the platform itself uses or cannot use",
                where=flag,
                fix="Rename the column in the table.",
            )


def _missing_column(data: Path, columns: list[str], flag: str, name: str) -> AiosError:
    by_lower = {column.lower(): column for column in columns}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    fix = f"Did you mean '{by_lower[near[0]]}'?" if near else "Name one of these columns."
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        fix = "The header is not separated by commas: write the file with commas."
    shown = ", ".join(columns)
    return AiosError(f"there is no column '{name}' in {data}; it has {shown}", where=flag, fix=fix)


def _times(data: Path, column: pl.Series) -> pl.Series:
    times = read_as("time", column)
    unread = column.filter(times.is_null())
    if unread.len() / column.len() > DAMAGED:
        wrong = unread.drop_nulls()
        what = f"are no time, such as {str(wrong[0])!r}" if wrong.len() else "have none"
        raise AiosError(
            f"column '{column.name}': {unread.len()} of {column.len()} rows {what}",
            where=str(data),
            fix="Write times in UTC as YYYY-MM-DD or YYYY-MM-DD HH:MM:SS.",
        )
    return times


def _check_ids(data: Path, frame: pl.DataFrame, name: str) -> None:
    ids = read_as("text", frame[name])
    if ids.null_count() / ids.len() > DAMAGED:
        raise AiosError(
            f"column '{name}': {ids.null_count()} of {ids.len()} rows have no id",
            where=str(data),
            fix="Fill it, or name another column with --id.",
        )
    known = ids.drop_nulls()
    repeated = known.filter(known.is_duplicated())
    if repeated.len():
        unique = [column.name for column in frame if _identifies(column)]
        other = f" such as {', '.join(unique[:3])}" if unique else ""
        raise AiosError(
            f"duplicate ids: column '{name}' repeats in {repeated.len()} rows, "
            f"such as {repeated[0]!r}",
            where=str(data),
            fix=f"Name a column that is different in each row with --id{other}, or take the "
            "repeated rows out of the table.",
        )


def _identifies(column: pl.Series) -> bool:
    """Whether a column is filled, never repeats, and can stand for a row."""
    if not readable(column.dtype) or type_of(column) not in ("text", "integer"):
        return False
    text = read_as("text", column)
    return not text.null_count() and text.n_unique() == text.len()


def _labels(data: Path, column: pl.Series) -> pl.Series:
    if not readable(column.dtype):
        raise AiosError(
            f"the target '{column.name}' holds {column.dtype}, not numbers or words",
            where=str(data),
            fix="Write the outcome as a number or as yes and no.",
        )
    labels = pl.select(label=label_values(pl.lit(column))).to_series()
    text = read_as("text", column)
    unread = text.filter(labels.is_null() & (text.str.to_lowercase() != "nan"))
    if unread.len():
        words = text.drop_nulls().unique(maintain_order=True)
        shown = ", ".join(repr(word) for word in words[:5])
        raise AiosError(
            f"the target '{column.name}' has {words.len()} values ({shown}"
            f"{', ...' if words.len() > 5 else ''}) and {unread.len()} rows that are not "
            "understood; understood are numbers, yes and no, true and false, 1 and 0",
            where=str(data),
            fix="Write a number; or 1 or yes for the outcome to predict and 0 or no for the "
            "other. Leave unknown ones empty.",
        )
    return labels

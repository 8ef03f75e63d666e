"""Where claims come from: the simulator, or the real file (1994 on) as CSV or Parquet.

The file states calendar columns, no dates, so:

- `event_time` is the accident's date: the WeekOfMonth-th occurrence of DayOfWeek in Month of
  Year, or the last one where the month has fewer. `known_at` is the same instant: the file gives
  no year for the day on which the claim was made.
- A row that cannot be dated keeps a null `event_time` and arrives with the row before it in the
  file (the one after it, at the head of the file).
- A date that stands alone, more than `STRAY` from every other date in the file, is a typed year:
  the row keeps it as `event_time` and arrives with the row before it, so an accident that lies
  in the future shows as what it is.
- '0' for the day or month of the claim and 0 for the age mean missing. A number that does not
  parse is null.
- The outcome of a claim is learned `LABEL_DELAY` after the claim.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

from aios.errors import AiosError

from . import schema, simulator
from .simulator import LABEL_DELAY

if TYPE_CHECKING:
    from pathlib import Path

STRAY = timedelta(days=90)
DAY = timedelta(days=1)


def events(start: datetime, end: datetime, data: Path | None) -> pl.DataFrame:
    """Raw records that became known in [start, end): `schema.EVENTS`, without the label.

    Repeats, corrections and damaged rows are in it, in the order in which they became known.

    Raises:
        AiosError: `data` is missing, unreadable, or not a file of claims.
    """
    if data is None:
        return simulator.events(start, end)
    return _within(_file(data), start, end).select(schema.EVENTS.names())


def labels(start: datetime, end: datetime, data: Path | None) -> pl.DataFrame:
    """Outcomes learned in [start, end): claim_id, label (1 fraud, 0 none), known_at."""
    if data is None:
        return simulator.labels(start, end)
    learned = _file(data).with_columns(pl.col("known_at") + LABEL_DELAY)
    return (
        _within(learned, start, end)
        .select(pl.col(name).cast(dtype) for name, dtype in schema.LABELS.items())
        .drop_nulls(["claim_id", "label"])
    )


def period(data: Path | None) -> tuple[datetime, datetime]:
    """First and last instant of the history, both included; a file's last day counts whole."""
    if data is None:
        return simulator.period()
    known = _file(data)["known_at"]
    first, last = known.min(), known.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    return first, last + DAY - timedelta(microseconds=1)


def _within(frame: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    return frame.filter(pl.col("known_at").is_between(start, end, closed="left"))


def _file(path: Path) -> pl.DataFrame:
    """The parsed file; asked for once a partition, so kept while it does not change."""
    try:
        state = path.stat()
    except OSError as error:
        raise AiosError(
            f"cannot read it: {error.strerror}", where=str(path), fix="Give an existing file."
        ) from error
    return _parsed(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _parsed(path: Path, mtime_ns: int, size: int) -> pl.DataFrame:
    raw = _read(path)
    names = {**schema.HEADER, schema.LABEL: "label"}
    missing = [name for name in names if name not in raw.columns]
    if missing:
        raise AiosError(
            f"missing columns: {', '.join(missing)}",
            where=str(path),
            fix="Give a file with the header of the vehicle claims data set.",
        )
    claims = _typed(raw.select(list(names)).rename(names))
    _check_labels(claims, raw[schema.LABEL], path)
    dated = claims.with_columns(event_time=_accident_date(claims))
    if dated["event_time"].null_count() == dated.height:
        raise AiosError(
            "no row can be dated",
            where=str(path),
            fix="Check Year, Month (Jan to Dec), WeekOfMonth (1 to 5), DayOfWeek (Monday ...).",
        )
    # A row that has no date of its own, or a stray one, arrives with the row before it.
    arrival = pl.when(~_stray(dated["event_time"])).then(pl.col("event_time"))
    return dated.with_columns(known_at=arrival.forward_fill().backward_fill()).sort(
        "known_at", maintain_order=True
    )


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pl.read_parquet(path)
        return pl.read_csv(path, infer_schema_length=0)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise AiosError(
            f"not a readable table: {error}",
            where=str(path),
            fix="Give a CSV with a header line, or a Parquet file.",
        ) from error


def _typed(claims: pl.DataFrame) -> pl.DataFrame:
    words = claims.with_columns(pl.all().cast(pl.String).str.strip_chars()).with_columns(
        pl.when(pl.all() != "").then(pl.all())
    )
    integers = pl.col(*schema.INTEGERS, "label").cast(pl.Float64, strict=False)
    whole = pl.when(integers == integers.floor()).then(integers)
    typed = words.with_columns(whole.cast(pl.Int64, strict=False))
    return typed.with_columns(
        pl.when(pl.col("age") != 0).then(pl.col("age")).alias("age"),
        *(
            pl.when(pl.col(name) != "0").then(pl.col(name)).alias(name)
            for name in ("day_of_week_claimed", "month_claimed")
        ),
    )


def _check_labels(claims: pl.DataFrame, printed: pl.Series, path: Path) -> None:
    words = printed.cast(pl.String).str.strip_chars()
    odd = words.filter((words != "") & ~claims["label"].is_in([0, 1]).fill_null(False))
    if odd.len():
        raise AiosError(
            f"{odd.len()} values are neither 0 nor 1, such as {odd[0]!r}",
            where=f"{path}, column {schema.LABEL}",
            fix="Write 1 for fraud, 0 for none, or leave it empty where it is unknown.",
        )


def _accident_date(claims: pl.DataFrame) -> pl.Series:
    month, weekday = (
        pl.col(name).replace_strict(
            {word: number for number, word in enumerate(words, 1)},
            default=None,
            return_dtype=pl.Int64,
        )
        for name, words in (("month", schema.MONTHS), ("day_of_week", schema.WEEKDAYS))
    )
    week, year = pl.col("week_of_month"), pl.col("year")
    sane = year.is_between(1900, 2199) & week.is_between(1, 5)
    parts = claims.select(
        first=pl.datetime(pl.when(sane).then(year), month, 1), weekday=weekday, week=week
    )
    day = (
        pl.col("first")
        + pl.duration(days=(pl.col("weekday") - pl.col("first").dt.weekday()) % 7)
        + pl.duration(days=7 * (pl.col("week") - 1))
    )
    beyond = day.dt.month() != pl.col("first").dt.month()
    # Four weeks hold four of each weekday: only the fifth can be missing.
    return parts.select(day=pl.when(beyond).then(day - pl.duration(days=7)).otherwise(day))["day"]


def _stray(dates: pl.Series) -> pl.Series:
    """Which dates are used by one row only and lie more than `STRAY` from all others."""
    times = dates.drop_nulls().sort().to_frame("date")
    before, after = (pl.col("date").diff().shift(shift) for shift in (0, -1))
    alone = times.filter((before > STRAY).fill_null(True) & (after > STRAY).fill_null(True))["date"]
    stray = dates.is_in(alone.implode()).fill_null(False)
    # Where every date stands alone, none is a stray among the others.
    return stray if alone.len() < times.height else pl.repeat(False, dates.len(), eager=True)

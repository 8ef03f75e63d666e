"""Where invoices come from: the generator, a JSONL of words and boxes, or a folder of files.

Without data the generator's invoices arrive, with what finance found out about them later. With
data, the right values may stand in the rows themselves (`entities`) or in a `truth.jsonl` beside
the files. Outcomes beyond wrong readings are not known then.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from aios.documents.intake import Arrival, line, scan
from aios.errors import AiosError

from . import generator
from .extraction.fields import FIELDS
from .extraction.normalise import parse_date
from .generator.months import END, START
from .generator.tricks import REJECTED

TRUTH_DELAY = timedelta(days=7)
LABEL_DELAY = timedelta(days=14)
PLAUSIBLE = (2000, 2035)  # years in which a document can have come
_SCHEMA: dict[str, Any] = {
    "document_id": pl.String, "received_at": pl.Datetime("us"), "known_at": pl.Datetime("us"),
    "name": pl.String, "uri": pl.String, "digest": pl.String, "format": pl.String,
    "condition": pl.String, "bytes": pl.Int64, "pages": pl.Int64,
}  # fmt: skip


def events(start: datetime, end: datetime, data: Path | None) -> pl.DataFrame:
    """Return the documents received in `[start, end)`, one row each."""
    rows = _generated(start, end) if data is None else _arrived(data)
    frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
    return frame.filter(pl.col("received_at").is_between(start, end, closed="left"))


def truth(start: datetime, end: datetime, data: Path | None) -> pl.DataFrame:
    """Return what people found to be printed, learned in `[start, end)` a week after receipt."""
    schema: dict[str, Any] = {"document_id": pl.String, "known_at": pl.Datetime("us")}
    schema |= dict.fromkeys(FIELDS, pl.String)
    if data is None:
        rows = [
            {"document_id": one.id, "known_at": one.received_at + TRUTH_DELAY}
            | generator.truth(one)
            for one in _generator_between(start - TRUTH_DELAY, end - TRUTH_DELAY)
            if one.invoice
        ]
    else:
        rows = [
            {"document_id": one.document_id, "known_at": one.received_at + TRUTH_DELAY}
            | {name: found.get(name) or None for name in FIELDS}
            for one, found in _with_truth(data)
        ]
    frame = pl.DataFrame(rows, schema=schema)
    return frame.filter(pl.col("known_at").is_between(start, end, closed="left"))


def labels(start: datetime, end: datetime, data: Path | None) -> pl.DataFrame:
    """Return outcomes learned in `[start, end)`: 1 where finance rejected the invoice."""
    if data is None:
        rows = [
            (one.id, float(_rejected(one)), one.received_at + LABEL_DELAY)
            for one in _generator_between(start - LABEL_DELAY, end - LABEL_DELAY)
            if one.invoice
        ]
    else:
        rows = [
            (one.document_id, 0.0, one.received_at + LABEL_DELAY) for one, _ in _with_truth(data)
        ]
    schema: dict[str, Any] = {
        "document_id": pl.String,
        "label": pl.Float64,
        "known_at": pl.Datetime("us"),
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.filter(pl.col("known_at").is_between(start, end, closed="left"))


def period(data: Path | None) -> tuple[datetime, datetime]:
    """Return the first and the last moment of receipt."""
    if data is None:
        return START, END - timedelta(seconds=1)
    times = [row[1] for row in _arrived(data)]
    if not times:
        raise AiosError("there are no documents", where=str(data), fix="Give a folder with some.")
    return min(times), max(times)


def _rejected(one: Any) -> bool:
    """Whether finance sent an invoice back: copies, frauds, mistakes, and some unlucky others."""
    if one.copy_of or one.trick in REJECTED:
        return True
    invoice = one.invoice
    round_sum = invoice.total % 50 == 0
    weekend = one.received_at.weekday() >= 5 and invoice.total > 4 * invoice.vendor.usual
    return bool(round_sum or weekend)


def _generator_between(start: datetime, end: datetime) -> list[Any]:
    found: list[Any] = []
    month = max(start, START).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month < min(end, END):
        found += generator.arrivals(month.year, month.month)
        month = (month + timedelta(days=32)).replace(day=1)
    return [one for one in found if start <= one.received_at < end]


def _generated(start: datetime, end: datetime) -> list[tuple[Any, ...]]:
    return [
        (
            one.id, one.received_at, one.received_at, f"{one.id}.{kind}", one.uri, one.digest,
            kind, one.condition, None, 1,
        )
        for one in _generator_between(start, end)
        for kind in ["png" if one.scanned else "words"]
    ]  # fmt: skip


def _arrived(data: Path) -> list[tuple[Any, ...]]:
    return [
        (
            one.document_id, one.received_at, one.received_at, one.name, one.uri, one.digest,
            one.format, one.condition, one.bytes, one.pages,
        )
        for one in _scanned(str(data), _version(data))
    ]  # fmt: skip


def _version(data: Path) -> tuple[tuple[Any, ...], ...]:
    """Return what changes when a file of the path does: what was read is kept until then."""
    import fsspec

    system, path = fsspec.core.url_to_fs(str(data))
    files = system.find(path, detail=True)
    times = ("mtime", "LastModified")
    return tuple((name, info["size"], *map(info.get, times)) for name, info in files.items())


@lru_cache(maxsize=2)
def _scanned(data: str, _version: tuple[tuple[Any, ...], ...]) -> tuple[Arrival, ...]:
    """Return the documents of a path; rows of words are dated by what is printed on them.

    One without a day arrives with the row before it, or with the first that has one. Where none
    has, the file's time of change stays.
    """
    arrivals = scan(data)
    days = [_day(_row(one)) for one in arrivals]
    last = next((day for day in days if day), None)
    dated = []
    for one, day in zip(arrivals, days, strict=True):
        last = day or last
        dated.append(one.dated(last) if last and one.format == "words" else one)
    return tuple(dated)


def _day(row: dict[str, Any]) -> datetime | None:
    """Return when a row was received, or else what it is dated; None where neither is a time."""
    for moment in (_moment(row.get("received_at")), parse_date(_right(row).get("date"))):
        if moment and PLAUSIBLE[0] <= moment.year <= PLAUSIBLE[1]:
            return moment
    return None


def _moment(text: Any) -> datetime | None:
    try:
        given = datetime.fromisoformat(str(text))
        return given.astimezone(UTC).replace(tzinfo=None) if given.tzinfo else given
    except (ValueError, OverflowError):
        return None


def _right(row: dict[str, Any]) -> dict[str, str]:
    """Return the right values that stand in a row, as text."""
    found = row.get("entities")
    plain = found.items() if isinstance(found, dict) else ()
    return {name: str(value) for name, value in plain if isinstance(value, str | int | float)}


def _row(one: Arrival) -> dict[str, Any]:
    return line(one.uri) if one.format == "words" and one.condition == "readable" else {}


@lru_cache(maxsize=2)
def _with_truth_of(
    data: str, version: tuple[tuple[Any, ...], ...]
) -> tuple[tuple[Arrival, dict[str, str]], ...]:
    arrivals = [one for one in _scanned(data, version) if one.condition == "readable"]
    known = _beside(Path(re.sub("^file://", "", data)) / "truth.jsonl")
    pairs = [(one, _right(_row(one)) or known.get(one.document_id, {})) for one in arrivals]
    return tuple((one, found) for one, found in pairs if found)


def _beside(path: Path) -> dict[str, dict[str, str]]:
    known = {}
    for number, text in enumerate(path.read_text().splitlines() if path.is_file() else [], 1):
        if text.strip():
            try:
                row = json.loads(text)
                known[str(row["id"])] = _right(row)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise AiosError(
                    f"not a line of truth: {type(error).__name__}: {error}",
                    where=f"{path}:{number}",
                    fix='Write {"id": ..., "entities": {...}}, a document a line.',
                ) from error
    return known


def _with_truth(data: Path) -> tuple[tuple[Arrival, dict[str, str]], ...]:
    return _with_truth_of(str(data), _version(data))

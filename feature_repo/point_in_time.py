"""Which value of a feature was known at a row's time: one DuckDB ASOF join over Parquet files.

A feature row has two times: when it happened (`event`) and when it was learned (`created`). For
an entity row at time t the join takes, among the rows with event <= t and created <= t, the one
with the latest event, and among those the latest created. An ASOF join knows one time only, so
each row counts from `greatest(event, created)`, when it became visible, and rows that arrive
behind a later event (a correction of the past) are removed first: they are never the answer.
What is left is in the same order by visibility and by event, where one ASOF join is exact.
"""

from __future__ import annotations

import functools
import glob
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aios.errors import AiosError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class FeatureTable:
    """The Parquet files of one feature view.

    Args:
        name: The view's name, for errors.
        path: A Parquet file or a glob.
        keys: Join key column in the files -> column in the entity rows.
        event: Column with the time a value holds from.
        created: Column with the time it became known, if the files have one.
        features: Column in the files -> (name in the result, DuckDB type or "" to keep it).
        ttl: How long a value holds; zero is for ever.
        known_only: Whether values learned after the row's time are left out. Without it `created`
            only decides between rows of one event time.
    """

    name: str
    path: str
    keys: Mapping[str, str]
    event: str
    created: str | None
    features: Mapping[str, tuple[str, str]]
    ttl: timedelta = timedelta(0)
    known_only: bool = True

    @property
    def times(self) -> list[str]:
        """The time columns in the files."""
        return [self.event, self.created] if self.created else [self.event]

    @property
    def bounds(self) -> list[str]:
        """The time columns that must not be later than the row's time."""
        return self.times if self.known_only else [self.event]

    @property
    def columns(self) -> list[str]:
        """Every column that is read."""
        return [*self.keys, *self.times, *self.features]


def join(table: FeatureTable, entities: pa.Table, time: str) -> pa.Table:
    """Look up the features of `table` for each entity row.

    Args:
        table: Where the features are.
        entities: The rows to look up, with the join keys and `time`.
        time: Timestamp column of `entities`; naive means UTC.

    Returns:
        The features, one row for each entity row, in their order; null where nothing was known.

    Raises:
        AiosError: No files, a file that cannot be read, a missing column, a value of another type.
    """
    files = _files(table)
    rows = _narrow(table, files[0], entities, time)
    oldest, newest = pc.min_max(rows["t"]).as_py().values()
    keys = [f"k{i}" for i in range(len(table.keys))]
    ttl = table.ttl // timedelta(microseconds=1)
    alive = f"CASE WHEN e.t - f.event <= {ttl} THEN f.f%d END" if ttl else "f.f%d"
    features = [f"{alive % i} AS {_id(n)}" for i, (n, _) in enumerate(table.features.values())]
    where = [f"{_id(column)} <= make_timestamp({newest or 0})" for column in table.bounds]
    listed, asked = ", ".join(map(_id, table.keys)), ", ".join(keys)
    where.append(f"({listed}) IN (SELECT ({asked}) FROM entity_rows)")
    if ttl:
        where.append(f"{_id(table.event)} >= make_timestamp({(oldest or 0) - ttl})")
    sql = f"""
        SELECT {", ".join(features)}
        FROM entity_rows e ASOF LEFT JOIN ({_visible(table, files, where)}) f
        ON {" AND ".join(f"e.{key} = f.{key}" for key in keys)} AND e.t >= f.seen
        ORDER BY e.row
    """
    return _run(sql, table, files, rows)


def changed(table: FeatureTable, since: datetime, until: datetime) -> int:
    """The number of keys that something became known of; both times are UTC and included."""
    files = _files(table)
    keys = ", ".join(_id(key) for key in table.keys)
    sql = f"SELECT count(DISTINCT ({keys})) AS n FROM {_scan(files)} WHERE "
    counted = _run(sql + _became_known(table, since, until), table, files, None)
    return int(counted["n"][0].as_py())


def latest(table: FeatureTable, since: datetime, until: datetime) -> pa.Table:
    """The newest row, as known at `until`, of each key that something became known of since.

    A late row counts from when it became known, so a correction of an older event is noticed, and
    it does not replace a newer event. Both times are UTC and included.

    Returns:
        The columns of `table` under their names in the files, one row for each key.
    """
    files = _files(table)
    keys = ", ".join(_id(key) for key in table.keys)
    known = " AND ".join(f"{_id(c)} <= make_timestamp({_micros(until)})" for c in table.times)
    order = ", ".join(f"{_id(c)} DESC" for c in [*table.times, "file_index", "file_row_number"])
    features = [f"{v} AS {_id(c)}" for v, c in zip(_typed(table), table.features, strict=True)]
    sql = f"""
        SELECT {", ".join([keys, *features, *map(_id, table.times)])} FROM {_scan(files)}
        WHERE {known} AND ({keys}) IN
            (SELECT ({keys}) FROM {_scan(files)} WHERE {_became_known(table, since, until)})
        QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1
        ORDER BY {keys}
    """
    return _run(sql, table, files, None)


def _became_known(table: FeatureTable, since: datetime, until: datetime) -> str:
    """SQL condition: the row became known between the two times."""
    start, end = (f"make_timestamp({_micros(moment)})" for moment in (since, until))
    known = " AND ".join(f"{_id(column)} <= {end}" for column in table.times)
    return f"{known} AND ({' OR '.join(f'{_id(column)} >= {start}' for column in table.times)})"


def _visible(table: FeatureTable, files: Sequence[str], where: Sequence[str]) -> str:
    """SQL for `k<i>`, `f<i>`, `event` and `seen`: from `seen` on, the row is its key's answer.

    In order of `seen`, a row is the answer when no earlier one has a later event, and of the rows
    seen at the same moment the last is. Exact duplicates are decided by their place in the files,
    so that the answer is the same in every run.
    """
    event, created, seen = (
        f"epoch_us({_id(c)})" for c in (table.event, table.times[-1], table.bounds[-1])
    )
    keys = [f"k{i}" for i in range(len(table.keys))]
    columns = [
        *(f"{_id(column)} AS {key}" for key, column in zip(keys, table.keys, strict=True)),
        *(f"{v} AS f{i}" for i, v in enumerate(_typed(table))),
        f"{event} AS event",
        f"{created} AS created",
        f"greatest({event}, {seen}) AS seen",
        "file_index AS file",
        "file_row_number AS place",
    ]
    order = "seen, event, created NULLS FIRST, file, place"
    window = f"PARTITION BY {', '.join(keys)} ORDER BY {order}"
    kept = ", ".join([*keys, *(f"f{i}" for i in range(len(table.features))), "event", "seen"])
    return f"""
        SELECT {kept} FROM (SELECT {", ".join(columns)} FROM {_scan(files)}
            WHERE {" AND ".join(where)})
        QUALIFY event >= max(event) OVER ({window} ROWS UNBOUNDED PRECEDING)
        AND lead(seen) OVER ({window}) IS DISTINCT FROM seen
    """


def _narrow(table: FeatureTable, file: str, entities: pa.Table, time: str) -> pa.Table:
    """Row number, time in microseconds and keys: all that the join needs of the entity rows."""
    stamps = entities[time]
    if not pa.types.is_timestamp(stamps.type):
        raise AiosError(
            f"column {time} holds {stamps.type}, not timestamps",
            where=table.name,
            fix="give the rows to look up a timestamp column (UTC)",
        )
    micros = stamps.cast(pa.timestamp("us", stamps.type.tz), safe=False).cast(pa.int64())
    schema = _footer(file)
    narrow = {"row": pa.array(np.arange(len(micros))), "t": micros}
    for i, (column, name) in enumerate(table.keys.items()):
        if _family(schema.field(column).type) != _family(entities[name].type):
            raise AiosError(
                f"join key {name} is {entities[name].type} in the rows to look up "
                f"and {schema.field(column).type} in {file}",
                where=table.name,
                fix="use one type for the entity in the source and in the feature function",
            )
        narrow[f"k{i}"] = entities[name]
    return pa.table(narrow)


def _family(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return "string" if any(is_text(kind) for is_text in text) else str(kind)


def _files(table: FeatureTable) -> list[str]:
    """The view's files, each of which has every column that is read."""
    paths = [p for p in sorted(glob.glob(table.path)) if not Path(p).name.startswith((".", "_"))]
    if not paths:
        raise AiosError(
            "no feature files yet",
            where=f"{table.name} ({table.path})",
            fix="materialize the automation's features for at least one partition",
        )
    for path in paths:
        missing = sorted(set(table.columns) - set(_footer(path).names))
        if missing:
            raise AiosError(
                f"columns are missing: {', '.join(missing)}",
                where=path,
                fix="materialize the features of that partition again",
            )
    return paths


def _footer(path: str) -> pa.Schema:
    try:
        stat = os.stat(path)
        return _read_footer(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


@functools.lru_cache(maxsize=4096)
def _read_footer(path: str, mtime_ns: int, size: int) -> pa.Schema:
    return pq.read_schema(path)


def _unreadable(path: str, error: Exception) -> AiosError:
    return AiosError(
        f"the file cannot be read as Parquet: {str(error).splitlines()[0]}",
        where=path,
        fix="delete it and materialize the features of that partition again",
    )


@functools.cache
def _database(pid: int) -> duckdb.DuckDBPyConnection:
    """One in-memory DuckDB for each process: opening it takes longer than a small join.

    Nothing read from a file is kept: a partition that is written again must be read again.
    """
    settings = {"enable_external_file_cache": False, "temp_directory": tempfile.gettempdir()}
    return duckdb.connect(config=settings)


def _run(sql: str, table: FeatureTable, files: Sequence[str], rows: pa.Table | None) -> pa.Table:
    with _database(os.getpid()).cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if rows is not None:
            connection.register("entity_rows", rows)
        try:
            return connection.sql(sql).to_arrow_table()
        except duckdb.ConversionException as error:
            raise AiosError(
                str(error).splitlines()[0],
                where=f"{table.name} ({table.path})",
                fix="make the feature function return the declared types",
            ) from error
        except duckdb.Error as error:
            for path in files:
                _read_through(path, table)
            raise AiosError(str(error), where=table.name) from error


def _read_through(path: str, table: FeatureTable) -> None:
    """Read every page that the join reads, to find out which file is damaged."""
    try:
        pq.read_table(path, columns=table.columns)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _scan(files: Sequence[str]) -> str:
    """SQL that reads the files; where they differ in types, each column gets the widest one."""
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in files)
    schemas = [_footer(path) for path in files]
    mixed = any(not schema.equals(schemas[0]) for schema in schemas)
    return f"read_parquet([{listed}], union_by_name = {str(mixed).lower()})"


def _typed(table: FeatureTable) -> list[str]:
    return [
        f"{_id(column)}::{kind}" if kind else _id(column)
        for column, (_, kind) in table.features.items()
    ]


def _micros(moment: datetime) -> int:
    naive = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return (naive - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def _id(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

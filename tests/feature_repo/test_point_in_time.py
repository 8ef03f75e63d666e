"""The join against a plain reading of its definition, on every shape of small table."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from feature_repo import point_in_time
from feature_repo.point_in_time import FeatureTable

pytestmark = pytest.mark.unit

START = datetime(2024, 1, 1)
SCHEMA = {
    "key": pl.String,
    "event_time": pl.Datetime("us"),
    "known_at": pl.Datetime("us"),
    "value": pl.Int64,
    "maybe": pl.Float64,
}
Row = dict[str, Any]

hours = st.integers(0, 3).map(lambda hour: START + timedelta(hours=hour))
keys = st.sampled_from(["a", "b"])


@st.composite
def feature_rows(draw: st.DrawFn) -> list[Row]:
    rows = draw(st.lists(st.tuples(keys, hours, hours, st.none() | st.floats(0, 1)), max_size=14))
    return [
        {"key": k, "event_time": e, "known_at": c, "value": i, "maybe": m}
        for i, (k, e, c, m) in enumerate(rows)
    ]


asked_rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "nobody", None]), hours | st.none()), max_size=10
)


def oracle(rows: list[Row], key: str, at: datetime, ttl: timedelta, known_only: bool) -> Row | None:
    """The definition, read aloud: a row's number is its place in the files."""
    admissible = [
        row
        for row in rows
        if row["key"] == key
        and at is not None
        and row["event_time"] <= at
        and (row["known_at"] <= at or not known_only)
        and (not ttl or row["event_time"] >= at - ttl)
    ]
    return max(admissible, key=lambda r: (r["event_time"], r["known_at"], r["value"]), default=None)


def write(directory: Path, *parts: list[Row]) -> None:
    for number, rows in enumerate(parts):
        pl.DataFrame(rows, schema=SCHEMA).write_parquet(directory / f"{number}.parquet")


def table(directory: Path, **changes: Any) -> FeatureTable:
    settings = {
        "name": "claims__claim",
        "path": str(directory / "*.parquet"),
        "keys": {"key": "key"},
        "event": "event_time",
        "created": "known_at",
        "features": {"value": ("value", "BIGINT"), "maybe": ("maybe", "DOUBLE")},
    }
    return FeatureTable(**(settings | changes))


def look_up(directory: Path, asked: list[tuple[Any, Any]], **changes: Any) -> pl.DataFrame:
    schema = {"key": pl.String, "at": pl.Datetime("us")}
    rows = pl.DataFrame(asked, schema=schema, orient="row")
    return pl.DataFrame(point_in_time.join(table(directory, **changes), rows.to_arrow(), "at"))


@settings(max_examples=100, deadline=None)
@given(
    rows=feature_rows(),
    asked=asked_rows,
    split=st.integers(0, 14),
    ttl=st.sampled_from([0, 1, 2]).map(lambda hour: timedelta(hours=hour)),
    known_only=st.booleans(),
)
def test_join_is_exactly_its_definition(
    rows: list[Row],
    asked: list[tuple[Any, Any]],
    split: int,
    ttl: timedelta,
    known_only: bool,
) -> None:
    with TemporaryDirectory() as directory:
        write(Path(directory), rows[:split], rows[split:])
        found = look_up(Path(directory), asked, ttl=ttl, known_only=known_only)
    expected = [oracle(rows, key, at, ttl, known_only) or {} for key, at in asked]
    assert found["value"].to_list() == [row.get("value") for row in expected]
    assert found["maybe"].to_list() == [row.get("maybe") for row in expected]


@settings(max_examples=40, deadline=None)
@given(rows=feature_rows(), since=hours, until=hours)
def test_latest_is_what_the_join_gives_now_for_every_key_that_changed(
    rows: list[Row], since: datetime, until: datetime
) -> None:
    seen = [max(row["event_time"], row["known_at"]) for row in rows]
    changed = {row["key"] for row, at in zip(rows, seen, strict=True) if since <= at <= until}
    with TemporaryDirectory() as directory:
        write(Path(directory), rows)
        found = pl.DataFrame(point_in_time.latest(table(Path(directory)), since, until))
        count = point_in_time.changed(table(Path(directory)), since, until)
    assert count == len(changed)
    assert dict(found.select("key", "value").rows()) == {
        key: oracle(rows, key, until, timedelta(0), True)["value"] for key in changed
    }


def a_row(key: str, event: int, known: int, value: int) -> Row:
    times = {
        "event_time": START + timedelta(hours=event),
        "known_at": START + timedelta(hours=known),
    }
    return {"key": key, **times, "value": value, "maybe": None}


def test_a_later_correction_never_changes_an_earlier_answer(tmp_path: Path) -> None:
    asked = [("a", START + timedelta(hours=hour)) for hour in range(6)]
    write(tmp_path, [a_row("a", 0, 0, 1), a_row("a", 2, 2, 2)])
    before = look_up(tmp_path, asked)["value"].to_list()
    write(tmp_path, [a_row("a", 0, 0, 1), a_row("a", 2, 2, 2)], [a_row("a", 2, 4, 3)])
    after = look_up(tmp_path, asked)["value"].to_list()
    assert before == [1, 1, 2, 2, 2, 2]
    assert after == [1, 1, 2, 2, 3, 3]


def test_a_late_record_of_the_past_does_not_replace_a_newer_event(tmp_path: Path) -> None:
    write(tmp_path, [a_row("a", 3, 3, 1), a_row("a", 1, 5, 2)])
    assert look_up(tmp_path, [("a", START + timedelta(hours=6))])["value"].to_list() == [1]


def test_times_with_a_zone_are_the_same_instants(tmp_path: Path) -> None:
    rows = pl.DataFrame([a_row("a", 1, 1, 1), a_row("a", 3, 3, 2)], schema=SCHEMA)
    zoned = rows.with_columns(
        pl.col("event_time", "known_at")
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone("Asia/Tokyo")
    )
    zoned.write_parquet(tmp_path / "0.parquet")
    assert look_up(tmp_path, [("a", START + timedelta(hours=2))])["value"].to_list() == [1]


def test_a_column_that_is_whole_in_one_file_and_real_in_another_keeps_its_fractions(
    tmp_path: Path,
) -> None:
    whole = pl.DataFrame([a_row("a", 1, 1, 1) | {"maybe": 1}])
    whole.write_parquet(tmp_path / "0.parquet")
    write_real = pl.DataFrame([a_row("b", 1, 1, 2) | {"maybe": 0.25}])
    write_real.write_parquet(tmp_path / "1.parquet")
    asked = [("a", START + timedelta(hours=2)), ("b", START + timedelta(hours=2))]
    assert look_up(tmp_path, asked)["maybe"].to_list() == [1.0, 0.25]


def test_columns_in_another_order_are_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, [a_row("a", 1, 1, 1)], [a_row("b", 1, 1, 2)])
    second = tmp_path / "1.parquet"
    pl.read_parquet(second).select("value", "known_at", "maybe", "event_time", "key").write_parquet(
        second
    )
    asked = [("a", START + timedelta(hours=2)), ("b", START + timedelta(hours=2))]
    assert look_up(tmp_path, asked)["value"].to_list() == [1, 2]


def test_files_being_written_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, [a_row("a", 1, 1, 1)])
    (tmp_path / ".1.parquet").write_bytes(b"half a fi")
    assert look_up(tmp_path, [("a", START + timedelta(hours=2))])["value"].to_list() == [1]


def test_a_partition_written_again_is_read_again(tmp_path: Path) -> None:
    asked = [("a", START + timedelta(hours=2))]
    for value in range(3):
        write(tmp_path, [a_row("a", 1, 1, value)])
        assert look_up(tmp_path, asked)["value"].to_list() == [value]


ASK = [("a", START)]


def test_no_files_yet_says_to_materialize_the_features(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match=r"claims__claim.*no feature files yet\n.*materialize"):
        look_up(tmp_path, ASK)


def test_a_missing_column_names_the_file(tmp_path: Path) -> None:
    write(tmp_path, [a_row("a", 1, 1, 1)])
    pl.read_parquet(tmp_path / "0.parquet").drop("maybe").write_parquet(tmp_path / "1.parquet")
    with pytest.raises(AiosError, match=r"1\.parquet: columns are missing: maybe"):
        look_up(tmp_path, ASK)


@pytest.mark.parametrize("damage", ["not parquet", "cut short", "a page overwritten"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    many = [a_row("a", 1, 1, value) for value in range(5000)]
    write(tmp_path, many, many)
    victim = tmp_path / "1.parquet"
    content = bytearray(victim.read_bytes())
    if damage == "not parquet":
        content = bytearray(b"hello")
    elif damage == "cut short":
        content = content[: len(content) // 2]
    else:
        content[4:400] = bytes(396)
    victim.write_bytes(content)
    with pytest.raises(AiosError, match=r"1\.parquet: the file cannot be read as Parquet"):
        look_up(tmp_path, [("a", START + timedelta(hours=2))])


def test_a_join_key_of_another_type_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [a_row("a", 1, 1, 1)])
    rows = pl.DataFrame({"key": [1], "at": [START]}).to_arrow()
    with pytest.raises(AiosError, match="join key key is int64"):
        point_in_time.join(table(tmp_path), rows, "at")


def test_a_value_that_is_not_of_its_declared_type_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [a_row("a", 1, 1, 1)])
    pl.read_parquet(tmp_path / "0.parquet").with_columns(maybe=pl.lit("n/a")).write_parquet(
        tmp_path / "0.parquet"
    )
    with pytest.raises(AiosError, match="declared types"):
        look_up(tmp_path, [("a", START + timedelta(hours=2))])

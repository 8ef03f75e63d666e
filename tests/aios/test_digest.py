"""Digests: the same for the same content, on every version; another for any other content."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aios.digest import frame_digest, json_digest, row_digests, text_digest

pytestmark = pytest.mark.unit

SCHEMA = {"n": pl.Int64, "x": pl.Float64, "t": pl.String, "b": pl.Boolean, "at": pl.Datetime("us")}
VALUES = {
    "n": st.none() | st.integers(-(2**63), 2**63 - 1),
    "x": st.none() | st.floats(),
    "t": st.none() | st.text(max_size=8),
    "b": st.none() | st.booleans(),
    "at": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
}
ROWS = st.fixed_dictionaries(VALUES)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def one(value: Any, dtype: Any = None) -> int:
    return int(row_digests(pl.DataFrame({"v": pl.Series([value], dtype=dtype)}))[0])


@given(st.lists(ROWS, max_size=8), st.permutations(list(SCHEMA)))
def test_order_of_columns_does_not_matter(rows: list[dict[str, Any]], order: list[str]) -> None:
    table = frame(rows)
    assert row_digests(table).equals(row_digests(table.select(order)))


@given(st.lists(ROWS, min_size=1, max_size=8), st.data())
def test_a_row_alone_has_the_digest_that_it_has_among_others(
    rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    table = frame(rows)
    position = data.draw(st.integers(0, len(rows) - 1))
    assert row_digests(table)[position] == row_digests(table[position])[0]


@given(ROWS, ROWS)
def test_rows_have_one_digest_exactly_where_they_are_equal(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    digests = row_digests(frame([left, right]))
    equal = all(left[k] == right[k] or _both_nan(left[k], right[k]) for k in SCHEMA)
    assert (digests[0] == digests[1]) is equal


@given(ROWS, st.sampled_from(list(SCHEMA)), st.data())
def test_every_single_value_counts(row: dict[str, Any], name: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[name])
    assume(value != row[name] and not _both_nan(value, row[name]))
    assert len(set(row_digests(frame([row, row | {name: value}])))) == 2


def _both_nan(left: Any, right: Any) -> bool:
    floats = isinstance(left, float) and isinstance(right, float)
    return floats and math.isnan(left) and math.isnan(right)


def test_null_zero_nan_and_empty_are_all_different() -> None:
    values = [
        one(None, pl.Float64), one(0.0), one(float("nan")), one(float("inf")), one(""), one("0"),
        one("null"), one("NaN"),
    ]  # fmt: skip
    assert len(set(values)) == len(values)
    assert one(None, pl.Float64) == one(None, pl.String) == one(None, pl.Int64) == one(None)


def test_values_that_are_equal_have_one_digest() -> None:
    assert one(-0.0) == one(0.0)
    assert one(1, pl.Int8) == one(1, pl.Int64) == one(1, pl.UInt64)
    assert one(0.5, pl.Float32) == one(0.5, pl.Float64)
    assert one("a", pl.Categorical) == one("a", pl.Enum(["b", "a"])) == one("a")
    assert one(None, pl.Enum(["a"])) == one(None, pl.String)
    assert one(1) != one(1.0)


def test_swapped_values_of_two_columns_are_seen() -> None:
    left = pl.DataFrame({"a": [1], "b": [2]})
    assert row_digests(left)[0] != row_digests(pl.DataFrame({"a": [2], "b": [1]}))[0]
    assert row_digests(left)[0] != row_digests(left.rename({"a": "c"}))[0]


def test_digests_never_change_between_versions() -> None:
    table = pl.DataFrame(
        {
            "id": [1, -2, None],
            "x": [0.1, float("nan"), None],
            "t": ["Zürich", "", None],
            "b": [True, False, None],
            "d": [date(2024, 2, 29), date(1969, 12, 31), None],
            "at": [datetime(2024, 2, 29, 12, 30, 1, 5), datetime(1900, 1, 1), None],
            "e": pl.Series(["a", "b", None], dtype=pl.Enum(["a", "b"])),
        }
    )
    assert row_digests(table).to_list() == [
        12362016763749196117,
        393432794911434102,
        4411987036285102510,
    ]
    assert frame_digest(table) == "d3fbe82b20635f52"
    assert text_digest("Zürich") == "4251685e06cab635"
    assert json_digest({"b": [1, None], "a": "x"}) == "a8d71f64d3dc772b"


def test_an_empty_frame_has_a_digest() -> None:
    empty = pl.DataFrame(schema=SCHEMA)
    digests = row_digests(empty)
    assert (digests.name, digests.dtype, digests.len()) == ("digest", pl.UInt64, 0)
    assert frame_digest(empty) == frame_digest(empty.clone())
    assert frame_digest(empty) != frame_digest(empty.drop("n"))


def test_a_frame_digest_sees_order_types_and_names() -> None:
    table = pl.DataFrame({"a": [1, 2], "b": [3, 4]})
    others = [
        table.reverse(), table.select("b", "a"), table.cast(pl.Int32), table.rename({"a": "c"}),
        table.head(1), table.with_columns(b=pl.Series([3, 5])),
    ]  # fmt: skip
    digests = {frame_digest(one) for one in [table, *others]}
    assert len(digests) == 1 + len(others)


def test_durations_and_times_of_day_are_values_too() -> None:
    assert one(timedelta(seconds=1)) != one(timedelta(seconds=2))
    assert one(datetime(2024, 1, 1).time()) != one(datetime(2024, 1, 1, 1).time())


def test_rows_spread_over_all_bits() -> None:
    digests = row_digests(pl.DataFrame({"a": range(20_000)})).to_numpy()
    assert len(set(digests.tolist())) == 20_000
    share = [((digests >> bit) & 1).mean() for bit in range(64)]
    assert 0.48 < min(share) <= max(share) < 0.52


def test_json_digest_ignores_the_order_of_keys_only() -> None:
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})
    assert json_digest([1, 2]) != json_digest([2, 1])
    assert json_digest({"a": None}) != json_digest({})

"""Sources: every row of a table arrives once, in its time; values take their declared types."""

from __future__ import annotations

import itertools
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.automation import Automation
from aios.errors import AiosError
from aios.sources import bind, label_values, latest_event, read_events, read_labels, typed
from tests.conftest import COLUMNS, START, loans, make_automation, write_table

pytestmark = pytest.mark.unit

DAY = timedelta(days=1)
FOREVER = (datetime(1900, 1, 1), datetime(2200, 1, 1))


def automation(directory: Path, **overrides: Any) -> Automation:
    return make_automation(directory, **overrides)[0]


def text(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(loans(1).columns, pl.String))


def row(number: int, at: str | None, label: str | None = "0") -> dict[str, Any]:
    return {
        "loan_id": str(number), "customer": "c", "applied_at": at, "amount": "1.5",
        "region": "north", "defaulted": label,
    }  # fmt: skip


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_row_of_a_table_arrives_once_in_its_window(tmp_path: Path, suffix: str) -> None:
    table = loans(100).sample(fraction=1, shuffle=True, seed=1)
    ours = automation(tmp_path, table=table, source={"table": f"loans.{suffix}"})
    parts = [read_events(ours, window.start, window.end) for window in ours.windows()]
    for part, window in zip(parts, ours.windows(), strict=True):
        assert part["known_at"].is_between(window.start, window.end, closed="left").all()
    arrived = pl.concat(parts)
    assert arrived["loan_id"].cast(pl.Int64).sort().to_list() == list(range(1, 101))
    assert "defaulted" not in arrived.columns
    expected = table.sort("applied_at")["applied_at"]
    assert arrived["known_at"].equals(expected, check_names=False)


def test_a_window_holds_its_start_and_not_its_end(tmp_path: Path) -> None:
    table = text([row(1, "2024-01-01"), row(2, "2024-01-08 00:00:00"), row(3, "2024-01-15")])
    ours = automation(tmp_path, table=table)
    found = read_events(ours, datetime(2024, 1, 8), datetime(2024, 1, 15))
    assert found["loan_id"].to_list() == ["2"]


def test_a_row_without_a_time_arrives_with_the_row_before_it(tmp_path: Path) -> None:
    table = text(
        [row(1, None), row(2, "2024-01-10"), row(3, "soon"), row(4, "2024-01-02"), row(5, "")]
    )
    ours = automation(tmp_path, table=table)
    found = read_events(ours, *FOREVER).select("loan_id", "applied_at", "known_at")
    assert found.rows() == [
        ("4", "2024-01-02", datetime(2024, 1, 2)),
        ("5", "", datetime(2024, 1, 2)),
        ("1", None, datetime(2024, 1, 10)),
        ("2", "2024-01-10", datetime(2024, 1, 10)),
        ("3", "soon", datetime(2024, 1, 10)),
    ]


def test_a_table_may_say_itself_when_a_row_was_known(tmp_path: Path) -> None:
    rows = [row(1, "2024-01-01"), row(2, "2024-01-03"), row(3, "2024-01-02")]
    table = text(rows).with_columns(known_at=pl.Series(["2024-02-01", "late", "2024-01-02"]))
    columns = COLUMNS | {"known_at": {"type": "time"}}
    ours = automation(tmp_path, table=table, known_at="known_at", contract={"columns": columns})
    found = read_events(ours, *FOREVER)
    # What cannot be read stays as it came, for the contract to judge.
    assert found.select("loan_id", "known_at").rows() == [
        ("3", "2024-01-02"), ("1", "2024-02-01"), ("2", "late"),
    ]  # fmt: skip
    assert read_events(ours, datetime(2024, 2, 1), datetime(2024, 2, 2))["loan_id"].len() == 2


def test_labels_are_learned_exactly_after_their_delay(tmp_path: Path) -> None:
    table = text([row(1, "2024-01-01 10:00"), row(2, "2024-01-01 10:01"), row(3, "2024-01-09")])
    ours = automation(tmp_path, table=table, label={"delay": "36h"})
    learned = datetime(2024, 1, 2, 22)
    later = learned + timedelta(minutes=1)
    assert read_labels(ours, learned, later)["loan_id"].to_list() == [1]
    assert read_labels(ours, later, later + timedelta(minutes=1))["loan_id"].to_list() == [2]
    everything = read_labels(ours, *FOREVER)
    assert everything["known_at"].to_list() == [learned, later, datetime(2024, 1, 10, 12)]
    assert dict(everything.schema) == {
        "loan_id": pl.Int64, "label": pl.Float64, "known_at": pl.Datetime("us"),
    }  # fmt: skip


def test_a_label_that_is_empty_or_no_number_is_not_learned(tmp_path: Path) -> None:
    values = ["1", "0", "", None, "maybe", "nan", "inf", "Yes", "FALSE", " 1 "]
    table = text([row(i, "2024-01-01", value) for i, value in enumerate(values)])
    learned = read_labels(automation(tmp_path, table=table), *FOREVER)
    assert learned.select("loan_id", "label").rows() == [
        (0, 1.0), (1, 0.0), (7, 1.0), (8, 0.0), (9, 1.0),
    ]  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from(["0", "1"])), max_size=20),
    st.lists(st.integers(0, 30_000), min_size=1, max_size=4),
)
def test_adjacent_spans_share_the_labels_out(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], cuts: list[int]
) -> None:
    times = [(START + timedelta(minutes=minutes)).isoformat() for minutes, _ in rows]
    table = text([row(i, at, rows[i][1]) for i, at in enumerate(times)])
    ours = automation(tmp_path_factory.mktemp("case"), table=table)
    edges = [FOREVER[0], *(START + timedelta(minutes=cut) for cut in sorted(cuts)), FOREVER[1]]
    parts = [read_labels(ours, *span) for span in itertools.pairwise(edges)]
    assert sorted(pl.concat(parts)["loan_id"]) == list(range(len(rows)))


def test_a_module_is_asked_for_events_and_labels(tmp_path: Path) -> None:
    source = """
from datetime import datetime
import polars as pl

def events(start, end, data):
    row = {"loan_id": 1, "known_at": start, "defaulted": 1, "from": str(data)}
    return pl.DataFrame([row])

def labels(start, end, data):
    times = [start, end, end]
    return pl.DataFrame({"loan_id": [1, 1, 2], "label": [0, 1, None], "known_at": times})

def period(data):
    return datetime(2024, 1, 3), datetime(2024, 2, 3)
"""
    ours = automation(
        tmp_path, files={"source.py": source}, source={"table": None, "module": "source"}
    )
    events = read_events(ours, START, START + DAY)
    assert events.columns == ["loan_id", "known_at", "from"]
    assert events["from"].to_list() == ["None"]
    assert read_labels(ours, START, START + DAY).rows() == [(1, 1.0, START + DAY)]
    assert latest_event(ours) == datetime(2024, 2, 3)
    bound = bind(ours, write_table(tmp_path / "other.csv", loans(5)))
    assert (bound.start, bound.end) == (datetime(2024, 1, 1), datetime(2024, 2, 5))


def test_binding_to_a_file_takes_its_own_span_of_time(tmp_path: Path) -> None:
    ours = automation(tmp_path)
    table = text([row(1, "1994-03-03"), row(2, "1994-03-20 23:59:59.9")])
    path = write_table(tmp_path / "old.csv", table)
    binding = bind(ours, path)
    assert (binding.data, binding.start, binding.end) == (
        path, datetime(1994, 2, 28), datetime(1994, 3, 21),
    )  # fmt: skip
    bound = ours.bound_to(binding)
    assert [window.key for window in bound.windows()] == ["1994-02-28", "1994-03-07", "1994-03-14"]
    assert read_events(bound, *FOREVER)["loan_id"].to_list() == ["1", "2"]
    assert bind(ours, None) == ours.binding
    assert latest_event(bound) == datetime(1994, 3, 20, 23, 59, 59, 900_000)


def test_a_table_that_grows_is_read_again(tmp_path: Path) -> None:
    ours = automation(tmp_path, table=loans(10))
    assert read_events(ours, *FOREVER).height == 10
    write_table(ours.folder / "loans.csv", loans(12))
    assert read_events(ours, *FOREVER).height == 12


@pytest.mark.parametrize("name", ["loan_id", "applied_at", "defaulted"])
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, name: str) -> None:
    ours = automation(tmp_path, table=loans(10).drop(name))
    with pytest.raises(AiosError, match=f"column '{name}' is missing") as error:
        read_events(ours, *FOREVER)
    assert error.value.where == str(ours.folder / "loans.csv")
    assert "customer" in error.value.what


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("loans.csv", b"", "cannot be read"),
        ("loans.parquet", b"", "cannot be read"),
        ("loans.parquet", b"PAR1 and then nothing of use PAR1", "cannot be read"),
        ("loans.csv", None, "no such table"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    ours = automation(tmp_path, source={"table": name})
    path = ours.folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    for read in (read_events, read_labels):
        with pytest.raises(AiosError, match=says) as error:
            read(ours, *FOREVER)
        assert error.value.where == str(path)


def test_a_header_without_rows_has_no_events_and_cannot_be_bound(tmp_path: Path) -> None:
    ours = automation(tmp_path, table=text([]))
    assert read_events(ours, *FOREVER).height == 0
    assert read_labels(ours, *FOREVER).height == 0
    assert latest_event(ours) is None
    with pytest.raises(AiosError, match="has no rows"):
        bind(ours, ours.folder / "loans.csv")
    with pytest.raises(AiosError, match="no such file"):
        bind(ours, tmp_path / "none.csv")


def test_a_table_of_which_no_row_can_be_dated_is_an_error_not_a_loss(tmp_path: Path) -> None:
    ours = automation(tmp_path, table=text([row(1, "31.1.2024"), row(2, "1.2.2024")]))
    with pytest.raises(AiosError, match=r"no value of column 'applied_at'.*31\.1\.2024") as error:
        read_events(ours, *FOREVER)
    assert error.value.where == str(ours.folder / "loans.csv")


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("text", [" a ", "", "  ", None, "7"], ["a", None, None, None, "7"]),
        ("category", ["N/A", "é "], ["N/A", "é"]),
        ("integer", ["7", " 7 ", "7.0", "1e3", "-3"], [7, 7, 7, 1000, -3]),
        ("integer", ["7.5", "seven", "", "inf", "nan", "1e30"], [None] * 6),
        ("integer", ["9007199254740993", "-9223372036854775808"], [2**53 + 1, -(2**63)]),
        ("number", ["7", "-0.5", "1e3", " 2 "], [7.0, -0.5, 1000.0, 2.0]),
        ("number", ["1,5", "", "NaN", "inf", "abc", None], [None] * 6),
        ("boolean", ["true", "Yes", "1", "t", "Y"], [True] * 5),
        ("boolean", ["FALSE", "no", "0", "f", "n"], [False] * 5),
        ("boolean", ["2", "maybe", "", None], [None] * 4),
        ("time", ["2024-02-29"], [datetime(2024, 2, 29)]),
        ("time", ["2024-02-29 12:30"], [datetime(2024, 2, 29, 12, 30)]),
        ("time", ["2024-02-29T12:30:01Z"], [datetime(2024, 2, 29, 12, 30, 1)]),
        ("time", ["2024-02-29 12:30:01.25+00:00"], [datetime(2024, 2, 29, 12, 30, 1, 250_000)]),
        ("time", ["2023-02-29", "29/02/2024", "later", ""], [None] * 4),
        ("time", ["2024-01-01T00:00:00+02:00"], [None]),
    ],
)  # fmt: skip
def test_text_takes_its_declared_type_or_becomes_null(
    kind: Any, given: list[str | None], expected: list[Any]
) -> None:
    frame = pl.DataFrame({"v": given}, schema={"v": pl.String})
    assert frame.select(v=typed(kind, pl.col("v")))["v"].to_list() == expected


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("integer", [1, -(2**62), None]),
        ("number", [1.5, None, -1e300]),
        ("boolean", [True, False, None]),
        ("text", ["a", None]),
        ("time", [datetime(2024, 2, 29, 12, 30, 1, 5), datetime(1901, 1, 1), None]),
    ],
)
def test_typed_values_stay_as_they_are(kind: Any, given: list[Any]) -> None:
    frame = pl.DataFrame({"v": given})
    assert frame.select(v=typed(kind, pl.col("v")))["v"].to_list() == given


def test_other_types_of_a_parquet_file_are_understood() -> None:
    moment = datetime(2024, 2, 29, 12)
    utc = pl.Series([moment]).dt.replace_time_zone("UTC")
    frame = pl.DataFrame(
        {"d": [date(2024, 2, 29)], "z": utc, "c": pl.Series(["x"], dtype=pl.Categorical)}
    )
    times = frame.select(typed("time", pl.col("d")), typed("time", pl.col("z")))
    assert times.row(0) == (datetime(2024, 2, 29), moment)
    assert frame.select(typed("category", pl.col("c"))).dtypes == [pl.String]
    numbers = pl.DataFrame({"v": [1, 0]}).select(v=typed("boolean", pl.col("v")))
    assert numbers["v"].to_list() == [True, False]


def test_label_values() -> None:
    frame = pl.DataFrame({"v": ["2.5", "yes", "No", "TRUE", "f", "", None, "x", "1e400"]})
    values = frame.select(v=label_values(pl.col("v")))["v"].to_list()
    assert values == [2.5, 1.0, 0.0, 1.0, 0.0, None, None, None, None]

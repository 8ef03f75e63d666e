"""Claims from a file: dates, gaps, damaged rows, and errors that say what to do."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from aios.errors import AiosError
from aios_assets.automations.claims import schema, simulator, source

pytestmark = pytest.mark.unit

ALWAYS = datetime(1900, 1, 1), datetime(2100, 1, 1)
CLAIM = {
    "Month": "Jan", "WeekOfMonth": "1", "DayOfWeek": "Sunday", "Make": "Toyota",
    "AccidentArea": "Urban", "DayOfWeekClaimed": "Tuesday", "MonthClaimed": "Jan",
    "WeekOfMonthClaimed": "1", "Sex": "Male", "MaritalStatus": "Married", "Age": "64",
    "Fault": "Policy Holder", "PolicyType": "Sedan - Collision", "VehicleCategory": "Sedan",
    "VehiclePrice": "20000 to 29000", "FraudFound_P": "0", "PolicyNumber": "1", "RepNumber": "5",
    "Deductible": "400", "DriverRating": "1", "Days_Policy_Accident": "more than 30",
    "Days_Policy_Claim": "more than 30", "PastNumberOfClaims": "1", "AgeOfVehicle": "more than 7",
    "AgeOfPolicyHolder": "51 to 65", "PoliceReportFiled": "No", "WitnessPresent": "No",
    "AgentType": "External", "NumberOfSuppliments": "none", "AddressChange_Claim": "no change",
    "NumberOfCars": "1 vehicle", "Year": "1994", "BasePolicy": "Collision",
}  # fmt: skip


def written(path: Path, *rows: dict[str, str]) -> Path:
    table = pl.DataFrame([CLAIM | {"PolicyNumber": str(i)} | row for i, row in enumerate(rows)])
    table.write_csv(path)
    return path


def broken(events: pl.DataFrame) -> pl.DataFrame:
    """The rows that an ordinary contract would quarantine."""
    sound = (
        pl.all_horizontal(pl.col("claim_id", "event_time", "known_at").is_not_null())
        & (pl.col("event_time") <= pl.col("known_at"))
        & pl.col("make").is_in(schema.MAKES)
        & (pl.col("deductible") > 0)
        & pl.col("driver_rating").is_between(1, 4)
    )
    return events.filter(~sound.fill_null(False))


@pytest.fixture
def real(datasets: Path) -> Path:
    return datasets / "vehicle_claims_fraud"


@pytest.mark.parametrize(
    ("year", "month", "week", "weekday", "date"),
    [
        ("1994", "Jan", "1", "Saturday", datetime(1994, 1, 1)),
        ("1994", "Jan", "1", "Friday", datetime(1994, 1, 7)),
        ("1995", "May", "3", "Monday", datetime(1995, 5, 15)),
        ("1996", "Feb", "5", "Thursday", datetime(1996, 2, 29)),
        ("1995", "Feb", "5", "Tuesday", datetime(1995, 2, 28)),
    ],
    ids=["first day", "first week", "middle", "leap day", "fifth of four is the last"],
)
def test_dates_an_accident_from_its_calendar(
    tmp_path: Path, year: str, month: str, week: str, weekday: str, date: datetime
) -> None:
    row = {"Year": year, "Month": month, "WeekOfMonth": week, "DayOfWeek": weekday}
    events = source.events(*ALWAYS, written(tmp_path / "one.csv", row))
    assert events["event_time"].to_list() == events["known_at"].to_list() == [date]


def test_zero_and_empty_mean_missing(tmp_path: Path) -> None:
    row = {"MonthClaimed": "0", "DayOfWeekClaimed": "0", "Age": "0", "Fault": " ", "Make": ""}
    events = source.events(*ALWAYS, written(tmp_path / "one.csv", row))
    names = ["month_claimed", "day_of_week_claimed", "age", "fault", "make"]
    assert events.select(names).row(0) == (None,) * 5


def test_parquet_with_numbers_reads_like_csv(tmp_path: Path) -> None:
    csv = written(tmp_path / "claims.csv", {}, {"Age": "33", "FraudFound_P": "1"})
    table = pl.read_csv(csv).with_columns(pl.col("Age").cast(pl.Float64))
    table.write_parquet(tmp_path / "claims.parquet")
    for ask in (source.events, source.labels):
        assert ask(*ALWAYS, csv).equals(ask(*ALWAYS, tmp_path / "claims.parquet"))


def test_undated_and_stray_rows_arrive_with_the_row_before_them(tmp_path: Path) -> None:
    path = written(
        tmp_path / "claims.csv",
        {"Month": ""},
        {"Month": "Mar"},
        {"Month": "Apr"},
        {"DayOfWeek": "Someday"},
        {"Year": "1996"},
        {"Month": "May"},
    )
    events = source.events(*ALWAYS, path).sort("claim_id")
    march, april, may = datetime(1994, 3, 6), datetime(1994, 4, 3), datetime(1994, 5, 1)
    assert events["known_at"].to_list() == [march, march, april, april, april, may]
    stray = datetime(1996, 1, 7)
    assert events["event_time"].to_list() == [None, march, april, None, stray, may]


def test_a_gap_of_a_season_is_not_stray_when_rows_share_it(tmp_path: Path) -> None:
    path = written(tmp_path / "claims.csv", {}, {}, {"Month": "Jul"}, {"Month": "Jul"})
    events = source.events(*ALWAYS, path)
    assert events["known_at"].to_list() == events["event_time"].to_list()


def test_labels_are_learned_after_the_delay_and_only_once_known(tmp_path: Path) -> None:
    rows = ({"FraudFound_P": "1"}, {"FraudFound_P": ""}, {"PolicyNumber": ""})
    path = written(tmp_path / "claims.csv", *rows)
    learned = datetime(1994, 1, 2) + source.LABEL_DELAY
    assert source.labels(*ALWAYS, path).rows() == [(0, 1, learned)]
    assert source.labels(datetime(1994, 1, 1), learned, path).is_empty()


def test_windows_of_a_file_partition_it(tmp_path: Path) -> None:
    rows = [{"Month": month, "WeekOfMonth": week} for month in schema.MONTHS for week in "123"]
    path = written(tmp_path / "claims.csv", *rows)
    first, last = source.period(path)
    assert (first, last.date()) == (datetime(1994, 1, 2), datetime(1994, 12, 18).date())
    cuts = [first, datetime(1994, 2, 13), datetime(1994, 7, 1), last + timedelta(microseconds=1)]
    parts = [source.events(a, b, path) for a, b in pairwise(cuts)]
    assert pl.concat(parts).equals(source.events(*ALWAYS, path))
    assert sum(part.height for part in parts) == len(rows)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "claims.csv", {})
    assert source.events(*ALWAYS, path).height == 1
    written(path, {}, {})
    assert source.events(*ALWAYS, path).height == 2


def test_both_sources_speak_the_same_schema(tmp_path: Path) -> None:
    path = written(tmp_path / "claims.csv", {})
    month = datetime(2024, 3, 1), datetime(2024, 4, 1)
    for data, window in ((path, ALWAYS), (None, month), (None, ALWAYS[:1] * 2)):
        assert source.events(*window, data).schema == schema.EVENTS
        assert source.labels(*window, data).schema == schema.LABELS
    assert source.period(None) == simulator.period()


def test_errors_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    pl.DataFrame([CLAIM]).drop("Month", "RepNumber").write_csv(short)
    with pytest.raises(AiosError, match=r"short\.csv: missing columns: Month, RepNumber"):
        source.events(*ALWAYS, short)
    with pytest.raises(AiosError, match=r"absent\.csv: cannot read it"):
        source.period(tmp_path / "absent.csv")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(AiosError, match=r"torn\.parquet: not a readable table"):
        source.events(*ALWAYS, tmp_path / "torn.parquet")
    with pytest.raises(AiosError, match="FraudFound_P: 1 values are neither 0 nor 1, such as '2'"):
        source.labels(*ALWAYS, written(tmp_path / "odd.csv", {"FraudFound_P": "2"}))
    with pytest.raises(AiosError, match="no row can be dated"):
        source.events(*ALWAYS, written(tmp_path / "dateless.csv", {"Year": "unknown"}))


def test_real_file_is_sound_but_for_the_appended_damaged_rows(real: Path, tmp_path: Path) -> None:
    clean, dirty = real / "claims_1994_1995.csv", real / "dirty_rows.csv"
    rows = pl.read_csv(clean, infer_schema_length=0)
    assert broken(source.events(*ALWAYS, clean)).is_empty()
    assert source.events(*ALWAYS, clean).height == rows.height

    both = tmp_path / "both.csv"
    pl.concat([rows, pl.read_csv(dirty, infer_schema_length=0)]).write_csv(both)
    events = source.events(*ALWAYS, both)
    assert events.height == rows.height + 3
    assert sorted(broken(events)["claim_id"]) == [15416, 15418, 15419]
    assert events.filter(pl.col("known_at") >= datetime(1996, 1, 1)).is_empty()
    sound = events.filter(~pl.col("claim_id").is_in(broken(events)["claim_id"].implode()))
    assert sound["month_claimed"].null_count() == 1


def test_where_the_file_covers_the_stray_date_it_is_an_ordinary_repeat(
    real: Path, tmp_path: Path
) -> None:
    rows = pl.read_csv(real / "claims_1994_1995.csv", infer_schema_length=0)
    dirty = pl.read_csv(real / "dirty_rows.csv", infer_schema_length=0)
    next_year = rows.with_columns(
        Year=pl.lit("1996"), PolicyNumber=pl.format("9{}", "PolicyNumber")
    )
    twin = dirty.filter(pl.col("PolicyNumber") == "15419")
    path = tmp_path / "longer.csv"
    pl.concat([rows, next_year, twin, dirty]).write_csv(path)
    events = source.events(*ALWAYS, path)
    assert sorted(broken(events)["claim_id"]) == [15416, 15418]
    same = events.filter(pl.col("claim_id") == 15419)
    assert same.height == 2
    assert same.unique().height == 1
    assert same["known_at"][0] == same["event_time"][0] == datetime(1996, 12, 2)

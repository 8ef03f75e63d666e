"""Events: no row lost, repeats set aside, corrections numbered, nothing changed by a rerun."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios_assets.lifecycle.events import build_events, ingest
from tests.conftest import START, loans, make_automation

pytestmark = pytest.mark.unit

DAY = timedelta(days=1)


def row(number: Any, day: float, **changed: Any) -> dict[str, Any]:
    at = (START + day * DAY).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "loan_id": number, "customer": "c", "applied_at": at, "amount": "10", "region": "north",
        "defaulted": "0", **changed,
    }  # fmt: skip


def automation(directory: Path, rows: list[dict[str, Any]]) -> tuple[Automation, Lake]:
    table = pl.DataFrame(
        [{name: str(value) for name, value in row.items()} for row in rows],
        schema=dict.fromkeys(row(0, 0), pl.String),
    )
    ours, platform = make_automation(directory, table=table)
    return ours, platform.lake("loans")


def ingest_all(ours: Automation, lake: Lake, weeks: int) -> pl.DataFrame:
    for window in ours.windows()[:weeks]:
        ingest(ours, lake, window)
    return lake.read_all("events")  # type: ignore[return-value]


def test_good_rows_are_stored_and_bad_ones_kept_with_the_reason(tmp_path: Path) -> None:
    rows = [row(1, 0), row(2, 1, amount="x"), row(3, 2, region="west", amount="-1"), row(4, 7)]
    ours, lake = automation(tmp_path, rows)
    found = ingest(ours, lake, ours.windows()[0])
    assert lake.read("events", "2024-01-01")["loan_id"].to_list() == [1]
    quarantine = lake.read("quarantine", "2024-01-01").select("loan_id", "amount", "rules")
    assert quarantine.rows() == [
        ("2", "x", "type:amount"), ("3", "-1", "in_range:amount, in_set:region"),
    ]  # fmt: skip
    assert found.fetched == 3
    assert found.quarantined_share == pytest.approx(2 / 3)


def test_exact_repeats_are_set_aside_within_and_across_partitions(tmp_path: Path) -> None:
    rows = [row(1, 0), row(1, 0), row(2, 1), row(2, 8, applied_at="2024-01-02 00:00:00")]
    ours, lake = automation(tmp_path, rows)
    events = ingest_all(ours, lake, 2)
    assert events.select("loan_id", "revision").rows() == [(1, 0), (2, 0)]
    assert lake.read("quarantine", "2024-01-01")["rules"].to_list() == ["unique", "unique"]


def test_a_repeat_that_arrives_later_is_set_aside(tmp_path: Path) -> None:
    ours, lake = with_arrival(tmp_path, [(1, 0, "10"), (1, 9, "10"), (2, 10, "10")])
    events = ingest_all(ours, lake, 2)
    assert events.select("loan_id", "revision").rows() == [(1, 0), (2, 0)]
    assert lake.read("quarantine", "2024-01-01").is_empty()
    later = lake.read("quarantine", "2024-01-08")
    assert later.select("loan_id", "rules").rows() == [("1", "unique")]
    assert ingest(ours, lake, ours.windows()[1]).quarantined_share == 0


def with_arrival(directory: Path, rows: list[tuple[int, float, str]]) -> tuple[Automation, Lake]:
    """Records of one time of event that arrive on given days: (id, day, amount)."""
    table = pl.DataFrame([
        row(number, 0, amount=amount) | {"filed": (START + day * DAY).isoformat()}
        for number, day, amount in rows
    ])  # fmt: skip
    ours, platform = make_automation(
        directory,
        table=table,
        known_at="filed",
        contract={"columns": {"filed": {"type": "time"}}},
    )
    return ours, platform.lake("loans")


def test_corrections_are_numbered_also_back_to_what_was_said_first(tmp_path: Path) -> None:
    arrivals = [(1, 0, "10"), (1, 1, "20"), (1, 8, "10"), (1, 9, "10"), (2, 9, "10"), (1, 15, "30")]
    ours, lake = with_arrival(tmp_path, arrivals)
    events = ingest_all(ours, lake, 3).select("loan_id", "amount", "revision")
    assert events.rows() == [(1, 10, 0), (1, 20, 1), (1, 10, 2), (2, 10, 0), (1, 30, 3)]
    assert lake.read("quarantine", "2024-01-08").height == 1


def test_another_spelling_of_the_same_content_is_a_repeat(tmp_path: Path) -> None:
    ours, lake = with_arrival(tmp_path, [(1, 0, "10"), (1, 1, " 10.0 ")])
    assert ingest_all(ours, lake, 1)["revision"].to_list() == [0]


def test_ids_beyond_a_double_stay_apart(tmp_path: Path) -> None:
    ours, lake = automation(tmp_path, [row(2**53, 0), row(2**53 + 1, 1)])
    events = ingest_all(ours, lake, 1)
    assert events.select("loan_id", "revision").rows() == [(2**53, 0), (2**53 + 1, 0)]


def test_running_a_partition_again_leaves_the_same_bytes(tmp_path: Path) -> None:
    arrivals = [(1, 0, "10"), (1, 1, "20"), (1, 8, "10"), (1, 8, "10"), (2, 9, "x"), (3, 15, "1")]
    ours, lake = with_arrival(tmp_path, arrivals)
    ingest_all(ours, lake, 3)

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in lake.root.rglob("*.parquet")}

    before = content()
    assert len(before) == 6
    for window in reversed(ours.windows()[:3]):
        ingest(ours, lake, window)
    assert content() == before


def test_a_week_without_events_is_an_empty_partition(tmp_path: Path) -> None:
    ours, lake = automation(tmp_path, [row(1, 0), row(1, 14)])
    found = ingest(ours, lake, ours.windows()[1])
    assert (found.fetched, found.quarantined_share) == (0, 0.0)
    assert lake.rows("events", "2024-01-08") == lake.rows("quarantine", "2024-01-08") == 0
    assert ingest_all(ours, lake, 3)["loan_id"].to_list() == [1, 1]


def test_a_source_that_fails_leaves_the_last_good_partition(tmp_path: Path) -> None:
    ours, lake = automation(tmp_path, [row(1, 0)])
    window = ours.windows()[0]
    ingest(ours, lake, window)
    before = lake.path("events", window.key).read_bytes()
    loans(5).drop("region").write_csv(ours.folder / "loans.csv")
    with pytest.raises(AiosError, match="lacks column region"):
        ingest(ours, lake, window)
    assert lake.path("events", window.key).read_bytes() == before


ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "", "x"]),
        st.sampled_from(["2024-01-01", "2024-01-03", "2024-01-08", "2024-01-09", "", "soon"]),
        st.sampled_from(["1", "2", "-1", "much", ""]),
    ),
    min_size=1,
    max_size=15,
).filter(lambda rows: any(day.startswith("2024") for _, day, _ in rows))


@settings(max_examples=25)
@given(ARRIVALS)
def test_every_row_of_the_source_is_an_event_or_in_quarantine(
    tmp_path_factory: pytest.TempPathFactory, arrivals: list[tuple[str, str, str]]
) -> None:
    rows = [row(number, 0, applied_at=day, amount=amount) for number, day, amount in arrivals]
    ours, lake = automation(tmp_path_factory.mktemp("case"), rows)
    events = ingest_all(ours, lake, 3)
    quarantine = lake.read_all("quarantine")
    assert quarantine is not None
    assert events.height + quarantine.height == len(rows)
    valid = [
        (int(number), day, float(amount) if amount else None)
        for number, day, amount in arrivals
        if number in "123" and number and day.startswith("2024") and amount not in ("-1", "much")
    ]
    assert (quarantine["rules"] != "unique").sum() == len(rows) - len(valid)
    # What is known of an event changes with each of its revisions, and with nothing else.
    expected: dict[int, list[Any]] = {}
    for number, day, amount in sorted(valid, key=lambda one: (one[1], one[0])):
        said = expected.setdefault(number, [])
        if not said or said[-1] != (day, amount):
            said.append((day, amount))
    for number, said in expected.items():
        mine = events.filter(pl.col("loan_id") == number)
        assert mine["revision"].to_list() == list(range(len(said)))
        assert mine["amount"].to_list() == [amount for _, amount in said]


def test_the_asset_tells_what_it_found(tmp_path: Path) -> None:
    rows = [row(n, n / 10) for n in range(10)] + [row(10, 1, amount="x"), row(0, 0), row(11, 15)]
    ours, platform = make_automation(
        tmp_path, table=pl.DataFrame(rows, schema_overrides={"loan_id": pl.String}, strict=False)
    )
    result = dg.materialize(
        [build_events(ours)],
        tags={
            "dagster/asset_partition_range_start": "2024-01-01",
            "dagster/asset_partition_range_end": "2024-01-15",
        },
        resources={"platform": platform},
    )
    (event,) = result.asset_materializations_for_node("loans__events")[:1]
    assert event.metadata["fetched"].value == 13
    assert event.metadata["quarantined"].value == 2
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    failed = {name for name, one in checks.items() if not one.passed}
    assert failed == {"type", "unique", "volume"}
    assert checks["type"].metadata["columns"].value == "amount"
    assert checks["volume"].metadata["empty_partitions"].value == "2024-01-08"
    assert checks["quarantine_share"].metadata["share"].value == pytest.approx(1 / 12)


def test_too_much_quarantine_stops_what_comes_after(tmp_path: Path) -> None:
    rows = [row(1, 0), row(2, 1, amount="x"), row(3, 1)]
    ours, platform = make_automation(tmp_path, table=pl.DataFrame(rows))
    result = dg.materialize(
        [build_events(ours)],
        partition_key="2024-01-01",
        resources={"platform": platform},
        raise_on_error=False,
    )
    (check,) = [
        one for one in result.get_asset_check_evaluations() if one.check_name == "quarantine_share"
    ]
    assert (check.passed, check.blocking) == (False, True)


def test_a_failing_stage_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    ours, platform = make_automation(tmp_path, table=loans(5).drop("region"))
    result = dg.materialize(
        [build_events(ours)],
        partition_key="2024-01-01",
        resources={"platform": platform},
        raise_on_error=False,
    )
    (failure,) = result.get_step_failure_events()
    error = failure.step_failure_data.user_failure_data
    assert "lacks column region" in str(error.description)
    assert set(error.metadata) == {"what", "where", "what to do"}
    assert not platform.lake("loans").has("events", "2024-01-01")


def test_revisions_follow_the_time_of_knowing_not_the_order_of_arrival(tmp_path: Path) -> None:
    source = """
import polars as pl
from datetime import datetime

def events(start, end, data):
    days = [3, 1, 2]
    return pl.DataFrame({
        "loan_id": [1, 1, 1], "customer": ["c"] * 3, "region": ["north"] * 3,
        "applied_at": [datetime(2024, 1, 1)] * 3, "amount": [float(day) for day in days],
        "known_at": [datetime(2024, 1, day) for day in days],
    })
"""
    ours, platform = make_automation(
        tmp_path, files={"source.py": source}, source={"table": None, "module": "source"}
    )
    found = ingest(ours, platform.lake("loans"), ours.windows()[0])
    assert found.events.select("amount", "revision").rows() == [(1, 0), (2, 1), (3, 2)]

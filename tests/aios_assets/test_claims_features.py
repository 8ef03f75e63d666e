"""Features of claims: hand-checked rows, unknown words, and windows that do not matter."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_assets.automations.claims import features, schema, simulator

pytestmark = pytest.mark.unit

DAY = timedelta(days=1)
NOON = datetime(2024, 5, 1, 12)
FACTS = {
    "claim_id": 7, "event_time": NOON - DAY, "known_at": NOON, "make": "Honda",
    "accident_area": "Rural", "fault": "Third Party", "policy_type": "Sedan - Collision",
    "vehicle_category": "Sedan", "vehicle_price": "40000 to 59000", "base_policy": "Collision",
    "agent_type": "External", "day_of_week": "Tuesday", "month": "Apr", "week_of_month": 5,
    "day_of_week_claimed": "Wednesday", "month_claimed": "May", "week_of_month_claimed": 1,
    "police_report": "No", "witness": "Yes", "rep_number": 3, "deductible": 400,
    "driver_rating": 2, "days_policy_accident": "15 to 30", "days_policy_claim": "more than 30",
    "past_claims": "2 to 4", "vehicle_age": "6 years", "supplements": "more than 5",
    "address_change": "under 6 months", "cars": "3 to 4", "year": 2024, "sex": "Male", "age": 40,
    "age_group": "36 to 40", "marital_status": "Single",
}  # fmt: skip


def records(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame([FACTS | row for row in rows], schema=schema.EVENTS)


def one(**facts: object) -> dict[str, object]:
    return features.claim(records(facts)).row(0, named=True)


def test_a_claim_by_hand() -> None:
    row = one()
    numbers = {
        "vehicle_price": 49.5,
        "days_policy_accident": 22.5,
        "days_policy_claim": 45.0,
        "past_claims": 3.0,
        "vehicle_age": 6.0,
        "supplements": 7.0,
        "address_change_years": 0.25,
        "cars": 3.5,
        "rep_number": 3.0,
        "deductible": 400.0,
        "driver_rating": 2.0,
        "week_of_month": 5.0,
        "week_of_month_claimed": 1.0,
    }
    assert {name: row[name] for name in numbers} == numbers
    assert (row["make"], row["fault"], row["witness"]) == ("Honda", "Third Party", "Yes")
    assert (row["claim_id"], row["event_time"], row["known_at"]) == (7, NOON - DAY, NOON)


def test_protected_facts_are_no_features() -> None:
    assert not set(features.claim(records({})).columns) & {*schema.PROTECTED, "year"}


@pytest.mark.parametrize(
    ("accident", "claimed", "weeks"),
    [
        (("Apr", 2), ("Apr", 2), 0.0),
        (("Apr", 2), ("Apr", 4), 2.0),
        (("Apr", 5), ("May", 1), 0.348),
        (("Dec", 4), ("Jan", 2), 2.348),
        (("Mar", 1), ("Feb", 4), 50.83),
        (("Mar", 3), ("Mar", 2), 0.0),
    ],
    ids=["same week", "same month", "next month", "next year", "most of a year", "slip"],
)
def test_claim_delay(accident: tuple[str, int], claimed: tuple[str, int], weeks: float) -> None:
    row = one(
        month=accident[0],
        week_of_month=accident[1],
        month_claimed=claimed[0],
        week_of_month_claimed=claimed[1],
    )
    assert row["claim_delay_weeks"] == pytest.approx(weeks, abs=0.01)


@pytest.mark.parametrize("word", [None, "", "a fortune"])
def test_unknown_words_become_null_never_a_guess(word: str | None) -> None:
    bands = [*features.BANDS, "address_change", "month_claimed"]
    row = one(**dict.fromkeys(bands, word))
    derived = [*features.BANDS, "address_change_years", "claim_delay_weeks"]
    assert [row[name] for name in derived] == [None] * len(derived)


def test_every_word_of_the_stream_is_known() -> None:
    events = simulator.events(simulator.START, simulator.END)
    table = features.claim(events)
    pairs = {name: name for name in features.BANDS} | {"address_change_years": "address_change"}
    for feature, raw in pairs.items():
        assert table[feature].null_count() == events[raw].null_count(), feature


def rep(rows: list[tuple[int, int, float, str | None]]) -> list[tuple[int, float, float, object]]:
    """Facts of representatives from (claim, rep, day known, fault)."""
    table = features.representative(
        records(
            *(
                {"claim_id": c, "rep_number": r, "known_at": NOON + day * DAY, "fault": fault}
                for c, r, day, fault in rows
            )
        )
    )
    assert (table["known_at"] == table["event_time"]).all()
    day = (pl.col("event_time") - NOON).dt.total_minutes() / 1440
    return table.select(
        "rep_number", day.alias("day"), "rep_claims_90d", "rep_fault_share_90d"
    ).rows()


def test_representative_by_hand() -> None:
    mine, theirs = "Policy Holder", "Third Party"
    rows = [
        (1, 3, 0, mine),
        (2, 3, 10, theirs),
        (3, 4, 10, mine),
        (4, 3, 20, None),
        (5, 3, 95, mine),
    ]
    assert rep(rows) == [
        (3, 0, 0, None),
        (3, 10, 1, 1.0),
        (4, 10, 0, None),
        (3, 20, 2, 0.5),
        (3, 95, 2, 0.0),
    ]


def test_a_claim_sees_nothing_that_arrives_with_it() -> None:
    assert rep([(1, 3, 0, "Policy Holder"), (2, 3, 0, "Third Party")]) == [(3, 0, 0, None)]


def test_the_window_is_ninety_days_with_its_first_instant() -> None:
    rows = [(1, 3, 0, None), (2, 3, 90, None), (3, 3, 90 + 1 / 1440, None)]
    assert [claims for *_, claims, _ in rep(rows)] == [0, 1, 1]


def test_a_correction_replaces_its_claim_and_may_change_its_representative() -> None:
    mine, theirs = "Policy Holder", "Third Party"
    rows = [(1, 3, 0, mine), (1, 3, 5, theirs), (2, 3, 6, mine), (2, 4, 7, mine), (9, 3, 8, mine)]
    assert rep(rows)[-1] == (3, 8, 1, 0.0)
    assert rep([*rows, (8, 4, 8, mine)])[-1] == (4, 8, 1, 1.0)


@settings(deadline=None, max_examples=20)
@given(st.datetimes(datetime(2024, 4, 1), datetime(2025, 11, 1)), st.integers(1, 70))
def test_representative_is_the_same_from_every_window(start: datetime, days: int) -> None:
    end = start + days * DAY
    inside = pl.col("event_time").is_between(start, end, closed="left")
    events = simulator.events(start - features.LOOKBACK, end)
    whole = simulator.events(simulator.START, simulator.END)
    here = features.representative(events).filter(inside)
    assert here.height > 0
    assert here.equals(features.representative(whole).filter(inside))


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 6),
            st.integers(1, 2),
            st.integers(0, 200),
            st.sampled_from(["Policy Holder", "Third Party", None]),
        ),
        max_size=30,
        unique_by=lambda row: (row[0], row[2]),
    )
)
def test_representative_agrees_with_its_definition(
    rows: list[tuple[int, int, int, str | None]],
) -> None:
    found = {(rep_number, day): values for rep_number, day, *values in rep(list(rows))}
    assert set(found) == {(rep_number, day) for _, rep_number, day, _ in rows}
    for (rep_number, day), values in found.items():
        latest = {
            claim: (who, fault)
            for claim, who, when, fault in sorted(rows, key=lambda row: row[2])
            if day - 90 <= when < day
        }
        faults = [fault for who, fault in latest.values() if who == rep_number]
        known = [fault == "Policy Holder" for fault in faults if fault]
        share = pytest.approx(sum(known) / len(known)) if known else None
        assert values == [len(faults), share]

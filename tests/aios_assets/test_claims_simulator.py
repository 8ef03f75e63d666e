"""The simulated stream: the same for every question asked of it, with the effects it documents."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_assets.automations.claims import schema, simulator

pytestmark = pytest.mark.unit

START, END, DRIFT = simulator.START, simulator.END, simulator.DRIFT
AFTER = END + timedelta(days=60)


@pytest.fixture(scope="module")
def stream() -> pl.DataFrame:
    return simulator.events(START, END)


@pytest.fixture(scope="module")
def claims() -> pl.DataFrame:
    """The last word on each claim with its label, of six seeds."""
    seeds = []
    for seed in range(6):
        labels = simulator.labels(START, AFTER, seed).select("claim_id", "label")
        last = simulator.events(START, END, seed).unique("claim_id", keep="last")
        seeds.append(last.join(labels, on="claim_id"))
    return pl.concat(seeds).with_columns(drifted=pl.col("event_time") >= DRIFT)


def rate(claims: pl.DataFrame, *where: pl.Expr) -> float:
    return claims.filter(*where).select(pl.col("label").cast(pl.Float64).mean()).item()


def test_a_month_is_a_pure_function_of_seed_and_month() -> None:
    first = simulator.month(2025, 3)
    simulator.month.cache_clear()
    again = simulator.month(2025, 3)
    assert first is not again
    assert first.records.equals(again.records)
    assert first.labels.equals(again.labels)
    assert not first.records.equals(simulator.month(2025, 3, seed=1).records)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.datetimes(datetime(2023, 11, 1), datetime(2026, 3, 1)), max_size=6))
def test_any_split_of_time_gives_the_same_stream(cuts: list[datetime]) -> None:
    edges = [datetime(2023, 1, 1), *sorted(cuts), datetime(2027, 1, 1)]
    windows = list(pairwise(edges))
    for ask in (simulator.events, simulator.labels):
        parts = pl.concat([ask(*window) for window in windows])
        assert parts.equals(ask(edges[0], edges[-1]))


def test_nothing_is_heard_outside_the_period(stream: pl.DataFrame) -> None:
    first, last = simulator.period()
    assert (first, last) == (START, END - timedelta(microseconds=1))
    assert stream["known_at"].is_between(first, last).all()
    assert simulator.events(END, AFTER).is_empty()


def test_volume_follows_the_season() -> None:
    counts = [simulator.month(y, m).records["claim_id"].n_unique() for y, m in months()]
    assert min(counts) >= 545
    assert max(counts) <= 655
    winter = [count for count, (_, m) in zip(counts, months(), strict=True) if m in (12, 1)]
    assert min(winter) > sum(counts) / len(counts)


def months() -> list[tuple[int, int]]:
    return [(year, month) for year in (2024, 2025) for month in range(1, 13)]


def test_winter_has_more_collisions(claims: pl.DataFrame) -> None:
    winter = pl.col("month").is_in(["Nov", "Dec", "Jan", "Feb"])
    safe = claims.filter(~pl.col("drifted"))
    shares = [
        safe.filter(season).select((pl.col("base_policy") == "Collision").mean()).item()
        for season in (winter, ~winter)
    ]
    assert shares == pytest.approx([0.46, 0.36], abs=0.01)


def test_fraud_rate_and_its_main_signs(claims: pl.DataFrame) -> None:
    before = claims.filter(~pl.col("drifted"))
    assert rate(before) == pytest.approx(0.064, abs=0.004)
    assert rate(claims, pl.col("drifted")) == pytest.approx(0.094, abs=0.004)
    assert rate(before, pl.col("accident_area") == "Rural") > 1.8 * rate(before)
    assert rate(before, pl.col("rep_number").is_in([4, 11])) > 1.6 * rate(before)
    assert rate(before, pl.col("make").is_in(["Accura", "Saturn"])) > 1.5 * rate(before)
    assert rate(before, pl.col("make").is_in(["VW", "Dodge"])) < 0.7 * rate(before)
    assert rate(before, pl.col("fault") == "Third Party") < 0.4 * rate(before)


def test_the_ring_shifts_both_the_claims_and_what_is_fraud(claims: pl.DataFrame) -> None:
    price = pl.col("vehicle_price").is_in(["40000 to 59000", "60000 to 69000"])
    corner = price & (pl.col("policy_type") == "Sport - Liability")
    corner &= pl.col("rep_number").is_in([3, 9, 14])
    old, new = (claims.filter(pl.col("drifted") == late) for late in (False, True))
    assert old.select(price.mean()).item() == pytest.approx(0.05, abs=0.005)
    assert new.select(price.mean()).item() == pytest.approx(0.145, abs=0.01)
    assert old.select(corner.mean()).item() < 0.003
    assert new.select(corner.mean()).item() == pytest.approx(0.10, abs=0.006)
    assert rate(old, corner) < 0.03
    assert rate(new, corner) == pytest.approx(0.39, abs=0.04)


def test_gaps(stream: pl.DataFrame) -> None:
    for name, share in simulator.MISSING.items():
        assert stream[name].is_null().mean() == pytest.approx(share, abs=0.005), name
    assert (stream["age"].is_null() == stream["age_group"].is_null()).all()


def test_late_corrected_and_doubled_records(stream: pl.DataFrame) -> None:
    claims = stream["claim_id"].n_unique()
    sound = stream.drop_nulls(["claim_id", "event_time"])
    first = sound.unique("claim_id", keep="first", maintain_order=True)
    late = first.filter(pl.col("known_at") - pl.col("event_time") > timedelta(days=20))
    assert late.height / claims == pytest.approx(0.02, abs=0.005)
    assert (sound["event_time"] <= sound["known_at"]).all()

    again = sound.filter(pl.len().over("claim_id") > 1).sort("claim_id", "known_at")
    facts = [name for name in stream.columns if name != "known_at"]
    versions = again.group_by("claim_id").agg(
        n=pl.len(),
        contents=pl.struct(facts).n_unique(),
        gap=pl.col("known_at").max() - pl.col("known_at").min(),
        month=pl.col("known_at").dt.month().n_unique(),
    )
    assert (versions["n"] == 2).all()
    corrected = versions.filter(pl.col("contents") == 2)
    doubled = versions.filter(pl.col("contents") == 1)
    assert corrected.height / claims == pytest.approx(0.02, abs=0.004)
    assert corrected["gap"].is_between(timedelta(days=3), timedelta(days=40)).all()
    assert (corrected["month"] == 2).any()
    assert doubled.height / claims == pytest.approx(0.005, abs=0.001)
    assert doubled["gap"].max() <= timedelta(days=3)
    assert 0 < (doubled["gap"] == timedelta(0)).sum() < doubled.height


def test_broken_records_are_of_the_documented_kinds(stream: pl.DataFrame) -> None:
    kinds = stream.select(
        negative=pl.col("deductible") < 0,
        make=~pl.col("make").is_in(schema.MAKES),
        id=pl.col("claim_id").is_null(),
        time=pl.col("event_time").is_null(),
        rating=~pl.col("driver_rating").is_between(1, 4),
    )
    assert all(column.any() for column in kinds)
    assert (kinds.sum_horizontal() <= 1).all()
    assert kinds.sum_horizontal().sum() / stream.height == pytest.approx(0.005, abs=0.001)


def test_a_claim_has_one_label_thirty_days_after_it_is_first_known(stream: pl.DataFrame) -> None:
    labels = simulator.labels(START, AFTER)
    assert labels["claim_id"].is_unique().all()
    assert labels["label"].is_in([0, 1]).all()
    first = stream.drop_nulls("claim_id").group_by("claim_id").agg(pl.col("known_at").min())
    both = first.join(labels, on="claim_id", suffix="_label")
    assert both.height == first.height
    assert (both["known_at_label"] - both["known_at"] == timedelta(days=30)).all()
    assert simulator.labels(START, START + timedelta(days=30)).is_empty()

"""Features of claims: the claim as typed columns, and its representative's recent record.

A band of the raw record becomes the number in its middle (an open band: a number near its edge);
a word that is in no table becomes null, never a guess. Sex, age, age group and marital status
are not features.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from . import schema

WORDS = (
    "make", "accident_area", "fault", "policy_type", "vehicle_category", "base_policy",
    "agent_type", "day_of_week", "month", "day_of_week_claimed", "month_claimed",
    "police_report", "witness",
)  # fmt: skip
NUMBERS = ("rep_number", "deductible", "driver_rating", "week_of_month", "week_of_month_claimed")

DAYS = {"none": 0.0, "1 to 7": 4.0, "8 to 15": 11.5, "15 to 30": 22.5, "more than 30": 45.0}
BANDS: dict[str, dict[str, float]] = {
    "vehicle_price": {
        "less than 20000": 15.0,
        "20000 to 29000": 24.5,
        "30000 to 39000": 34.5,
        "40000 to 59000": 49.5,
        "60000 to 69000": 64.5,
        "more than 69000": 80.0,
    },
    "days_policy_accident": DAYS,
    "days_policy_claim": DAYS,
    "past_claims": {"none": 0.0, "1": 1.0, "2 to 4": 3.0, "more than 4": 6.0},
    "vehicle_age": {
        "new": 0.0,
        **{f"{years} years": float(years) for years in range(2, 8)},
        "more than 7": 9.0,
    },
    "supplements": {"none": 0.0, "1 to 2": 1.5, "3 to 5": 4.0, "more than 5": 7.0},
    "cars": {
        "1 vehicle": 1.0,
        "2 vehicles": 2.0,
        "3 to 4": 3.5,
        "5 to 8": 6.5,
        "more than 8": 10.0,
    },
}
ADDRESS_YEARS = {
    "under 6 months": 0.25,
    "1 year": 1.0,
    "2 to 3 years": 2.5,
    "4 to 8 years": 6.0,
    "no change": 12.0,
}
WEEKS_A_YEAR = 365.25 / 7
LOOKBACK = timedelta(days=90)


def claim(events: pl.DataFrame) -> pl.DataFrame:
    """One row for each record: claim_id, event_time, known_at and its features.

    Words are strings. Numbers are floats: `vehicle_price` in thousands, `days_*` in days,
    `vehicle_age` and `address_change_years` in years (no change: 12), `claim_delay_weeks` the
    weeks from the accident's to the claim's place in the calendar (0 to 52).
    """
    return events.select(
        "claim_id",
        "event_time",
        "known_at",
        *WORDS,
        *(pl.col(name).cast(pl.Float64) for name in NUMBERS),
        *(_band(name, bands).alias(name) for name, bands in BANDS.items()),
        _band("address_change", ADDRESS_YEARS).alias("address_change_years"),
        _delay().alias("claim_delay_weeks"),
    )


def representative(events: pl.DataFrame) -> pl.DataFrame:
    """What a representative's last 90 days looked like whenever a claim of theirs arrives.

    Each record, known at k, gives its representative one row with event_time = known_at = k, made
    of the claims known in [k - 90 days, k): the claim itself and all that arrive with it are not
    in it. A claim with several records counts once, as its latest record before k says.

    Args:
        events: Records of a window and of the 90 days of known_at before it. Rows of that run-up
            see an incomplete past: keep those of the window only; they are the same whichever
            window they are computed in.

    Returns:
        rep_number, event_time, known_at, `rep_claims_90d` (a number of claims),
        `rep_fault_share_90d` (share of them with the policy holder at fault; null without any
        whose fault is known). One row for each representative and instant.
    """
    records = events.select("claim_id", "rep_number", "fault", at="known_at").drop_nulls(
        ["claim_id", "rep_number", "at"]
    )
    # A record speaks for its claim until the next record of that claim, or for 90 days.
    spoken = (
        records.sort("claim_id", "at", "rep_number", "fault")
        .unique(["claim_id", "at"], keep="last", maintain_order=True)
        .with_columns(
            until=pl.min_horizontal(
                pl.col("at").shift(-1).over("claim_id"), pl.col("at") + LOOKBACK
            ),
            known=pl.col("fault").is_not_null().cast(pl.Int64),
            holder=(pl.col("fault") == "Policy Holder").fill_null(False).cast(pl.Int64),
        )
    )
    asked = records.select("rep_number", "at").unique().sort("at", "rep_number")
    counted = _before(_before(asked, spoken, "at"), spoken, "until")
    claims, known, holder = (
        pl.col(f"{name}_at") - pl.col(f"{name}_until") for name in ("claims", "known", "holder")
    )
    return counted.select(
        "rep_number",
        event_time="at",
        known_at="at",
        rep_claims_90d=claims.cast(pl.Float64),
        rep_fault_share_90d=pl.when(known > 0).then(holder / known),
    )


def _band(name: str, bands: dict[str, float]) -> pl.Expr:
    return pl.col(name).replace_strict(bands, default=None, return_dtype=pl.Float64)


def _delay() -> pl.Expr:
    numbers = {word: float(number) for number, word in enumerate(schema.MONTHS)}
    accident, claimed = (
        pl.col(name).replace_strict(numbers, default=None, return_dtype=pl.Float64)
        for name in ("month", "month_claimed")
    )
    weeks = (claimed - accident) * (WEEKS_A_YEAR / 12) + (
        pl.col("week_of_month_claimed") - pl.col("week_of_month")
    )
    # A claim in an earlier month belongs to the next year; an earlier week of the same month is
    # a slip of the calendar columns.
    next_year = pl.when(claimed < accident).then(WEEKS_A_YEAR).otherwise(0.0)
    return pl.max_horizontal(weeks + next_year, pl.when(weeks.is_not_null()).then(0.0))


def _before(asked: pl.DataFrame, spoken: pl.DataFrame, time: str) -> pl.DataFrame:
    """Add, for each row of `asked`, the sums over the records with `time` before its `at`."""
    names = ("claims", "known", "holder")
    running = (
        spoken.with_columns(claims=pl.lit(1, pl.Int64))
        .group_by("rep_number", pl.col(time).alias("moment"))
        .agg(pl.col(name).sum() for name in names)
        .sort("moment", "rep_number")
        .with_columns(
            pl.col(name).cum_sum().over("rep_number").alias(f"{name}_{time}") for name in names
        )
        .drop(*names)
    )
    found = asked.join_asof(
        running,
        left_on="at",
        right_on="moment",
        by="rep_number",
        strategy="backward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    return found.drop("moment").with_columns(
        pl.col(f"{name}_{time}").fill_null(0) for name in names
    )

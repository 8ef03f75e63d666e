"""Features of a payout: what it says of itself."""

import polars as pl


def payout(events):
    """Return one row a payout."""
    return events.select(
        "payout_id",
        "event_time",
        "known_at",
        pl.col("amount").log().alias("log_amount"),
        pl.col("night").cast(pl.Float64).alias("at_night"),
        pl.col("channel").alias("by"),
        pl.col("case_state").alias("state"),
        pl.col("partner_score").alias("partner"),
    )

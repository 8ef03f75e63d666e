"""A lake of weekly loans as the stages leave it: events, features, decisions, labels."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from tests.conftest import START

REVIEW: dict[str, Any] = {
    "outcomes": ["approve", "block"],
    "safe": "block",
    "labels": {"approve": 0, "block": 1},
}
COSTS: dict[str, Any] = {
    "compute_hour": 0,
    "review": 12,
    "wrong": {"approve": 1000, "block": 100},
}


def week(number: int) -> str:
    return f"{START + timedelta(weeks=number):%Y-%m-%d}"


def fill(
    automation: Automation, lake: Lake, *, weeks: int = 4, rows: int = 50, seed: int = 0
) -> None:
    """Write so many weeks; the score is right, and labels are learned a week later."""
    draw = np.random.default_rng(seed)
    for number in range(weeks):
        score, key = draw.random(rows), week(number)
        ids = np.arange(number * rows, (number + 1) * rows)
        moment = pl.Series(
            [START + timedelta(weeks=number, days=3)] * rows, dtype=pl.Datetime("us")
        )
        known = pl.DataFrame({"loan_id": ids, "revision": 0}).cast(pl.Int64)
        events = known.with_columns(
            pl.Series("customer", [f"c{one % 7}" for one in ids]),
            moment.alias("applied_at"),
            pl.Series("amount", draw.uniform(1e3, 5e4, rows).round()),
            pl.Series("region", draw.choice(["north", "south", "east"], rows)),
            moment.alias("known_at"),
        )
        features = events.select(
            *("loan_id", "revision", "region", "amount"),
            pl.col("amount").log().alias("log_amount"),
            pl.lit(1.0).alias("loans_28d"),
        )
        verdicts = automation.policy.decide(features.with_columns(pl.Series("score", score)))
        decisions = known.with_columns(
            moment.alias("known_at"),
            *verdicts.get_columns(),
            pl.Series("score", score),
            pl.lit(1).alias("model_version"),
            pl.lit("a" * 16).alias("policy_hash"),
        )
        labels = known.select(
            "loan_id",
            pl.Series("label", (draw.random(rows) < score).astype(float)),
            pl.lit(START + timedelta(weeks=number + 1, days=3)).alias("known_at"),
        )
        lake.write("events", key, events)
        lake.write("features", key, features)
        lake.write("decisions", key, decisions)
        lake.write("labels", week(number + 1), labels)

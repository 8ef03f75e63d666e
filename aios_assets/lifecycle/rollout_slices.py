"""Where a version in rollout is better or worse than the champion: its loss by slice."""

from typing import Any

import polars as pl

from aios.automation import Automation
from aios.lake import Lake

MOST_VALUES = 8
"""Values of a slice that are shown, those with most labels first."""


def loss_by_slice(
    automation: Automation, lake: Lake, frame: pl.DataFrame, keys: list[str]
) -> list[dict[str, Any]]:
    """Return the mean squared error of both sides for each value of the declared slices.

    Figures for a person: nothing is judged by them, so nothing pays for how many they are.

    Args:
        automation: Whose slices.
        lake: Its lake.
        frame: Of `Rows`.
        keys: The partitions that they come from.

    Returns:
        `slice`, `value`, `rows` (with a label and both scores), `challenger`, `champion` and
        `difference` (positive where the challenger is worse).
    """
    identity, names = automation.spec.id, list(automation.spec.slices)
    scored = frame.drop_nulls(["label", "own_score", "other_score"])
    if not names or scored.is_empty():
        return []
    columns = [pl.col(name).cast(pl.String).alias(f"slice_{name}") for name in names]
    events = pl.concat(
        lake.read("events", key, list(dict.fromkeys([identity, "known_at", *names]))).select(
            identity, "known_at", *columns
        )
        for key in keys
    ).unique([identity, "known_at"], keep="last", maintain_order=True)
    joined = scored.join(events, on=[identity, "known_at"], how="left", maintain_order="left")
    own, other = (
        ((pl.col(f"{side}_score") - pl.col("label")) ** 2).mean() for side in ("own", "other")
    )
    found: list[dict[str, Any]] = []
    for name in names:
        values = (
            joined.with_columns(pl.col(f"slice_{name}").fill_null("(missing)").alias("value"))
            .group_by("value")
            .agg(pl.len().alias("rows"), own.alias("challenger"), other.alias("champion"))
            .sort(["rows", "value"], descending=[True, False])
            .with_columns((pl.col("challenger") - pl.col("champion")).alias("difference"))
        )
        found += [{"slice": name, **one} for one in values.head(MOST_VALUES).to_dicts()]
    return found

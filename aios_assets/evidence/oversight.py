"""Oversight in figures: what was decided, by which rule, and how often a person was asked."""

from __future__ import annotations

from typing import Any

import polars as pl

from aios.errors import AiosError
from aios_assets.evidence.scope import Folder, Scope

NAME = "oversight.json"
REVIEW = "review"
_COUNTED = ["outcome", "rule", "model_version", "policy_hash", "code_version"]
_SCHEMA = {"partition": pl.String, **dict.fromkeys(_COUNTED, pl.String), "rows": pl.Int64}


def count_decisions(scope: Scope, folder: Folder) -> pl.DataFrame:
    """Count the period's decisions.

    Returns:
        `partition`, `outcome`, `rule`, `model_version` (text, null where none was in force),
        `<step>_version` of each model step, `policy_hash`, `code_version`, `rows`.
    """
    steps = [f"{step.name}_version" for step in scope.automation.spec.model_steps]
    columns = [*_COUNTED, *steps]
    schema = _SCHEMA | dict.fromkeys(steps, pl.String)
    counts = [pl.DataFrame(schema=schema)]
    made = scope.partitions("decisions")
    for window in scope.windows:
        if window.key not in made:
            folder.lack(f"decisions of {window.key}", "The partition has no decisions.", NAME)
            continue
        try:
            parts = [
                frame.group_by(columns).len("rows")
                for frame in scope.lake().stream("decisions", window.key, columns)
            ]
        except AiosError as error:
            folder.lack(f"decisions of {window.key}", error.what, NAME)
            continue
        whole = pl.concat(parts).group_by(columns).agg(pl.col("rows").sum())
        whole = whole.with_columns(pl.lit(window.key).alias("partition"))
        counts.append(whole.select([pl.col(name).cast(kind) for name, kind in schema.items()]))
    return pl.concat(counts).sort("partition", *columns, nulls_last=True)


def write_oversight(folder: Folder, counts: pl.DataFrame) -> dict[str, Any]:
    """Write and return the statistics of what `count_decisions` counted."""
    total = int(counts["rows"].sum())
    monthly = counts.with_columns(pl.col("partition").str.slice(0, 7).alias("month"))
    reviewed = int(counts.filter(pl.col("outcome") == REVIEW)["rows"].sum())
    found = {
        "decisions": total,
        "sent_to_review": reviewed,
        "share_sent_to_review": reviewed / total if total else None,
        "by_outcome": _shares(counts, "outcome"),
        "by_rule": _shares(counts, "rule", "outcome"),
        "by_month": _shares(monthly, "month", "outcome"),
        "by_partition": _shares(counts, "partition", "outcome"),
        "by_model_version": _shares(counts, "model_version"),
        "by_code_version": _shares(counts, "code_version"),
    }
    if not total:
        folder.lack("oversight statistics", "Nothing was decided in the period.", NAME, empty=True)
    folder.write_json(NAME, found)
    return found


def _shares(counts: pl.DataFrame, *by: str) -> list[dict[str, Any]]:
    total = int(counts["rows"].sum())
    grouped = counts.group_by(by).agg(pl.col("rows").sum()).sort(by, nulls_last=True)
    within = grouped.with_columns(
        (
            pl.col("rows") / pl.col("rows").sum().over(by[0])
            if len(by) > 1 and by[0] != "rule"
            else pl.col("rows") / total
        ).alias("share")
    )
    return within.to_dicts()

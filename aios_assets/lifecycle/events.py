"""Events: fetched for a partition, checked against the contract, duplicates set aside."""

from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from aios.automation import Automation
from aios.digest import row_digests
from aios.lake import Lake
from aios.sources import read_events
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    row_metadata,
    stage,
    traced_windows,
)
from aios_assets.lifecycle.contract import RULES, Checked, apply_contract
from aios_assets.resources import Platform

_CHECKS = {
    **RULES,
    "unique": "No event arrives twice unchanged; a changed one is a correction.",
    "volume": "The source sent events for the partition.",
}


@dataclass(frozen=True)
class Ingested:
    """What one partition's ingestion found."""

    window: Window
    events: pl.DataFrame
    quarantine: pl.DataFrame
    broken: pl.DataFrame

    @property
    def fetched(self) -> int:
        """Rows that the source sent."""
        return self.events.height + self.quarantine.height

    @property
    def quarantined_share(self) -> float:
        """Rows in quarantine that broke the contract, as a share of those sent."""
        broke = self.quarantine.filter(pl.col("rules") != "unique").height
        return broke / self.fetched if self.fetched else 0.0


def ingest(automation: Automation, lake: Lake, window: Window) -> Ingested:
    """Fetch, check and store the events that became known in a window.

    Good rows go to `events` with `revision` (0, or the number of times the same id was known
    before with other content), the rest to `quarantine` with the rules that they broke.
    """
    where = f"{automation.name} events {window.key}"
    raw = read_events(automation, window.start, window.end)
    checked = apply_contract(automation.spec, raw, where)
    events, repeated = _number_revisions(automation, lake, window, checked)
    quarantine = pl.concat([checked.bad, repeated])
    lake.write("events", window.key, events)
    lake.write("quarantine", window.key, quarantine)
    broken = checked.broken.vstack(
        pl.DataFrame(
            {"rule": ["unique"], "column": [automation.spec.id], "rows": [repeated.height]},
            schema=checked.broken.schema,
        ).filter(pl.col("rows") > 0)
    )
    return Ingested(window, events, quarantine, broken)


def _number_revisions(
    automation: Automation, lake: Lake, window: Window, checked: Checked
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split good rows into events with their revision, and exact repetitions."""
    identity = automation.spec.id
    good = checked.good.sort("known_at", identity, maintain_order=True)
    content = [name for name in automation.spec.contract.columns if name != "known_at"]
    content = [name for name in content if name != automation.spec.known_at]
    good = good.with_columns(row_digests(good.select(content)).alias("content_digest"))
    before = _known_before(lake, window, identity, good)
    seen = pl.concat([before, good.select(before.columns)]).with_columns(
        is_new=pl.col("content_digest").ne_missing(pl.col("content_digest").shift(1).over(identity))
    )
    revision = seen.select((pl.col("is_new").cum_sum().over(identity) - 1).cast(pl.Int32))
    good = good.with_columns(revision.to_series()[before.height :].alias("revision"))
    is_new = seen["is_new"][before.height :]
    fresh = good.filter(is_new)
    repeated = good.filter(~is_new)
    names = [name for name in checked.bad.columns if name != "rules"]
    return fresh, repeated.select(pl.col(names).cast(pl.String), pl.lit("unique").alias("rules"))


def _known_before(lake: Lake, window: Window, identity: str, events: pl.DataFrame) -> pl.DataFrame:
    """Return ids and contents of earlier partitions, for the ids that arrive now."""
    columns = [identity, "content_digest"]
    empty = events.select(columns).clear()
    earlier = [key for key in lake.partitions("events") if key < window.key]
    frames = [lake.read("events", key, columns) for key in earlier]
    if not frames:
        return empty
    known = pl.concat([empty, *frames])
    return known.filter(pl.col(identity).is_in(events[identity].implode()))


def build_events(automation: Automation) -> dg.AssetsDefinition:
    """Build the `events` asset with the contract as its checks."""
    spec = automation.spec

    @dg.asset(
        **asset_options(automation, "events", kinds={"polars", "greatexpectations"}),
        description=f"{spec.description}\n\nEvents that became known in the partition, checked "
        "against the contract. Rows that break it are in quarantine with the reason; rows that "
        "repeat a known event are set aside; changed ones count as corrections (`revision`).",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            *(check_spec(automation, "events", rule, text) for rule, text in _CHECKS.items()),
            check_spec(
                automation,
                "events",
                "quarantine_share",
                f"At most {spec.contract.max_quarantine:.0%} of the rows break the contract.",
                blocking=True,
            ),
        ],
    )
    def events(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake = platform.lake(automation.name)
        with stage("events"):
            windows = traced_windows(context, automation, lake, "events")
            parts = [ingest(automation, lake, window) for window in windows]
        return dg.MaterializeResult(
            metadata=_metadata(automation, parts), check_results=_checks(automation, parts)
        )

    return events


def _metadata(automation: Automation, parts: list[Ingested]) -> dict[str, Any]:
    notes = {name: one.description for name, one in automation.spec.contract.columns.items()}
    broken = pl.concat([part.broken for part in parts])
    counts = broken.group_by("rule", "column").agg(pl.col("rows").sum()).sort("rule", "column")
    return {
        **row_metadata(parts[-1].events, sum(part.events.height for part in parts), notes),
        "fetched": sum(part.fetched for part in parts),
        "quarantined": sum(part.quarantine.height for part in parts),
        "corrections": sum(int((part.events["revision"] > 0).sum()) for part in parts),
        "why quarantined": markdown_table(["rule", "column", "rows"], counts.rows()),
    }


def _checks(automation: Automation, parts: list[Ingested]) -> list[dg.AssetCheckResult]:
    broken = pl.concat([part.broken for part in parts])
    fetched = sum(part.fetched for part in parts)
    results = []
    for rule in [*RULES, "unique"]:
        failed = broken.filter(pl.col("rule") == rule)
        columns = ", ".join(failed["column"].unique().sort()) or "none"
        results.append(
            check_result(
                rule,
                failed.is_empty(),
                rows_failed=int(failed["rows"].sum()),
                rows_checked=fetched,
                columns=columns,
            )
        )
    empty = [part.window.key for part in parts if not part.fetched]
    results.append(
        check_result(
            "volume", not empty, error=True, rows=fetched, empty_partitions=", ".join(empty)
        )
    )
    limit = automation.spec.contract.max_quarantine
    worst = max(parts, key=lambda part: part.quarantined_share)
    results.append(
        check_result(
            "quarantine_share",
            worst.quarantined_share <= limit,
            error=True,
            share=worst.quarantined_share,
            allowed=limit,
            partition=worst.window.key,
        )
    )
    return results

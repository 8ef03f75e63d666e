"""Labels: the outcomes learned in a partition, about events of earlier ones."""

import dagster as dg
import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from aios.sources import read_labels
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    mean_of,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.resources import Platform


def collect_labels(automation: Automation, lake: Lake, window: Window) -> pl.DataFrame:
    """Store the labels learned in a window: id, `label` (float), `known_at`."""
    labels = read_labels(automation, window.start, window.end)
    lake.write("labels", window.key, labels)
    return labels


def build_labels(automation: Automation) -> dg.AssetsDefinition:
    """Build the `labels` asset."""
    spec = automation.spec

    @dg.asset(
        **asset_options(automation, "labels", kinds={"polars"}),
        deps=[[automation.name, "events"]],
        description=f"Outcomes (`{spec.label.column}`) learned in the partition: they mature "
        f"{spec.label.delay} after their event is known, so most are about earlier partitions.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(automation, "labels", "both_classes", "The labels are not all the same.")
        ],
    )
    def labels(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake = platform.lake(automation.name)
        with stage("labels"):
            frames = [
                collect_labels(automation, lake, window)
                for window in windows_of(context, automation)
            ]
        frame = pl.concat(frames)
        distinct = frame["label"].n_unique()
        return dg.MaterializeResult(
            metadata={
                **row_metadata(frame, frame.height),
                "mean_label": mean_of(frame["label"]),
            },
            check_results=[
                check_result("both_classes", distinct != 1, distinct=distinct, rows=frame.height)
            ],
        )

    return labels

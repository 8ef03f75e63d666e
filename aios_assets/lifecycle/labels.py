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


def collect_labels(automation: Automation, platform: Platform, window: Window) -> pl.DataFrame:
    """Store the labels learned in a window: id, `label` (float), `known_at`."""
    lake = platform.lake(automation.name)
    labels = read_labels(automation, window.start, window.end)
    if automation.spec.label.corrections_of:
        labels = with_corrections(automation, platform, labels, window)
    lake.write("labels", window.key, labels)
    return labels


def with_corrections(
    automation: Automation, platform: Platform, labels: pl.DataFrame, window: Window
) -> pl.DataFrame:
    """Count what a model step read wrong as the outcome 1; drop events that it did not read."""
    identity, step = automation.spec.id, automation.spec.label.corrections_of
    frames = [
        platform.lake(f"{automation.name}.{step}")
        .read("performance", key, [identity, "right"])
        .drop_nulls()
        for key in platform.lake(f"{automation.name}.{step}").partitions("performance")
        if key <= window.key
    ]
    read = pl.concat(
        [pl.DataFrame(schema={identity: labels.schema[identity], "right": pl.Boolean}), *frames]
    )
    read = read.unique(identity, keep="last", maintain_order=True)
    joined = labels.join(read, on=identity, how="inner", maintain_order="left")
    label = pl.when("right").then("label").otherwise(1.0)
    return joined.with_columns(label.alias("label")).select(labels.columns)


def known_labels(automation: Automation, lake: Lake, window: Window) -> pl.DataFrame | None:
    """Return every label known at the end of a window; None where nothing was learned yet."""
    labels = lake.read_all("labels", until=window.key)
    if not automation.spec.review or labels is None:
        return labels
    labels = labels.with_columns(label_source=pl.lit("outcome"))
    verdicts = lake.read_all("verdicts", until=window.key)
    if verdicts is None:
        return labels
    # The file of the newest partition may know more than the partition's end.
    verdicts = verdicts.filter(pl.col("known_at") < window.end).rename({"source": "label_source"})
    found = verdicts.join(labels, on=automation.spec.id, how="anti")
    return pl.concat([labels, found.select(labels.columns)], how="vertical_relaxed")


def build_labels(automation: Automation) -> dg.AssetsDefinition:
    """Build the `labels` asset."""
    spec = automation.spec
    step = spec.label.corrections_of
    corrected = [f"{step}_performance"] if step else []

    @dg.asset(
        **asset_options(automation, "labels", kinds={"polars"}),
        deps=[[automation.name, name] for name in ("events", *corrected)],
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
        with stage("labels"):
            frames = [
                collect_labels(automation, platform, window)
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

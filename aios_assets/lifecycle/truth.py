"""Truth: what people found to be right on documents, learned some time after they came."""

import dagster as dg
import polars as pl

from aios.lake import Lake
from aios.learner import ModelStep
from aios.sources import read_truth
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.resources import Platform


def collect_truth(learner: ModelStep, lake: Lake, window: Window) -> pl.DataFrame:
    """Store the truth learned in a window as the learner's labels: id, `known_at`, the fields."""
    truth = read_truth(learner, window.start, window.end)
    lake.write("labels", window.key, truth)
    return truth


def build_truth(learner: ModelStep) -> dg.AssetsDefinition:
    """Build the asset of a model step's truth."""
    automation, noun = learner.automation, learner.asset("truth")

    @dg.asset(
        **asset_options(automation, noun, kinds={"polars"}),
        deps=[[automation.name, "events"]],
        description="The right value of each field, as people found it, learned in the partition.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(automation, noun, "key_fields", "Every document has its key fields.")
        ],
    )
    def truth(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage(noun):
            frame = pl.concat(
                collect_truth(learner, platform.lake(learner.name), window)
                for window in windows_of(context, automation)
            )
        missing = {name: frame[name].null_count() for name in learner.spec.fields}
        lacking = {name: n for name, n in missing.items() if n and name in learner.spec.key_fields}
        return dg.MaterializeResult(
            metadata={
                **row_metadata(frame, frame.height),
                "absent": markdown_table(["field", "documents without it"], list(missing.items())),
            },
            check_results=[
                check_result(
                    "key_fields",
                    not lacking,
                    lacking=", ".join(f"{name} {n}" for name, n in lacking.items()) or "none",
                    rows=frame.height,
                )
            ],
        )

    return truth

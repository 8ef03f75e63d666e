"""What a model step's reading was worth, on documents whose truth has been learned."""

from typing import Any

import dagster as dg
import numpy as np
import polars as pl

from aios.errors import AiosError
from aios.known import known_events
from aios.lake import Lake
from aios.learner import ModelStep
from aios.statistics.metrics import evaluate
from aios.statistics.selective import calibration, calibration_error, curve, straight_through
from aios.windows import Window
from aios_assets.lifecycle.alarm import watch_era
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    mean_of,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.lifecycle.extraction import field_metrics, judged
from aios_assets.lifecycle.plots import as_markdown, calibration_curve, coverage_curve, history_line
from aios_assets.resources import Platform


def matured(learner: ModelStep, platform: Platform, window: Window) -> pl.DataFrame:
    """Compare what the step read with the truth learned in a window.

    Columns: id, `label` (1), `label_known_at`, `known_at`, `score` (the document's F1; null where
    no champion read it), `model_version`, `confidence`, `right` (every key field has the right
    value), `<field>_right`, `<field>_same`, the slices, `seconds`.

    Raises:
        AiosError: The step has not run.
    """
    automation, spec, step = learner.automation, learner.spec, learner.step
    lake, identity = platform.lake(automation.name), automation.spec.id
    truth = platform.lake(learner.name).read("labels", window.key)
    truth = truth.rename({"known_at": "label_known_at"})
    truth = truth.rename({name: f"{name}_truth" for name in spec.fields})
    version = f"{step.name}_version"
    wanted = dict.fromkeys(
        [identity, "known_at", "revision", version, *spec.fields, "confidence", *spec.slices]
    )
    frames = [
        _with_seconds(lake, step.name, key, known_events(automation, lake, key, through=step.name))
        .select(*wanted, "seconds")
        .join(truth, on=identity, how="semi")
        for key in lake.partitions(step.name)
        if key <= window.key
    ]
    if not frames:
        raise AiosError(
            "there are no documents to compare the truth with",
            where=f"{learner.name} performance {window.key}",
            fix=f"Materialize {automation.name}/{step.name} for this and earlier partitions.",
        )
    latest = pl.concat(frames).sort("revision", maintain_order=True)
    latest = latest.unique(identity, keep="last", maintain_order=True)
    rows = truth.join(latest, on=identity, how="inner", maintain_order="left")
    found = judged(learner, rows, rows)
    known = pl.col("model_version").is_not_null()
    rows = pl.concat([rows.drop(found.columns, strict=False), found], how="horizontal")
    return rows.rename({version: "model_version"}).select(
        identity,
        "label_known_at",
        "known_at",
        "model_version",
        "seconds",
        pl.lit(1.0).alias("label"),
        *(pl.when(known).then(pl.col(name)).alias(name) for name in ("confidence", *found.columns)),
        *(name for name in spec.slices if name != identity),
    )


def _with_seconds(lake: Lake, step: str, key: str, rows: pl.DataFrame) -> pl.DataFrame:
    seconds = lake.read_json("timing", f"{step}-{key}")["seconds"]
    return rows.with_columns(pl.Series("seconds", seconds, dtype=pl.Float64))


def measure(learner: ModelStep, platform: Platform, window: Window) -> dict[str, Any]:
    """Measure a window's documents and judge the era's whole record.

    Stores the compared rows and, as JSON, the metrics with the verdict.
    """
    lake, spec = platform.lake(learner.name), learner.spec
    rows = matured(learner, platform, window)
    lake.write("performance", window.key, rows)
    read = rows.filter(pl.col("score").is_not_null())
    to_date = lake.read_all("performance", until=window.key)
    assert to_date is not None
    alarm = watch_era(learner, platform, window)
    result = {
        "partition": window.key,
        "matured": rows.height,
        "scored": read.height,
        "metrics": {name: vars(one) for name, one in _metrics(learner, read).items()},
        "straight_through": vars(straight_through(*_sureness(to_date), spec.max_wrong)),
        "calibration_error": calibration_error(calibration(*_sureness(to_date))),
        "champion": alarm.champion if alarm else None,
        "status": alarm.status if alarm else "insufficient",
        "alarm": alarm.raised_now if alarm else False,
        "verdicts": {name: vars(one) for name, one in alarm.verdicts.items()} if alarm else {},
    }
    lake.write_json("performance", window.key, result)
    return result


def _metrics(learner: ModelStep, read: pl.DataFrame) -> dict[str, Any]:
    label, score = read["label"].to_numpy(), read["score"].to_numpy()
    return evaluate("extraction", label, score) | field_metrics(learner, read)


def _sureness(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    read = rows.filter(pl.col("score").is_not_null())
    return read["confidence"].to_numpy(), read["right"].cast(pl.Float64).to_numpy()


def build_extraction_performance(learner: ModelStep) -> dg.AssetsDefinition:
    """Build the `performance` asset of a model step."""
    automation, spec, noun = learner.automation, learner.spec, learner.asset("performance")

    @dg.asset(
        **asset_options(automation, noun, kinds={"polars"}),
        deps=[[automation.name, learner.step.name], [automation.name, learner.asset("truth")]],
        description="What was read, against the truth learned in the partition: each field, the "
        f"documents without a fault, the straight-through rate at {spec.max_wrong:.0%} wrong, and "
        "an alarm over the whole era.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(
                automation,
                noun,
                "steady",
                "Documents are not read worse than at the gate by "
                f"{spec.performance.min_effect:.0%}.",
            )
        ],
    )
    def performance(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage(noun):
            results = [
                measure(learner, platform, window) for window in windows_of(context, automation)
            ]
        worse = [result["partition"] for result in results if result["status"] == "worse"]
        return dg.MaterializeResult(
            metadata=_metadata(learner, platform.lake(learner.name), results[-1]),
            check_results=[
                check_result(
                    "steady",
                    not worse,
                    status=results[-1]["status"],
                    worse_in=", ".join(worse) or "none",
                    matured=sum(result["matured"] for result in results),
                )
            ],
        )

    return performance


def _metadata(learner: ModelStep, lake: Lake, result: dict[str, Any]) -> dict[str, Any]:
    key, spec = result["partition"], learner.spec
    rows = lake.read_all("performance", until=key)
    assert rows is not None
    keys = [one for one in lake.partitions("performance") if one <= key]
    past = [lake.read_json("performance", one)["metrics"] for one in keys]
    metric = spec.gate.metric
    values = [one.get(metric, {}).get("value") for one in past]
    history = [float("nan") if value is None else value for value in values]
    automatic = result["straight_through"]
    table = [
        (name, one["value"], one["low"], one["high"], one["n"])
        for name, one in result["metrics"].items()
    ]
    return {
        **row_metadata(lake.read("performance", key), result["matured"]),
        "metrics": markdown_table(["metric", "value", "low", "high", "documents"], table),
        "straight_through": automatic["share"],
        "straight_through_from_confidence": automatic["threshold"],
        "wrong_among_them": automatic["wrong"],
        "wrong_at_most": automatic["wrong_high"],
        "calibration_error": result["calibration_error"],
        "seconds_for_each": mean_of(rows["seconds"]),
        "by group": _groups(learner, rows),
        "accuracy against coverage": as_markdown(
            coverage_curve(curve(*_sureness(rows)), spec.max_wrong), "coverage"
        ),
        "calibration": as_markdown(calibration_curve(calibration(*_sureness(rows))), "calibration"),
        "history": as_markdown(history_line(keys, history, metric), metric),
    }


def _groups(learner: ModelStep, rows: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Return document F1 and every field's share right, by the values of the slices."""
    fields = [name for name in learner.spec.fields if rows[f"{name}_right"].count()]
    found = []
    for name in learner.spec.slices:
        groups = rows.filter(pl.col("score").is_not_null()).group_by(name).agg(
            pl.len(), pl.col("score").mean(), *(pl.col(f"{f}_right").mean() for f in fields)
        ).sort(name)  # fmt: skip
        found += [(name, *("n/a" if v is None else v for v in row)) for row in groups.iter_rows()]
    return markdown_table(["slice", "value", "documents", "F1", *fields], found)

"""Performance: what the predictions were worth, on labels that have matured."""

from typing import Any

import dagster as dg
import polars as pl

from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.statistics.metrics import Estimate, evaluate
from aios.windows import Window
from aios_assets.lifecycle.alarm import watch_era
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.lifecycle.plots import as_markdown, history_line
from aios_assets.resources import Platform

_COLUMNS = ["event_time", "known_at", "revision", "score", "model_version"]


def matured(automation: Automation, lake: Lake, window: Window) -> pl.DataFrame:
    """Join the labels learned in a window with the predictions made for their events.

    Returns:
        id, `label`, `label_known_at`, `event_time`, `known_at`, `score`, `model_version`; the
        latest revision's prediction, null scores where no champion was in force.
    """
    identity = automation.spec.id
    labels = lake.read("labels", window.key).rename({"known_at": "label_known_at"})
    columns = list(dict.fromkeys([identity, *_COLUMNS]))
    frames = [
        lake.read("predictions", key, columns).join(labels, on=identity, how="semi")
        for key in lake.partitions("predictions")
        if key <= window.key
    ]
    if not frames:
        raise AiosError(
            "there are no predictions to compare the labels with",
            where=f"{automation.name} performance {window.key}",
            fix="Materialize predictions for this and earlier partitions.",
        )
    predictions = pl.concat(frames).sort("revision", maintain_order=True)
    latest = predictions.unique(identity, keep="last", maintain_order=True)
    rows = labels.join(latest, on=identity, how="inner", maintain_order="left")
    return rows.select(
        identity, "label", "label_known_at", "event_time", "known_at", "score", "model_version"
    )


def measure(automation: Automation, platform: Platform, window: Window) -> dict[str, Any]:
    """Measure a window's matured predictions and judge the era's whole record.

    Stores the matured rows and, as JSON, the metrics with the verdict: "steady", "worse" than at
    the gate, or "insufficient".
    """
    lake, task = platform.lake(automation.name), automation.spec.task
    rows = matured(automation, lake, window)
    lake.write("performance", window.key, rows)
    scored = rows.filter(pl.col("score").is_not_null())
    metrics = evaluate(task, scored["label"].to_numpy(), scored["score"].to_numpy())
    alarm = watch_era(automation, platform, window)
    result = {
        "partition": window.key,
        "matured": rows.height,
        "scored": scored.height,
        "metrics": {name: vars(one) for name, one in metrics.items()},
        "champion": alarm.champion if alarm else None,
        "status": alarm.status if alarm else "insufficient",
        "alarm": alarm.raised_now if alarm else False,
        "verdicts": {name: vars(one) for name, one in alarm.verdicts.items()} if alarm else {},
    }
    lake.write_json("performance", window.key, result)
    return result


def build_performance(automation: Automation) -> dg.AssetsDefinition:
    """Build the `performance` asset."""
    settings = automation.spec.performance

    @dg.asset(
        **asset_options(automation, "performance", kinds={"polars"}),
        deps=[[automation.name, "labels"], [automation.name, "predictions"]],
        description="Realised metrics of the predictions whose labels were learned in the "
        "partition, and an alarm over the whole era that may be looked at after every "
        f"partition (false-alarm rate {settings.false_alarm_rate:.0%} an era). An era begins with "
        "the first champion, a rollback, or a champion trained because of an alarm.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(
                automation,
                "performance",
                "steady",
                f"The champion's loss is not worse than at the gate by {settings.min_effect:.0%}.",
            )
        ],
    )
    def performance(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage("performance"):
            results = [
                measure(automation, platform, window) for window in windows_of(context, automation)
            ]
        lake = platform.lake(automation.name)
        worse = [result["partition"] for result in results if result["status"] == "worse"]
        return dg.MaterializeResult(
            metadata=_metadata(automation, lake, results[-1]),
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


def _metadata(automation: Automation, lake: Lake, result: dict[str, Any]) -> dict[str, Any]:
    frame = lake.read("performance", result["partition"])
    metrics = {name: Estimate(**one) for name, one in result["metrics"].items()}
    keys = [key for key in lake.partitions("performance") if key <= result["partition"]]
    past = [lake.read_json("performance", key) for key in keys]
    name = automation.spec.gate.metric
    values = [one["metrics"].get(name, {}).get("value") for one in past]
    numbers = [float("nan") if value is None else value for value in values]
    alarms = [one["partition"] for one in past if one["status"] == "worse"]
    rows = [(key, one.value, one.low, one.high, one.n) for key, one in metrics.items()]
    return {
        **row_metadata(frame, frame.height),
        "metrics": markdown_table(["metric", "value", "low", "high", "rows"], rows),
        "history": as_markdown(history_line(keys, numbers, name, alarms), name),
        "champion": result["champion"] or "none in force",
    }

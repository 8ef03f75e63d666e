"""What a rehearsal showed: figures for each partition and overall, as data, text and a page."""

from __future__ import annotations

import base64
import html
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from aios.learner import ModelStep, model_steps
from aios.settings import Settings
from aios.sources import read_labels
from aios.statistics.metrics import evaluate
from aios.windows import Window
from aios_assets.lifecycle.plots import history_line
from aios_assets.rehearsal import State
from aios_assets.resources import Platform

# Metrics from here on leave out the first partitions, in which there is little to learn from.
SETTLED_FROM = 3


def predictions_frame(automation: Automation, lake: Lake, windows: list[Window]) -> pl.DataFrame:
    """Return one row for each event: its prediction, decision, and label where matured.

    Columns: id, `event_time`, `score`, `model_version`, `outcome`, `label`, `partition`. An event
    that was corrected has its latest decision.
    """
    identity = automation.spec.id
    decisions = pl.concat(
        lake.read("decisions", window.key).with_columns(pl.lit(window.key).alias("partition"))
        for window in windows
    )
    latest = decisions.sort("revision", maintain_order=True).unique(
        identity, keep="last", maintain_order=True
    )
    labels = lake.read_all("labels", until=windows[-1].key)
    assert labels is not None
    labels = labels.unique(identity, keep="last", maintain_order=True).select(identity, "label")
    rows = latest.join(labels, on=identity, how="left", maintain_order="left")
    names = ["event_time", "score", "model_version", "outcome", "label", "partition"]
    return rows.select(identity, *names).sort("event_time", identity)


def build_report(
    automation: Automation, windows: list[Window], state: State, settings: Settings
) -> dict[str, Any]:
    """Collect what the lake and the registry hold about a rehearsal.

    Prequential metrics score each row with the prediction that was made at its time, by a model
    trained on what was known before; labels that the source gives only after the last partition
    are used for these figures and for nothing else.
    """
    lake = Lake(settings.home / "lake" / automation.name)
    rows = _with_late_labels(automation, predictions_frame(automation, lake, windows), windows)
    partitions = [_partition(automation, lake, window, rows, state) for window in windows]
    settled = [window.key for window in windows[SETTLED_FROM:]]
    outcomes = dict(sorted(rows.group_by("outcome").len().iter_rows()))
    return {
        "automation": automation.name,
        "data": automation.binding.data,
        "from": windows[0].start,
        "to": windows[-1].end,
        "partitions": partitions,
        "events": sum(one["events"] for one in partitions),
        "quarantined": sum(one["quarantined"] for one in partitions),
        "decisions": outcomes,
        "models": _models(automation.name, settings),
        "retrains": state.retrains.get(automation.name, {}),
        "rollouts": _rollouts(automation.name, settings),
        "steps": {step.name: _step(lake, step.name, windows) for step in automation.spec.steps},
        "model_steps": {
            learner.name: _model_step(learner, windows, state, settings)
            for learner in model_steps(automation)
        },
        "automatic": _automatic(rows) if automation.spec.task == "classification" else {},
        "drift_alarms": [one["partition"] for one in partitions if one["drift"] == "drift"],
        "performance_alarms": [one["partition"] for one in partitions if one["alarm"]],
        "overall": _metrics(automation, rows),
        "overall_from_fourth": _metrics(
            automation, rows.filter(pl.col("partition").is_in(settled))
        ),
        "unscored": rows["score"].null_count(),
    }


def _with_late_labels(
    automation: Automation, rows: pl.DataFrame, windows: list[Window]
) -> pl.DataFrame:
    end = windows[-1].end
    late = read_labels(automation, end, end + automation.spec.label.delay)
    late = late.select(automation.spec.id, pl.col("label").alias("late"))
    joined = rows.join(late, on=automation.spec.id, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("label", "late").alias("label")).drop("late")


def _partition(
    automation: Automation, lake: Lake, window: Window, rows: pl.DataFrame, state: State
) -> dict[str, Any]:
    own = rows.filter(pl.col("partition") == window.key)
    drift = lake.read_json("drift", window.key)
    performance = lake.read_json("performance", window.key)
    gate = lake.read_json("gate", window.key) if lake.has("gate", window.key, "json") else None
    return {
        "partition": window.key,
        "events": lake.rows("events", window.key),
        "quarantined": lake.rows("quarantine", window.key),
        "champion": own["model_version"].drop_nulls().max(),
        "decisions": dict(sorted(own.group_by("outcome").len().iter_rows())),
        "drift": drift["status"],
        "drifted_columns": [c["column"] for c in drift.get("columns", []) if c["drifted"]],
        "performance": performance["status"],
        "alarm": performance["alarm"],
        "matured": performance["matured"],
        "retrain": state.retrains.get(automation.name, {}).get(window.key),
        "gate": gate and {"status": gate["status"], "chosen": gate["chosen"]},
        "metrics": _metrics(automation, own),
    }


def _metrics(automation: Automation, rows: pl.DataFrame) -> dict[str, Any]:
    known = rows.drop_nulls(["score", "label"])
    found = evaluate(automation.spec.task, known["label"].to_numpy(), known["score"].to_numpy())
    return {name: asdict(one) for name, one in found.items()}


def _step(lake: Lake, step: str, windows: list[Window]) -> dict[str, Any]:
    """Count what a step did with the events, and its commonest problems."""
    columns = [f"{step}_status", f"{step}_problem"]
    rows = pl.concat(lake.read(step, window.key, columns) for window in windows)
    problems = rows.drop_nulls(columns[1]).group_by(columns[1]).len()
    return {
        "statuses": dict(sorted(rows.group_by(columns[0]).len().iter_rows())),
        "problems": dict(problems.sort("len", columns[1], descending=[True, False]).head(3).rows()),
    }


def _model_step(
    learner: ModelStep, windows: list[Window], state: State, settings: Settings
) -> dict[str, Any]:
    lake, last = Lake(settings.home / "lake" / learner.name), windows[-1].key
    rows = lake.read_all("performance", until=last)
    assert rows is not None
    read = rows.filter(pl.col("score").is_not_null())
    found = evaluate("extraction", read["label"].to_numpy(), read["score"].to_numpy())
    verdicts = {window.key: lake.read_json("drift", window.key) for window in windows}
    measured = {window.key: lake.read_json("performance", window.key) for window in windows}
    metric = learner.spec.gate.metric
    return {
        "models": _models(learner.name, settings),
        "retrains": state.retrains.get(learner.name, {}),
        "drift_alarms": [key for key, one in verdicts.items() if one["status"] == "drift"],
        "performance_alarms": [key for key, one in measured.items() if one["alarm"]],
        "overall": {name: asdict(one) for name, one in found.items()},
        "history": {key: one["metrics"][metric]["value"] for key, one in measured.items()},
        "straight_through": measured[last]["straight_through"],
    }


def _automatic(rows: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count, of the decisions that no person looked at, those whose outcome was 1 after all."""
    known = rows.filter(pl.col("label").is_not_null() & (pl.col("outcome") == "approve"))
    return {"approve": {"known": known.height, "wrong": int((known["label"] == 1).sum())}}


def _models(name: str, settings: Settings) -> dict[str, Any]:
    from model_registry.champion import history

    registry = Platform(settings).registry
    versions = registry.versions(name)
    changes = history(registry, name)
    passed = [one for one in versions if one.stage in ("gated", "champion", "retired")]
    return {
        "trained": len(versions),
        "gated": len(passed),
        "promoted": len(changes),
        "champion": changes[-1].version if changes else None,
        "history": [{"version": c.version, "at": c.at, "by": c.by} for c in changes],
    }


def _rollouts(name: str, settings: Settings) -> dict[int, list[dict[str, Any]]]:
    """Return the moves of each version that was in rollout, oldest first."""
    from model_registry.rollout import moves

    found: dict[int, list[dict[str, Any]]] = {}
    for move in moves(Platform(settings).log, name):
        kept = {"state": move.state, "share": move.share, "at": move.at, "reason": move.reason}
        found.setdefault(move.version, []).append(kept)
    return found


def rollout_text(moves: list[dict[str, Any]]) -> str:
    """Return the way of a version in words."""
    stages = [
        f"canary {100 * one['share']:g} %"
        if one["state"] == "canary"
        else one["state"].replace("_", " ")
        for one in moves
    ]
    return ", ".join(
        f"{stage} {moment(one['at'])}" for stage, one in zip(stages, moves, strict=True)
    )


def write_page(report: dict[str, Any], path: Path) -> Path:
    """Write the report as one HTML page with its plots inside; return its path."""
    keys = [one["partition"] for one in report["partitions"]]
    metric = "roc_auc" if "roc_auc" in report["overall"] else "mae"
    values = [one["metrics"][metric]["value"] for one in report["partitions"]]
    counts = [float(one["events"]) for one in report["partitions"]]
    plots = [
        history_line(keys, values, f"{metric} (red: drift)", report["drift_alarms"]),
        history_line(keys, counts, "events"),
        *(
            history_line(
                list(one["history"]), list(one["history"].values()), name, one["drift_alarms"]
            )
            for name, one in report["model_steps"].items()
        ),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_PAGE.format(
        title=html.escape(f"{report['automation']} rehearsed"),
        span=html.escape(f"{moment(report['from'])} to {moment(report['to'])}"),
        facts=_facts(report),
        plots="".join(_image(png) for png in plots),
        rows="".join(_row(one, metric) for one in report["partitions"]),
        metric=metric,
    ))  # fmt: skip
    return path


def _facts(report: dict[str, Any]) -> str:
    models = report["models"]
    facts = {
        "events": f"{report['events']:,}",
        "quarantined": f"{report['quarantined']:,}",
        "decisions": ", ".join(f"{name} {n:,}" for name, n in report["decisions"].items()),
        "model versions": f"{models['trained']} trained, {models['gated']} passed the gate, "
        f"{models['promoted']} promoted",
        "drift alarms": str(len(report["drift_alarms"])),
        "performance alarms": str(len(report["performance_alarms"])),
        **{
            f"rollout of version {version}": rollout_text(moves)
            for version, moves in report["rollouts"].items()
        },
        **{
            f"{step}: {name}": metric_text(value)
            for step, one in report["model_steps"].items()
            for name, value in one["overall"].items()
        },
        **{name: metric_text(one) for name, one in report["overall"].items()},
    }
    return "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in facts.items()
    )


def metric_text(one: dict[str, Any]) -> str:
    """Return a metric with its interval and rows in words."""
    return f"{one['value']:.4f} [{one['low']:.4f}, {one['high']:.4f}] on {one['n']:,} rows"


def _image(png: bytes) -> str:
    return f'<img alt="plot" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _row(one: dict[str, Any], metric: str) -> str:
    value = one["metrics"][metric]["value"]
    cells = [
        one["partition"],
        f"{one['events']:,}",
        f"{one['quarantined']:,}",
        one["champion"] or "none",
        ", ".join(f"{name} {n}" for name, n in one["decisions"].items()),
        f"{value:.3f}" if value == value else "n/a",
        one["drift"]
        + (f" ({', '.join(one['drifted_columns'])})" if one["drifted_columns"] else ""),
        one["performance"],
        one["retrain"] or "",
        f"{one['gate']['status']} {one['gate']['chosen'] or ''}" if one["gate"] else "",
    ]
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"


def moment(value: Any) -> str:
    """Return a time as a day."""
    return value.strftime("%Y-%m-%d") if isinstance(value, datetime) else str(value)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
dl {{ display: grid; grid-template-columns: 12rem 1fr; gap: .2rem 1rem; }}
dt {{ opacity: .7; }} dd {{ margin: 0; }}
img {{ max-width: 100%; background: white; border-radius: 6px; margin: .5rem .5rem .5rem 0; }}
table {{ border-collapse: collapse; width: 100%; font-size: .85rem; }}
td:first-child {{ white-space: nowrap; }}
th, td {{ text-align: left; padding: .3rem .5rem; border-bottom: 1px solid #8884; }}
.wide {{ overflow-x: auto; }}
</style>
<h1>{title}</h1><p>{span}</p>
<dl>{facts}</dl>
<div>{plots}</div>
<div class="wide"><table><thead><tr><th>partition<th>events<th>quarantined<th>champion<th>decisions
<th>{metric}<th>drift<th>performance<th>retrain because<th>gate</tr></thead><tbody>{rows}</tbody>
</table></div></html>
"""

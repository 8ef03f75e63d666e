"""Real tables taken through `aios new` and `aios rehearse`, beside what a plain script reaches.

`python -m benchmarks.tables [marketing elec2 demand sea sea_drift claims]` needs AIOS_DATASETS.
For each table it prints the automation's prequential metric beside gradient boosting trained once
and gradient boosting retrained every window on the last 4,000 matured labels; for the SEA streams
the alarms, and how many rows after each change they came.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table as RichTable

from aios.settings import Settings
from aios.sources import label_values, read_table, typed
from aios.statistics.metrics import evaluate
from aios.windows import Cadence, windows_between

DATA = Path(os.environ.get("AIOS_DATASETS", "../shared/datasets"))
RECENT = 4_000
SEA_START = datetime(2024, 1, 1)
SEA_STEP = timedelta(days=1) / 500
SEA_CHANGES = [12_500, 25_000, 37_500]
console = Console()


@dataclass(frozen=True)
class Case:
    """A table, how `aios new` is told about it, and from when on it is measured."""

    path: Path
    entity: str
    time: str
    target: str
    cadence: Cadence
    delay: timedelta
    measured_from: datetime
    metric: str


def cases(home: Path) -> dict[str, Case]:
    """Return the tables by name, making those that are derived."""
    week = timedelta(days=7)
    return {
        "marketing": Case(
            DATA / "bank_marketing" / "calls_timed.csv", "call_id", "call_time", "subscribed",
            "weekly", week, datetime(2009, 1, 1), "roc_auc",
        ),
        "elec2": Case(
            DATA / "elec2" / "elec2_timed.csv", "interval_id", "interval_time", "price_up",
            "weekly", week, datetime(1996, 7, 1), "roc_auc",
        ),
        "demand": Case(
            _demand(home), "hour_id", "time", "demand", "monthly", timedelta(days=1),
            datetime(2012, 6, 1), "mae",
        ),
        "sea": Case(
            _sea(home, "sea_no_drift_40k"), "row", "time", "class", "daily", timedelta(0),
            SEA_START + timedelta(days=5), "roc_auc",
        ),
        "sea_drift": Case(
            _sea(home, "sea_derived_drift_50k"), "row", "time", "class", "daily", timedelta(0),
            SEA_START + timedelta(days=5), "roc_auc",
        ),
    }  # fmt: skip


def _demand(home: Path) -> Path:
    """Hourly demand with weather and what was known a week before: a regression table."""
    frame = pl.read_csv(DATA / "vic_electricity" / "vic_electricity.csv", try_parse_dates=True)
    hourly = (
        frame.with_columns(pl.col("Time").cast(pl.String).str.slice(0, 13).alias("hour"))
        .group_by("hour", maintain_order=True)
        .agg(
            pl.col("Demand").mean().alias("demand"),
            pl.col("Temperature").mean().alias("temperature"),
            pl.col("Holiday").first().cast(pl.String).str.to_lowercase().alias("holiday"),
        )
    )
    table = hourly.with_columns(
        pl.int_range(pl.len()).alias("hour_id"),
        (pl.col("hour") + ":00:00").alias("time"),
        pl.col("hour").str.slice(11, 2).cast(pl.Int32).alias("hour_of_day"),
        pl.col("demand").shift(24 * 7).alias("demand_last_week"),
    ).drop("hour")
    path = home / "demand.csv"
    table.write_csv(path)
    return path


def _sea(home: Path, name: str) -> Path:
    """A SEA stream with an invented clock: 500 rows a day."""
    frame = pl.read_csv(DATA / "sea_control" / f"{name}.csv")
    times = [SEA_START + position * SEA_STEP for position in range(frame.height)]
    path = home / f"{name}.csv"
    frame.with_columns(
        pl.int_range(pl.len()).alias("row"), pl.Series("time", times).dt.to_string("%F %T")
    ).write_csv(path)
    return path


def rehearse_case(name: str, case: Case, home: Path) -> dict[str, Any]:
    """Make the automation, rehearse it, and return its rows and its report."""
    from aios_assets.rehearsal import rehearse
    from aios_assets.report import build_report, predictions_frame
    from aios_assets.resources import Platform
    from aios_assets.scaffold import scaffold

    settings = Settings.embedded(home / "state", home / "automations")
    settings.automations.mkdir(exist_ok=True)
    days = f"{case.delay.days}d"
    scaffold(
        name, data=case.path, entity=case.entity, time=case.time, target=case.target, task=None,
        cadence=case.cadence, label_delay=days, automations=settings.automations,
    )  # fmt: skip

    def progress(done: int, total: int, what: str) -> None:
        if done % 10 == 0 and "scoring" in what:
            console.print(f"  {name}: {done} of {total}", highlight=False)

    automation, windows, state = rehearse(name, settings, progress=progress)
    lake = Platform(settings).lake(name)
    report = build_report(automation, windows, state, settings)
    return {"rows": predictions_frame(automation, lake, windows), "report": report}


def yardsticks(case: Case, task: str) -> dict[str, np.ndarray]:
    """Score the measured rows with gradient boosting trained once and retrained every window."""
    frame = pl.read_csv(case.path, infer_schema_length=None).with_columns(
        typed("time", pl.col(case.time)).alias("_time"),
        label_values(pl.col(case.target)).alias("_label"),
    )
    frame = frame.sort("_time", maintain_order=True)
    drop = {case.entity, case.time, case.target, "_time", "_label"}
    codes = frame.select(
        pl.col(name).cast(pl.Float64)
        if frame[name].dtype.is_numeric()
        else pl.col(name).cast(pl.String).cast(pl.Categorical).to_physical().cast(pl.Float64)
        for name in frame.columns
        if name not in drop
    ).to_numpy()
    label, time = frame["_label"].to_numpy(), frame["_time"].to_numpy()
    measured = time >= np.datetime64(case.measured_from)
    once = _fit(task, codes[~measured], label[~measured])
    weekly = np.full(len(label), np.nan)
    delay = np.timedelta64(int(case.delay.total_seconds()), "s")
    end = frame["_time"].max()
    assert isinstance(end, datetime)
    for window in windows_between(case.cadence, case.measured_from, end + timedelta(seconds=1)):
        now = np.datetime64(window.start)
        known = np.flatnonzero(time + delay < now)[-RECENT:]
        rows = (time >= now) & (time < np.datetime64(window.end))
        if rows.any() and len(known):
            weekly[rows] = _score(task, _fit(task, codes[known], label[known]), codes[rows])
    return {
        "label": label[measured],
        "trained once": _score(task, once, codes[measured]),
        "retrained every window on the last 4,000": weekly[measured],
    }


def _fit(task: str, features: np.ndarray, label: np.ndarray) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = (
        HistGradientBoostingClassifier
        if task == "classification"
        else (HistGradientBoostingRegressor)
    )
    return kind(random_state=0).fit(features, label)


def _score(task: str, model: Any, features: np.ndarray) -> np.ndarray:
    scores: np.ndarray = (
        model.predict_proba(features)[:, 1] if task == "classification" else model.predict(features)
    )
    return scores


def report_case(name: str, case: Case, table: RichTable) -> None:
    """Rehearse a case and add its rows to the table."""
    with TemporaryDirectory() as directory:
        found = rehearse_case(name, case, Path(directory))
    rows, report = found["rows"], found["report"]
    task = "regression" if case.metric == "mae" else "classification"
    truth = read_table(case.path).select(
        pl.col(case.entity).cast(pl.Int64), label_values(pl.col(case.target)).alias("truth")
    )
    own = rows.filter(pl.col("event_time") >= case.measured_from).join(truth, on=case.entity)
    own = own.drop_nulls(["score", "truth"])
    results = {"automation": (own["truth"].to_numpy(), own["score"].to_numpy())}
    measured = yardsticks(case, task)
    label = measured.pop("label")
    results |= {what: (label, scores) for what, scores in measured.items()}
    retrains = len(report["retrains"])
    for what, (known, scores) in results.items():
        one = evaluate(task, known, scores)[case.metric]
        table.add_row(
            name, what, case.metric, f"{one.value:.4f}", f"{one.low:.4f}-{one.high:.4f}",
            f"{one.n:,}", f"{retrains} retrains" if what == "automation" else "",
        )  # fmt: skip
    console.print(f"{name}: {retrains} retrains: {report['retrains']}", highlight=False)
    if name.startswith("sea"):
        _report_alarms(name, report)


def _report_alarms(name: str, report: dict[str, Any]) -> None:
    alarms = sorted({*report["drift_alarms"], *report["performance_alarms"]})
    ends = [
        round((datetime.fromisoformat(key) + timedelta(days=1) - SEA_START) / SEA_STEP)
        for key in alarms
    ]
    console.print(f"{name}: alarms at the end of row {ends}", highlight=False)
    if name == "sea_drift":
        for change in SEA_CHANGES:
            after = [end - change for end in ends if end > change]
            console.print(f"  change at {change}: noticed after {after[:1]} rows", highlight=False)


def main() -> None:
    """Run the named cases, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    table = RichTable(title="prequential results on real tables")
    for head in ("table", "what", "metric", "value", "interval", "rows", ""):
        table.add_column(head)
    with TemporaryDirectory() as directory:
        known = cases(Path(directory))
        for name in arguments.names or known:
            report_case(name, known[name], table)
    console.print(table)


if __name__ == "__main__":
    main()

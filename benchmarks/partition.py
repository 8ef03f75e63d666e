"""One partition of 100,000 events from source to decisions and drift report.

`python -m benchmarks.partition` runs the platform's batch job beside a bare script that does the
same work with the same libraries for contract, model and report, but without Dagster, Feast and
MLflow. Imports are done before either is timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from aios.automation import Automation
from aios.statistics.drift import drift_verdict
from aios.statistics.metrics import evaluate
from aios.statistics.profile import Profile
from benchmarks.workloads import START, automation, events, settings

DAY = timedelta(days=1)


def platform_run(home: Path) -> tuple[Automation, Any]:
    """Train a champion on a first partition; return what runs the later ones."""
    from aios_assets.definitions import build_definitions
    from aios_assets.instance import open_instance, run_job
    from jobs.batch import batch_job_name
    from jobs.retrain import retrain_job_name

    where = settings(home)
    instance = open_instance(where)
    repository = build_definitions(where).get_repository_def()
    batch = repository.get_job(batch_job_name("bench"))
    run_job(instance, batch, START.strftime("%Y-%m-%d"), tags={})
    retrain = repository.get_job(retrain_job_name("bench"))
    run_job(instance, retrain, START.strftime("%Y-%m-%d"), tags={})
    bench = Automation.load(where.automations / "bench", where)
    return bench, lambda key: run_job(instance, batch, key, tags={})


def bare_script(
    bench: Automation, training: pl.DataFrame, scorer: Any, key: str, out: Path
) -> None:
    """Do a partition's work with plain functions and files."""
    from aios.sources import read_events, read_labels
    from aios_assets.lifecycle.contract import apply_contract
    from aios_assets.lifecycle.drift import evidently_page

    window, spec = bench.window(key), bench.spec
    checked = apply_contract(spec, read_events(bench, window.start, window.end), "bare")
    checked.good.write_parquet(out / "events.parquet")
    checked.bad.write_parquet(out / "quarantine.parquet")
    features = bench.function("features:facts")(checked.good)
    features.write_parquet(out / "features.parquet")
    predictions = features.select("event_id", "event_time").with_columns(
        pl.Series("score", scorer.score(features))
    )
    predictions.write_parquet(out / "predictions.parquet")
    verdicts = bench.policy.decide(features.with_columns(predictions["score"]))
    predictions.hstack(verdicts).write_parquet(out / "decisions.parquet")
    labels = read_labels(bench, window.start, window.end)
    matured = labels.join(predictions, on="event_id")
    matured.write_parquet(out / "performance.parquet")
    evaluate(spec.task, matured["label"].to_numpy(), matured["score"].to_numpy())
    names = list(spec.feature_columns)
    drift_verdict(Profile.of(training.select(names)), features.select(names))
    page = evidently_page(training.select(names), features.select(names), spec.feature_columns)
    (out / "drift.html").write_text(page)


def main() -> None:
    """Run both, alternating, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    days = arguments.repeats + 2
    first = events(20_000, START, DAY, seed=1)
    others = [
        events(arguments.rows, START + day * DAY, DAY, seed=1 + day) for day in range(1, days)
    ]
    seconds: dict[str, list[float]] = {"bare script": [], "platform": []}
    with TemporaryDirectory() as name:
        home = Path(name)
        automation(home, pl.concat([first, *others]), end=START + days * DAY, cadence="daily")
        bench, run = platform_run(home)
        training, scorer = _champion(home)
        keys = [window.key for window in bench.windows()][1:]
        run(keys[0])
        bare_script(bench, training, scorer, keys[0], home)
        for key in keys[1:]:
            for what, work in (
                ("bare script", lambda k=key: bare_script(bench, training, scorer, k, home)),
                ("platform", lambda k=key: run(k)),
            ):
                start = time.perf_counter()
                work()
                seconds[what].append(time.perf_counter() - start)
    table = Table(title=f"one partition of {arguments.rows:,} events, source to drift report")
    for head in ("what", "seconds", "least-most", "times the bare script"):
        table.add_column(head)
    bare = statistics.median(seconds["bare script"])
    for what, found in seconds.items():
        median = statistics.median(found)
        table.add_row(
            what, f"{median:.2f}", f"{min(found):.2f}-{max(found):.2f}", f"{median / bare:.2f}"
        )
    Console().print(table)


def _champion(home: Path) -> tuple[pl.DataFrame, Any]:
    from aios.lake import Lake
    from model_registry.champion import champion
    from model_registry.formats import load
    from model_registry.registry import Registry

    where = settings(home)
    registry = Registry(where.mlflow_uri, where.artifacts)
    version = champion(registry, "bench")
    assert version is not None
    lake = Lake(where.home / "lake" / "bench")
    training = lake.read("training_set", version.tags["aios.partition"])
    return training, load(registry, version)


if __name__ == "__main__":
    main()

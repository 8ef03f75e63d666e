"""One partition of 100,000 events from source to decisions and drift report.

`python -m benchmarks.partition` runs the platform's batch job beside a bare script that calls the
same plain functions in order and leaves the same files, but without Dagster, Feast and MLflow.
Imports are done before either is timed.
"""

from __future__ import annotations

import argparse
import shutil
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
from aios.digest import row_digests
from aios.lake import Lake
from aios.statistics.drift import drift_verdict
from aios.statistics.metrics import evaluate, losses
from aios.statistics.performance import Sample, performance_verdict
from aios.statistics.profile import Profile
from aios_assets.lifecycle.decisions import decide_window
from aios_assets.lifecycle.drift import evidently_page
from aios_assets.lifecycle.events import ingest
from aios_assets.lifecycle.features import compute_view
from aios_assets.lifecycle.labels import collect_labels
from aios_assets.lifecycle.performance import matured
from aios_assets.lifecycle.plots import drift_bars, history_line
from aios_assets.lifecycle.predictions import score_window
from benchmarks.workloads import START, automation, events, settings

DAY = timedelta(days=1)
START_KEY = START.strftime("%Y-%m-%d")


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
    run_job(instance, batch, START_KEY, tags={})
    retrain = repository.get_job(retrain_job_name("bench"))
    run_job(instance, retrain, START_KEY, tags={})
    bench = Automation.load(where.automations / "bench", where)
    return bench, lambda key: run_job(instance, batch, key, tags={})


def bare_script(bench: Automation, lake: Lake, scorer: Any, key: str) -> None:
    """Do a partition's work, with the same outputs, by calling plain functions in order."""
    window, spec = bench.window(key), bench.spec
    ingest(bench, lake, window)
    (view,) = spec.features
    facts = compute_view(bench, lake, view, window)
    names = list(spec.feature_columns)
    digests = row_digests(facts.select(names)).alias("feature_digest")
    revision = lake.read("events", key, ["revision"])["revision"]
    lake.write("features", key, facts.with_columns(revision, digests))
    score_window(bench, lake, window, (1, scorer), [])
    decide_window(bench, lake, window)
    collect_labels(bench, lake, window)
    rows = matured(bench, lake, window)
    label, score = rows["label"].to_numpy(), rows["score"].to_numpy()
    metrics = evaluate(spec.task, label, score)
    performance_verdict(Sample(5_000, 0.15, 0.02), [Sample.of(losses(spec.task, label, score))])
    lake.write("performance", key, rows)
    history_line([key], [metrics["roc_auc"].value], "roc_auc")
    training, current = lake.read("training_set", START_KEY, names), facts.select(names)
    verdict = drift_verdict(Profile.read(lake.path("profiles", START_KEY, "npz")), current)
    drift_bars(verdict, spec.drift.min_effect)
    page = evidently_page(training, current, spec.feature_columns)
    lake.write_bytes("drift", key, "html", page.encode())


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
        lake, scorer = _champion(home)
        keys = [window.key for window in bench.windows()][1:]
        run(keys[0])
        bare_script(bench, lake, scorer, keys[0])
        for key in keys[1:]:
            for what, work in (
                ("bare script", lambda k=key: bare_script(bench, lake, scorer, k)),
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


def _champion(home: Path) -> tuple[Lake, Any]:
    """Return a lake of the script's own with the training set, and the champion's scorer."""
    from model_registry.champion import champion
    from model_registry.formats import load
    from model_registry.registry import open_registry

    where = settings(home)
    registry = open_registry(where)
    version = champion(registry, "bench")
    assert version is not None
    shutil.copytree(where.home / "lake" / "bench", home / "bare")
    return Lake(home / "bare"), load(registry, version)


if __name__ == "__main__":
    main()

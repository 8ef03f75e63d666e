"""Batch predictions and decisions, rows a second and peak memory, beside the bare model's predict.

`python -m benchmarks.scoring` scores 5 million rows of 12 features. The bare yardstick has the
same rows in memory and calls the model, nothing else; the platform streams them from the lake,
scores, decides and writes both.
Each runs in its own process, so that memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from aios.lake import Lake
from benchmarks.workloads import NUMBERS, START, WORDS, automation, events

KINDS = dict.fromkeys(NUMBERS, "number") | dict.fromkeys(WORDS, "category")


def prepare(home: Path, rows: int) -> None:
    """Write the features of one partition and a trained model."""
    import skops.io

    from model_registry.frames import to_model_frame

    span = timedelta(days=1)
    train = events(20_000, START, span, seed=1)
    bench = automation(home, train, end=START + span, cadence="daily")
    model = bench.function("models:boosting")(
        to_model_frame(train, KINDS), train["outcome"].to_numpy(), seed=0
    )
    skops.io.dump(model, home / "model.skops")
    lake = Lake(home / "lake")
    with lake.writer("features", "2024-01-01") as write:
        for part in range(rows // 500_000):
            frame = events(500_000, START, span, seed=2 + part)
            write(
                frame.select(
                    "event_id",
                    pl.col("happened").cast(pl.Datetime("us")).alias("event_time"),
                    pl.col("happened").cast(pl.Datetime("us")).alias("known_at"),
                    pl.lit(0, dtype=pl.Int32).alias("revision"),
                    *KINDS,
                    pl.lit(1, dtype=pl.UInt64).alias("feature_digest"),
                )
            )


def measure(home: Path, variant: str) -> dict[str, Any]:
    """Run one variant in this process and return its seconds and memory."""
    import skops.io

    from aios.automation import Automation
    from aios_assets.lifecycle.decisions import decide_window
    from aios_assets.lifecycle.predictions import score_window
    from benchmarks.workloads import settings
    from model_registry.formats import TRUSTED_TYPES, in_memory
    from model_registry.frames import to_model_frame

    model = skops.io.load(home / "model.skops", trusted=list(TRUSTED_TYPES))
    lake = Lake(home / "lake")
    bench = Automation.load(home / "automations" / "bench", settings(home))
    window = bench.window("2024-01-01")
    scorer = in_memory(model, "classification", KINDS)
    scorer.score(events(1_000, START, timedelta(days=1), seed=0))
    if variant == "bare":
        frame = to_model_frame(lake.read("features", window.key, list(KINDS)), KINDS)
        start = time.perf_counter()
        model.predict_proba(frame)
    else:
        start = time.perf_counter()
        score_window(bench, lake, window, (1, scorer), [])
        decide_window(bench, lake, window)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak}


def main() -> None:
    """Prepare, measure each variant in its own processes, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 5_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("HOME", "VARIANT"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(Path(arguments.measure[0]), arguments.measure[1])))
        return
    table = Table(title="batch predictions and decisions")
    for head in ("rows", "what", "seconds", "least-most", "rows/s", "peak MB", "of bare"):
        table.add_column(head)
    for rows in arguments.rows:
        with TemporaryDirectory() as name:
            prepare(Path(name), rows)
            # Alternating, so that a slow minute of the machine falls on both.
            found: dict[str, list[dict[str, Any]]] = {"bare": [], "platform": []}
            for _ in range(arguments.repeats):
                for variant, runs in found.items():
                    runs.append(_in_process(name, variant))
        median = {v: statistics.median(r["seconds"] for r in runs) for v, runs in found.items()}
        for variant, runs in found.items():
            seconds = [run["seconds"] for run in runs]
            table.add_row(
                f"{rows:,}",
                "model.predict_proba alone" if variant == "bare" else "platform, to decisions",
                f"{median[variant]:.1f}",
                f"{min(seconds):.1f}-{max(seconds):.1f}",
                f"{rows / median[variant]:,.0f}",
                f"{max(run['peak'] for run in runs):,.0f}",
                f"{median['bare'] / median[variant]:.0%}",
            )
    Console().print(table)


def _in_process(home: str, variant: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.scoring", "--measure", home, variant]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()

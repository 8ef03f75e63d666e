"""The drift verdict beside Evidently's preset, on the same frames.

    python -m benchmarks.drift [--rows 1000000] [--repeat 3] [--report-rows 5000]

A reference and a current frame of 20 columns, of which four really drifted. The platform's figure
is the sum of its three parts: the profile of the reference, the verdict on the full data, and
Evidently's HTML report on a sample for people. The yardstick is Evidently's own preset, verdict
and HTML, on the full frames.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl

from aios.statistics.drift import drift_verdict
from aios.statistics.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from evidently.core.report import Snapshot

T = TypeVar("T")
DRIFTED = ("amount", "delay", "region", "channel")


def frame(rows: int, seed: int, drifted: bool) -> pl.DataFrame:
    """12 numeric and 8 text columns; `DRIFTED` move when `drifted`."""
    generator = np.random.default_rng(seed)
    move = float(drifted)
    columns: dict[str, np.ndarray] = {
        "amount": generator.normal(0.5 * move, 1, rows),
        "delay": generator.exponential(1 + 0.6 * move, rows),
        "region": _choose(generator, rows, 12, 0.9 * move),
        "channel": _choose(generator, rows, 5, 0.7 * move),
    }
    for index in range(10):
        values = generator.normal(size=rows) if index % 2 else generator.lognormal(size=rows)
        if index >= 8:
            values = np.where(generator.random(rows) < 0.1, np.nan, values)
        columns[f"number_{index}"] = values
    for index in range(6):
        columns[f"text_{index}"] = _choose(generator, rows, 4 * 2**index, 0.0)
    return pl.DataFrame(columns)


def _choose(generator: np.random.Generator, rows: int, values: int, tilt: float) -> np.ndarray:
    weight = 1 / np.arange(1, values + 1)
    weight[0] *= 1 + 2 * tilt
    names = np.array([f"value {index}" for index in range(values)])
    return names[generator.choice(values, size=rows, p=weight / weight.sum())]


def evidently_report(reference: pl.DataFrame, current: pl.DataFrame, html: Path) -> Snapshot:
    """Run Evidently's preset with its defaults and write its HTML."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    text = [name for name, dtype in reference.schema.items() if dtype == pl.String]
    numbers = [name for name in reference.columns if name not in text]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snapshot = Report([DataDriftPreset()]).run(
            Dataset.from_pandas(current.to_pandas(), definition),
            Dataset.from_pandas(reference.to_pandas(), definition),
        )
        snapshot.save_html(str(html))
    return snapshot


def evidently_drifted(snapshot: Snapshot) -> set[str]:
    """Columns that Evidently's own thresholds call drifted."""
    found = set()
    for metric in snapshot.dict()["metrics"]:
        config = metric["config"]
        if config["type"].endswith("ValueDrift"):
            value, distance = float(metric["value"]), "p_value" not in config["method"]
            if (value >= config["threshold"]) if distance else (value < config["threshold"]):
                found.add(config["column"])
    return found


def seconds(work: Callable[[], T], repeat: int) -> tuple[list[float], T]:
    """Wall-clock time of each repetition, and the last result."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return times, result


def spread(times: list[float]) -> str:
    """Median and range, as text."""
    return f"{statistics.median(times):9.3f} s   [{min(times):.3f} .. {max(times):.3f}]"


def measure(rows: int, repeat: int, report_rows: int) -> dict[str, object]:
    """Time both sides; prints the table and returns its figures."""
    reference, current = frame(rows, 1, drifted=False), frame(rows, 2, drifted=True)
    shown = min(report_rows, rows)
    before, after = reference.sample(shown, seed=0), current.sample(shown, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "report.html"
        start = time.perf_counter()
        evidently_report(before.head(200), after.head(200), html)
        warm_up = time.perf_counter() - start

        building, profile = seconds(lambda: Profile.of(reference), repeat)
        judging, verdict = seconds(lambda: drift_verdict(profile, current), repeat)
        drawing, _ = seconds(lambda: evidently_report(before, after, html), repeat)
        size = html.stat().st_size
        preset, snapshot = seconds(lambda: evidently_report(reference, current, html), 1)

    ours, theirs = set(verdict.drifted), evidently_drifted(snapshot)
    total = sum(statistics.median(times) for times in (building, judging, drawing))
    print(f"{rows:,} rows x {reference.width} columns, {repeat} repetitions\n")
    print(f"profile of the reference         {spread(building)}")
    print(f"verdict on the full data         {spread(judging)}")
    print(f"Evidently report on {report_rows:>6,} rows  {spread(drawing)}   {size / 1e6:.1f} MB")
    print(f"platform, sum                    {total:9.3f} s")
    print(f"Evidently preset, full data      {preset[0]:9.3f} s")
    print(f"ratio                            {preset[0] / total:9.1f} x")
    print(f"import and first report, either  {warm_up:9.3f} s, not counted")
    print(f"drifted by construction   {sorted(DRIFTED)}")
    print(f"named by the verdict      {sorted(ours)}")
    print(f"named by Evidently        {sorted(theirs)}")
    return {
        "rows": rows,
        "profile_s": building,
        "verdict_s": judging,
        "report_s": drawing,
        "evidently_s": preset[0],
        "ratio": preset[0] / total,
        "same_columns": ours == theirs == set(DRIFTED),
    }


def main(arguments: list[str]) -> int:
    """Run the comparison; fails when the two sides do not name the columns that drifted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--report-rows", type=int, default=5_000)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args(arguments)
    figures = measure(options.rows, options.repeat, options.report_rows)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))
    return 0 if figures["same_columns"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A rehearsal of 100 partitions, seconds a partition, beside Dagster's own cost.

`python -m benchmarks.rehearsal` rehearses 100 daily partitions of 300 events with everything the
real jobs do, retrains included. The yardstick is a job of as many empty assets and checks run by
Dagster for the same number of partitions.
"""

from __future__ import annotations

import argparse
import statistics
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table

from benchmarks.workloads import START, automation, events, settings

DAY = timedelta(days=1)
ASSETS, CHECKS = 7, 2


def rehearse_all(home: Path, days: int) -> list[float]:
    """Rehearse and return the seconds of each partition, the first with the imports."""
    from aios_assets.rehearsal import rehearse

    automation(home, events(300 * days, START, days * DAY, seed=1), end=START + days * DAY,
               cadence="daily")  # fmt: skip
    marks: dict[int, float] = {}

    def progress(done: int, total: int, what: str) -> None:
        if total == days:
            marks.setdefault(done, time.perf_counter())

    rehearse("bench", settings(home), fresh=False, progress=progress)
    times = [marks[position] for position in sorted(marks)]
    return [after - before for before, after in pairwise(times)]


def empty_job(home: Path, days: int) -> list[float]:
    """Run a job of empty assets with checks for each partition; return the seconds of each."""
    from aios_assets.instance import open_instance, run_job

    partitions = dg.DailyPartitionsDefinition(START.strftime("%Y-%m-%d"))
    assets = [_empty_asset(position, partitions) for position in range(ASSETS)]
    job = dg.define_asset_job("empty", selection="*")
    resolved = dg.Definitions(assets=assets, jobs=[job], executor=dg.in_process_executor)
    runnable = resolved.get_repository_def().get_job("empty")
    instance = open_instance(settings(home))
    seconds = []
    for day in range(days):
        start = time.perf_counter()
        run_job(instance, runnable, (START + day * DAY).strftime("%Y-%m-%d"), tags={})
        seconds.append(time.perf_counter() - start)
    return seconds


def _empty_asset(position: int, partitions: Any) -> dg.AssetsDefinition:
    name = f"empty_{position}"
    checks = [dg.AssetCheckSpec(f"check_{i}", asset=name) for i in range(CHECKS)]

    @dg.asset(
        name=name,
        partitions_def=partitions,
        check_specs=checks,
        deps=[f"empty_{position - 1}"] if position else [],
    )
    def empty():  # type: ignore[no-untyped-def]
        results = [dg.AssetCheckResult(check_name=one.name, passed=True) for one in checks]
        return dg.MaterializeResult(check_results=results)

    return empty


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, default=100)
    arguments = parser.parse_args()
    table = Table(title=f"{arguments.partitions} partitions")
    for head in ("what", "seconds in all", "median a partition", "least-most"):
        table.add_column(head)
    for what, run in (("rehearsal", rehearse_all), ("empty Dagster job", empty_job)):
        with TemporaryDirectory() as name:
            found = run(Path(name), arguments.partitions)
        table.add_row(
            what,
            f"{sum(found):.0f}",
            f"{statistics.median(found):.2f}",
            f"{min(found):.2f}-{max(found):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()

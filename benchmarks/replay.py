"""Replay beside plain scoring: decisions a second over the same rows, and memory.

`python -m benchmarks.replay` rehearses claims, then makes the decisions of each partition again
in two ways, alternating: plainly (features, predictions and decisions by the champion of the time,
into a copy of the lake) and as a replay, which also loads the recorded versions, and compares
every value with what is stored. Further tables do the same for one large synthetic partition, each
way in a process of its own, so that memory is its own. The share is that of scoring's speed; CPU
seconds are the steadier measure where others use the machine too.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from aios import clock
from aios.automation import load_automation
from aios.settings import PROJECT, Settings
from aios.windows import window_of
from aios_assets.replay.replay import replay
from aios_assets.resources import Platform
from benchmarks.workloads import START, automation, events, settings

Runs = dict[str, list[dict[str, float]]]


def score_plainly(name: str, where: Settings, keys: list[str]) -> int:
    """Make features, predictions and decisions of partitions again, in place; return the rows."""
    from aios_assets.lifecycle.decisions import decide_window
    from aios_assets.lifecycle.features import make_features
    from aios_assets.lifecycle.predictions import score_window
    from model_registry.formats import load

    owner, platform = load_automation(name, where), Platform(where)
    lake, rows = platform.lake(name), 0
    loaded: dict[int, Any] = {}
    for key in keys:
        window = window_of(owner.spec.cadence, key)
        number = next(iter(lake.read("predictions", key, ["model_version"])["model_version"]), None)
        if number is not None and number not in loaded:
            version = platform.registry.get(name, number)
            loaded = {number: load(platform.registry, version)}
        champion = (number, loaded[number]) if number is not None else None
        with clock.at(window.end):
            make_features(owner, platform, window)
            score_window(owner, lake, window, champion, [])
            decide_window(owner, lake, window)
        rows += lake.rows("decisions", key)
    return rows


def claims(months: int, repeats: int) -> Table:
    """Rehearse claims, then score and replay all of it in turn."""
    from aios_assets.rehearsal import rehearse

    folders = PROJECT / "aios_assets" / "automations"
    with TemporaryDirectory() as name:
        where = Settings.embedded(Path(name, "state"), folders)
        end = datetime(2024 + months // 12, months % 12 + 1, 1)
        rehearse("claims", where, end=end, progress=lambda *_: None)
        aside = Settings.embedded(Path(name, "copy"), folders)
        shutil.copytree(where.home / "lake", aside.home / "lake")
        copy = Settings(**{**vars(where), "home": aside.home})
        keys = Platform(where).lake("claims").partitions("decisions")
        runs: Runs = {"scoring": [], "replay": []}
        for repeat in range(repeats + 1):
            begun = _clocks()
            rows = score_plainly("claims", copy, keys)
            scored = _clocks()
            result = replay("claims", where)
            ended = _clocks()
            assert result.holds, result.as_text()
            assert result.rows == rows
            if repeat:  # the first one imports and warms up
                runs["scoring"].append(_between(begun, scored))
                runs["replay"].append(_between(scored, ended))
    return _table(f"claims, {len(keys)} monthly partitions", rows, runs)


def prepare(home: Path, rows: int) -> None:
    """Decide one large partition of a synthetic stream, by a model trained on the one before."""
    import polars as pl

    from aios_assets.definitions import build_definitions
    from aios_assets.instance import open_instance, run_job
    from jobs.batch import batch_job_name
    from jobs.retrain import retrain_job_name

    day = timedelta(days=1)
    table = [events(20_000, START, day, seed=1), events(rows, START + day, day, seed=2)]
    automation(home, pl.concat(table), end=START + 2 * day, cadence="daily")
    where = settings(home)
    instance = open_instance(where)
    repository = build_definitions(where).get_repository_def()
    first, second = (f"{START + i * day:%Y-%m-%d}" for i in range(2))
    run_job(instance, repository.get_job(batch_job_name("bench")), first, tags={})
    run_job(instance, repository.get_job(retrain_job_name("bench")), first, tags={})
    run_job(instance, repository.get_job(batch_job_name("bench")), second, tags={})


def measure(home: Path, variant: str) -> dict[str, float]:
    """Score or replay the large partition in this process, after a small one."""
    where = settings(home)
    small, large = (f"{START + timedelta(days=i):%Y-%m-%d}" for i in range(2))

    def run(key: str) -> None:
        if variant == "scoring":
            score_plainly("bench", where, [key])
        else:
            assert replay("bench", where, partition=key).holds

    run(small)
    begun = _clocks()
    run(large)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**_between(begun, _clocks()), "peak": peak / 1024}


def large(rows: int, repeats: int) -> Table:
    """Score and replay one large partition, each in processes of its own."""
    runs: Runs = {"scoring": [], "replay": []}
    with TemporaryDirectory() as name:
        _call("prepare", name, str(rows))
        for _ in range(repeats):
            for variant, found in runs.items():
                found.append(json.loads(_call("measure", name, variant)))
    return _table("one synthetic partition of 12 features", rows, runs)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _between(begun: tuple[float, float], ended: tuple[float, float]) -> dict[str, float]:
    return {"seconds": ended[0] - begun[0], "cpu": ended[1] - begun[1]}


def _table(title: str, rows: int, runs: Runs) -> Table:
    table = Table(title=f"{title}, {rows:,} decisions")
    heads = ("what", "seconds", "range", "rows/s", "share", "CPU s", "share")
    for head in (*heads, "peak MB"):
        table.add_column(head)
    plain = {name: _median(runs["scoring"], name) for name in ("seconds", "cpu")}
    for what, found in runs.items():
        seconds, cpu = _median(found, "seconds"), _median(found, "cpu")
        times = [run["seconds"] for run in found]
        table.add_row(
            what,
            f"{seconds:.2f}",
            f"{min(times):.2f}-{max(times):.2f}",
            f"{rows / seconds:,.0f}",
            f"{plain['seconds'] / seconds:.0%}",
            f"{cpu:.2f}",
            f"{plain['cpu'] / cpu:.0%}",
            f"{max(run['peak'] for run in found):,.0f}" if "peak" in found[0] else "",
        )
    return table


def _median(found: list[dict[str, float]], name: str) -> float:
    return statistics.median(run[name] for run in found)


def _call(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.replay", "--call", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()[-1] if done.stdout else ""


def main() -> None:
    """Measure both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--rows", type=int, nargs="*", default=[250_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--call", nargs=3, metavar=("WHAT", "HOME", "ARGUMENT"))
    arguments = parser.parse_args()
    if arguments.call:
        what, home, argument = arguments.call
        if what == "prepare":
            prepare(Path(home), int(argument))
        else:
            print(json.dumps(measure(Path(home), argument)))
        return
    console = Console()
    console.print(claims(arguments.months, arguments.repeats))
    for rows in arguments.rows:
        console.print(large(rows, arguments.repeats))


if __name__ == "__main__":
    main()

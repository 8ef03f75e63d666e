"""SIGKILL at ten random moments: resumed, a rehearsal ends as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from aios_assets.rehearsal import State
from tests.loops.conftest import NAME, REHEARSED, end_of, new_loop

pytestmark = pytest.mark.loop

KILLS = 10
WITHIN, NEAR_THE_END = 900, 250
"""How many of the about 3,500 touches of a file of the home, in all, a child may live through."""
RETRAINED, WHILE_TRAINING = (2, 5), 60
"""After so many weeks a retrain follows: there, the touches of artefacts that a child may see."""
PRELOADED = [
    "dagster", "evidently", "evidently.presets", "feast", "great_expectations", "matplotlib.pyplot",
    "mlflow", "mlflow.sklearn", "polars", "sklearn.compose", "sklearn.linear_model",
    "sklearn.tree", "skops.io",
]  # fmt: skip
WATCHED = {"open", "os.rename", "os.mkdir", "os.remove", "sqlite3.connect"}


@pytest.fixture(scope="module")
def processes():
    """Children that come with the heavy libraries loaded: ten starts cost the imports once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def child(root: Path, below: str, kill_at: int, after: float) -> None:
    """Rehearse, and die `after` seconds after the `kill_at`-th touch of a file below a folder."""
    home, touched = str(root / "home"), 0
    os.environ.update(AIOS_HOME=home, AIOS_AUTOMATIONS=str(root / "automations"))
    sys.stdout = sys.stderr = open(root / "child.log", "a")  # noqa: SIM115

    folder = f"{home}/{below}"

    def watch(event, arguments):
        nonlocal touched
        if event in WATCHED and str(arguments[0]).startswith(folder):
            touched += 1
            if touched == kill_at:
                threading.Timer(after, os.kill, (os.getpid(), signal.SIGKILL)).start()

    sys.addaudithook(watch)
    from aios_assets.cli import app

    app(["rehearse", NAME, "--to", f"{end_of(REHEARSED - 1):%Y-%m-%d}"])


def rehearse(processes, loop, below="", kill_at=0, after=0.0):
    """Rehearse in a child; return its exit code."""
    process = processes.Process(target=child, args=(loop.root, below, kill_at, after))
    process.start()
    process.join()
    return process.exitcode


def registered(loop):
    return [
        (v.number, v.candidate, v.key, v.stage, v.trained_until, v.metrics,
         v.tags["aios.dataset_digest"])
        for v in loop.versions()
    ]  # fmt: skip


def test_killed_ten_times_and_resumed_it_ends_like_the_undisturbed(
    processes, prepared, tmp_path, empty_mlflow, monkeypatch
):
    rng = np.random.default_rng(20240101)
    loop = new_loop(tmp_path, empty_mlflow, monkeypatch)
    progress = [0]
    for _ in range(KILLS):
        below, most = "", WITHIN if progress[-1] < REHEARSED - 2 else NEAR_THE_END
        if progress[-1] in RETRAINED and progress.count(progress[-1]) <= 2:
            below, most = "mlflow/artifacts", WHILE_TRAINING
        moment = int(rng.integers(1, most)), float(rng.uniform(0, 0.2))
        code = rehearse(processes, loop, below, *moment)
        assert code == -signal.SIGKILL, (loop.root / "child.log").read_text()
        progress.append(len(State.read(loop.lake).done) if State.read(loop.lake) else 0)
    assert 0 < progress[-1] < REHEARSED, progress
    assert rehearse(processes, loop) == 0, (loop.root / "child.log").read_text()

    assert loop.files() == prepared.files()
    assert loop.champions() == prepared.champions()
    assert registered(loop) == registered(prepared)
    unfinished = [run for run in loop.instance.get_runs() if not run.is_finished]
    assert unfinished == []

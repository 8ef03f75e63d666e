"""Processes that begin to work at one word, and the seconds until all have ended."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from aios.settings import PROJECT


def scalar(engine: sa.Engine, query: str) -> int:
    """Return one number."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql(query).scalar() or 0)


def wait_for_word() -> None:
    """Say that all is ready, and wait until the others are."""
    print("ready", flush=True)
    sys.stdin.readline()


def together(
    module: str, words: Sequence[str], processes: int, before: Callable[[], None] = lambda: None
) -> float:
    """Start processes, let `before` run once they are ready; return the seconds until all ended."""
    command = [sys.executable, "-m", module, *words]
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=PROJECT) for _ in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        while child.stdout.readline() not in (b"ready\n", b""):
            pass
    before()
    start = time.perf_counter()
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=600)
    seconds = time.perf_counter() - start
    assert not any(child.returncode for child in children)
    return seconds

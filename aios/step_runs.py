"""Running a step over events, one at a time: retries, time-outs and fallbacks.

A step with a time-out runs in worker processes over the cores, and one that takes too long is
killed with its process. Steps that look at the past, and models, run in this process in order;
there a time-out interrupts them.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from math import isnan
from pathlib import Path
from typing import Any, Literal

from aios.automation import load_function
from aios.errors import AiosError
from aios.steps import OutputType, Step

BLOCK = 64
Function = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What a step made of one event.

    Attributes:
        outputs: A value for each declared output.
        status: "done", "fallback" or "failed"; "no_champion" where there is no model to run.
        problem: Why it is not done.
        seconds: All attempts together.
    """

    outputs: dict[str, Any]
    status: Literal["done", "fallback", "failed", "no_champion"]
    problem: str | None
    seconds: float


def run_apart(step: Step, folder: Path, rows: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """Run a step's function in worker processes; outcomes come in the order of the rows.

    Args:
        step: It has a function and a time-out.
        folder: The automation's folder.
        rows: The step's inputs, event by event; at most `BLOCK` of them are held.
    """
    assert step.function
    assert step.timeout
    load_function(folder, step.function)  # a module that does not import is no event's failure
    task, seconds = (str(folder), step.function), step.timeout.total_seconds()
    waiting = iter(rows)
    while block := list(islice(waiting, BLOCK)):
        begun = [_workers().schedule(_call, args=[*task, row], timeout=seconds) for row in block]
        for row, first in zip(block, begun, strict=True):
            futures = iter([first])

            def attempt(row: dict[str, Any] = row, futures: Any = futures) -> dict[str, Any]:
                future = next(futures, None) or _workers().schedule(
                    _call, args=[*task, row], timeout=seconds
                )
                outputs, taken = future.result()
                return {**outputs, _SECONDS: taken}

            yield _outcome(step, attempt)


def run_here(step: Step, function: Function, rows: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """Run a function on rows in this process, one after the other."""
    for row in rows:
        yield run_one(step, function, row)


def run_one(step: Step, function: Function, row: dict[str, Any]) -> Outcome:
    """Run a function on one row in this process."""

    def attempt() -> dict[str, Any]:
        with _limit(step.timeout.total_seconds() if step.timeout else None):
            return function(row)

    return _outcome(step, attempt)


_SECONDS = "__seconds__"


def _outcome(step: Step, attempt: Callable[[], dict[str, Any]]) -> Outcome:
    begun, seconds, problem = time.perf_counter(), None, ""
    for _ in range(step.retries + 1):
        try:
            outputs = attempt()
            seconds = outputs.pop(_SECONDS, None) if isinstance(outputs, dict) else None
            return Outcome(
                _typed(step, outputs), "done", None, seconds or time.perf_counter() - begun
            )
        except TimeoutError:
            limit = step.timeout.total_seconds() if step.timeout else 0
            problem = f"it took longer than {limit:g} s"
        except AiosError as error:
            problem = f"{error.what}{f' ({error.fix})' if error.fix else ''}"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    outputs = {name: step.fallback.get(name) for name in step.outputs}
    taken = time.perf_counter() - begun
    return Outcome(outputs, "fallback" if step.fallback else "failed", problem[:500], taken)


def _typed(step: Step, outputs: Any) -> dict[str, Any]:
    if not isinstance(outputs, dict):
        raise TypeError(f"it returned {type(outputs).__name__}, not a dictionary")
    differing = sorted(set(outputs) ^ set(step.outputs))
    if differing:
        raise ValueError(f"returned and declared outputs differ: {', '.join(differing)}")
    return {name: _value(name, kind, outputs[name]) for name, kind in step.outputs.items()}


def _value(name: str, kind: OutputType, value: Any) -> Any:
    if value is None or (isinstance(value, float) and isnan(value)):
        return None
    match kind:
        case "number" if isinstance(value, int | float):
            return float(value)
        case "integer" if isinstance(value, int):
            return int(value)
        case "boolean" if isinstance(value, bool):
            return value
        case "time" if isinstance(value, datetime):
            return value
        case "text" | "category" if isinstance(value, str):
            return value
        case "json":
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    raise TypeError(f"output '{name}' is {type(value).__name__}, declared is {kind}")


def _call(folder: str, reference: str, row: dict[str, Any]) -> tuple[dict[str, Any], float]:
    begun = time.perf_counter()
    outputs = load_function(Path(folder), reference)(row)
    return outputs, time.perf_counter() - begun


@cache
def _workers() -> Any:
    """Return this process's workers; fresh processes, since ours may hold locks and threads."""
    import multiprocessing

    from pebble import ProcessPool

    pool: Any = ProcessPool(
        max_workers=os.cpu_count() or 1, context=multiprocessing.get_context("spawn")
    )

    def end() -> None:
        pool.stop()
        pool.join()

    atexit.register(end)
    return pool


@contextmanager
def _limit(seconds: float | None) -> Iterator[None]:
    """Interrupt the block after so many seconds; signals reach the main thread only."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

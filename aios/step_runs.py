"""Running a step over events, one at a time: retries, time-outs and fallbacks.

A step with a time-out runs in worker processes over the cores, and one that takes too long is
killed with its process. Steps that look at the past, and models, run in this process in order;
there a time-out interrupts them.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, Literal

from aios.automation import load_function
from aios.errors import AiosError
from aios.steps import OutputType, Step, typed

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
    task, limit = (str(folder), step.function, step.outputs), step.timeout.total_seconds()

    def begin(row: dict[str, Any]) -> Any:
        return _workers().schedule(_call, args=[*task, row], timeout=limit)

    waiting = iter(rows)
    while block := list(islice(waiting, BLOCK)):
        begun = [begin(row) for row in block]
        for row, first in zip(block, begun, strict=True):
            futures = chain([first], map(begin, repeat(row)))
            yield _outcome(step, (_awaited(future, limit) for future in futures))


def run_here(step: Step, function: Function, rows: Iterable[dict[str, Any]]) -> Iterator[Outcome]:
    """Run a function on rows in this process, one after the other."""
    from threadpoolctl import threadpool_limits

    # One event is too little for several threads to share: they would wait for one another.
    with threadpool_limits(1):
        for row in rows:
            yield run_one(step, function, row)


def run_one(step: Step, function: Function, row: dict[str, Any]) -> Outcome:
    """Run a function on one row in this process."""
    limit = step.timeout.total_seconds() if step.timeout else None
    return _outcome(step, (_attempt(step.outputs, function, row, limit) for _ in repeat(None)))


@dataclass(frozen=True)
class _Attempt:
    """One call: its outputs, or else why there are none. Only plain values leave a worker."""

    outputs: dict[str, Any] | None
    problem: str | None
    seconds: float


class _Overdue(BaseException):
    """Time is up; no `except Exception` of a step's function takes it for its own."""


def _outcome(step: Step, attempts: Iterator[_Attempt]) -> Outcome:
    seconds, problem = 0.0, ""
    for attempt in islice(attempts, step.retries + 1):
        seconds += attempt.seconds
        if attempt.outputs is not None:
            return Outcome(attempt.outputs, "done", None, seconds)
        problem = attempt.problem or ""
    outputs = {
        name: typed(name, kind, step.fallback.get(name)) for name, kind in step.outputs.items()
    }
    return Outcome(outputs, "fallback" if step.fallback else "failed", problem[:500], seconds)


def _attempt(
    kinds: dict[str, OutputType],
    function: Function,
    row: dict[str, Any],
    limit: float | None = None,
) -> _Attempt:
    begun = time.perf_counter()
    try:
        with _limit(limit):
            outputs = function(row)
        return _Attempt(_typed(kinds, outputs), None, time.perf_counter() - begun)
    except _Overdue:
        problem = _OVERDUE.format(limit)
    except AiosError as error:
        problem = f"{error.what}{f' ({error.fix})' if error.fix else ''}"
    except (Exception, SystemExit) as error:
        problem = f"{type(error).__name__}: {error}"
    storable = problem.encode(errors="replace").decode()
    return _Attempt(None, storable, time.perf_counter() - begun)


def _awaited(future: Any, limit: float) -> _Attempt:
    begun = time.perf_counter()
    try:
        found: _Attempt = future.result()
        return found
    except TimeoutError:
        return _Attempt(None, _OVERDUE.format(limit), limit)
    except Exception as error:  # its worker died
        problem = f"{type(error).__name__}: {error}"
        return _Attempt(None, problem, time.perf_counter() - begun)


def _call(
    folder: str, reference: str, kinds: dict[str, OutputType], row: dict[str, Any]
) -> _Attempt:
    return _attempt(kinds, load_function(Path(folder), reference), row)


_OVERDUE = "it took longer than {:g} s"


def _typed(kinds: dict[str, OutputType], outputs: Any) -> dict[str, Any]:
    if not isinstance(outputs, dict):
        raise TypeError(f"it returned {type(outputs).__name__}, not a dictionary")
    differing = sorted(str(name) for name in set(outputs) ^ set(kinds))
    if differing:
        raise ValueError(f"returned and declared outputs differ: {', '.join(differing)}")
    return {name: typed(name, kind, outputs[name]) for name, kind in kinds.items()}


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
        raise _Overdue

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

"""Steps over events: one failing event is nobody else's problem."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.automation import load_function
from aios.errors import AiosError
from aios.known import TYPES
from aios.step_runs import BLOCK, Outcome, run_apart, run_here, run_one
from aios.steps import OutputType, Step

pytestmark = pytest.mark.unit

MODULE = """
import os, sys, time
from aios.errors import AiosError

class Two(Exception):
    def __init__(self, one, two):
        super().__init__(one)

def double(row):
    match row["x"]:
        case 4: raise ValueError("bad four")
        case 6: return {"y": "six"}
        case 7: return {}
        case 8: return None
        case 9: raise Two("one", "two")
        case 10: sys.exit("gone")
        case 11: return {"y": lambda: 0}
        case 12: return {"y": 1.0, "z": 2.0}
        case 13: raise AiosError("it is torn", fix="Send it again.")
        case 14: raise TimeoutError("the bank does not answer")
        case 15: raise ValueError(chr(0xd800))
        case 16: return {"y": 10**400}
        case 17: return {"y": Two("one", "two")}
        case 18: return [1]
        case 19: return {1: 2}
        case 20: time.sleep(30)
        case 21: os._exit(1)
    return {"y": row["x"] * 2.0}

def deaf(row):
    try:
        time.sleep(30)
    except Exception:
        return {"y": 1.0}

def flaky(row):
    path = os.path.join(row["folder"], str(row["x"]))
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) <= row["fails"]:
        time.sleep(0.1)
        raise OSError("not yet")
    return {"y": 1.0}

def kinds(row):
    return row["value"]
"""
SAYS = {
    4: "ValueError: bad four",
    6: "TypeError: output 'y' is str, declared is number",
    7: "ValueError: returned and declared outputs differ: y",
    8: "TypeError: it returned NoneType, not a dictionary",
    9: "Two: one",
    10: "SystemExit: gone",
    11: "TypeError: output 'y' is function, declared is number",
    12: "ValueError: returned and declared outputs differ: z",
    13: "it is torn (Send it again.)",
    14: "TimeoutError: the bank does not answer",
    15: "ValueError: ?",
    16: "OverflowError: int too large to convert to float",
    17: "TypeError: output 'y' is Two, declared is number",
    18: "TypeError: it returned list, not a dictionary",
    19: "ValueError: returned and declared outputs differ: 1, y",
}
SURE = (0, 1, 2, 3, 5, *range(30, 130))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "auto").mkdir()
    (tmp_path / "auto" / "work.py").write_text(MODULE)
    return tmp_path / "auto"


def step(**settings: Any) -> Step:
    plain = {"name": "s", "kind": "query", "function": "work:double", "inputs": ["x"]}
    return Step.model_validate({**plain, "outputs": {"y": "number"}, **settings})


def rows(*values: int) -> list[dict[str, Any]]:
    return [{"x": one} for one in values]


def apart(one: Step, folder: Path, given: list[dict[str, Any]]) -> list[Outcome]:
    return list(run_apart(one, folder, given))


def here(one: Step, folder: Path, given: list[dict[str, Any]]) -> list[Outcome]:
    return list(run_here(one, load_function(folder, one.function or ""), given))


BOTH = pytest.mark.parametrize("run", [apart, here])
Run = Callable[[Step, Path, list[dict[str, Any]]], list[Outcome]]


@BOTH
def test_what_fails_fails_alone_and_the_order_is_kept(folder: Path, run: Run) -> None:
    given = np.random.default_rng(0).permutation([*SURE, *SAYS]).tolist()
    found = run(step(timeout="20s"), folder, rows(*given))
    assert len(found) == len(given) > BLOCK
    for x, one in zip(given, found, strict=True):
        if x in SAYS:
            assert (one.status, one.outputs, one.problem) == ("failed", {"y": None}, SAYS[x])
        else:
            assert (one.status, one.outputs, one.problem) == ("done", {"y": 2.0 * x}, None)
    stored = pl.DataFrame({"problem": [one.problem for one in found]})
    assert stored["problem"].null_count() == len(SURE)


def test_a_hanging_and_a_dying_worker_take_nobody_along(folder: Path) -> None:
    begun = time.perf_counter()
    hung, *sure, dead = apart(step(timeout="1s"), folder, rows(20, *SURE, 21))
    assert time.perf_counter() - begun < 20
    assert (hung.status, hung.problem) == ("failed", "it took longer than 1 s")
    assert hung.seconds == 1
    assert dead.status == "failed"
    assert (dead.problem or "").startswith("ProcessExpired")
    assert [one.outputs["y"] for one in sure] == [2.0 * x for x in SURE]


@pytest.mark.parametrize("function", ["work:double", "work:deaf"])
def test_a_slow_event_is_interrupted_in_this_process_too(folder: Path, function: str) -> None:
    begun = time.perf_counter()
    one = step(timeout="1s", function=function, retries=1, fallback={"y": 0})
    (slow,) = here(one, folder, rows(20))
    assert 2 <= slow.seconds <= time.perf_counter() - begun < 5
    assert (slow.status, slow.problem) == ("fallback", "it took longer than 1 s")
    assert here(step(timeout="1s"), folder, rows(1))[0].outputs == {"y": 2.0}


def test_no_time_is_kept_outside_the_main_thread(folder: Path) -> None:
    found: list[Outcome] = []
    one = step(timeout="1s")
    thread = threading.Thread(target=lambda: found.extend(here(one, folder, rows(1, 4))))
    thread.start()
    thread.join()
    assert [one.status for one in found] == ["done", "failed"]


@BOTH
@pytest.mark.parametrize(
    ("retries", "fails", "status", "calls"),
    [(0, 1, "failed", 1), (2, 1, "done", 2), (2, 2, "done", 3), (2, 9, "failed", 3)],
)
def test_retries_try_again(
    folder: Path, tmp_path: Path, run: Run, retries: int, fails: int, status: str, calls: int
) -> None:
    given = [{"x": one, "folder": str(tmp_path), "fails": fails} for one in (1, 2)]
    one = step(function="work:flaky", timeout="10s", retries=retries)
    found = run(one, folder, given)
    assert [outcome.status for outcome in found] == [status, status]
    assert [(tmp_path / name).stat().st_size for name in "12"] == [calls, calls]
    failed = calls - (status == "done")
    assert all(outcome.seconds >= 0.1 * failed for outcome in found)


@BOTH
def test_the_fallback_stands_in(folder: Path, run: Run) -> None:
    one = step(fallback={"y": -1}, timeout="9s")
    bad, good = run(one, folder, rows(4, 1))
    assert (bad.status, bad.outputs, bad.problem) == ("fallback", {"y": -1.0}, SAYS[4])
    assert isinstance(bad.outputs["y"], float)
    assert (good.status, good.outputs) == ("done", {"y": 2.0})


def test_a_fallback_has_the_outputs_types_and_nulls_for_the_rest(folder: Path) -> None:
    one = step(outputs={"y": "number", "z": "json"}, fallback={"z": [1]})
    (found,) = here(one, folder, rows(4))
    assert found.outputs == {"y": None, "z": "[1]"}


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("number", 3, 3.0),
        ("number", np.float64(0.5), 0.5),
        ("number", float("nan"), None),
        ("integer", True, 1),
        ("integer", -(2**63), -(2**63)),
        ("text", None, None),
        ("text", "Fällig - 14 €", "Fällig - 14 €"),
        ("category", "a", "a"),
        ("boolean", False, False),
        ("time", datetime(2025, 1, 1, 8), datetime(2025, 1, 1, 8)),
        (
            "time",
            datetime(2025, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))),
            datetime(2025, 1, 1),
        ),
        ("json", {"a": [1]}, '{"a": [1]}'),
        ("json", "[]", "[]"),
    ],
)
def test_outputs_are_kept_as_their_declared_types(kind: OutputType, value: Any, kept: Any) -> None:
    found = of_kind(kind, value)
    assert (found.status, found.outputs) == ("done", {"y": kept})
    assert type(found.outputs["y"]) is type(kept)
    assert pl.Series([found.outputs["y"]], dtype=TYPES[kind]).to_list() == [kept]


def test_a_missing_time_of_pandas_is_missing() -> None:
    import pandas as pd

    assert of_kind("time", pd.NaT).outputs == {"y": None}
    assert of_kind("time", pd.Timestamp("2025-01-01")).outputs == {"y": datetime(2025, 1, 1)}


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("number", "3", "output 'y' is str, declared is number"),
        ("integer", 2.5, "output 'y' is float, declared is integer"),
        ("integer", 2**63, "output 'y' does not fit 64 bits"),
        ("boolean", 1, "output 'y' is int, declared is boolean"),
        ("text", 1, "output 'y' is int, declared is text"),
        ("text", "\ud800", "surrogates not allowed"),
        ("category", b"a", "output 'y' is bytes, declared is category"),
        ("time", "2025-01-01", "output 'y' is str, declared is time"),
        ("time", datetime(2025, 1, 1).date(), "output 'y' is date, declared is time"),
        ("json", {"a": {1, 2}}, "set is not JSON serializable"),
        ("json", ["\ud800"], "surrogates not allowed"),
        ("json", "no JSON", "output 'y' is no JSON"),
    ],
)
def test_what_the_lake_cannot_store_is_its_events_failure(
    kind: OutputType, value: Any, says: str
) -> None:
    found = of_kind(kind, value)
    assert (found.status, found.outputs) == ("failed", {"y": None})
    assert says in (found.problem or "")


def of_kind(kind: OutputType, value: Any) -> Outcome:
    return run_one(step(outputs={"y": kind}), lambda row: {"y": row["value"]}, {"value": value})


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes(timezones=st.none() | st.timezones()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(st.sampled_from(list(TYPES)), ANYTHING)
def test_whatever_a_function_returns_can_be_stored(kind: OutputType, value: Any) -> None:
    found = of_kind(kind, value)
    assert pl.Series([found.outputs["y"]], dtype=TYPES[kind]).len() == 1
    assert pl.Series([found.problem], dtype=pl.String).len() == 1
    assert (found.problem is None) == (found.status == "done")
    if kind == "json" and found.outputs["y"] is not None:
        json.loads(found.outputs["y"])


def test_rows_are_taken_as_they_are_needed(folder: Path) -> None:
    taken: list[int] = []

    def given() -> Any:
        for x in range(5 * BLOCK):
            taken.append(x)
            yield {"x": 0}

    outcomes = run_apart(step(timeout="9s"), folder, given())
    for _ in range(BLOCK):
        next(outcomes)
    assert len(taken) == BLOCK
    assert sum(1 for _ in outcomes) == 4 * BLOCK


def test_no_rows_have_no_outcomes(folder: Path) -> None:
    assert apart(step(timeout="9s"), folder, []) == here(step(), folder, []) == []


def test_a_module_that_does_not_import_is_no_events_failure(folder: Path) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name")
    with pytest.raises(AiosError, match="importing 'broken' failed"):
        apart(step(function="broken:f", timeout="2s"), folder, rows(1))
    with pytest.raises(AiosError, match="has no function 'triple'"):
        apart(step(function="work:triple", timeout="2s"), folder, rows(1))

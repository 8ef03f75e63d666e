"""Steps over events: one failing event is nobody else's problem."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from aios.automation import load_function
from aios.errors import AiosError
from aios.step_runs import Outcome, run_apart, run_here
from aios.steps import Step

pytestmark = pytest.mark.unit

MODULE = """
import os, time
def double(row):
    match row["x"]:
        case 3: time.sleep(30)
        case 4: raise ValueError("bad four")
        case 5: os._exit(1)
        case 6: return {"y": "six"}
        case 7: return {}
        case 8: return None
    return {"y": row["x"] * 2.0}
def flaky(row):
    path = os.path.join(row["folder"], str(row["x"]))
    if not os.path.exists(path):
        open(path, "w").close()
        raise OSError("not yet")
    return {"y": 1.0}
def kinds(row):
    return row["value"]
"""


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


def test_what_fails_fails_alone_and_the_order_is_kept(folder: Path) -> None:
    found = list(run_apart(step(timeout="2s"), folder, rows(*range(9), *range(20, 120))))
    assert len(found) == 109
    done = [one.outputs["y"] for one in found if one.status == "done"]
    assert done == [0.0, 2.0, 4.0, *(2.0 * x for x in range(20, 120))]
    problems = [one.problem or "" for one in found[3:9]]
    for problem, says in zip(
        problems,
        ["longer than 2 s", "bad four", "Expired", "declared", "y", "NoneType"],
        strict=True,
    ):
        assert says in problem
    assert all(one.outputs == {"y": None} for one in found[3:9])


def test_a_slow_event_is_interrupted_in_this_process_too(folder: Path) -> None:
    begun = time.perf_counter()
    function = load_function(folder, "work:double")
    slow, quick = run_here(step(timeout="1s"), function, rows(3, 1))
    assert time.perf_counter() - begun < 5
    assert (slow.status, slow.problem) == ("failed", "it took longer than 1 s")
    assert quick.outputs == {"y": 2.0}


@pytest.mark.parametrize(("retries", "status"), [(0, "failed"), (1, "done")])
def test_retries_try_again(folder: Path, tmp_path: Path, retries: int, status: str) -> None:
    given = [{"x": one, "folder": str(tmp_path)} for one in (1, 2)]
    one = step(function="work:flaky", inputs=["x"], timeout="10s", retries=retries)
    assert [outcome.status for outcome in run_apart(one, folder, given)] == [status, status]


def test_the_fallback_stands_in(folder: Path) -> None:
    one = step(fallback={"y": -1.0})
    found: list[Outcome] = list(run_here(one, load_function(folder, "work:double"), rows(4, 1)))
    assert [(o.status, o.outputs["y"]) for o in found] == [("fallback", -1.0), ("done", 2.0)]
    assert found[0].problem == "ValueError: bad four"


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("number", 3, 3.0),
        ("number", float("nan"), None),
        ("number", "3", "declared is number"),
        ("integer", True, 1),
        ("integer", 2.5, "declared is integer"),
        ("text", None, None),
        ("boolean", 1, "declared is boolean"),
        ("json", {"a": [1]}, '{"a": [1]}'),
        ("json", "[]", "[]"),
    ],
)
def test_outputs_have_their_declared_types(folder: Path, kind: str, value: Any, kept: Any) -> None:
    one = step(function="work:kinds", inputs=["value"], outputs={"y": kind})
    (found,) = run_here(one, load_function(folder, "work:kinds"), [{"value": {"y": value}}])
    if found.status == "failed":
        assert kept in (found.problem or "")
    else:
        assert found.outputs["y"] == kept


def test_a_module_that_does_not_import_is_no_events_failure(folder: Path) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name")
    with pytest.raises(AiosError, match="importing 'broken' failed"):
        list(run_apart(step(function="broken:f", timeout="2s"), folder, rows(1)))

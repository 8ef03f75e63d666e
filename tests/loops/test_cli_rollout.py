"""`aios rollout` and `aios run --model`: a version on its way by hand, and another one named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aios import clock
from aios_assets.cli import app
from tests.conftest import write_automation
from tests.loops.conftest import NAME, Loop, end_of, key

ROLLOUT = {"canary": [0.5], "min_rows": 20, "unit": "id"}


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def at(week: int, *arguments: object) -> Any:
    """Call at the end of a week."""
    with clock.at(end_of(week)):
        return call("rollout", NAME, *arguments)


def standing(folder: Path) -> dict[str, Any]:
    """How the rollout stands, as `--json` says."""
    assert call("rollout", NAME, "--json", folder / "rollout.json").exit_code == 0

    def unknown(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    found: dict[str, Any] = json.loads(
        (folder / "rollout.json").read_text(), parse_constant=unknown
    )
    return found


def status_of(folder: Path) -> str:
    assert call("status", "--json", folder / "status.json").exit_code == 0
    return str(json.loads((folder / "status.json").read_text())[0]["rollout"])


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), ["declares no rollout", "promoted at once", "Declare 'rollout'"]),
        (("--advance", "--pause"), ["--advance and --pause at once", "one of them"]),
        (("--start", 4, "--end"), ["--start and --end at once", "one of them"]),
    ],
)
def test_what_cannot_be_done_says_why(
    mlflow_home: Path, settings: Any, arguments: tuple[Any, ...], says: list[str]
) -> None:
    write_automation(settings.automations / NAME)
    result = call("rollout", NAME, *arguments)
    assert result.exit_code == 1
    for words in [*says, "What to do"]:
        assert words in result.stderr


@pytest.mark.unit
@pytest.mark.parametrize("option", ["--advance", "--pause", "--resume", "--end"])
def test_nothing_moves_where_nothing_is_under_way(
    mlflow_home: Path, settings: Any, option: str
) -> None:
    write_automation(settings.automations / NAME, rollout=ROLLOUT)
    result = call("rollout", NAME, option)
    assert result.exit_code == 1
    assert "no version is under way" in result.stderr
    assert "What to do" in result.stderr


@pytest.mark.loop
def test_a_version_goes_its_way_by_hand(loop: Loop, tmp_path: Path) -> None:
    loop.redeclare(rollout=ROLLOUT)
    assert status_of(tmp_path) == "none"
    assert "no version is under way" in call("rollout", NAME).stdout

    started = at(7, "--start", 4, "--reason", "looks good offline")
    assert started.exit_code == 0, started.output
    assert "version 4 is in shadow" in started.stdout
    assert status_of(tmp_path) == f"version 4 in shadow since {end_of(7):%Y-%m-%d}: not judged yet"

    loop.run("batch", 8)
    assert loop.decided_by(8) == {3}
    shown = at(8)
    assert shown.exit_code == 0, shown.output
    for words in ("version 4, shadow since", "beside version 3", "loss (critical)", "next tick"):
        assert words in shown.stdout
    found = standing(tmp_path)
    assert found["under way"]["version"] == 4
    assert found["under way"]["reason"] == "looks good offline"
    assert found["under way"]["by"] == "person:local"
    (judged,) = found["findings"]
    assert {one["metric"] for one in judged["metrics"]} >= {"loss", "errors", "disagreement"}
    assert judged["labels"]["events"] >= loop.lake.rows("shadow", key(8))
    assert f"since {end_of(7):%Y-%m-%d}: {judged['status']}, labels" in status_of(tmp_path)

    advanced = at(8, "--advance")
    assert "version 4 is in canary of 50%" in advanced.stdout
    loop.run("batch", 9)
    assert loop.decided_by(9) == {3, 4}
    assert "in canary of 50 % since" in status_of(tmp_path)
    assert "canary 50 %" in at(9).stdout

    assert "paused" in at(9, "--pause", "--reason", "complaints").stdout
    assert standing(tmp_path)["under way"]["state"] == "paused"
    assert "canary of 50%" in at(9, "--resume").stdout
    again = at(9, "--resume")
    assert again.exit_code == 1
    assert "not paused" in again.stderr

    assert "version 4 is rolled back" in at(9, "--end").stdout
    assert standing(tmp_path)["under way"] is None
    assert [(one["state"], one["share"]) for one in standing(tmp_path)["moves"]] == [
        ("shadow", 0.0), ("canary", 0.5), ("paused", 0.5), ("canary", 0.5), ("rolled_back", 0.0),
    ]  # fmt: skip


@pytest.mark.loop
def test_the_last_step_by_hand_is_the_promotion(loop: Loop, tmp_path: Path) -> None:
    loop.redeclare(rollout={**ROLLOUT, "canary": []})
    at(7, "--start", 4)
    assert "version 4 is champion" in at(7, "--advance").stdout
    assert loop.champions()[-1][0] == 4
    said = status_of(tmp_path)
    assert said.startswith("version 4 may be taken back until ")
    loop.run("batch", 8)
    assert loop.decided_by(8) == {4}


@pytest.mark.loop
def test_a_second_version_waits(loop: Loop, tmp_path: Path) -> None:
    loop.redeclare(rollout={**ROLLOUT, "newer": "queue"})
    at(7, "--start", 4)
    loop.run("batch", 8)
    loop.run("retrain", 8)
    (waiting,) = standing(tmp_path)["waiting"]
    assert waiting > 4
    assert f"version {waiting} waits" in status_of(tmp_path)
    assert f"waiting for its end: version {waiting}" in call("rollout", NAME).stdout


@pytest.mark.loop
def test_another_version_by_name_and_back(loop: Loop) -> None:
    before = loop.files("predictions", "decisions")
    assert loop.decided_by(7) == {3}

    named = call("run", NAME, "--partition", key(7), "--model", 2)
    assert named.exit_code == 0, named.output
    assert "Version 3 was in force; version 2 scored it, asked for by name" in named.stdout
    assert loop.decided_by(7) == {2}
    assert loop.files("predictions", before=7) == {
        path: content for path, content in before.items()
        if path.startswith("predictions") and key(7) not in path
    }  # fmt: skip

    plain = call("run", NAME, "--partition", key(7))
    assert plain.exit_code == 0, plain.output
    assert "Version 3 was in force and scored it." in plain.stdout
    assert loop.files("predictions", "decisions") == before


@pytest.mark.loop
@pytest.mark.parametrize(
    ("week", "version", "says"),
    [
        (2, 4, ["trained on data up to", "it would know what it is to predict"]),
        (7, 9, ["version 9 does not exist"]),
    ],
)
def test_a_version_that_may_not_score_a_partition_is_refused(
    loop: Loop, week: int, version: int, says: list[str]
) -> None:
    before = loop.files("predictions", "decisions")
    result = call("run", NAME, "--partition", key(week), "--model", version)
    assert result.exit_code == 1
    for words in says:
        assert words in result.stderr
    assert loop.files("predictions", "decisions") == before


@pytest.mark.loop
def test_a_version_that_did_not_pass_the_gate_scores_no_partition(loop: Loop) -> None:
    loop.redeclare(gate={"margin": 0, "confidence": 0.999})
    loop.run("batch", 8)
    loop.run("retrain", 8)
    result = call("run", NAME, "--partition", key(8), "--model", 5)
    assert result.exit_code == 1
    assert "did not pass the gate" in result.stderr
    assert loop.decided_by(8) == {3}

"""The `aios` command: what it says of wrong input, and what its JSON holds."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from aios_assets.cli import app
from tests.conftest import write_automation
from tests.loops.conftest import NAME, end_of, key

COMMANDS = ["new", "rehearse", "run", "models", "promote", "rollback", "history", "status", "dev"]


def call(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.unit
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"{command} [OPTIONS]" in result.stdout
    assert command in call("--help").stdout


@pytest.mark.unit
@pytest.mark.parametrize(
    "arguments",
    [
        ("rehearse", "lons"),
        ("run", "lons", "--partition", "2024-01-01"),
        ("models", "lons"),
        ("promote", "lons", "1"),
        ("rollback", "lons"),
        ("history", "lons"),
    ],
)
def test_an_unknown_automation_names_the_known_ones(settings, arguments):
    write_automation(settings.automations / NAME)
    result = call(*arguments)
    assert result.exit_code == 1
    assert "there is no automation 'lons'" in result.stderr
    assert f"Known: {NAME}" in result.stderr
    assert "aios new" in result.stderr


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", NAME, "--partition", "monday"), ["'monday' is not a date", "YYYY-MM-DD"]),
        (("run", NAME, "--partition", "2024-01-03"), ["begins on 2024-01-01", "first day"]),
        (("run", NAME, "--partition", "2030-01-07"), ["outside the automation's time", "2024"]),
        (("rehearse", NAME, "--data", "no.csv"), ["no such file", "no.csv", "existing file"]),
        (("rehearse", NAME, "--from", "2031-01-01"), ["no complete partition", "history runs"]),
    ],
)
def test_a_wrong_partition_or_file_says_what_to_give(settings, arguments, says):
    write_automation(settings.automations / NAME)
    result = call(*arguments)
    assert result.exit_code == 1
    for words in [*says, "What to do"]:
        assert words in result.stderr


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rehearse", NAME, "--from", "january"), "'january'"),
        (("rehearse", NAME, "--to", "2024-13-01"), "'2024-13-01'"),
        (("promote", NAME, "latest"), "'version'"),
        (("rollback", NAME, "--to", "first"), "'--to'"),
        (("run", NAME), "--partition"),
        (("new", "x", "--data", "no.csv"), "--entity"),
        (("dev", "--port", "http"), "'--port'"),
        (("statuss",), "statuss"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(settings, arguments, says):
    result = call(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.unit
def test_a_table_that_is_not_there_makes_no_automation(settings):
    result = call("new", "x", "--data", "no.csv", "--entity", "a", "--time", "b", "--target", "c")
    assert result.exit_code == 1
    assert "no.csv" in result.stderr
    assert "What to do" in result.stderr
    assert not (settings.automations / "x").exists()


@pytest.mark.unit
def test_status_without_any_automation_says_so_in_json(settings, tmp_path):
    settings.automations.mkdir(parents=True)
    assert call("status", "--json", tmp_path / "status.json").exit_code == 0
    assert json.loads((tmp_path / "status.json").read_text()) == []


@pytest.mark.unit
def test_a_broken_automation_does_not_break_status(settings, tmp_path):
    write_automation(settings.automations / "fine")
    write_automation(settings.automations / "wrong", cadence="hourly")
    (settings.automations / "worse").mkdir()
    (settings.automations / "worse" / "defs.yaml").write_text("attributes: [")
    result = call("status", "--json", tmp_path / "status.json")
    assert result.exit_code == 0
    found = {one["automation"]: one for one in json.loads((tmp_path / "status.json").read_text())}
    assert list(found) == ["fine", "worse", "wrong"]
    assert found["fine"]["error"] == ""
    assert "hourly" in found["wrong"]["error"]
    assert "cadence" in found["wrong"]["error"]
    assert "defs.yaml" in found["worse"]["error"]
    assert "hourly" in result.stderr


@pytest.mark.loop
def test_status_shows_how_an_automation_stands(loop, tmp_path):
    result = call("status", "--json", tmp_path / "status.json")
    assert result.exit_code == 0
    (found,) = json.loads((tmp_path / "status.json").read_text())
    drift = loop.lake.read_json("drift", key(7))["status"]
    performance = loop.lake.read_json("performance", key(7))["status"]
    assert found == {
        "automation": NAME,
        "last partition": key(7),
        "champion": "version 3",
        "rollout": "version 4 waits",
        "drift": drift,
        "performance": performance,
        "quarantined": 4,
        "halted": "no",
        "reviews": "none",
        "actions": "none open",
        "alarms": 0,
        "recent alarms": [],
        "error": "",
    }
    for words in (NAME, key(7), "version 3", "version 4 waits"):
        assert words in result.stdout


@pytest.mark.loop
def test_models_and_history_tell_the_same_in_json(loop, tmp_path):
    assert call("models", NAME, "--json", tmp_path / "models.json").exit_code == 0
    models = json.loads((tmp_path / "models.json").read_text())
    assert [one["number"] for one in models] == [1, 2, 3, 4]
    assert {"candidate", "stage", "trained_until", "metrics", "tags", "card"} <= set(models[0])
    shown = call("models", NAME).stdout
    assert "3 *" in shown

    assert call("history", NAME, "--json", tmp_path / "history.json").exit_code == 0
    changes = json.loads((tmp_path / "history.json").read_text())
    assert [(one["version"], one["previous"], one["kind"]) for one in changes] == [
        (2, None, "promotion"),
        (3, 2, "promotion"),
    ]
    assert all(one["by"] == "service:rehearsal" and one["reason"] for one in changes)


@pytest.mark.loop
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("promote", NAME, 9), ["version 9 does not exist", "choose one of: 1, 2, 3, 4"]),
        (("rollback", NAME, "--to", 4), ["never was champion", "choose one of: 2, 3"]),
        (("rollback", NAME, "--to", 3), ["is the champion already", "nothing to do"]),
    ],
)
def test_a_wrong_version_changes_nothing(loop, arguments, says):
    champions = loop.champions()
    result = call(*arguments)
    assert result.exit_code == 1
    for words in [*says, "What to do"]:
        assert words in result.stderr
    assert loop.champions() == champions


@pytest.mark.loop
def test_a_version_that_did_not_pass_the_gate_is_not_promoted(loop):
    loop.redeclare(gate={"margin": 0, "confidence": 0.999})
    loop.run("batch", 8)
    loop.run("retrain", 8)
    champions = loop.champions()
    result = call("promote", NAME, 5)
    assert result.exit_code == 1
    assert "did not pass the gate" in result.stderr
    assert "'rejected'" in result.stderr
    assert loop.champions() == champions


@pytest.mark.loop
def test_an_automation_without_versions(mlflow_home, settings, tmp_path):
    write_automation(settings.automations / NAME)
    for command in ("models", "history"):
        assert call(command, NAME, "--json", tmp_path / "none.json").exit_code == 0
        assert json.loads((tmp_path / "none.json").read_text()) == []
    for arguments in (("promote", NAME, 1), ("rollback", NAME)):
        result = call(*arguments)
        assert result.exit_code == 1
        assert "What to do" in result.stderr


@pytest.mark.loop
def test_run_takes_one_partition_to_its_decisions(loop):
    result = call("run", NAME, "--partition", key(8))
    assert result.exit_code == 0, result.output
    assert loop.lake.has("decisions", key(8))
    assert "aios status" in result.stdout


@pytest.mark.loop
def test_run_of_a_failing_partition_says_the_step_and_what_to_do(loop):
    loop.change_table(lambda table: table.rename({"amount": "sum"}))
    result = call("run", NAME, "--partition", key(8))
    assert result.exit_code == 1
    for words in ("lacks column amount", "events", "What to do: Restore the column"):
        assert words in result.stderr


@pytest.mark.loop
def test_a_promotion_by_hand_names_its_maker_and_reason(loop, tmp_path):
    result = call("promote", NAME, 4, "--reason", "explains itself better")
    assert result.exit_code == 0, result.output
    assert "version 4 decides now" in result.stdout
    call("history", NAME, "--json", tmp_path / "history.json")
    last = json.loads((tmp_path / "history.json").read_text())[-1]
    assert (last["by"], last["reason"]) == ("person:local", "explains itself better")
    assert last["at"] > f"{end_of(7)}"

"""Rolling back: an earlier champion decides what comes after, and nothing that was before."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aios import clock
from aios.alarms import alarms
from aios_assets.cli import app
from tests.loops.conftest import NAME, end_of

pytestmark = pytest.mark.loop


def call(week, *arguments):
    """`aios` an hour before a week ends."""
    with clock.at(end_of(week) - timedelta(hours=1)):
        return CliRunner().invoke(app, list(arguments))


def remove_artefact(version):
    shutil.rmtree(Path(version.source.removeprefix("file://")))


def test_the_earlier_champion_decides_later_partitions_and_no_earlier_one(loop):
    first, second = (version for version, *_ in loop.champions())
    before = loop.files("predictions", "decisions")

    result = call(8, "rollback", NAME, "--reason", "complaints")
    assert result.exit_code == 0, result.output
    assert f"{NAME} version {first} decides again" in result.stdout
    loop.run("batch", 7)
    loop.run("batch", 8)
    assert loop.decided_by(7) == {second}
    assert loop.decided_by(8) == {first}
    after = loop.files("predictions", "decisions")
    assert {name: after[name] for name in before} == before

    shown = call(8, "history", NAME)
    assert "rollback" in shown.stdout
    assert "complaints" in shown.stdout
    assert [kind for *_, kind, _ in loop.champions()] == ["promotion", "promotion", "rollback"]


def test_a_second_rollback_has_nowhere_to_go(loop):
    assert call(8, "rollback", NAME).exit_code == 0
    result = call(9, "rollback", NAME)
    assert result.exit_code == 1
    assert "no earlier champion" in result.stderr
    assert "aios promote" in result.stderr


def test_a_version_without_its_artefact_is_refused(loop):
    first, second = (version for version, *_ in loop.champions())
    remove_artefact(loop.registry.get(NAME, first))
    service = loop.service(8)
    result = call(8, "rollback", NAME)
    assert result.exit_code == 1
    assert f"{NAME} version {first}" in result.stderr
    assert "artefact is missing" in result.stderr
    assert "What to do" in result.stderr
    assert loop.service(8) == service
    loop.run("batch", 8)
    assert loop.decided_by(8) == {second}


def test_while_a_champion_is_lost_the_one_before_it_decides(loop):
    first, second = (version for version, *_ in loop.champions())
    remove_artefact(loop.registry.get(NAME, second))
    loop.run("batch", 8)
    assert loop.decided_by(8) == {first}
    (alarm,) = [one for one in alarms(loop.settings.home) if one["kind"] == "model"]
    assert f"version {second}: its artefact is missing" in alarm["message"]
    (incident,) = loop.registry.log.entries(kind="incident")
    assert incident.body["version"] == second

    assert call(8, "rollback", NAME).exit_code == 0
    result = call(9, "promote", NAME, str(second))
    assert result.exit_code == 1
    assert "artefact is missing" in result.stderr

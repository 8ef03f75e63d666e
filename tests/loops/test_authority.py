"""Whole loops on a real instance: four eyes, edited aliases and damaged models, from job to log."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from aios import clock
from aios.alarms import alarms
from aios.errors import AiosError
from aios.identity.directory import Directory
from aios.record.batches import file_digest
from aios_assets.cli import app
from aios_assets.lifecycle.events import ingest
from aios_assets.lifecycle.steps import run_step
from model_registry.approvals import Request, requests
from model_registry.champion import history, promote
from model_registry.registration import register
from model_registry.registry import ModelVersion
from tests.conftest import START, make_automation
from tests.loops.conftest import NAME, QUIET, Loop, end_of, key, metadata_of
from tests.loops.test_sensors import tick
from tests.model_registry.claims import ALICE, ANN, OLGA, people

pytestmark = pytest.mark.loop


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def live(loop: Loop, kind: str, week: int) -> Any:
    """Run a job as Dagster does, with the clock on the wall and not in a rehearsal."""
    job = loop.repository.get_job(f"{NAME}_{kind}")
    return job.execute_in_process(
        instance=loop.instance, partition_key=key(week), raise_on_error=False, run_config=QUIET
    )


def signed_in(loop: Loop, patch: pytest.MonkeyPatch, actor: Any) -> None:
    """Let the command line act as somebody."""
    directory = Directory(loop.registry.log.database)
    token = directory.issue_token(actor, clock.wall() + timedelta(days=1))
    patch.setenv("AIOS_TOKEN", token.text)


def acts(loop: Loop, first: int) -> list[tuple[str, str]]:
    return [(one.kind, one.actor) for one in loop.registry.log.entries(first=first)]


def asked(loop: Loop) -> list[Request]:
    return requests(loop.registry.log)


def damage(version: ModelVersion, name: str) -> None:
    path = Path(urlparse(version.source).path, name)
    path.write_bytes(path.read_bytes() + b"\n")


@pytest.fixture
def high(loop: Loop) -> Loop:
    """On high risk, with people, one week further, and a retrain that was no rehearsal."""
    loop.run("batch", 8)
    loop.redeclare(risk="high")
    people(loop.registry.log)
    return loop


class TestFourEyes:
    def test_the_gate_asks_and_what_was_approved_decides(
        self, high: Loop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, size = high.champions(), high.registry.log.size()
        present = before[-1][0]
        assert live(high, "retrain", 8).success
        (request,) = asked(high)
        assert (request.state, request.by, request.champion) == ("open", "service:gate", present)
        assert request.evidence == f"gate {key(8)}"
        assert request.evidence_digest == file_digest(high.lake.path("gate", key(8), "json"))
        assert high.champions() == before
        training = ("model_registered", "judged")
        done = [one for one in acts(high, size) if one[0] not in training]
        assert done == [
            ("gate", "service:gate"),
            ("denied", "service:gate"),
            ("approval_requested", "service:gate"),
        ]
        assert "nothing was approved" in tick(high, "approvals_sensor").skip_message

        size = high.registry.log.size()
        signed_in(high, monkeypatch, ALICE)
        refused = call("approve", NAME, request.number)
        assert refused.exit_code == 1
        assert "may not approve" in refused.stderr
        signed_in(high, monkeypatch, ANN)
        result = call("approve", NAME, request.number, "--reason", "fits the policy")
        assert result.exit_code == 0, result.output
        with clock.at(end_of(8) + timedelta(hours=1)):
            said = tick(high, "approvals_sensor").skip_message
        assert f"version {request.version} decides now, approved by person:ann" in said
        assert acts(high, size) == [
            ("denied", "person:alice"),
            ("approval", "person:ann"),
            ("promotion", "service:gate"),
        ]
        last = history(high.registry, NAME)[-1]
        assert (last.version, last.approved_by) == (request.version, ("person:ann",))
        assert last.evidence_digest == request.evidence_digest
        high.run("batch", 9)
        assert high.decided_by(9) == {request.version}

        # The gate once more: it neither asks again nor makes anything else.
        champions, versions = high.champions(), high.versions()
        assert live(high, "retrain", 8).success
        assert [one.state for one in asked(high)] == ["done"]
        assert (high.champions(), len(high.versions())) == (champions, len(versions))
        assert high.registry.log.verify().problems == []

    def test_a_retrain_of_the_same_week_asks_once(self, high: Loop) -> None:
        for _ in range(2):
            assert live(high, "retrain", 8).success
        assert len(asked(high)) == 1

    def test_a_retrain_of_low_risk_promotes_itself(self, loop: Loop) -> None:
        people(loop.registry.log)
        loop.run("batch", 8)
        assert live(loop, "retrain", 8).success
        last = history(loop.registry, NAME)[-1]
        assert (last.by, last.at) == ("service:gate", end_of(8))
        assert asked(loop) == []

    def test_refused_it_waits_for_ever(self, high: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
        live(high, "retrain", 8)
        before = high.champions()
        signed_in(high, monkeypatch, ANN)
        result = call("approve", NAME, asked(high)[0].number, "--refuse", "--reason", "too new")
        assert result.exit_code == 0, result.output
        tick(high, "approvals_sensor")
        assert [one.state for one in asked(high)] == ["refused"]
        assert high.champions() == before

    def test_a_person_asks_by_promoting(
        self, high: Loop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        before = high.champions()
        signed_in(high, monkeypatch, ALICE)
        stale = call("promote", NAME, 4, "--over", 2)
        assert stale.exit_code == 1
        assert "expected version 2" in stale.stderr
        assert asked(high) == []
        for _ in range(2):
            result = call("promote", NAME, 4, "--reason", "better")
            assert result.exit_code == 0, result.output
            assert f"aios approve {NAME} {asked(high)[0].number}" in result.stdout
        (request,) = asked(high)
        assert (request.by, request.reason, request.version) == ("person:alice", "better", 4)
        call("approvals", "--json", tmp_path / "approvals.json")
        (shown,) = json.loads((tmp_path / "approvals.json").read_text())
        assert (shown["number"], shown["state"]) == (request.number, "open")
        assert high.champions() == before

    def test_a_request_of_one_who_left_is_not_carried_out(
        self, high: Loop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = high.champions()
        signed_in(high, monkeypatch, ALICE)
        call("promote", NAME, 4)
        signed_in(high, monkeypatch, ANN)
        call("approve", NAME, asked(high)[0].number)
        signed_in(high, monkeypatch, OLGA)
        assert call("actors", "disable", "person:alice").exit_code == 0
        said = tick(high, "approvals_sensor").skip_message
        assert "person:alice is disabled" in said
        assert high.champions() == before
        assert "nothing was approved" in tick(high, "approvals_sensor").skip_message


class TestRehearsal:
    def test_it_promotes_as_itself_also_on_high_risk(self, loop: Loop) -> None:
        loop.redeclare(risk="high")
        loop.run("batch", 8)
        loop.run("retrain", 8)
        last = history(loop.registry, NAME)[-1]
        assert (last.by, last.at, last.approved_by) == ("service:rehearsal", end_of(8), ())
        assert asked(loop) == []

    def test_of_high_risk_it_is_refused_beside_people(
        self, high: Loop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before, size = high.service(9), high.registry.log.size()
        with pytest.raises(AiosError, match="not rehearsed where people are registered") as error:
            high.rehearse(10)
        assert "AIOS_HOME=" in error.value.fix
        signed_in(high, monkeypatch, OLGA)
        for more in ([], ["--fresh"]):
            result = call("rehearse", NAME, *more)
            assert result.exit_code == 1
            assert "people are registered" in result.stderr
        assert (high.service(9), high.registry.log.size()) == (before, size)


class TestDamagedModels:
    def test_the_champion_before_decides_and_a_challenger_is_left_out(self, loop: Loop) -> None:
        first, second = (version for version, *_ in loop.champions())
        loop.run("batch", 8)
        assert "score_v4" in loop.lake.read("predictions", key(8)).columns
        damage(loop.registry.get(NAME, second), "scorer.json")
        damage(loop.registry.get(NAME, 4), "model.skops")
        result = loop.execute("batch", 9)
        assert result.success
        assert loop.decided_by(9) == {first}
        predictions = loop.lake.read("predictions", key(9))
        assert [name for name in predictions.columns if name.startswith("score_v")] == []
        assert predictions["score"].null_count() == 0
        said = metadata_of(result, "predictions")["models that do not load"].value
        assert f"version {second}: its file scorer.json changed" in said
        assert "version 4: its file model.skops changed" in said
        (alarm,) = [one for one in alarms(loop.settings.home, NAME) if one["kind"] == "model"]
        assert f"version {second}" in alarm["message"]
        (incident,) = loop.registry.log.entries(kind="incident")
        assert (incident.automation, incident.actor) == (NAME, "service:registry")
        assert incident.body["version"] == second
        assert [version for version, *_ in loop.champions()] == [first, second]

    def test_a_retrain_replaces_a_champion_that_does_not_load(self, loop: Loop) -> None:
        loop.run("batch", 8)
        damage(loop.registry.get(NAME, loop.champions()[-1][0]), "model.skops")
        result = live(loop, "retrain", 8)
        assert result.success
        assert loop.champions()[-1][0] > 4
        loop.run("batch", 9)
        assert loop.decided_by(9) == {loop.champions()[-1][0]}

    def test_a_model_step_is_run_by_the_champion_before(self, mlflow_home: Path) -> None:
        automation, platform = make_automation(
            mlflow_home, files={"reading.py": READING}, steps=[STEP]
        )
        name, registry = f"{NAME}.reading", platform.registry
        for number in (1, 2):
            version = register(
                registry, automation=name, candidate="rules", key=str(number),
                model={"says": {"kind": f"by {number}"}}, task="extraction",
                columns={"amount": "number"}, sample=pl.DataFrame(), trained_until=START,
                params={}, metrics={}, slices=pl.DataFrame(), lineage={"dataset_digest": "1"},
                card="# card", plots={},
            )  # fmt: skip
            registry.set_stage(version, "gated")
            at = START + timedelta(days=number)
            promote(registry, name, number, at=at, by="person:alice", reason="better")
        lake, (step,) = platform.lake(NAME), automation.spec.steps
        damage(registry.get(name, 2), "says.json")
        for week in (0, 1):
            window = automation.window(key(week))
            ingest(automation, lake, window)
            ran = run_step(automation, platform, step, window)
            assert ran.version == 1
            read = lake.read("reading", key(week))
            assert set(read["kind"]) == {"by 1"}
            assert set(read["reading_version"]) == {1}
        (alarm,) = [one for one in alarms(platform.settings.home, name) if one["kind"] == "model"]
        assert f"{name} version 2: its file says.json changed" in alarm["message"]
        (incident,) = platform.log.entries(kind="incident")
        assert (incident.automation, incident.body["version"]) == (name, 2)


READING = """
def load(parts):
    return lambda row: {"kind": parts["says"]["kind"], "confidence": 1.0}


def never(*_, **__):
    raise AssertionError
"""
STEP: dict[str, Any] = {
    "name": "reading",
    "kind": "transform",
    "inputs": ["region"],
    "outputs": {"kind": "category", "confidence": "number"},
    "model": {
        "key_fields": ["kind"],
        "fields": ["kind"],
        "truth": "reading:never",
        "same": "reading:never",
        "load": "reading:load",
        "watch": ["amount"],
        "candidates": [{"name": "rules", "train": "reading:never"}],
        "gate": {"metric": "document_f1", "min_rows": 20},
    },
}

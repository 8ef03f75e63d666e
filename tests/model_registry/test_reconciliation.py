"""Aliases edited through MLflow's own client: put back or adopted, recorded, never trusted."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from aios.errors import AiosError
from model_registry import champion
from model_registry.authority import Authority
from model_registry.champion import alias_mismatch, history, promote
from model_registry.reconciliation import Reconciled, reconcile
from tests.model_registry.claims import NAME, authority_over, registry_at

pytestmark = pytest.mark.loop

START = datetime(2026, 1, 1)


@pytest.fixture
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority:
    """Version 2 decides, after version 1; 3 passed the gate too. Declared as the test asks."""
    return opened(tmp_path, **getattr(request, "param", {}))


def opened(folder: Path, *, own: bool = False, **declared: Any) -> Authority:
    registry = registry_at(folder, own=own)
    for number in (1, 2):
        at = START + timedelta(days=number)
        promote(registry, NAME, number, at=at, by="person:alice", reason="better")
    return authority_over(registry, folder, **declared)


def mlflow_client(authority: Authority) -> Any:
    from mlflow import MlflowClient

    uri = authority.registry.uri
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def set_champion(authority: Authority, number: int) -> None:
    mlflow_client(authority).set_registered_model_alias(NAME, "champion", str(number))


def aliases(authority: Authority) -> dict[str, int]:
    found = mlflow_client(authority).get_registered_model(NAME).aliases
    return {name: int(number) for name, number in found.items()}


def acts(authority: Authority, first: int) -> list[tuple[str, str]]:
    return [(one.kind, one.actor) for one in authority.registry.log.entries(first=first)]


def champions(authority: Authority) -> list[int]:
    return [one.version for one in history(authority.registry, NAME)]


def assert_restored(authority: Authority, first: int, found: Reconciled | None, why: str) -> None:
    assert found is not None
    assert found.done == "restored"
    assert why in found.why
    assert bool(why) == bool(found.why)
    assert alias_mismatch(authority.registry, NAME) is None
    assert aliases(authority) | {"champion": 2, "previous": 1} == aliases(authority)
    assert champions(authority) == [1, 2]
    assert acts(authority, first)[-1] == ("alias_restored", "sensor:registry")
    (entry,) = authority.registry.log.entries(kind="alias_restored", first=first)
    assert entry.automation == NAME
    assert entry.body == {"mismatch": found.mismatch, "not_adopted": found.why}
    assert reconcile(authority) is None


class TestRestoring:
    def test_where_they_agree_nothing_is_done(self, authority: Authority) -> None:
        size = authority.registry.log.size()
        assert reconcile(authority) is None
        assert authority.registry.log.size() == size

    @pytest.mark.parametrize("number", [1, 3])
    def test_the_champion_set_to_another(self, authority: Authority, number: int) -> None:
        size = authority.registry.log.size()
        set_champion(authority, number)
        found = reconcile(authority)
        assert found is not None
        assert f"'champion' is version {number}, the history says version 2" in found.mismatch
        assert_restored(authority, size, found, "")
        assert acts(authority, size) == [("alias_restored", "sensor:registry")]

    @pytest.mark.parametrize("alias", ["champion", "previous"])
    def test_an_alias_removed(self, authority: Authority, alias: str) -> None:
        size = authority.registry.log.size()
        mlflow_client(authority).delete_registered_model_alias(NAME, alias)
        assert_restored(authority, size, reconcile(authority), "")

    def test_both_swapped(self, authority: Authority) -> None:
        size = authority.registry.log.size()
        set_champion(authority, 1)
        mlflow_client(authority).set_registered_model_alias(NAME, "previous", "2")
        found = reconcile(authority)
        assert found is not None
        assert "'previous'" in found.mismatch
        assert_restored(authority, size, found, "")

    def test_an_alias_of_others_is_theirs(self, authority: Authority) -> None:
        mlflow_client(authority).set_registered_model_alias(NAME, "staging", "3")
        assert reconcile(authority) is None
        assert aliases(authority)["staging"] == 3

    def test_an_alias_before_there_was_a_champion(self, tmp_path: Path) -> None:
        authority = authority_over(registry_at(tmp_path), tmp_path)
        set_champion(authority, 3)
        found = reconcile(authority)
        assert found is not None
        assert "the history says none" in found.mismatch
        assert aliases(authority) == {}
        assert champions(authority) == []

    def test_each_edit_is_recorded(self, authority: Authority) -> None:
        for _ in range(3):
            set_champion(authority, 3)
            assert reconcile(authority) is not None
        assert len(list(authority.registry.log.entries(kind="alias_restored"))) == 3
        assert authority.registry.log.verify().problems == []

    def test_a_promotion_that_was_killed_is_completed(self, authority: Authority) -> None:
        class Killed(BaseException):
            pass

        def die(*_: object) -> None:
            raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(champion, "_align", die)
            at = START + timedelta(days=3)
            with pytest.raises(Killed):
                promote(authority.registry, NAME, 3, at=at, by="person:alice", reason="better")
        found = reconcile(authority)
        assert found is not None
        assert found.done == "restored"
        assert aliases(authority) == {"champion": 3, "previous": 2}
        assert champions(authority) == [1, 2, 3]
        assert authority.registry.get(NAME, 3).stage == "champion"
        assert len(list(authority.registry.log.entries(kind="promotion"))) == 3

    def test_a_version_that_was_deleted_is_a_clear_error(self, authority: Authority) -> None:
        mlflow_client(authority).delete_model_version(NAME, "2")
        for _ in range(2):
            with pytest.raises(AiosError) as error:
                reconcile(authority)
            assert "version 2" in str(error.value)
            assert "What to do" in str(error.value)

    def test_a_model_that_was_deleted_is_a_clear_error(self, authority: Authority) -> None:
        client = mlflow_client(authority)
        client.delete_registered_model(NAME)
        with pytest.raises(AiosError) as error:
            reconcile(authority)
        assert NAME in str(error.value)
        assert "What to do" in str(error.value)


ADOPT = {"aliases": "adopt", "risk": "limited"}


@pytest.mark.parametrize("authority", [ADOPT], indirect=True)
class TestAdopting:
    def test_a_version_that_passed_the_gate_is_promoted(self, authority: Authority) -> None:
        size = authority.registry.log.size()
        set_champion(authority, 3)
        found = reconcile(authority)
        assert found is not None
        assert (found.done, found.why) == ("adopted", "")
        last = history(authority.registry, NAME)[-1]
        assert (last.version, last.previous, last.by) == (3, 2, "sensor:registry")
        assert "edited in MLflow" in last.reason
        assert aliases(authority) == {"champion": 3, "previous": 2}
        stages = {one.number: one.stage for one in authority.registry.versions(NAME)}
        assert stages == {1: "retired", 2: "retired", 3: "champion"}
        assert acts(authority, size) == [
            ("promotion", "sensor:registry"), ("alias_adopted", "sensor:registry"),
        ]  # fmt: skip
        assert reconcile(authority) is None
        assert authority.registry.log.verify().problems == []

    @pytest.mark.parametrize("stage", ["registered", "rejected"])
    def test_one_that_did_not_pass_is_not(self, authority: Authority, stage: Any) -> None:
        authority.registry.set_stage(authority.registry.get(NAME, 3), stage)
        size = authority.registry.log.size()
        set_champion(authority, 3)
        found = reconcile(authority)
        assert_restored(authority, size, found, f"did not pass the gate (its stage is '{stage}')")
        assert authority.registry.get(NAME, 3).stage == stage

    def test_one_that_nobody_registered_is_not(self, authority: Authority) -> None:
        client = mlflow_client(authority)
        source = authority.registry.get(NAME, 3).source
        foreign = client.create_model_version(NAME, source, run_id=None)
        size = authority.registry.log.size()
        set_champion(authority, int(foreign.version))
        found = reconcile(authority)
        assert_restored(authority, size, found, f"version {foreign.version} does not exist")

    def test_an_alias_removed_is_put_back(self, authority: Authority) -> None:
        size = authority.registry.log.size()
        mlflow_client(authority).delete_registered_model_alias(NAME, "champion")
        assert_restored(authority, size, reconcile(authority), "")

    def test_back_to_the_champion_before_is_no_promotion(self, authority: Authority) -> None:
        """That is also what a promotion leaves that was killed half-way."""
        size = authority.registry.log.size()
        set_champion(authority, 1)
        assert_restored(authority, size, reconcile(authority), "")


class TestNeverAdopting:
    def test_on_high_risk(self, tmp_path: Path) -> None:
        authority = opened(tmp_path, aliases="adopt", risk="high")
        size = authority.registry.log.size()
        set_champion(authority, 3)
        assert_restored(authority, size, reconcile(authority), "high_risk_adopts")
        assert acts(authority, size)[0] == ("denied", "sensor:registry")
        (denied,) = authority.registry.log.entries(kind="denied")
        assert (denied.body["action"], denied.body["rules"]) == (
            "adopt_alias",
            ["high_risk_adopts"],
        )

    def test_what_does_not_load(self, tmp_path: Path) -> None:
        authority = opened(tmp_path, own=True, **ADOPT)
        shutil.rmtree(urlparse(authority.registry.get(NAME, 3).source).path)
        size = authority.registry.log.size()
        set_champion(authority, 3)
        assert_restored(authority, size, reconcile(authority), "its artefact is missing")

"""Settings: where state lives by default, and what the environment may change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aios.settings import PROJECT, Settings, configure_libraries

pytestmark = pytest.mark.unit

NAMES = (
    *("AIOS_HOME", "AIOS_AUTOMATIONS"),
    *("AIOS_MLFLOW_URI", "AIOS_ARTIFACTS", "AIOS_ONLINE_STORE", "AIOS_FEAST_REGISTRY"),
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_everything_is_below_one_home_by_default(tmp_path: Path) -> None:
    settings = Settings.from_env()
    assert settings.home == tmp_path / ".aios"
    assert settings.mlflow_uri == f"sqlite:///{tmp_path}/.aios/mlflow/mlflow.db"
    assert settings.artifacts == f"{tmp_path}/.aios/mlflow/artifacts"
    assert settings.automations == PROJECT / "aios_assets" / "automations"
    assert settings.online_store is None


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = [
        "state",
        "mine",
        "postgresql://db/mlflow",
        "s3://bucket/models",
        "redis://cache:6379",
        "postgresql://db/feast",
    ]
    for name, value in zip(NAMES, values, strict=True):
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    assert settings.home == tmp_path / "state"
    assert settings.automations == tmp_path / "mine"
    assert [
        settings.mlflow_uri,
        settings.artifacts,
        settings.online_store,
        settings.feast_registry,
    ] == values[2:]


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    unset = Settings.from_env()
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert Settings.from_env() == unset


def test_telemetry_is_off_unless_the_user_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEAST_USAGE", raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    configure_libraries()
    assert os.environ["FEAST_USAGE"] == "False"
    assert os.environ["DO_NOT_TRACK"] == "0"

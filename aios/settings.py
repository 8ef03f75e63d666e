"""Where state lives and which services are used, read from the environment once."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

# Set before the libraries below load: none of them phones home, MLflow keeps its routine to
# itself, and OpenMP threads sleep while they wait instead of taking the core from a neighbour.
_LIBRARIES = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "FEAST_USAGE": "False",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Settings:
    """All settings of the platform; docs/settings.md describes each variable.

    Attributes:
        home: `AIOS_HOME`, the folder of all embedded state (default `.aios`).
        automations: `AIOS_AUTOMATIONS`, the folder that holds one folder per automation.
        mlflow_uri: `AIOS_MLFLOW_URI`, tracking and registry store.
        artifacts: `AIOS_ARTIFACTS`, where MLflow keeps model files.
        online_store: `AIOS_ONLINE_STORE`, `redis://...` instead of the embedded SQLite.
        feast_registry: `AIOS_FEAST_REGISTRY`, SQLAlchemy address instead of the embedded file.
        record: `AIOS_RECORD_URL`, SQLAlchemy address of the record and the ledger.
        keys: `AIOS_KEYS`, the folder of the signing keys.
        checkpoints: `AIOS_CHECKPOINTS`, folder or fsspec address that the record is signed to.
        access: `AIOS_ACCESS`, the folder of the rules of who may do what.
    """

    home: Path
    automations: Path
    mlflow_uri: str
    artifacts: str
    record: str
    keys: Path
    checkpoints: str
    access: Path
    online_store: str | None = None
    feast_registry: str | None = None

    @classmethod
    def embedded(cls, home: Path, automations: Path) -> Settings:
        """Return settings whose whole state lies below `home`."""
        return cls(
            home=home,
            automations=automations,
            mlflow_uri=f"sqlite:///{home}/mlflow/mlflow.db",
            artifacts=str(home / "mlflow" / "artifacts"),
            record=f"sqlite:///{home}/record/record.db",
            keys=home / "keys",
            checkpoints=str(home / "checkpoints"),
            access=PROJECT / "access",
        )

    @classmethod
    def from_env(cls) -> Settings:
        """Read the settings from the process environment; what is not set is embedded."""
        automations = os.environ.get("AIOS_AUTOMATIONS")
        folder = Path(automations) if automations else PROJECT / "aios_assets" / "automations"
        settings = cls.embedded(
            Path(os.environ.get("AIOS_HOME") or ".aios").resolve(), folder.resolve()
        )
        return replace(
            settings,
            mlflow_uri=os.environ.get("AIOS_MLFLOW_URI") or settings.mlflow_uri,
            artifacts=os.environ.get("AIOS_ARTIFACTS") or settings.artifacts,
            record=os.environ.get("AIOS_RECORD_URL") or settings.record,
            keys=Path(os.environ.get("AIOS_KEYS") or settings.keys).resolve(),
            checkpoints=os.environ.get("AIOS_CHECKPOINTS") or settings.checkpoints,
            access=Path(os.environ.get("AIOS_ACCESS") or settings.access).resolve(),
            online_store=os.environ.get("AIOS_ONLINE_STORE") or None,
            feast_registry=os.environ.get("AIOS_FEAST_REGISTRY") or None,
        )


def configure_libraries() -> None:
    """Set the environment of the libraries below us, where the user did not."""
    for name, value in _LIBRARIES.items():
        os.environ.setdefault(name, value)

"""What all tests share: a quiet environment, and a small automation that runs its whole life."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from aios.automation import Automation
from aios.settings import Settings, configure_libraries

pytest_plugins = ["tests.servers"]

# Before any library reads them: numerical libraries size their pools when they are loaded.
configure_libraries()
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis_settings.register_profile(
    "aios",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
hypothesis_settings.load_profile("aios")

# What would lead the tests' state to another place than their own folders.
OTHERWISE = (
    *("AIOS_MLFLOW_URI", "AIOS_ARTIFACTS", "AIOS_ONLINE_STORE", "AIOS_FEAST_REGISTRY"),
    "DAGSTER_HOME",
)

START = datetime(2024, 1, 1)  # a Monday
WEEKS = 20
END = START + timedelta(weeks=WEEKS)
COLUMNS = {
    "loan_id": {"type": "integer", "required": True},
    "customer": {"type": "category", "required": True},
    "applied_at": {"type": "time", "required": True},
    "amount": {"type": "number", "min": 0, "max": 1_000_000},
    "region": {"type": "category", "allowed": ["north", "south", "east"]},
}
ATTRIBUTES: dict[str, Any] = {
    "description": "Consumer loans: will the customer default?",
    "owners": ["team:credit"],
    "source": {"table": "loans.csv", "start": START.date(), "end": END.date()},
    "id": "loan_id",
    "entity": "customer",
    "event_time": "applied_at",
    "cadence": "weekly",
    "contract": {"columns": COLUMNS},
    "label": {"column": "defaulted", "delay": "7d"},
    "slices": ["region"],
    "features": [
        {
            "name": "application",
            "function": "features:application",
            "entity": "loan_id",
            "columns": {"amount": "number", "log_amount": "number", "region": "category"},
        },
        {
            "name": "history",
            "function": "features:history",
            "entity": "customer",
            "lookback": "28d",
            "columns": {"loans_28d": "number"},
        },
    ],
    "candidates": [
        {"name": "logistic", "train": "models:logistic"},
        {"name": "tree", "train": "models:tree", "params": {"max_depth": 2}},
    ],
    "training": {"min_rows": 100, "min_per_class": 10, "seed": 3},
    "gate": {"floor": 0.6, "min_rows": 20},
    "drift": {"min_rows": 20},
    "retrain": {"cooldown": "28d"},
    "promotion": "automatic",
}
POLICY: dict[str, Any] = {
    "version": 1,
    "required": ["score", "amount"],
    "rules": [
        {"name": "risky", "when": "score >= 0.7", "outcome": "block", "reason": "Likely default."},
        {
            "name": "small_and_safe",
            "when": "score < 0.4 and amount < 20000",
            "outcome": "approve",
            "reason": "Little to lose.",
        },
    ],
    "otherwise": {"name": "unclear", "outcome": "review", "reason": "Neither safe nor risky."},
}
FEATURES = """
import polars as pl


def application(events):
    return events.select(
        "loan_id",
        "event_time",
        "known_at",
        "amount",
        (pl.col("amount") + 1).log().alias("log_amount"),
        "region",
    )


def history(events):
    counts = (
        events.sort("known_at")
        .rolling("known_at", period="28d", group_by="customer")
        .agg(pl.len().alias("loans_28d"), pl.col("event_time").last())
    )
    return counts.unique(["customer", "known_at"], keep="last", maintain_order=True)
"""
MODELS = """
def logistic(features, label, *, seed, **params):
    from sklearn.linear_model import LogisticRegression

    return _fit(LogisticRegression(random_state=seed, **params), features, label)


def tree(features, label, *, seed, **params):
    from sklearn.tree import DecisionTreeClassifier

    return _fit(DecisionTreeClassifier(random_state=seed, **params), features, label)


def _fit(model, features, label):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = list(features.select_dtypes("number").columns)
    categories = [name for name in features.columns if name not in numbers]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore"), categories),
        ]
    )
    return make_pipeline(columns, model).fit(features, label)
"""


def loans(rows: int = 600, *, seed: int = 0, weeks: int = WEEKS) -> pl.DataFrame:
    """A table of loans in order of time; the amount and the region explain the default.

    Columns: loan_id, customer, applied_at, amount, region, defaulted (0 or 1; a third is 1).
    """
    rng = np.random.default_rng(seed)
    minutes = np.sort(rng.choice(weeks * 7 * 24 * 60, rows, replace=False))
    amount = rng.lognormal(9.5, 0.8, rows).round(2)
    region = rng.choice(["north", "south", "east"], rows)
    logit = 2.5 * (np.log(amount) - 9.5) / 0.8 + 1.5 * (region == "east") - 1.5
    return pl.DataFrame(
        {
            "loan_id": np.arange(1, rows + 1),
            "customer": [f"c{number}" for number in rng.integers(0, 40, rows)],
            "applied_at": pl.Series(np.datetime64(START, "us") + minutes * np.timedelta64(1, "m")),
            "amount": amount,
            "region": region,
            "defaulted": (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )


def write_automation(
    folder: Path,
    *,
    table: pl.DataFrame | None = None,
    policy: Mapping[str, Any] | None = None,
    features: str = FEATURES,
    models: str = MODELS,
    files: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Path:
    """Write the folder of an automation that predicts defaults of `loans`.

    Args:
        folder: Where; its name is the automation's.
        table: The source, `loans()` by default; written to the declared table (CSV or Parquet).
        policy: The whole policy file.
        features: Text of features.py.
        models: Text of models.py.
        files: Further files, name -> text.
        overrides: Attributes of the declaration. Mappings are merged into the default ones, all
            else replaces them, and None takes the attribute out.
    """
    attributes = _merged(ATTRIBUTES, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    document = {"type": "aios_assets.component.Automation", "attributes": attributes}
    texts = {
        "defs.yaml": yaml.safe_dump(document, sort_keys=False),
        "policy.yaml": yaml.safe_dump(dict(policy or POLICY), sort_keys=False),
        "features.py": features,
        "models.py": models,
        **(files or {}),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    if "table" in attributes["source"]:
        write_table(folder / attributes["source"]["table"], loans() if table is None else table)
    return folder


def write_table(path: Path, table: pl.DataFrame) -> Path:
    """Write a source table, CSV or Parquet by its suffix."""
    if path.suffix == ".parquet":
        table.write_parquet(path)
    else:
        table.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
    return path


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data; what needs it is skipped where it is absent."""
    root = os.environ.get("AIOS_DATASETS")
    if not root or not Path(root).is_dir():
        pytest.skip(f"AIOS_DATASETS ({root or 'not set'}) is no folder: the real data are not here")
    return Path(root)


def settings_in(directory: Path) -> Settings:
    """Settings whose whole state and whose automations are below a directory."""
    return Settings.embedded(directory / "home", directory / "automations")


def make_automation(directory: Path, *, name: str = "loans", **overrides: Any) -> Any:
    """Write an automation below `directory` and load it; arguments as in `write_automation`.

    Returns:
        The `Automation` and a `Platform` on the same state (see `settings_in`). Whatever reads
        the environment instead (the component, the command line) needs the fixture `settings`.
    """
    from aios_assets.resources import Platform

    settings = settings_in(directory)
    folder = write_automation(settings.automations / name, **overrides)
    return Automation.load(folder, settings), Platform(settings)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings below `tmp_path`, also in the environment of this process and its children."""
    settings = settings_in(tmp_path)
    for name in OTHERWISE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIOS_HOME", str(settings.home))
    monkeypatch.setenv("AIOS_AUTOMATIONS", str(settings.automations))
    return settings


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new MLflow database; making one takes seconds, `copy_mlflow` does not."""
    from aios.record.log import open_log
    from model_registry.registry import Registry

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Registry(
        f"sqlite:///{path}", path.parent / "artifacts", open_log(settings_in(path.parent))
    ).automations()
    return path


@pytest.fixture
def mlflow_home(tmp_path: Path, empty_mlflow: Path) -> Path:
    """`tmp_path` with an MLflow database in the place that `settings_in` names."""
    target = settings_in(tmp_path).home / "mlflow" / "mlflow.db"
    target.parent.mkdir(parents=True)
    with closing(sqlite3.connect(empty_mlflow)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    return tmp_path


def _merged(default: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(default)
    for name, value in changes.items():
        present = merged.get(name)
        if isinstance(value, Mapping) and isinstance(present, Mapping):
            merged[name] = _merged(present, value)
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged

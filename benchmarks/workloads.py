"""Synthetic automations for the benchmarks: any number of events, features and partitions."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from aios.automation import Automation
from aios.settings import Settings

START = datetime(2024, 1, 1)
NUMBERS = [f"n{i}" for i in range(8)]
WORDS = [f"w{i}" for i in range(4)]

FEATURES = '''"""Features: the columns as they are."""

NAMES = {names}


def facts(events):
    return events.select("event_id", "event_time", "known_at", *NAMES)
'''
MODELS = '''"""One recipe: boosting over ordinal codes."""


def boosting(features, label, *, seed):
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    words = [name for name in features if features[name].dtype == object]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(
        make_column_transformer((codes, words), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=100, random_state=seed),
    ).fit(features, label)
'''
POLICY = {
    "version": 1,
    "required": ["score", "n0"],
    "rules": [
        {"name": "risky", "when": "score >= 0.6", "outcome": "block", "reason": "likely"},
        {
            "name": "small",
            "when": "score < 0.2 and n0 < 1",
            "outcome": "approve",
            "reason": "unlikely and small",
        },
    ],
}


def events(rows: int, start: datetime, span: timedelta, seed: int) -> pl.DataFrame:
    """Return `rows` events spread evenly over a span, with a learnable binary outcome."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(rows, len(NUMBERS)))
    words = random.integers(0, 6, size=(rows, len(WORDS)))
    signal = numbers[:, 0] + 0.7 * numbers[:, 1] * (words[:, 0] > 2) - 0.5
    steps = np.arange(rows) * (span / max(rows, 1) / timedelta(microseconds=1))
    times = np.datetime64(start, "us") + steps.astype("timedelta64[us]")
    return pl.DataFrame(
        {
            "event_id": np.arange(rows) + seed * 100_000_000,
            "happened": times,
            **{name: numbers[:, i] for i, name in enumerate(NUMBERS)},
            **{
                name: np.array([f"{name}_{k}" for k in range(6)])[words[:, i]]
                for i, name in enumerate(WORDS)
            },
            "outcome": (random.random(rows) < 1 / (1 + np.exp(-2 * signal))).astype(int),
        }
    )


def automation(home: Path, table: pl.DataFrame, *, end: datetime, cadence: str) -> Automation:
    """Write an automation over a Parquet table below `home` and load it."""
    folder = home / "automations" / "bench"
    folder.mkdir(parents=True)
    table.write_parquet(folder / "events.parquet")
    names = [*NUMBERS, *WORDS]
    kinds = dict.fromkeys(NUMBERS, "number") | dict.fromkeys(WORDS, "category")
    attributes = {
        "description": "A synthetic stream.",
        "owners": ["team:benchmarks"],
        "source": {"table": "events.parquet", "start": START.date(), "end": end.date()},
        "id": "event_id",
        "entity": "event_id",
        "event_time": "happened",
        "cadence": cadence,
        "contract": {
            "columns": {
                "event_id": {"type": "integer", "required": True},
                "happened": {"type": "time", "required": True},
                **{name: {"type": "number", "min": -50, "max": 50} for name in NUMBERS},
                **{
                    name: {"type": "category", "allowed": [f"{name}_{k}" for k in range(6)]}
                    for name in WORDS
                },
            }
        },
        "label": {"column": "outcome", "delay": "0d"},
        "features": [
            {
                "name": "facts",
                "function": "features:facts",
                "entity": "event_id",
                "columns": kinds,
            }
        ],
        "candidates": [{"name": "boosting", "train": "models:boosting"}],
        "promotion": "automatic",
    }
    document = {"type": "aios_assets.component.Automation", "attributes": attributes}
    (folder / "defs.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY, sort_keys=False))
    (folder / "features.py").write_text(FEATURES.format(names=names))
    (folder / "models.py").write_text(MODELS)
    return Automation.load(folder, settings(home))


def settings(home: Path) -> Settings:
    """Return settings whose whole state lies below `home`."""
    return Settings.embedded(home / "state", home / "automations")

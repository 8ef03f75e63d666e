"""Small models, and their registration with everything that it asks for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from aios.statistics.metrics import evaluate
from model_registry.formats import in_memory
from model_registry.frames import to_model_frame
from model_registry.registration import register

COLUMNS = {"amount": "number", "age": "number", "region": "category"}
UNTIL = datetime(2024, 5, 1)


def frame(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    """Features with nulls, and columns that are none."""
    rng = np.random.default_rng(seed)
    amount, age = rng.lognormal(6, 1, rows), rng.integers(18, 90, rows)
    region = rng.choice(["north", "south", "east"], rows)
    table = pl.DataFrame({"id": np.arange(rows), "amount": amount, "age": age, "region": region})
    hole = pl.Series(rng.random(rows) < 0.1)
    return table.with_columns(
        pl.when(hole).then(None).otherwise(pl.col(name)).alias(name) for name in COLUMNS
    )


def label(features: pl.DataFrame) -> np.ndarray:
    """A label that the amount explains."""
    return (features["amount"].fill_null(400.0) > 400).cast(pl.Int64).to_numpy()


def boosting(seed: int = 0) -> Any:
    """A fitted pipeline with gradient boosting."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    encoder = ColumnTransformer(
        [("keep", "passthrough", ["amount", "age"]), ("codes", codes, ["region"])]
    )
    trees = HistGradientBoostingClassifier(
        max_iter=5, max_leaf_nodes=7, categorical_features=[2], random_state=seed
    )
    table = frame(seed=seed)
    return Pipeline([("encoder", encoder), ("trees", trees)]).fit(
        to_model_frame(table, COLUMNS), label(table)
    )


def network(seed: int = 0) -> tuple[Any, Any]:
    """A fitted encoder and a torch module with weights from the seed."""
    import torch
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encoder = ColumnTransformer(
        [
            ("scaled", make_pipeline(SimpleImputer(), StandardScaler()), ["amount", "age"]),
            ("flags", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["region"]),
        ]
    ).fit(to_model_frame(frame(seed=seed), COLUMNS))
    width = encoder.transform(to_model_frame(frame(5), COLUMNS)).shape[1]
    generator = torch.Generator().manual_seed(seed)
    module = torch.nn.Sequential(
        torch.nn.Linear(width, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1), torch.nn.Sigmoid()
    )
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return encoder, module


def enrol(registry, key: str, model: Any = None, **changed: Any):
    """Register a model under a key of the automation `claims`."""
    model = model if model is not None else boosting()
    held_out = frame(seed=1)
    if "metrics" not in changed:
        score = in_memory(model, "classification", COLUMNS).score(held_out)
        changed["metrics"] = evaluate("classification", label(held_out), score)
    given = {
        "automation": "claims",
        "candidate": "network" if isinstance(model, tuple) else "boosting",
        "task": "classification",
        "columns": COLUMNS,
        "sample": held_out.head(5),
        "trained_until": UNTIL,
        "params": {"max_iter": 5},
        "slices": pl.DataFrame({"slice": ["region"], "value": ["north"], "estimate": [0.9]}),
        "lineage": {"dataset_digest": "3f9a", "seed": "0", "code_version": "1"},
        "card": "# claims\n\n## Approvals\n\nNone yet.\n",
        "plots": {"roc": b"\x89PNG"},
    }
    return register(registry, key=key, model=model, **{**given, **changed})

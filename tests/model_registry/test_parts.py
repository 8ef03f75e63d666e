"""Models of several parts: data, estimators and networks, in safe formats only."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aios.errors import AiosError
from aios.statistics.metrics import Estimate
from model_registry.champion import promote
from model_registry.parts import in_memory, load, save
from model_registry.registration import register
from model_registry.registry import ModelVersion, Registry
from tests.model_registry.opening import registry_in

pytestmark = pytest.mark.unit


def parts() -> dict[str, Any]:
    import torch
    from sklearn.ensemble import HistGradientBoostingClassifier

    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    rows = draw.random((60, 3))
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    n = torch.export.Dim("n", min=2, max=99)
    return {
        "about": {"kind": "test", "names": ["ä", "b"]},
        "ranker": HistGradientBoostingClassifier(max_iter=3).fit(rows, rows[:, 0] > 0.5),
        "network": (network, (torch.zeros(5, 3),), ({0: n},)),
    }


def registered(registry: Registry, model: dict[str, Any], key: str = "a/1/x") -> ModelVersion:
    return register(
        registry, automation="invoices.extraction", candidate="x", key=key, model=model,
        task="extraction", columns={"words": "number"}, sample=pl.DataFrame(),
        trained_until=datetime(2025, 1, 1), params={},
        metrics={"document_f1": Estimate(0.9, 0.8, 1.0, 10)}, slices=pl.DataFrame(),
        lineage={"dataset_digest": "0123"}, card="# card", plots={},
    )  # fmt: skip


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_in(tmp_path)


def test_what_is_loaded_says_what_was_trained(registry: Registry) -> None:
    import torch

    model = parts()
    found, fresh = load(registry, registered(registry, model)), in_memory(model)
    rows = torch.rand(7, 3)
    assert found["about"] == model["about"]
    np.testing.assert_allclose(found["network"](rows).detach(), fresh["network"](rows).detach())
    np.testing.assert_array_equal(
        found["ranker"].predict_proba(rows.numpy()), fresh["ranker"].predict_proba(rows.numpy())
    )


def test_the_same_key_makes_one_version(registry: Registry) -> None:
    assert registered(registry, parts()).number == registered(registry, parts()).number == 1


def test_parts_that_are_damaged_are_not_promoted(registry: Registry) -> None:
    version = registered(registry, parts())
    registry.set_stage(version, "gated")
    path = next(Path(version.source.removeprefix("file://")).rglob("about.json"))
    path.write_text(json.dumps({"kind": "another"}))
    with pytest.raises(AiosError, match="changed after registration"):
        promote(registry, "invoices.extraction", 1, at=datetime(2025, 1, 2), by="me", reason="x")
    assert registry.get("invoices.extraction", 1).stage == "gated"


def test_what_is_no_safe_part_is_refused(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer

    with pytest.raises(AiosError, match="not trusted"):
        save({"x": FunctionTransformer(registered)}, tmp_path / "model")
    with pytest.raises(TypeError):
        save({"x": {"a": registered}}, tmp_path / "other")

"""Models that are several parts: plain data, scikit-learn estimators and torch modules.

The function that puts them together belongs to the automation; what is stored is data in safe
formats alone: JSON, skops of trusted types, and exported programs (pt2).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_registry.artifacts import requirements, unchanged_files
from model_registry.registry import ModelVersion, Registry
from model_registry.safety import check_types, load_pt2, load_skops

PARTS_FILE = "parts.json"


def save(parts: dict[str, Any], directory: Path) -> None:
    """Write the parts of a model as an MLflow model directory that must not exist yet.

    Args:
        parts: By name: plain data for JSON, a fitted scikit-learn estimator, or a torch module as
            `(module, example_inputs, dynamic_shapes)` for `torch.export.export`.
        directory: Where to.

    Raises:
        AiosError: A part holds a type that is not trusted.
    """
    from mlflow.models import Model

    directory.mkdir(parents=True)
    kinds = {name: _save_part(name, part, directory) for name, part in sorted(parts.items())}
    (directory / PARTS_FILE).write_text(json.dumps(kinds, indent=1))
    packages = requirements("scikit-learn", "skops", "torch", "numpy")
    model = Model(flavors={"aios_parts": {"parts": kinds, "requirements": packages}})
    # Without the moment and the random id that MLflow adds, the same parts are the same bytes.
    model.utc_time_created, model.model_uuid = None, None
    model.save(directory / "MLmodel")


def load(registry: Registry, version: ModelVersion) -> dict[str, Any]:
    """Load a version's parts after checking that its files are unchanged and of trusted types.

    Raises:
        AiosError: They are not; says which version, and what to do.
    """
    with unchanged_files(registry, version) as directory:
        return load_from(directory, version)


def load_from(directory: Path, version: ModelVersion) -> dict[str, Any]:
    """Load the parts of a version whose files were checked."""
    kinds = json.loads((directory / PARTS_FILE).read_text())
    return {
        name: _load_part(directory / f"{name}.{kind}", kind, version.label)
        for name, kind in kinds.items()
    }


def in_memory(parts: dict[str, Any]) -> dict[str, Any]:
    """Return freshly trained parts as `load` would return them."""
    return {
        name: part[0].eval() if isinstance(part, tuple) else part for name, part in parts.items()
    }


def _save_part(name: str, part: Any, directory: Path) -> str:
    if isinstance(part, tuple):
        import torch

        module, example, shapes = part
        program = torch.export.export(module.eval(), example, dynamic_shapes=shapes)
        torch.export.save(program, directory / f"{name}.pt2")
        return "pt2"
    if hasattr(part, "get_params"):
        import skops.io

        check_types(part, f"part '{name}' of the model to be saved")
        skops.io.dump(part, directory / f"{name}.skops")
        return "skops"
    text = json.dumps(part, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (directory / f"{name}.json").write_text(text)
    return "json"


def _load_part(path: Path, kind: str, name: str) -> Any:
    if kind == "json":
        return json.loads(path.read_text())
    return load_pt2(path) if kind == "pt2" else load_skops(path, name)

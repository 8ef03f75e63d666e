"""Models on disk: as MLflow model directories in safe formats, and as what scores rows.

scikit-learn models are skops files of trusted types (see `model_registry.safety`). Torch models are
`torch.export` programs (pt2) with the fitted scikit-learn encoder beside them. Every artefact is
an MLflow model directory with a `scorer.json`: the columns it reads, a few example rows and the
scores it gave for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import polars as pl

from aios.errors import AiosError
from model_registry.artifacts import damaged, requirements, unchanged_files
from model_registry.frames import Kind, to_model_frame
from model_registry.registry import ModelVersion, Registry
from model_registry.safety import TRUSTED_TYPES, check_types, load_pt2, load_skops

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression"]
Predict = Callable[["pd.DataFrame"], np.ndarray]

SKLEARN_FILE = "model.skops"
ENCODER_FILE = "encoder.skops"
TORCH_FILE = "data/model.pt2"
SCORER_FILE = "scorer.json"

BLOCK = 4096
"""Rows in one forward pass of a torch model; see `_torch_predict`."""

SCORE_TOLERANCE = 1e-6
"""Largest accepted change of an example's score, relative and absolute, after loading."""


class Scorer(Protocol):
    """Anything that turns rows into scores."""

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        """Scores of the rows, shape (n,), float64: P(label = 1), or the predicted value."""


@dataclass(frozen=True)
class FrameScorer:
    """A model with the columns it reads.

    Attributes:
        name: What scores, for error messages.
        columns: Feature names in training order, each `number` or `category`.
        predict: The model, from a pandas frame with those columns to scores of shape (n,).
    """

    name: str
    columns: dict[str, Kind]
    predict: Predict

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        """Scores of the rows, shape (n,), float64. Other columns of the frame are ignored.

        Raises:
            AiosError: A column is missing or of another kind, or the model cannot take the values.
        """
        if frame.is_empty():
            return np.empty(0)
        try:
            table = to_model_frame(frame, self.columns)
        except AiosError as error:
            raise AiosError(error.what, where=self.name, fix=error.fix) from error
        try:
            scores = self.predict(table)
        except (ValueError, TypeError, RuntimeError) as error:
            raise AiosError(
                f"the model cannot score these {frame.height} rows: {error}",
                where=self.name,
                fix="compare the values with the input example in the version's artefact",
            ) from error
        return np.asarray(scores, dtype=np.float64).reshape(-1)


def in_memory(
    model: Any, task: Task, columns: Mapping[str, Kind], *, name: str = "model"
) -> FrameScorer:
    """A scorer over a model that is not registered yet; scores as the loaded version will.

    Args:
        model: A fitted scikit-learn estimator that takes the frame of `to_model_frame`, or a pair
            of such a transformer and a torch module. The module maps float32 of shape (n, k) to
            scores of shape (n,) or (n, 1): probabilities for a classification, not logits.
        task: For a classification, the score is the probability of the second class.
        columns: The features that the model was trained on, in that order.
        name: What to call it in errors.

    Raises:
        AiosError: A classifier does not know exactly two classes.
    """
    if isinstance(model, tuple):
        encoder, module = model
        return FrameScorer(name, dict(columns), _torch_predict(encoder, module.eval()))
    return FrameScorer(name, dict(columns), _sklearn_predict(model, task, name))


def save(
    model: Any,
    directory: Path,
    *,
    task: Task,
    columns: Mapping[str, Kind],
    sample: pl.DataFrame,
) -> None:
    """Write a model (see `in_memory`) as an MLflow model directory that must not exist yet.

    Args:
        model: The fitted model.
        directory: Where to.
        task: What the score means.
        columns: The features that the model was trained on, in that order.
        sample: A few rows, kept as the input example.

    Raises:
        AiosError: The model holds a type that is not on the list, or does not give scores.
    """
    import skops.io

    scores = in_memory(model, task, columns, name="the model to be saved").score(sample)
    _check_scores(scores, sample.height, task)
    table = to_model_frame(sample, columns)
    if isinstance(model, tuple):
        encoder, module = model
        _save_torch(module, _encode(encoder, table), directory)
        check_types(encoder, "the encoder to be saved")
        skops.io.dump(encoder, directory / ENCODER_FILE)
    else:
        _save_sklearn(model, directory, columns, task, table)
    content = {
        "format": "torch" if isinstance(model, tuple) else "sklearn",
        "task": task,
        "columns": dict(columns),
        "example": [
            {name: None if value != value else value for name, value in row.items()}
            for row in table.to_dict("records")
        ],
        "example_scores": scores.tolist(),
    }
    (directory / SCORER_FILE).write_text(json.dumps(content, indent=1))


def load(registry: Registry, version: ModelVersion) -> FrameScorer:
    """Load a version after checking that its files are there, unchanged, and of trusted types.

    The example rows are scored again and must give the scores they gave at registration.

    Raises:
        AiosError: Any of these fails; says which version, and what to do.
    """
    with unchanged_files(registry, version) as directory:
        return load_from(directory, version)


def load_from(directory: Path, version: ModelVersion) -> FrameScorer:
    """Load a version whose files were checked; see `load`."""
    content = json.loads((directory / SCORER_FILE).read_text())
    predict = _load_predict(directory, content, version.label)
    columns = cast("dict[str, Kind]", content["columns"])
    scorer = FrameScorer(version.label, columns, predict)
    types = {name: pl.Float64 if kind == "number" else pl.String for name, kind in columns.items()}
    again = scorer.score(pl.DataFrame(content["example"], schema=types))
    if not np.allclose(
        again, content["example_scores"], rtol=SCORE_TOLERANCE, atol=SCORE_TOLERANCE
    ):
        raise damaged(version, "it gives other scores for its example rows than it did when saved")
    return scorer


def _encode(encoder: Any, table: pd.DataFrame) -> np.ndarray:
    return np.ascontiguousarray(encoder.transform(table), dtype=np.float32)


def _torch_predict(encoder: Any, module: Any) -> Predict:
    """Forward passes over blocks of one fixed size, the last one padded.

    Matrix products of another size may round differently; with one size, a row's score does not
    depend on how many rows are scored with it.
    """
    import torch

    def predict(table: pd.DataFrame) -> np.ndarray:
        encoded = _encode(encoder, table)
        scores = np.empty(len(encoded))
        block = np.zeros((BLOCK, encoded.shape[1]), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(encoded), BLOCK):
                rows = encoded[start : start + BLOCK]
                block[: len(rows)] = rows
                out = module(torch.from_numpy(block)).reshape(-1)
                scores[start : start + len(rows)] = out[: len(rows)].numpy()
        return scores

    return predict


def _sklearn_predict(model: Any, task: Task, name: str) -> Predict:
    if task == "regression":
        return cast("Predict", model.predict)
    classes = getattr(model, "classes_", ())
    if len(classes) != 2 or not hasattr(model, "predict_proba"):
        raise AiosError(
            f"a classifier of {len(classes)} classes"
            f"{'' if hasattr(model, 'predict_proba') else ' without probabilities'}",
            where=name,
            fix="train on both labels, with an estimator that has predict_proba",
        )
    return lambda table: model.predict_proba(table)[:, 1]


def _check_scores(scores: np.ndarray, rows: int, task: Task) -> None:
    if scores.shape != (rows,) or not np.isfinite(scores).all():
        raise AiosError(
            f"the model gives {scores.shape[0]} scores for {rows} example rows, "
            f"{int((~np.isfinite(scores)).sum())} of them not finite",
            where="registration",
            fix="return one finite score for each row, also where features are missing",
        )
    if task == "classification" and ((scores < 0) | (scores > 1)).any():
        raise AiosError(
            f"scores between {scores.min():g} and {scores.max():g} are not probabilities",
            where="registration",
            fix="end the torch module with torch.nn.Sigmoid",
        )


def _save_sklearn(
    model: Any, directory: Path, columns: Mapping[str, Kind], task: Task, example: pd.DataFrame
) -> None:
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    types = {"number": DataType.double, "category": DataType.string}
    inputs = Schema([ColSpec(types[kind], name, required=False) for name, kind in columns.items()])
    shape = (-1, 2) if task == "classification" else (-1,)
    try:
        mlflow.sklearn.save_model(
            model,
            directory,
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            signature=ModelSignature(inputs, Schema([TensorSpec(np.dtype("float64"), shape)])),
            input_example=example,
            pyfunc_predict_fn="predict_proba" if task == "classification" else "predict",
            pip_requirements=requirements("scikit-learn", "skops", "pandas", "numpy"),
        )
    except MlflowException as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        check_types(model, "the model to be saved")
        raise


def _save_torch(module: Any, encoded: np.ndarray, directory: Path) -> None:
    import mlflow.pytorch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    encoded = np.concatenate([encoded, encoded]) if len(encoded) == 1 else encoded
    spec = TensorSpec(np.dtype("float32"), (-1, encoded.shape[1]))
    mlflow.pytorch.save_model(
        module.eval(),
        directory,
        serialization_format="pt2",
        signature=ModelSignature(Schema([spec])),
        input_example=encoded,
        pip_requirements=requirements("torch", "scikit-learn", "skops", "pandas", "numpy"),
    )


def _load_predict(directory: Path, content: Mapping[str, Any], name: str) -> Predict:
    if content["format"] == "sklearn":
        model = load_skops(directory / SKLEARN_FILE, name)
        return _sklearn_predict(model, content["task"], name)
    if content["format"] == "torch":
        encoder = load_skops(directory / ENCODER_FILE, name)
        return _torch_predict(encoder, load_pt2(directory / TORCH_FILE))
    raise ValueError(f"unknown format {content['format']!r}")

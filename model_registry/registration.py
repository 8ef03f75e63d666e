"""Registration of a trained model: one MLflow run, one artefact, one version for each key.

The version row is the last thing written, in one transaction with its tags. Whatever a killed
registration left before that is thrown away by the next one with the same key.
"""

from __future__ import annotations

import json
import re
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aios.errors import AiosError
from aios.record.leaves import Act
from model_registry import formats, manifest, parts
from model_registry.cards import shorten
from model_registry.frames import Kind
from model_registry.registry import (
    CANDIDATE_TAG,
    DESCRIPTION_LIMIT,
    DIGEST_TAG,
    KEY_TAG,
    METRICS_TAG,
    STAGE_TAG,
    TRAINED_UNTIL_TAG,
    ModelVersion,
    Registry,
    metrics_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

    from aios.statistics.metrics import Estimate

DATASET_DIGEST_LIMIT = 36

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,199}")


def register(
    registry: Registry,
    *,
    automation: str,
    candidate: str,
    key: str,
    model: Any,
    task: formats.Task | Literal["extraction"],
    columns: Mapping[str, Kind],
    sample: pl.DataFrame,
    trained_until: datetime,
    params: Mapping[str, Any],
    metrics: Mapping[str, Estimate],
    slices: pl.DataFrame,
    lineage: Mapping[str, str],
    card: str,
    plots: Mapping[str, bytes],
) -> ModelVersion:
    """Register a trained model, once for each key, in the stage `registered`.

    Args:
        registry: Where to.
        automation: Name of the registered model and of the experiment.
        candidate: The recipe that trained it.
        key: What was trained, such as `claims/2024-05-01/gradient_boosting`. A version that has
            this key already is returned as it is.
        model: See `model_registry.formats.in_memory`; for an extraction the parts of
            `model_registry.parts`.
        task: What the score means.
        columns: The features that the model was trained on, in that order; for an extraction the
            columns whose drift is watched.
        sample: A few rows of them, kept as the input example.
        trained_until: Exclusive end of the training data, UTC-naive.
        params: The recipe's parameters.
        metrics: Of held-out rows. Must not hold anything that depends on time.
        slices: Metrics by slice, one row each.
        lineage: What made the version: `dataset_digest` and, as known, code version, seed, policy
            hash, Dagster run, training partition, and who trained it (`trained_by`). Kept as tags
            `aios.<name>`.
        card: The model card, as Markdown.
        plots: PNG images by file name without suffix.

    Raises:
        AiosError: The model cannot be saved safely, `lineage` names no dataset, or the store
            cannot be written.
    """
    if not _KEY.fullmatch(key):
        raise AiosError(
            f"{key!r} cannot identify a version",
            where=automation,
            fix="use letters, digits and . _ : / + -, at most 200",
        )
    if "dataset_digest" not in lineage:
        raise AiosError(
            "the lineage has no dataset_digest",
            where=key,
            fix="give the digest of the training set",
        )
    with registry.writing(automation), _room_to_write(key):
        found = find(registry, automation, key)
        if found:
            _record(registry, found)
            return found
        with tempfile.TemporaryDirectory() as aside:
            directory = Path(aside, "model")
            if task == "extraction":
                parts.save(model, directory)
            else:
                formats.save(model, directory, task=task, columns=columns, sample=sample)
            signed = {
                "automation": automation, "key": key, "candidate": candidate,
                "dataset_digest": lineage["dataset_digest"],
            }  # fmt: skip
            digest = manifest.sign(directory, registry.log, signed)
            values = _flat(metrics)
            tags = {
                KEY_TAG: key,
                CANDIDATE_TAG: candidate,
                TRAINED_UNTIL_TAG: trained_until.isoformat(),
                **{f"aios.{name}": str(value) for name, value in lineage.items()},
            }
            experiment = registry.experiment(automation)
            _discard_leftovers(registry, experiment, key)
            run_id = _log_run(
                registry,
                experiment,
                name=f"{candidate} until {trained_until:%Y-%m-%d}",
                tags=tags,
                files=_report(Path(aside, "report"), card, slices, plots),
            )
            model_id, source = _log_model(registry, experiment, run_id, candidate, tags, directory)
            _log_numbers(
                registry, run_id, model_id, automation, params, values, trained_until,
                lineage["dataset_digest"], columns,
            )  # fmt: skip
        _ensure_model(registry, automation)
        registry.client.create_model_version(
            automation,
            source,
            run_id,
            tags={
                **tags,
                STAGE_TAG: "registered",
                DIGEST_TAG: digest,
                METRICS_TAG: metrics_json(values),
            },
            description=shorten(card, DESCRIPTION_LIMIT),
            model_id=model_id,
            await_creation_for=0,
        )
        version = _must_find(registry, automation, key)
        _record(registry, version)
        return version


def find(registry: Registry, automation: str, key: str) -> ModelVersion | None:
    """The version with this key, if registration of it was completed."""
    return next((v for v in registry.versions(automation) if v.key == key), None)


def _record(registry: Registry, version: ModelVersion) -> None:
    """Record a registration, once; one that was killed before this is recorded by the next."""
    digest = version.tags[DIGEST_TAG]
    body = {
        "version": version.number,
        "candidate": version.candidate,
        "key": version.key,
        "manifest": digest,
        "dataset_digest": version.tags["aios.dataset_digest"],
        "trained_until": version.trained_until.isoformat(),
        "trained_by": version.trained_by,
    }
    at, once = version.trained_until, leaf_key(version)
    act = Act(manifest.REGISTERED, version.automation, version.trained_by, body, at=at, key=once)
    registry.log.append(act)


def leaf_key(version: ModelVersion) -> str:
    """Return the key of the leaf that says who trained what a version is."""
    digest = version.tags.get(DIGEST_TAG, "")
    return manifest.leaf_key(version.automation, version.number, version.key, digest)


@contextmanager
def _room_to_write(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AiosError(
            f"the artefact cannot be written: {error}",
            where=key,
            fix="free some disk or restore access, then run this again; no version was made",
        ) from error


def _must_find(registry: Registry, automation: str, key: str) -> ModelVersion:
    version = find(registry, automation, key)
    if version is None:
        raise AiosError("the version vanished while it was registered", where=key, fix="run again")
    return version


def _flat(metrics: Mapping[str, Estimate]) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, measured in metrics.items():
        values[name] = float(measured.value)
        values[f"{name}_low"] = float(measured.low)
        values[f"{name}_high"] = float(measured.high)
        values[f"{name}_n"] = float(measured.n)
    return values


def _report(directory: Path, card: str, slices: pl.DataFrame, plots: Mapping[str, bytes]) -> Path:
    (directory / "plots").mkdir(parents=True)
    (directory / "card.md").write_text(card)
    slices.write_csv(directory / "slices.csv")
    for name, image in plots.items():
        (directory / "plots" / f"{name}.png").write_bytes(image)
    return directory


def _discard_leftovers(registry: Registry, experiment: str, key: str) -> None:
    """Delete runs and logged models of a registration that was killed before its version."""
    client, ours = registry.client, f"tags.`{KEY_TAG}` = '{key}'"
    for run in client.search_runs([experiment], filter_string=ours):
        client.delete_run(run.info.run_id)
    for model in client.search_logged_models([experiment], filter_string=ours):
        client.delete_logged_model(model.model_id)


def _log_run(
    registry: Registry, experiment: str, *, name: str, tags: Mapping[str, str], files: Path
) -> str:
    run = registry.client.create_run(experiment, run_name=name, tags=dict(tags))
    registry.client.log_artifacts(run.info.run_id, str(files))
    return str(run.info.run_id)


def _log_model(
    registry: Registry,
    experiment: str,
    run_id: str,
    name: str,
    tags: Mapping[str, str],
    directory: Path,
) -> tuple[str, str]:
    """Copy the model's files to the store; its id and where they are."""
    from mlflow.entities import LoggedModelOutput

    client = registry.client
    model = client.create_logged_model(experiment, name=name, source_run_id=run_id, tags=dict(tags))
    client.log_model_artifacts(model.model_id, str(directory))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model.model_id, model.artifact_location


def _log_numbers(
    registry: Registry,
    run_id: str,
    model_id: str,
    dataset: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    trained_until: datetime,
    digest: str,
    columns: Mapping[str, Kind],
) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

    client, short = registry.client, digest[:DATASET_DIGEST_LIMIT]
    # Stamped with the data's time, not the wall clock: a repetition logs the very same rows.
    stamp = int(trained_until.replace(tzinfo=UTC).timestamp() * 1000)
    schema = [
        {"name": name, "type": "double" if kind == "number" else "string"}
        for name, kind in columns.items()
    ]
    inputs = Dataset(
        name=dataset,
        digest=short,
        source_type="local",
        source=json.dumps({"training_set": digest, "until": trained_until.isoformat()}),
        schema=json.dumps({"mlflow_colspec": schema}),
    )
    tag = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(inputs, [tag])])
    client.log_batch(
        run_id,
        metrics=[Metric(name, v, stamp, 0, model_id=model_id) for name, v in metrics.items()],
        params=[Param(name, str(value)) for name, value in params.items()],
    )
    client.set_terminated(run_id)


def _ensure_model(registry: Registry, automation: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        registry.client.create_registered_model(automation)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise

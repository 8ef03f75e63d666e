"""Training: a point-in-time set that proves itself, candidates, and the gate they must pass."""

from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from aios.automation import Automation
from aios.digest import frame_digest
from aios.errors import AiosError
from aios.lake import Lake
from aios.learner import Learner
from aios.learning import Candidate
from aios.statistics.metrics import Estimate, evaluate
from aios.statistics.profile import Profile
from aios.statistics.slices import by_slice
from aios.windows import Window
from aios_assets.lifecycle.card import CONFIDENCE, write_card
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    made_by,
    markdown_table,
    mean_of,
    row_metadata,
    stage,
)
from aios_assets.lifecycle.features import join_features
from aios_assets.lifecycle.labels import known_labels
from aios_assets.lifecycle.plots import as_markdown, metric_bars
from aios_assets.links import mlflow_run, mlflow_version, model_card
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion

SMALL = 100_000


@dataclass(frozen=True)
class Proof:
    """Evidence that a training set neither lost rows nor saw the future.

    Attributes:
        asked: Labelled events that should be in the set.
        rows: Rows in it.
        future: Rows whose event or label was known only after the set's end.
        differing: Rows whose features differ from those recorded when the event was scored,
            before anything later was known.
        unmatched: Labels about events that are in quarantine or never came.
    """

    asked: int
    rows: int
    future: int
    differing: int
    unmatched: int

    @property
    def holds(self) -> bool:
        """Whether no row was lost and none saw the future."""
        return self.asked == self.rows and not self.future and not self.differing


def training_rows(lake: Lake, automation: Automation, window: Window) -> tuple[pl.DataFrame, int]:
    """Return all labelled events known at the end of a window, oldest label first.

    Of an event with corrections only the latest revision counts. What a reviewer found counts
    until the outcome itself is learned.

    Returns:
        Row columns of `features` with `label`, `label_known_at`, `scored_digest` and, where
        people review, `label_source`; and the number of labels without an event.

    Raises:
        AiosError: There are no labels yet.
    """
    identity = automation.spec.id
    labels = known_labels(automation, lake, window)
    events = lake.read_all("features", until=window.key)
    if labels is None or events is None or labels.is_empty():
        raise AiosError(
            f"no label is known at {window.end:%Y-%m-%d}",
            where=f"{automation.name} training_set {window.key}",
            fix=f"Materialize labels up to {window.key}, or wait until the first ones mature.",
        )
    latest = events.sort("revision", maintain_order=True).unique(
        identity, keep="last", maintain_order=True
    )
    labels = labels.unique(identity, keep="last", maintain_order=True)
    rows = labels.rename({"known_at": "label_known_at"}).join(
        latest.rename({"feature_digest": "scored_digest"}), on=identity, how="inner"
    )
    rows = rows.sort("label_known_at", "known_at", identity)
    if automation.spec.training.window:
        rows = rows.tail(automation.spec.training.window)
    return rows, labels.height - labels.join(latest, on=identity, how="semi").height


def make_training_set(
    automation: Automation, platform: Platform, window: Window
) -> tuple[pl.DataFrame, Proof]:
    """Join, prove, divide and store the training set as of the end of a window.

    The newest rows become the `holdout`; with a champion, only rows whose label it cannot have
    seen in its own training.

    Raises:
        AiosError: Too few rows, or a class with too few of them.
    """
    from model_registry.champion import champion_at

    lake = platform.lake(automation.name)
    rows, unmatched = training_rows(lake, automation, window)
    refuse_too_little(automation, rows, window)
    joined = join_features(automation, platform, rows)
    champion = champion_at(platform.registry, automation.name, window.end)
    frame = joined.with_columns(holdout=holdout_of(automation, joined, champion))
    future = (pl.col("known_at") >= window.end) | (pl.col("label_known_at") >= window.end)
    differing = int((joined["feature_digest"] != joined["scored_digest"]).sum())
    proof = Proof(rows.height, joined.height, joined.filter(future).height, differing, unmatched)
    profile = lake.path("profiles", window.key, "npz")
    profile.parent.mkdir(parents=True, exist_ok=True)
    Profile.of(frame, list(automation.spec.feature_columns)).write(profile)
    lake.write("training_set", window.key, frame.drop("scored_digest"))
    return frame, proof


def holdout_of(learner: Learner, rows: pl.DataFrame, champion: "ModelVersion | None") -> pl.Series:
    """Mark the newest rows; with a champion, only those whose label it cannot have seen."""
    size = int(rows.height * learner.spec.training.holdout)
    if champion:
        size = min(size, int((rows["label_known_at"] >= champion.trained_until).sum()))
    return pl.Series("holdout", np.arange(rows.height) >= rows.height - size)


def refuse_too_little(learner: Learner, rows: pl.DataFrame, window: Window) -> None:
    """Raise an AiosError where a training would rest on too few rows, or on too few of a class."""
    spec, where = learner.spec, f"{learner.name} training_set {window.key}"
    if rows.height < spec.training.min_rows:
        raise AiosError(
            f"{rows.height} labelled events are too few, {spec.training.min_rows} are needed",
            where=where,
            fix="Wait for more labels, or lower training.min_rows in defs.yaml.",
        )
    if spec.task != "classification":
        return
    counts = dict(rows.group_by("label").len().iter_rows())
    if set(counts) != {0.0, 1.0} or min(counts.values()) < spec.training.min_per_class:
        shown = ", ".join(f"{label:g}: {n}" for label, n in sorted(counts.items()))
        raise AiosError(
            f"labels by class are {shown}; each of 0 and 1 needs {spec.training.min_per_class}",
            where=where,
            fix="Check the label column at the source; a model needs examples of both classes.",
        )


def build_training_set(automation: Automation) -> dg.AssetsDefinition:
    """Build the `training_set` asset with its blocking proof."""

    @dg.asset(
        **asset_options(automation, "training_set", kinds={"feast", "polars"}),
        deps=[[automation.name, "labels"], [automation.name, "features"]],
        description="All labelled events known at the end of the partition, joined by Feast with "
        "the features as known when each event was known. The newest rows are the holdout.",
        check_specs=[
            check_spec(
                automation,
                "training_set",
                "point_in_time",
                "No row is lost, nothing was known later than its row, and every feature equals "
                "the one recorded when the event was scored.",
                blocking=True,
            )
        ],
    )
    def training_set(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        window = automation.window(context.partition_key)
        with stage("training_set"):
            frame, proof = make_training_set(automation, platform, window)
        return dg.MaterializeResult(
            metadata={
                **row_metadata(frame, frame.height),
                "holdout_rows": int(frame["holdout"].sum()),
                "mean_label": mean_of(frame["label"]),
                "labels_from": str(frame["label_known_at"].min()),
                "labels_to": str(frame["label_known_at"].max()),
                "digest": frame_digest(frame),
            },
            check_results=[
                check_result("point_in_time", proof.holds, error=True, **proof.__dict__)
            ],
        )

    return training_set


def train_candidate(
    automation: Automation,
    platform: Platform,
    window: Window,
    candidate: Candidate,
    made_by: dict[str, str],
) -> "ModelVersion":
    """Evaluate a recipe on the holdout, fit it on everything, and register the result.

    What the gate judges is a twin fitted without the holdout, on rows that neither it nor the
    champion saw; what is registered is the same recipe with the same seed fitted on all rows.
    """
    from model_registry.formats import in_memory
    from model_registry.registration import register

    spec, lake = automation.spec, platform.lake(automation.name)
    frame = lake.read("training_set", window.key)
    held = frame.filter("holdout")
    twin = fit(automation, candidate, frame.filter(~pl.col("holdout")))
    columns = spec.feature_columns
    scores = in_memory(twin, spec.task, columns, name=f"{candidate.name} twin").score(held)
    label = held["label"].to_numpy()
    evaluation = held.select(spec.id, "label").with_columns(pl.Series("score", scores))
    lake.write(f"evaluation/{candidate.name}", window.key, evaluation)
    metrics = evaluate(spec.task, label, scores, CONFIDENCE)
    slices = by_slice(spec.task, label, scores, held.select(spec.slices))
    card = write_card(automation, candidate, frame, metrics, slices, scores)
    return register(
        platform.registry,
        automation=automation.name,
        candidate=candidate.name,
        key=f"{automation.name}/{window.key}/{candidate.name}",
        model=fit(automation, candidate, frame),
        task=spec.task,
        columns=columns,
        sample=frame.select(list(columns)).tail(5),
        trained_until=window.end,
        params={**candidate.params, "window": candidate.window or "all", "recipe": candidate.train},
        metrics=metrics,
        slices=slices,
        lineage={
            "dataset_digest": frame_digest(frame),
            "rows": str(frame.height),
            "code_version": automation.code_version,
            "policy_hash": automation.policy.hash,
            "seed": str(spec.training.seed),
            "partition": window.key,
            **made_by,
        },
        card=card,
        plots={"metrics": metric_bars(metrics)},
    )


def fit(
    automation: Automation, candidate: Candidate, frame: pl.DataFrame, *, seed: int | None = None
) -> Any:
    """Train a recipe on rows of a training set; with the declared seed where none is given.

    Raises:
        AiosError: The recipe fails; names it.
    """
    from threadpoolctl import threadpool_limits

    from model_registry.frames import to_model_frame

    rows = frame.tail(candidate.window) if candidate.window else frame
    train = automation.function(candidate.train)
    # One thread sums in one order, and does not wait for busy neighbours at every split.
    threads = 1 if rows.height <= SMALL else None
    try:
        with threadpool_limits(threads):
            return train(
                to_model_frame(rows, automation.spec.feature_columns),
                rows["label"].to_numpy(),
                seed=automation.spec.training.seed if seed is None else seed,
                **candidate.params,
            )
    except AiosError:
        raise
    except Exception as error:
        raise AiosError(
            f"training failed: {type(error).__name__}: {error}",
            where=f"{automation.name} candidate {candidate.name}",
            fix=f"Mend {candidate.train}; the champion goes on deciding.",
        ) from error


def build_candidate(automation: Automation, candidate: Candidate) -> dg.AssetsDefinition:
    """Build the asset of one candidate: a new version in the registry."""
    kind = "torch" if "torch" in candidate.name or "neural" in candidate.name else "scikitlearn"

    @dg.asset(
        **asset_options(automation, candidate.name, kinds={"mlflow", kind}),
        deps=[[automation.name, "training_set"]],
        description=f"A model version of recipe `{candidate.train}`, trained on the training set "
        "and registered in MLflow with its card. It decides nothing before the gate.",
        pool="training",
    )
    def model(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        window = automation.window(context.partition_key)
        with stage(candidate.name):
            by = made_by(context, platform.settings)
            version = train_candidate(automation, platform, window, candidate, by)
        return dg.MaterializeResult(metadata=version_metadata(platform, version))

    return model


def version_metadata(platform: Platform, version: "ModelVersion") -> dict[str, Any]:
    """Return what the UI shows about a registered version."""
    metrics = version.metrics
    found = {
        name: Estimate(value, metrics.get(f"{name}_low", nan), metrics.get(f"{name}_high", nan), 0)
        for name, value in metrics.items()
        if not name.endswith(("_low", "_high", "_n"))
    }
    rows = [(name, one.value, one.low, one.high) for name, one in found.items()]
    return {
        "version": version.number,
        "MLflow run": mlflow_run(platform.registry.experiment(version.automation), version),
        "MLflow version": mlflow_version(version),
        "model card": model_card(version),
        "metrics on the holdout": markdown_table(["metric", "value", "low", "high"], rows),
        "metrics": as_markdown(metric_bars(found), "metrics with their intervals"),
    }

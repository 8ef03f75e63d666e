"""Training of a model step: documents with their truth, candidates, and what they are worth."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from aios.digest import frame_digest
from aios.errors import AiosError
from aios.known import TYPES, known_events, last_before
from aios.learner import ModelStep
from aios.learning import Candidate
from aios.statistics.extraction import compare
from aios.statistics.metrics import Estimate, evaluate
from aios.statistics.profile import Profile
from aios.statistics.selective import calibration, curve
from aios.statistics.slices import by_slice
from aios.step_runs import Function, run_here
from aios.values import FeatureKind
from aios.windows import Window
from aios_assets.lifecycle.card import CONFIDENCE, write_extraction_card
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    made_by,
    row_metadata,
    stage,
)
from aios_assets.lifecycle.drift import Watched
from aios_assets.lifecycle.plots import calibration_curve, coverage_curve, metric_bars
from aios_assets.lifecycle.steps import load_extractor
from aios_assets.lifecycle.training import holdout_of, refuse_too_little, version_metadata
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion


@dataclass(frozen=True)
class Proof:
    """Evidence that a training set lost no document and saw nothing of the future.

    Attributes:
        asked: Documents with truth that have not been quarantined.
        rows: Rows of the set.
        future: Rows whose document or truth was known only after the set's end.
        unmatched: Truths about documents that are in quarantine or never came.
    """

    asked: int
    rows: int
    future: int
    unmatched: int

    @property
    def holds(self) -> bool:
        """Whether no row was lost and none saw the future."""
        return self.asked == self.rows and not self.future


def watched_inputs(learner: ModelStep) -> Watched:
    """Return the columns known before the step whose drift is watched."""
    automation, columns = learner.automation, _watched_kinds(learner)

    def read(platform: Platform, window: Window) -> pl.DataFrame:
        lake = platform.lake(automation.name)
        known = known_events(automation, lake, window.key, before=learner.step.name)
        return _watched(known, columns)

    return Watched(columns, read)


def _watched_kinds(learner: ModelStep) -> dict[str, FeatureKind]:
    kinds = learner.automation.spec.columns
    ignored = learner.spec.drift.ignore
    return {
        name: "category" if TYPES[kinds[name]] == pl.String else "number"
        for name in learner.spec.watch
        if name not in ignored
    }


def _watched(rows: pl.DataFrame, columns: dict[str, FeatureKind]) -> pl.DataFrame:
    return rows.select(
        pl.col(name).cast(pl.Float64 if kind == "number" else pl.String)
        for name, kind in columns.items()
    )


def make_training_set(
    learner: ModelStep, platform: Platform, window: Window
) -> tuple[pl.DataFrame, Proof]:
    """Join, prove, divide and store all documents whose truth is known at the end of a window.

    Columns: id, the step's inputs, the watched columns, `event_time`, `known_at`,
    `label_known_at`, `label` (1), `<field>_truth`, `holdout`; oldest truth first.

    Raises:
        AiosError: There are too few of them.
    """
    from model_registry.champion import champion_at

    automation, lake = learner.automation, platform.lake(learner.name)
    identity, spec = automation.spec.id, learner.spec
    truth = lake.read_all("labels", until=window.key)
    if truth is None:
        raise AiosError(
            f"no truth is known at {window.end:%Y-%m-%d}",
            where=f"{learner.name} training_set {window.key}",
            fix=f"Materialize {learner.asset('truth')} up to {window.key}.",
        )
    truth = truth.unique(identity, keep="last", maintain_order=True)
    truth = truth.rename({"known_at": "label_known_at"})
    truth = truth.rename({name: f"{name}_truth" for name in spec.fields})
    events = _documents(learner, platform, window)
    rows = truth.join(events, on=identity, how="inner").with_columns(label=pl.lit(1.0))
    rows = rows.sort("label_known_at", "known_at", identity)
    if spec.training.window:
        rows = rows.tail(spec.training.window)
    refuse_too_little(learner, rows, window)
    champion = champion_at(platform.registry, learner.name, window.end)
    frame = rows.with_columns(holdout=holdout_of(learner, rows, champion))
    future = (pl.col("known_at") >= window.end) | (pl.col("label_known_at") >= window.end)
    matched = truth.join(events, on=identity, how="semi").height
    asked = min(matched, spec.training.window or matched)
    proof = Proof(asked, frame.height, frame.filter(future).height, truth.height - matched)
    profile = lake.path("profiles", window.key, "npz")
    profile.parent.mkdir(parents=True, exist_ok=True)
    kinds = _watched_kinds(learner)
    Profile.of(_watched(frame, kinds), list(kinds)).write(profile)
    lake.write("training_set", window.key, frame)
    return frame, proof


def _documents(learner: ModelStep, platform: Platform, window: Window) -> pl.DataFrame:
    """Return what the step sees of every document up to a window, its latest revision."""
    automation, spec = learner.automation, learner.automation.spec
    lake, step, identity = platform.lake(automation.name), learner.step, spec.id
    groups = [name for name in learner.spec.slices if name not in step.outputs]
    times = ["known_at", "revision", spec.event_time]
    wanted = dict.fromkeys([identity, *times, *step.inputs, *learner.spec.watch, *groups])
    frames = [
        known_events(automation, lake, key, before=step.name, json=True).select(*wanted)
        for key in lake.partitions("events")
        if key <= window.key
    ]
    latest = pl.concat(frames).sort("revision", maintain_order=True)
    latest = latest.unique(identity, keep="last", maintain_order=True)
    return latest.with_columns(pl.col(spec.event_time).alias("event_time"))


def extract(learner: ModelStep, function: Function, rows: pl.DataFrame) -> pl.DataFrame:
    """Run an extraction on rows of the step's inputs; return its outputs, row by row."""
    step = learner.step
    outcomes = list(run_here(step, function, rows.select(step.inputs).iter_rows(named=True)))
    return pl.DataFrame(
        [
            pl.Series(name, [one.outputs[name] for one in outcomes], dtype=TYPES[kind])
            for name, kind in step.outputs.items()
        ]
    )


def judged(learner: ModelStep, rows: pl.DataFrame, read: pl.DataFrame) -> pl.DataFrame:
    """Compare what was read with the truth of the rows, see `aios.statistics.extraction`."""
    fields = learner.spec.fields
    truth = rows.select(pl.col(f"{name}_truth").alias(name) for name in fields)
    same = learner.automation.function(learner.spec.same)
    return compare(read, truth, fields, learner.spec.key_fields, same)


def scores_of_documents(learner: ModelStep) -> Any:
    """Return what scores held-out documents with a champion: the F1 of each.

    Where it does not load, the one before it reads them.
    """
    from model_registry.loading import load_or_before

    def rescore(platform: Platform, version: "ModelVersion", rows: pl.DataFrame) -> np.ndarray:
        _, function, _ = load_or_before(
            platform.registry, version, lambda _, one: load_extractor(platform, learner, one)
        )
        read = extract(learner, function, rows)
        return judged(learner, rows, read)["score"].to_numpy()

    return rescore


def train_extractor(
    learner: ModelStep,
    platform: Platform,
    window: Window,
    candidate: Candidate,
    made_by: dict[str, str],
) -> "ModelVersion":
    """Evaluate a recipe on the holdout, fit it on everything, and register its parts."""
    from model_registry.parts import in_memory
    from model_registry.registration import register

    automation, spec, lake = learner.automation, learner.spec, platform.lake(learner.name)
    frame = lake.read("training_set", window.key)
    held = frame.filter("holdout")
    twin = in_memory(_fit(learner, candidate, frame.filter(~pl.col("holdout"))))
    read = extract(learner, automation.function(spec.load)(twin), held)
    found = judged(learner, held, read)
    evaluation = pl.concat(
        [held.select(automation.spec.id, "label"), found, read.select("confidence")],
        how="horizontal",
    )
    lake.write(f"evaluation/{candidate.name}", window.key, evaluation)
    label, score = held["label"].to_numpy(), found["score"].to_numpy()
    metrics = evaluate("extraction", label, score, CONFIDENCE) | field_metrics(learner, found)
    sliced = pl.concat([held, read.drop(set(read.columns) & set(held.columns))], how="horizontal")
    slices = by_slice("extraction", label, score, sliced.select(spec.slices))
    right = found["right"].to_numpy().astype(float)
    confidence = read["confidence"].to_numpy()
    card = write_extraction_card(learner, candidate, frame, metrics, slices, confidence, right)
    return register(
        platform.registry,
        automation=learner.name,
        candidate=candidate.name,
        key=f"{learner.name}/{window.key}/{candidate.name}",
        model=_fit(learner, candidate, frame),
        task="extraction",
        columns=_watched_kinds(learner),
        sample=frame.head(0),
        trained_until=window.end,
        params={**candidate.params, "recipe": candidate.train},
        metrics=metrics,
        slices=slices,
        lineage={
            "dataset_digest": frame_digest(frame),
            "rows": str(frame.height),
            "code_version": automation.code_version,
            "seed": str(spec.training.seed),
            "partition": window.key,
            **made_by,
        },
        card=card,
        plots={
            "metrics": metric_bars(metrics),
            "calibration": calibration_curve(calibration(confidence, right)),
            "coverage": coverage_curve(curve(confidence, right), spec.max_wrong),
        },
    )


def field_metrics(learner: ModelStep, found: pl.DataFrame) -> dict[str, Estimate]:
    """Return the share of right values of every field that has truth, with its interval."""
    metrics = {}
    for name in learner.spec.fields:
        values = found[f"{name}_right"].drop_nulls().cast(pl.Float64).to_numpy()
        if len(values):
            metrics[f"{name}_right"] = evaluate("extraction", values * 0 + 1, values, CONFIDENCE)[
                "documents_right"
            ]
    return metrics


def _fit(learner: ModelStep, candidate: Candidate, frame: pl.DataFrame) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    rows = frame.tail(candidate.window) if candidate.window else frame
    truth = rows.select(pl.col(f"{name}_truth").alias(name) for name in learner.spec.fields)
    train = learner.automation.function(candidate.train)
    try:
        with threadpool_limits(1):
            parts: dict[str, Any] = train(
                rows.select(learner.step.inputs),
                truth,
                seed=learner.spec.training.seed,
                **candidate.params,
            )
            return parts
    except AiosError:
        raise
    except Exception as error:
        raise AiosError(
            f"training failed: {type(error).__name__}: {error}",
            where=f"{learner.name} candidate {candidate.name}",
            fix=f"Mend {candidate.train}; the champion goes on reading.",
        ) from error


def build_extraction_training_set(learner: ModelStep) -> dg.AssetsDefinition:
    """Build the training set of a model step, with its blocking proof."""
    automation, noun = learner.automation, learner.asset("training_set")
    before = last_before(automation, learner.step.name)

    @dg.asset(
        **asset_options(automation, noun, kinds={"polars"}),
        deps=[[automation.name, name] for name in (before, learner.asset("truth"))],
        description="All documents whose truth is known at the end of the partition. The newest "
        "are the holdout.",
        check_specs=[
            check_spec(
                automation,
                noun,
                "point_in_time",
                "No document is lost, and nothing was known later than the set's end.",
                blocking=True,
            )
        ],
    )
    def training_set(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage(noun):
            window = learner.window(context.partition_key)
            frame, proof = make_training_set(learner, platform, window)
        return dg.MaterializeResult(
            metadata={
                **row_metadata(frame, frame.height),
                "holdout_rows": int(frame["holdout"].sum()),
                "digest": frame_digest(frame),
            },
            check_results=[check_result("point_in_time", proof.holds, error=True, **vars(proof))],
        )

    return training_set


def build_extraction_candidate(learner: ModelStep, candidate: Candidate) -> dg.AssetsDefinition:
    """Build the asset of one candidate of a model step: a new version in the registry."""
    automation, noun = learner.automation, learner.asset(candidate.name)

    @dg.asset(
        **asset_options(automation, noun, kinds={"mlflow"}),
        deps=[[automation.name, learner.asset("training_set")]],
        description=f"A version of recipe `{candidate.train}`, trained on the documents with truth "
        "and registered in MLflow with its card. It reads nothing before the gate.",
        pool="training",
    )
    def model(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        window = learner.window(context.partition_key)
        with stage(noun):
            by = made_by(context, platform.settings)
            version = train_extractor(learner, platform, window, candidate, by)
        return dg.MaterializeResult(metadata=version_metadata(platform, version))

    return model

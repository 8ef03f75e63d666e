"""Drift: Evidently's page for people, and a calibrated verdict for machines."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import dagster as dg
import numpy as np
import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from aios.learner import Learner
from aios.statistics.drift import DriftVerdict, drift_verdict
from aios.statistics.profile import Profile
from aios.values import FeatureKind
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    stage,
    windows_of,
)
from aios_assets.lifecycle.plots import as_markdown, drift_bars
from aios_assets.links import page
from aios_assets.resources import Platform

# Evidently's time grows with rows and its pictures do not get better: it is shown a sample.
SAMPLE = 1_000


class DriftConfig(dg.Config):
    """For which partitions Evidently's page is drawn; the verdict is always computed."""

    page: Literal["always", "drifted"] = "always"


@dataclass(frozen=True)
class Watched:
    """What is watched of a learner's inputs.

    Attributes:
        columns: Names, each "number" or "category".
        read: Returns them for the events of a window.
    """

    columns: dict[str, FeatureKind]
    read: Callable[[Platform, Window], pl.DataFrame]


def watch(
    learner: Learner, watched: Watched, platform: Platform, window: Window, page_for: str
) -> DriftVerdict | None:
    """Compare a window's inputs with the training set of the champion in force at its end.

    Stores the verdict as JSON and, where `page_for` asks for it, Evidently's page as HTML among
    the reports.

    Returns:
        The verdict, or None where there is no champion and so nothing to compare with.
    """
    from model_registry.champion import champion_at

    lake = platform.lake(learner.name)
    champion = champion_at(platform.registry, learner.name, window.end)
    if champion is None:
        lake.write_json("drift", window.key, {"partition": window.key, "status": "insufficient"})
        return None
    columns = list(watched.columns)
    current = watched.read(platform, window)
    settings = learner.spec.drift
    verdict = drift_verdict(
        Profile.read(lake.path("profiles", champion.tags["aios.partition"], "npz")),
        current,
        columns=columns,
        false_alarm_rate=settings.false_alarm_rate,
        min_effect=settings.min_effect,
        min_rows=settings.min_rows,
    )
    lake.write_json(
        "drift",
        window.key,
        {"partition": window.key, "champion": champion.number, **asdict(verdict)},
    )
    if page_for == "always" or verdict.status == "drift":
        training = lake.read("training_set", champion.tags["aios.partition"], columns)
        html = evidently_page(training, current, watched.columns)
        platform.reports(learner.name).write_bytes("drift", window.key, "html", html.encode())
    return verdict


def watched_features(automation: Automation) -> Watched:
    """Return the features that the drift budget does not ignore."""
    ignored = automation.spec.drift.ignore
    columns = {n: k for n, k in automation.spec.feature_columns.items() if n not in ignored}

    def read(platform: Platform, window: Window) -> pl.DataFrame:
        return platform.lake(automation.name).read("features", window.key, list(columns))

    return Watched(columns, read)


def evidently_page(reference: pl.DataFrame, current: pl.DataFrame, kinds: Mapping[str, str]) -> str:
    """Draw Evidently's drift report on a fixed sample of both frames, as one HTML page."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    # A column without a single value cannot be drawn.
    drawn = [n for n in current.columns if current[n].count() and reference[n].count()]
    definition = DataDefinition(
        numerical_columns=[name for name in drawn if kinds[name] == "number"],
        categorical_columns=[name for name in drawn if kinds[name] == "category"],
    )
    datasets = [
        Dataset.from_pandas(_sample(frame.select(drawn)).to_pandas(), data_definition=definition)
        for frame in (current, reference)
    ]
    # Evidently divides by zero where a column never changes, and shows it well all the same.
    with np.errstate(divide="ignore", invalid="ignore"):
        html: str = Report([DataDriftPreset()]).run(*datasets).get_html_str(as_iframe=False)
    return html


def _sample(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sample(SAMPLE, seed=0) if frame.height > SAMPLE else frame


def build_drift_report(
    automation: Automation, learner: Learner, watched: Watched, after: str = "features"
) -> dg.AssetsDefinition:
    """Build the `drift_report` asset of an automation or of one of its model steps."""
    settings, noun = learner.spec.drift, learner.asset("drift_report")

    @dg.asset(
        **asset_options(automation, noun, kinds={"evidently"}),
        deps=[[automation.name, after]],
        description="How the partition's inputs differ from those the champion was trained on. "
        f"Machines read the verdict: at most {settings.false_alarm_rate:.0%} false alarms a "
        f"partition over all columns, and a distance of at least {settings.min_effect}. "
        "People read Evidently's page.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[check_spec(automation, noun, "no_drift", "No input drifted.")],
    )
    def drift_report(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], config: DriftConfig
    ) -> dg.MaterializeResult:
        with stage(noun):
            verdicts = {
                window.key: watch(learner, watched, platform, window, config.page)
                for window in windows_of(context, automation)
            }
        *_, key = verdicts
        drifted = {k: v.drifted for k, v in verdicts.items() if v and v.status == "drift"}
        return dg.MaterializeResult(
            metadata=_metadata(learner, platform.reports(learner.name), key, verdicts[key]),
            check_results=[
                check_result(
                    "no_drift",
                    not drifted,
                    drifted="; ".join(f"{k}: {', '.join(v)}" for k, v in drifted.items()) or "none",
                    partitions=len(verdicts),
                )
            ],
        )

    return drift_report


def _metadata(
    learner: Learner, reports: Lake, key: str, verdict: DriftVerdict | None
) -> dict[str, Any]:
    if verdict is None:
        return {"status": "insufficient", "why": "no champion in force, nothing to compare with"}
    rows = [
        (one.column, one.measure, one.distance, one.adjusted, "yes" if one.drifted else "no")
        for one in verdict.columns
    ]
    metadata: dict[str, Any] = {
        "status": verdict.status,
        "rows": verdict.n_current,
        "distances": as_markdown(
            drift_bars(verdict, learner.spec.drift.min_effect), "distance by column"
        ),
        "columns": markdown_table(["column", "measure", "distance", "q", "drifted"], rows),
    }
    if reports.has("drift", key, "html"):
        metadata["Evidently report"] = page(reports, "drift", key)
    return metadata

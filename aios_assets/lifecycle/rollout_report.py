"""The rollout report: the judge's verdict on the version under way, and what it rests on."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from aios.automation import Automation
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.common import asset_options, check_result, check_spec, stage, windows_of
from aios_assets.lifecycle.hindsight import look_back
from aios_assets.lifecycle.rollout_evidence import (
    Subject,
    delay_curve,
    rows_of,
    series_of,
    starts_of,
)
from aios_assets.lifecycle.rollout_outlook import Seen, labels_of, waits_for
from aios_assets.lifecycle.rollout_slices import loss_by_slice
from aios_assets.lifecycle.rollout_subjects import subjects
from aios_assets.lifecycle.rollout_view import metadata_of, page_of
from aios_assets.links import page
from aios_assets.resources import Platform
from model_registry.findings import DATASET, write
from model_registry.judge import judge
from model_registry.rollout import moves
from model_registry.stages import stage_of, under_way

if TYPE_CHECKING:
    from aios.statistics.maturity import DelayCurve
    from model_registry.judge import Series, Verdict


def judge_window(
    automation: Automation, platform: Platform, window: Window
) -> list[dict[str, Any]]:
    """Judge every version that a rollout is about at a window's end, and store the findings."""
    lake = platform.lake(automation.name)
    known = moves(platform.log, automation.name)
    if here := under_way([move for move in known if move.at < window.end]):
        look_back(automation, platform, stage_of(known, here.version)[0])
    judged = subjects(automation, lake, known, window)
    curve = delay_curve(automation, lake, window) if judged else None
    found = [_finding(automation, lake, one, window, curve) for one in judged]
    write(platform.log, lake, automation.name, window.key, window.end, found)
    return found


def looks_before(lake: Lake, finding: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    """Return by partition what was found of the same run of a version, up to a partition."""
    looks: dict[str, dict[str, Any]] = {}
    for before in lake.partitions(DATASET, "json"):
        if before > key:
            continue
        for one in lake.read_json(DATASET, before)["findings"]:
            if one["version"] == finding["version"] and one["leaf"] >= finding["begun"]:
                looks[before] = one
    return looks


def _finding(
    automation: Automation,
    lake: Lake,
    subject: Subject,
    window: Window,
    curve: "DelayCurve | None",
) -> dict[str, Any]:

    declared, here = automation.spec.rollout, subject.here
    assert declared
    series: list[Series] = []
    seen: dict[str, Any] = {"level": {}, "labels": None, "slices": []}
    rows = None
    if subject.keys:
        rows = rows_of(automation, lake, subject, window)
        series, seen["level"] = series_of(
            automation, rows, curve, starts_of(automation, subject, window), window.end,
            arrived=here.state == "champion",
        )  # fmt: skip
        seen["slices"] = loss_by_slice(
            automation, lake, rows.frame, [*subject.before, *subject.keys]
        )
    verdict = judge(
        series,
        error_rate=declared.error_rate,
        min_rows=declared.min_rows,
        matured=declared.matured,
    )
    plain = _plain(verdict)
    if rows is not None:
        of = Seen.of(rows.frame, curve)
        seen["labels"] = labels_of(of, window.end)
        last = here.state != "champion" and not any(one > here.share for one in declared.canary)
        cadence = automation.spec.cadence
        seen["waits_for"] = waits_for(declared, plain["metrics"], of, window, cadence, last=last)
    return {
        "version": here.version,
        "champion": here.champion,
        "leaf": here.leaf,
        "begun": subject.run[0].leaf,
        "state": here.state,
        "share": here.share,
        "since": here.at.isoformat(),
        "partitions": len(subject.current),
        "keys": subject.keys,
        "waits_for": [],
        **seen,
        **plain,
    }


def _plain(verdict: "Verdict") -> dict[str, Any]:
    return {
        "status": verdict.status,
        "provisional": verdict.provisional,
        "reasons": list(verdict.reasons),
        # Of what is judged from later starts on, only what decided something is worth keeping.
        "metrics": [
            asdict(one) for one in verdict.metrics if one.scope == "whole" or one.status == "worse"
        ],
    }


def build_rollout_report(automation: Automation) -> dg.AssetsDefinition:
    """Build the `rollout_report` asset."""

    @dg.asset(
        **asset_options(automation, "rollout_report", kinds={"polars"}),
        deps=[[automation.name, noun] for noun in ("shadow", "labels")],
        description="The judge's verdict on the version in rollout against the champion, on the "
        "same events: each metric with its bounds, what is still missing, and the time to a "
        "verdict. A sensor acts on the newest one.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(
                automation, "rollout_report", "not_worse", "No version in rollout does worse."
            )
        ],
    )
    def rollout_report(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        lake, reports = platform.lake(automation.name), platform.reports(automation.name)
        metadata: dict[str, Any] = {}
        worse: list[str] = []
        with stage("rollout_report"):
            for window in windows_of(context, automation):
                found = judge_window(automation, platform, window)
                worse += [f"{window.key}: {o['version']}" for o in found if o["status"] == "worse"]
                looks = [looks_before(lake, one, window.key) for one in found]
                metadata = metadata_of(automation, window, found, looks)
                if found:
                    text = page_of(automation, window, found, looks)
                    reports.write_bytes(DATASET, window.key, "html", text.encode())
                    metadata["page"] = page(reports, DATASET, window.key)
        return dg.MaterializeResult(
            metadata=metadata,
            check_results=[check_result("not_worse", not worse, worse="; ".join(worse) or "none")],
        )

    return rollout_report

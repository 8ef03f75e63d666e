"""The gate: candidates against the champion on the same rows, and what follows from it."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from aios.automation import Automation
from aios.errors import AiosError
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    stage,
)
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.gate import GateVerdict
    from model_registry.registry import ModelVersion


def judge(automation: Automation, platform: Platform, window: Window) -> "GateVerdict":
    """Judge a window's candidates, record the verdicts, and promote where declared.

    With `promotion: automatic` the chosen candidate decides from the end of the window on;
    otherwise it waits as a challenger for `aios promote`.
    """
    from model_registry.champion import champion_at, promote
    from model_registry.gate import apply, gate

    spec, registry = automation.spec, platform.registry
    held = platform.lake(automation.name).read("training_set", window.key).filter("holdout")
    versions = {one.candidate: one for one in _trained(automation, platform, window)}
    champion = champion_at(registry, automation.name, window.end)
    verdict = gate(
        spec.task,
        held["label"].to_numpy(),
        {name: _scores(automation, platform, window, name) for name in versions},
        _champion_scores(platform, champion, held),
        metric=spec.gate.metric,
        floor=spec.gate.floor,
        margin=spec.gate.margin,
        confidence=spec.gate.confidence,
        min_rows=spec.gate.min_rows,
        min_per_class=spec.training.min_per_class,
    )
    apply(registry, verdict, versions)
    platform.lake(automation.name).write_json(
        "gate",
        window.key,
        {
            "partition": window.key,
            "status": verdict.status,
            "chosen": verdict.chosen,
            "champion": champion.number if champion else None,
            "versions": {name: version.number for name, version in versions.items()},
            "candidates": {name: asdict(one) for name, one in verdict.candidates.items()},
        },
    )
    if verdict.chosen and spec.promotion == "automatic":
        promote(
            registry,
            automation.name,
            versions[verdict.chosen].number,
            at=window.end,
            by="gate",
            reason=" ".join(verdict.candidates[verdict.chosen].reasons),
            evidence=f"gate {window.key}",
            expected=champion.number if champion else 0,
        )
    return verdict


def _trained(automation: Automation, platform: Platform, window: Window) -> "list[ModelVersion]":
    from model_registry.registration import find

    versions = []
    for candidate in automation.spec.candidates:
        key = f"{automation.name}/{window.key}/{candidate.name}"
        version = find(platform.registry, automation.name, key)
        if version is None:
            raise AiosError(
                f"candidate {candidate.name} has no version of {window.key}",
                where=f"{automation.name} gate {window.key}",
                fix=f"Materialize {automation.name}/{candidate.name} for {window.key}.",
            )
        versions.append(version)
    return versions


def _scores(
    automation: Automation, platform: Platform, window: Window, candidate: str
) -> np.ndarray:
    lake = platform.lake(automation.name)
    return lake.read(f"evaluation/{candidate}", window.key, ["score"])["score"].to_numpy()


def _champion_scores(
    platform: Platform, champion: "ModelVersion | None", held: pl.DataFrame
) -> np.ndarray | None:
    from model_registry.formats import load

    return load(platform.registry, champion).score(held) if champion else None


def build_gate(automation: Automation) -> dg.AssetsDefinition:
    """Build the `gate` asset."""
    gate_spec = automation.spec.gate
    then = (
        "the best one that passes becomes champion"
        if automation.spec.promotion == "automatic"
        else "the ones that pass wait as challengers for `aios promote`"
    )

    @dg.asset(
        **asset_options(automation, "gate", kinds={"mlflow"}),
        deps=[[automation.name, candidate.name] for candidate in automation.spec.candidates],
        description=f"Every candidate against the champion on the same held-out rows: "
        f"{gate_spec.metric} at least {gate_spec.floor} and not worse by {gate_spec.margin}; "
        f"{then}. What cannot be measured does not pass.",
        check_specs=[check_spec(automation, "gate", "passed", "At least one candidate passes.")],
    )
    def gate(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        window = automation.window(context.partition_key)
        with stage("gate"):
            verdict = judge(automation, platform, window)
        return dg.MaterializeResult(
            metadata=_metadata(verdict),
            check_results=[
                check_result(
                    "passed",
                    verdict.status == "pass",
                    status=verdict.status,
                    chosen=verdict.chosen or "none",
                )
            ],
        )

    return gate


def _metadata(verdict: "GateVerdict") -> dict[str, Any]:
    rows = [
        (name, one.status, one.estimate.value if one.estimate else "n/a", " ".join(one.reasons))
        for name, one in verdict.candidates.items()
    ]
    return {
        "status": verdict.status,
        "chosen": verdict.chosen or "none",
        "verdicts": markdown_table(["candidate", "status", verdict.metric, "why"], rows),
    }

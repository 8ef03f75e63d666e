"""The gate: candidates against the champion on the same rows, and what follows from it."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from aios import clock
from aios.automation import Automation
from aios.errors import AiosError
from aios.identity.access import Denied
from aios.identity.actors import GATE, REHEARSAL
from aios.learner import Learner
from aios.record.batches import file_digest
from aios.record.leaves import Act
from aios.statistics.comparison import paired_difference
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


Rescore = Callable[[Platform, "ModelVersion", pl.DataFrame], np.ndarray]


def judge(learner: Learner, platform: Platform, window: Window, rescore: Rescore) -> "GateVerdict":
    """Judge a window's candidates, record the verdicts, and promote where declared.

    With `promotion: automatic` the chosen candidate decides from the end of the window on;
    otherwise it waits as a challenger for `aios promote`.

    Args:
        learner: Whose candidates.
        platform: Where everything is.
        window: Of which partition.
        rescore: Scores the held-out rows of the training set with the champion.
    """
    from model_registry.champion import champion_at
    from model_registry.gate import apply, gate

    spec, registry = learner.spec, platform.registry
    held = platform.lake(learner.name).read("training_set", window.key).filter("holdout")
    versions = {one.candidate: one for one in _trained(learner, platform, window)}
    champion = champion_at(registry, learner.name, window.end)
    verdict = gate(
        spec.task,
        held["label"].to_numpy(),
        {name: _scores(learner, platform, window, name) for name in versions},
        rescore(platform, champion, held) if champion else None,
        metric=spec.gate.metric,
        floor=spec.gate.floor,
        margin=spec.gate.margin,
        confidence=spec.gate.confidence,
        min_rows=spec.gate.min_rows,
        min_per_class=spec.training.min_per_class,
    )
    apply(registry, verdict, versions)
    evidence = platform.lake(learner.name).write_json(
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
    _record(learner, platform, window, verdict, versions, file_digest(evidence))
    if verdict.chosen and spec.promotion == "automatic":
        _promote(
            learner,
            platform,
            versions[verdict.chosen].number,
            at=window.end,
            expected=champion.number if champion else 0,
            reason=" ".join(verdict.candidates[verdict.chosen].reasons),
            evidence=f"gate {window.key}",
            evidence_digest=file_digest(evidence),
            better=_better_than_under_way(learner, platform, window, verdict.chosen, held, rescore),
        )
    return verdict


def _better_than_under_way(
    learner: Learner,
    platform: Platform,
    window: Window,
    chosen: str,
    held: pl.DataFrame,
    rescore: Rescore,
) -> bool:
    """Tell whether a candidate is surely better on the held-out rows than the one in rollout.

    That one may have been trained on some of these rows, which is in its favour.
    """
    from model_registry.rollout import moves
    from model_registry.stages import under_way

    here = under_way(moves(platform.log, learner.name))
    if here is None:
        return False
    difference = paired_difference(
        learner.spec.gate.metric,
        held["label"].to_numpy(),
        _scores(learner, platform, window, chosen),
        rescore(platform, platform.registry.get(learner.name, here.version), held),
        confidence=learner.spec.gate.confidence,
    )
    return bool(difference.low > 0)


def _record(
    learner: Learner,
    platform: Platform,
    window: Window,
    verdict: "GateVerdict",
    versions: "dict[str, ModelVersion]",
    digest: str,
) -> None:
    body = {
        "partition": window.key,
        "status": verdict.status,
        "chosen": verdict.chosen,
        "versions": {name: version.number for name, version in versions.items()},
        "verdicts": {name: one.status for name, one in verdict.candidates.items()},
        "file": digest,
    }
    key = f"gate/{learner.name}/{window.key}/{digest}"
    platform.log.append(Act("gate", learner.name, str(GATE), body, at=window.end, key=key))


def _promote(
    learner: Learner,
    platform: Platform,
    number: int,
    *,
    at: datetime,
    expected: int,
    reason: str,
    evidence: str,
    evidence_digest: str,
    better: bool,
) -> None:
    """Promote or begin a rollout, or ask for the approval that the rules want from a person."""
    from model_registry.authority import Authority, needs_approval
    from model_registry.champion import history
    from model_registry.conduct import Conductor
    from model_registry.rollout import moves
    from model_registry.stages import latest

    actor = REHEARSAL if clock.rehearsing() else GATE
    authority = Authority(platform.registry, platform.access, learner)
    known = history(platform.registry, learner.name)
    if known and getattr(learner.spec, "rollout", None):
        # One that has been on its way before is not started again when its gate runs again.
        before = {one.version for one in known} | latest(moves(platform.log, learner.name)).keys()
        if number not in before:
            Conductor(authority).start(
                number, GATE, at=at, reason=reason, better=better, evidence=evidence,
                evidence_digest=evidence_digest,
            )  # fmt: skip
        return
    basis: dict[str, Any] = {
        "reason": reason,
        "evidence": evidence,
        "evidence_digest": evidence_digest,
    }
    try:
        authority.promote(number, actor, at=at, expected=expected, **basis)
    except Denied as denied:
        if not needs_approval(denied):
            raise
        # One that decides or decided is not asked for again when its gate runs again.
        if all(one.version != number for one in known):
            authority.request(number, actor, expected=expected, **basis)


def _trained(learner: Learner, platform: Platform, window: Window) -> "list[ModelVersion]":
    from model_registry.registration import find

    versions = []
    for candidate in learner.spec.candidates:
        key = f"{learner.name}/{window.key}/{candidate.name}"
        version = find(platform.registry, learner.name, key)
        if version is None:
            raise AiosError(
                f"candidate {candidate.name} has no version of {window.key}",
                where=f"{learner.name} gate {window.key}",
                fix=f"Materialize {learner.asset(candidate.name)} for {window.key}.",
            )
        versions.append(version)
    return versions


def _scores(learner: Learner, platform: Platform, window: Window, candidate: str) -> np.ndarray:
    lake = platform.lake(learner.name)
    return lake.read(f"evaluation/{candidate}", window.key, ["score"])["score"].to_numpy()


def scores_of(platform: Platform, version: "ModelVersion", rows: pl.DataFrame) -> np.ndarray:
    """Score rows of features with a champion, or the one before it where it does not load."""
    from model_registry.formats import load
    from model_registry.loading import load_or_before

    return load_or_before(platform.registry, version, load)[1].score(rows)


def build_gate(
    automation: Automation, learner: Learner, rescore: Rescore = scores_of
) -> dg.AssetsDefinition:
    """Build the `gate` asset of an automation or of one of its model steps."""
    gate_spec, noun = learner.spec.gate, learner.asset("gate")
    then = (
        "the best one that passes becomes champion"
        if learner.spec.promotion == "automatic"
        else "the ones that pass wait as challengers for `aios promote`"
    )

    @dg.asset(
        **asset_options(automation, noun, kinds={"mlflow"}),
        deps=[[automation.name, learner.asset(one.name)] for one in learner.spec.candidates],
        description=f"Every candidate against the champion on the same held-out rows: "
        f"{gate_spec.metric} at least {gate_spec.floor} and not worse by {gate_spec.margin}; "
        f"{then}. What cannot be measured does not pass.",
        check_specs=[check_spec(automation, noun, "passed", "At least one candidate passes.")],
    )
    def gate(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        window = learner.window(context.partition_key)
        with stage(noun):
            verdict = judge(learner, platform, window, rescore)
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

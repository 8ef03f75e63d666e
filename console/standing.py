"""Where the model of an automation stands: versions, rollout, verdict, requests, moves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios.automation import Automation
from aios.errors import AiosError
from aios.learner import Learner, learners

if TYPE_CHECKING:
    from aios_assets.resources import Platform
    from model_registry.approvals import Request
    from model_registry.conduct import Conductor
    from model_registry.ledger import Change
    from model_registry.registry import ModelVersion
    from model_registry.stages import Move

_SHOWN_MOVES = 30


@dataclass(frozen=True)
class Judged:
    """A version that a rollout is about, with what the newest report says of it.

    Attributes:
        title: Where it stands, in words.
        verdict: The report's, in words; says so where there is none.
        reasons: Why.
        waits: What stands between it and its next step.
        metrics: The rows of the table of metrics.
        pictures: The titles of its plots.
    """

    version: int
    title: str
    verdict: str
    reasons: list[str]
    waits: list[str]
    metrics: list[tuple[Any, ...]]
    pictures: list[str]


@dataclass(frozen=True)
class Standing:
    """Where a model stands.

    Attributes:
        name: Of what learns: an automation or a model step.
        champion: The number of the version that decides, 0 for none.
        versions: All of them, the newest first.
        here: The move of the version under way.
        judged: The version under way, and the champion that may be taken back.
        blocked: Why no version may be given decisions now.
        waiting: The versions that wait for their turn.
        requests: Those that are open or approved.
        moves: The last moves, the newest first.
        changes: Who was made champion, the newest first.
        report: The newest partition with a rollout report.
    """

    name: str
    champion: int
    versions: list[ModelVersion]
    here: Move | None
    judged: list[Judged]
    blocked: str | None
    waiting: list[int]
    requests: list[Request]
    moves: list[Move]
    changes: list[Change]
    report: str | None


def learner_of(automation: Automation, name: str) -> Learner:
    """Return what learns under a name in an automation.

    Raises:
        AiosError: Nothing does.
    """
    known = {learner.name: learner for learner in learners(automation)}
    if name not in known:
        raise AiosError(f"'{name}' has no model of its own", fix="Choose one of the list.")
    return known[name]


def standing(learner: Learner, platform: Platform, conductor: Conductor | None) -> Standing:
    """Collect where a model stands; the conductor where a rollout is declared."""
    from model_registry.approvals import requests
    from model_registry.champion import history
    from model_registry.findings import DATASET
    from model_registry.stages import queued, under_way, watched

    name, lake = learner.name, platform.lake(learner.name)
    changes = history(platform.registry, name)
    known = conductor.moves() if conductor else []
    here, judged, report = under_way(known), [], None
    if conductor and isinstance(learner, Automation):
        keys = lake.partitions(DATASET, "json")
        report = keys[-1] if keys else None
        findings = lake.read_json(DATASET, keys[-1])["findings"] if keys else []
        end = learner.window(keys[-1]).end if keys else datetime.min
        about = [here, watched(known, conductor.declared.reopen, end)]
        of = {one["version"]: one for one in findings}
        judged = [_judged(learner, move, of.get(move.version)) for move in about if move]
    return Standing(
        name=name,
        champion=changes[-1].version if changes else 0,
        versions=platform.registry.versions(name)[::-1],
        here=here,
        judged=judged,
        blocked=conductor.blocked() if conductor and here else None,
        waiting=queued(known),
        requests=[o for o in requests(platform.log, name) if o.state in ("open", "approved")],
        moves=known[: -_SHOWN_MOVES - 1 : -1],
        changes=changes[: -_SHOWN_MOVES - 1 : -1],
        report=report,
    )


def picture(automation: Automation, platform: Platform, version: int, number: int) -> bytes | None:
    """Return a plot of the newest report on a version as PNG; None where there is none."""
    from aios_assets.lifecycle.rollout_report import looks_before
    from aios_assets.lifecycle.rollout_view import pictures
    from model_registry.findings import DATASET

    lake = platform.lake(automation.name)
    for key in lake.partitions(DATASET, "json")[-1:]:
        for one in lake.read_json(DATASET, key)["findings"]:
            if one["version"] == version:
                drawn = list(pictures(one, looks_before(lake, one, key)).values())
                return drawn[number] if number < len(drawn) else None
    return None


def _judged(automation: Automation, move: Move, finding: dict[str, Any] | None) -> Judged:
    from aios_assets.lifecycle.rollout_view import (
        DRAWN,
        WHOLE,
        metric_rows,
        stage_name,
        verdict_of,
        waits,
    )

    stage = stage_name(move.state, move.share).replace("_", " ")
    title = f"version {move.version}, {stage} since {move.at:%Y-%m-%d}"
    if finding is None:
        return Judged(move.version, title, "not judged yet", [], [], [], [])
    if "labels" not in finding:
        return Judged(move.version, title, "the report is of an earlier form", [], [], [], [])
    moved = finding["leaf"] != move.leaf
    later = ["The report of the first partition in this stage."]
    whole = {one["metric"] for one in finding["metrics"] if one["scope"] == WHOLE}
    return Judged(
        version=move.version,
        title=title,
        verdict=verdict_of(finding),
        reasons=list(finding["reasons"]),
        waits=later if moved else waits(automation, finding),
        metrics=metric_rows(finding),
        pictures=[f"{metric} over the rollout" for metric in DRAWN if metric in whole],
    )

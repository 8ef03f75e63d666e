"""How every automation stands, read from its state."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios import clock
from aios.alarms import alarms
from aios.automation import Automation, automation_folders
from aios.database import open_database
from aios.halts import EVERYTHING, halts
from aios.lake import Lake
from aios.learner import Learner, ModelStep, model_steps
from aios.settings import Settings
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from aios.rollouts import Rollout
    from model_registry.stages import Move

RECENT = 3


def all_status(settings: Settings) -> list[dict[str, Any]]:
    """Return one row for each automation and each of its model steps.

    A broken automation has one row that carries its error.
    """
    rows = []
    for folder in automation_folders(settings):
        try:
            automation = Automation.load(folder, settings)
            rows.append(_status(automation, settings))
            rows += [_step_status(one, settings) for one in model_steps(automation)]
        except Exception as error:
            rows.append(_row(folder.name, settings, error=str(error)))
    return rows


def _status(automation: Automation, settings: Settings) -> dict[str, Any]:
    lake = Lake(settings.home / "lake" / automation.name)
    decided = lake.partitions("decisions")
    if not decided:
        return _row(automation.name, settings)
    quarantined = sum(lake.rows("quarantine", key) for key in lake.partitions("quarantine"))
    found: dict[str, Any] = {"last partition": decided[-1], "quarantined": quarantined}
    found |= _learning(automation, settings)
    found |= _people_and_actions(automation, settings)
    if automation.spec.rollout:
        found["rollout"] = _rollout(automation, automation.spec.rollout, settings)
    return _row(automation.name, settings, **found)


def _people_and_actions(automation: Automation, settings: Settings) -> dict[str, Any]:
    """Say what waits for people, what for receivers, and whether it is halted."""
    from aios.actions.overview import overview
    from aios.review.queue import counts

    database = open_database(settings.record)
    halted = [one for one in halts(database) if one.scope in (EVERYTHING, automation.name)]
    waiting = counts(database, now=clock.wall(), automation=automation.name)
    cases, overdue = sum(one.waiting for one in waiting), sum(one.overdue for one in waiting)
    there: Counter[str] = Counter()
    for states in overview(database, automation)["states"].values():
        there.update(states)
    moving = sum(there[state] for state in ("waiting", "pending", "sending", "unsure"))
    said = {"open": moving, "incidents": there["incident"], "planned": there["dry_run"]}
    return {
        "halted": "; ".join(f"by {one.by}: {one.reason}" for one in halted) or "no",
        "reviews": f"{cases:,} wait, {overdue:,} overdue" if automation.spec.review else "none",
        "actions": ", ".join(f"{n:,} {name}" for name, n in said.items() if n) or "none open",
    }


def _step_status(learner: ModelStep, settings: Settings) -> dict[str, Any]:
    ran = Lake(settings.home / "lake" / learner.automation.name).partitions(learner.step.name)
    if not ran:
        return _row(learner.name, settings)
    found: dict[str, Any] = {"last partition": ran[-1], "quarantined": ""}
    return _row(learner.name, settings, **found, **_learning(learner, settings))


def _learning(learner: Learner, settings: Settings) -> dict[str, Any]:
    from model_registry.champion import champion

    registry, lake = Platform(settings).registry, Lake(settings.home / "lake" / learner.name)
    deciding = champion(registry, learner.name)
    waiting = [one.number for one in registry.versions(learner.name) if one.stage == "gated"]
    newer = [number for number in waiting if deciding is None or number > deciding.number]
    return {
        "champion": f"version {deciding.number}" if deciding else "none",
        "rollout": ", ".join(f"version {number} waits" for number in newer) or "none",
        "drift": _json_status(lake, "drift"),
        "performance": _json_status(lake, "performance"),
    }


def _rollout(automation: Automation, declared: Rollout, settings: Settings) -> str:
    """Say where each version stands on its way, and what the newest report found of it."""
    from model_registry.rollout import moves
    from model_registry.stages import queued, under_way, watched

    platform = Platform(settings)
    lake, known = platform.lake(automation.name), moves(platform.log, automation.name)
    keys = lake.partitions("rollout", "json")
    found = lake.read_json("rollout", keys[-1])["findings"] if keys else []
    here = under_way(known)
    said = [f"{_stands(here)}: {_found(found, here)}"] if here else []
    now = automation.window(keys[-1]).end if keys else datetime.min
    if arrived := watched(known, declared.reopen, now):
        until = arrived.at + declared.reopen
        said.append(
            f"version {arrived.version} may be taken back until {until:%Y-%m-%d}: "
            f"{_found(found, arrived)}"
        )
    said += [f"version {number} waits" for number in queued(known)]
    return "; ".join(said) or "none"


def _stands(here: Move) -> str:
    share = f" of {100 * here.share:g} %" if here.share else ""
    return f"version {here.version} in {here.state}{share} since {here.at:%Y-%m-%d}"


def _found(findings: list[dict[str, Any]], move: Move) -> str:
    finding = next((one for one in findings if one["version"] == move.version), None)
    if finding is None:
        return "not judged yet"
    labels = finding["labels"]
    matured = f", labels {100 * labels['matured']:.0f} % matured" if labels else ""
    # The report that it moved on is about the stage before.
    before = "" if finding["leaf"] == move.leaf else f" in {finding['state']}"
    return f"{finding['status']}{before}{matured}"


def _json_status(lake: Lake, dataset: str) -> str:
    keys = lake.partitions(dataset, "json")
    return str(lake.read_json(dataset, keys[-1])["status"]) if keys else "none"


def _row(name: str, settings: Settings, error: str = "", **found: Any) -> dict[str, Any]:
    raised = alarms(settings.home, name)
    columns = ["last partition", "champion", "rollout", "drift", "performance", "quarantined"]
    columns += ["halted", "reviews", "actions"]
    return {
        "automation": name,
        **dict.fromkeys(columns, "none"),
        **found,
        "alarms": len(raised),
        "recent alarms": raised[-RECENT:],
        "error": error,
    }

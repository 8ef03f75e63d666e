"""How every automation stands, read from its state."""

from __future__ import annotations

from typing import Any

from aios.alarms import alarms
from aios.automation import Automation, automation_folders
from aios.lake import Lake
from aios.settings import Settings
from aios_assets.resources import Platform

RECENT = 3


def all_status(settings: Settings) -> list[dict[str, Any]]:
    """Return one row for each automation; a broken one carries its error."""
    rows = []
    for folder in automation_folders(settings):
        try:
            rows.append(_status(Automation.load(folder, settings), settings))
        except Exception as error:
            rows.append(_row(folder.name, settings, error=str(error)))
    return rows


def _status(automation: Automation, settings: Settings) -> dict[str, Any]:
    lake = Lake(settings.home / "lake" / automation.name)
    decided = lake.partitions("decisions")
    if not decided:
        return _row(automation.name, settings)
    last = decided[-1]
    quarantined = sum(lake.rows("quarantine", key) for key in lake.partitions("quarantine"))
    champion, rollout = _models(automation, settings)
    found: dict[str, Any] = {
        "last partition": last,
        "champion": champion,
        "rollout": rollout,
        "drift": _json_status(lake, "drift"),
        "performance": _json_status(lake, "performance"),
        "quarantined": quarantined,
    }
    return _row(automation.name, settings, **found)


def _models(automation: Automation, settings: Settings) -> tuple[str, str]:
    from model_registry.champion import champion

    registry = Platform(settings).registry
    deciding = champion(registry, automation.name)
    waiting = [one.number for one in registry.versions(automation.name) if one.stage == "gated"]
    newer = [number for number in waiting if deciding is None or number > deciding.number]
    challengers = ", ".join(f"version {number} waits" for number in newer)
    return f"version {deciding.number}" if deciding else "none", challengers or "none"


def _json_status(lake: Lake, dataset: str) -> str:
    keys = lake.partitions(dataset, "json")
    return str(lake.read_json(dataset, keys[-1])["status"]) if keys else "none"


def _row(name: str, settings: Settings, error: str = "", **found: Any) -> dict[str, Any]:
    raised = alarms(settings.home, name)
    columns = ["last partition", "champion", "rollout", "drift", "performance", "quarantined"]
    return {
        "automation": name,
        **dict.fromkeys(columns, "none"),
        **found,
        "alarms": len(raised),
        "recent alarms": raised[-RECENT:],
        "error": error,
    }

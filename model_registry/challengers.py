"""Challengers: versions that passed the gate and are scored beside the champion."""

from __future__ import annotations

from datetime import datetime

from model_registry.champion import champion_at
from model_registry.registry import ModelVersion, Registry

_PASSED = ("gated", "champion", "retired")


def challengers_at(registry: Registry, automation: str, moment: datetime) -> list[ModelVersion]:
    """Return the versions that stood beside the champion at a moment, UTC-naive.

    Those are the versions of the latest training strictly before it that passed the gate, without
    the champion of that moment; the next training that passes replaces them.
    """
    passed = [
        one
        for one in registry.versions(automation)
        if one.stage in _PASSED and one.trained_until < moment
    ]
    if not passed:
        return []
    latest = max(one.trained_until for one in passed)
    champion = champion_at(registry, automation, moment)
    deciding = champion.number if champion else None
    return [one for one in passed if one.trained_until == latest and one.number != deciding]

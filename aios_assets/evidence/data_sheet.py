"""The data sheet: what came in, what was turned away and why, and what the models learned from.

After Gebru et al., "Datasheets for Datasets" (2018), as far as the platform can know it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl

from aios.errors import AiosError
from aios.statistics.profile import NumericProfile, Profile
from aios_assets.evidence.scope import Folder, Scope, duration

NAME = "data_sheet.json"


def write_data_sheet(scope: Scope, folder: Folder) -> dict[str, Any]:
    """Write and return the data sheet."""
    spec = scope.automation.spec
    partitions = [_partition(scope, folder, window.key) for window in scope.windows]
    sheet = {
        "automation": scope.name,
        "description": spec.description,
        "owners": spec.owners,
        "risk": spec.risk,
        "task": spec.task,
        "source": spec.source.model_dump(mode="json"),
        "id": spec.id,
        "entity": spec.entity,
        "event_time": spec.event_time,
        "known_at": spec.known_at,
        "cadence": spec.cadence,
        "contract": spec.contract.model_dump(mode="json"),
        "label": {"column": spec.label.column, "delay": duration(spec.label.delay)},
        "features": [
            {
                "name": view.name,
                "entity": view.entity,
                "columns": dict(view.columns),
                "lookback": duration(view.lookback),
            }
            for view in spec.features
        ],
        "protected_slices": list(spec.slices),
        "partitions": [one for one in partitions if one],
        "feature_profiles": {},
    }
    if not spec.slices:
        folder.lack(
            "protected slices", "The declaration names no slices to compare groups by.", NAME
        )
    sheet["feature_profiles"] = _profiles(scope, folder)
    folder.write_json(NAME, sheet)
    return sheet


def _partition(scope: Scope, folder: Folder, key: str) -> dict[str, Any] | None:
    lake = scope.lake()
    if not lake.has("events", key):
        folder.lack(f"events of {key}", "The partition has not been run.", NAME)
        return None
    try:
        events = lake.read("events", key, ["revision"])
        rules = Counter[str]()
        quarantine = pl.DataFrame({"rules": []}, schema={"rules": pl.String})
        if lake.has("quarantine", key):
            quarantine = lake.read("quarantine", key, ["rules"])
        for broken in quarantine["rules"]:
            rules.update(broken.split(", "))
        labels = lake.rows("labels", key) if lake.has("labels", key) else None
    except AiosError as error:
        folder.lack(f"rows of {key}", error.what, NAME)
        return None
    return {
        "partition": key,
        "events": events.height,
        "corrections": int((events["revision"] > 0).sum()),
        "quarantined": quarantine.height,
        "quarantined_by_rule": dict(sorted(rules.items())),
        "labels_learned": labels,
    }


def _profiles(scope: Scope, folder: Folder) -> dict[str, Any]:
    """Profiles of the training sets whose models were gated in the period, by learner."""
    found: dict[str, Any] = {}
    for learner in scope.learners:
        lake = scope.lake(learner)
        for key in scope.partitions("gate", "json", learner):
            try:
                profile = Profile.read(lake.path("profiles", key, "npz"))
            except AiosError as error:
                folder.lack(f"profile of {learner.name}'s training set of {key}", error.what, NAME)
                continue
            found[f"{learner.name} {key}"] = {
                "rows": profile.n,
                "columns": {name: _column(profile, name) for name in profile.columns},
            }
    return found


def _column(profile: Profile, name: str) -> dict[str, Any]:
    """Describe a column without naming a value that may be a person's."""
    column = profile.columns[name]
    share = column.nulls / profile.n if profile.n else None
    if isinstance(column, NumericProfile):
        known = profile.n - column.nulls
        return {
            "kind": "number",
            "missing_share": share,
            **{f"p{percent:02d}": _quantile(column, known, percent) for percent in (5, 50, 95)},
        }
    total = sum(column.counts.values()) + column.rest
    return {
        "kind": "category",
        "missing_share": share,
        "values": len(column.counts),
        "share_of_most_frequent": max(column.counts.values()) / total if total else None,
    }


def _quantile(column: NumericProfile, known: int, percent: int) -> float | None:
    if not known:
        return None
    at = int(np.searchsorted(column.upto, known * percent / 100))
    # Rounded, so that no one's own value stands in the pack.
    return float(f"{column.points[min(at, len(column.points) - 1)]:.3g}")

"""What was watched while the automation ran: performance, drift, alarms; and its policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from aios.alarms import alarms
from aios.archive import POLICIES as POLICIES_KEPT
from aios.archive import archived_policy
from aios.errors import AiosError
from aios.evidence.manifest import file_digest
from aios_assets.evidence.scope import Folder, Scope

if TYPE_CHECKING:
    from aios_assets.evidence.leaves import Leaves

INCIDENTS = "incidents.json"
POLICIES = "policies.json"
CONTROLS = "controls.json"
INSUFFICIENT = "insufficient"

_CONTROLS = (
    *("policy_changed", "configuration_changed", "access_changed", "key_rotated"),
    *("denied", "erasure", "alias_restored", "alias_adopted"),
)


def monitoring_file(learner: str, what: str) -> str:
    """Return the name of a learner's drift or performance results."""
    return f"monitoring/{learner}/{what}.json"


def write_monitoring(scope: Scope, folder: Folder) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Write and return drift and performance results by learner, with their files' digests."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for learner in scope.learners:
        found[learner.name] = {}
        for what in ("drift", "performance"):
            name = monitoring_file(learner.name, what)
            results = [
                {
                    **text,
                    "file_sha256": file_digest(scope.lake(learner).path(what, key, "json")),
                }
                for key, text in scope.texts(folder, what, learner, name)
            ]
            have = {one.get("partition") for one in results}
            for window in scope.windows:
                if window.key not in have:
                    folder.lack(
                        f"{what} of {learner.name}, {window.key}", "It was not measured.", name
                    )
            if not results:
                folder.lack(f"{what} of {learner.name}", "It was never measured.", name, empty=True)
            elif all(one.get("status") == INSUFFICIENT for one in results):
                folder.lack(
                    f"verdict on the {what} of {learner.name}",
                    "There was too little to judge in every partition.",
                    name,
                )
            folder.write_json(name, results)
            found[learner.name][what] = results
    return found


def write_incidents(
    scope: Scope,
    folder: Folder,
    leaves: Leaves,
    monitoring: Mapping[str, Mapping[str, list[dict[str, Any]]]],
) -> dict[str, Any]:
    """Write and return alarms, incidents, rollbacks, and the partitions that raised them."""
    names = {scope.name, *(one.name for one in scope.learners)}
    home = scope.platform.settings.home
    raised = [
        one
        for one in alarms(home)
        if one["automation"] in names
        and scope.start.isoformat() <= one["at"]
        and one["at"] < scope.end.isoformat()
    ]
    found = {
        "alarms": raised,
        "incidents": [one.shown() for one in leaves.of("incident")],
        "rollbacks": [one.shown() for one in leaves.of("rollback")],
        "drift": [
            {
                "learner": name,
                "partition": one["partition"],
                "columns": [c["column"] for c in one.get("columns", []) if c["drifted"]],
            }
            for name, results in monitoring.items()
            for one in results["drift"]
            if one.get("status") == "drift"
        ],
        "performance": [
            {"learner": name, "partition": one["partition"], "new": one.get("alarm")}
            for name, results in monitoring.items()
            for one in results["performance"]
            if one.get("status") == "worse"
        ],
    }
    folder.write_json(INCIDENTS, found)
    return found


def write_controls(folder: Folder, leaves: Leaves) -> list[dict[str, Any]]:
    """Write and return changes of rules, access, keys and settings, denials and erasures."""
    found = [one.shown() for one in leaves.of(*_CONTROLS)]
    folder.write_json(CONTROLS, found)
    return found


def write_access(scope: Scope, folder: Folder) -> list[str]:
    """Write the rules of who may do what, as they are now, and return their files' names."""
    rules = scope.platform.settings.access
    found = [
        folder.write(f"access/{path.name}", path.read_bytes())
        for path in sorted(rules.glob("*.cedar*"))
        if path.is_file()
    ]
    if not found:
        folder.lack("rules of access", f"There are none in {rules.name}/.", "access/", empty=True)
    return found


def write_policies(scope: Scope, folder: Folder, counts: pl.DataFrame) -> list[dict[str, Any]]:
    """Write the text of each policy that decided in the period, where it is still known."""
    used = (
        counts.group_by("policy_hash")
        .agg(
            pl.col("partition").min().alias("first_partition"),
            pl.col("partition").max().alias("last_partition"),
            pl.col("rows").sum().alias("decisions"),
        )
        .sort("first_partition", "policy_hash")
        .to_dicts()
    )
    for one in used:
        name = str(one["policy_hash"])
        one["file"] = None
        try:
            archived_policy(scope.lake(), name)
            text = scope.lake().path(POLICIES_KEPT, name, "yaml").read_bytes()
            one["file"] = folder.write(f"policies/{name}.yaml", text)
        except AiosError as error:
            what = f"text of policy {name} ({one['decisions']} decisions)"
            folder.lack(what, error.what, f"policies/{name}.yaml", empty=True)
    if not used:
        folder.lack("policies in force", "Nothing was decided in the period.", POLICIES, empty=True)
    folder.write_json(POLICIES, used)
    return used

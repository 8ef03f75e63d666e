"""The models of the period: their versions, cards, gates, and who let them decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl

from aios.errors import AiosError
from aios.evidence.manifest import file_digest
from aios.learner import Learner
from aios_assets.evidence.scope import Folder, Scope

if TYPE_CHECKING:
    from aios_assets.evidence.leaves import Leaves
    from model_registry.registry import ModelVersion

GATES = "gates.json"
VERSIONS = "versions.json"
CHANGES = "changes.json"
APPROVALS = "approvals.json"

Versions = dict[str, list[int]]


def write_gates(scope: Scope, folder: Folder, leaves: Leaves) -> dict[str, list[dict[str, Any]]]:
    """Write and return the gate's verdicts of the period by learner, each with its leaf."""
    found: dict[str, list[dict[str, Any]]] = {}
    for learner in scope.learners:
        found[learner.name] = []
        for key, text in scope.texts(folder, "gate", learner, GATES):
            what = f"leaf of the gate of {learner.name}, {key}"
            leaf = leaves.of_partition("gate", learner.name, key)
            digest = file_digest(scope.lake(learner).path("gate", key, "json"))
            if leaf is None:
                folder.lack(what, "The record has none.", GATES)
            elif leaf.body.get("file") != digest:
                folder.lack(what, "It names another file: this one was changed since.", GATES)
            found[learner.name].append(
                {**text, "file_sha256": digest, "leaf": leaf.index if leaf else None}
            )
    if not any(found.values()):
        folder.lack("gate verdicts", "No model was trained in the period.", GATES, empty=True)
    folder.write_json(GATES, found)
    return found


def versions_of(
    scope: Scope, counts: pl.DataFrame, gates: Mapping[str, list[dict[str, Any]]]
) -> Versions:
    """Return the numbers of the versions that decided or were gated in the period, by learner."""
    found: Versions = {}
    for learner in scope.learners:
        column = learner.asset("version") if learner.name != scope.name else "model_version"
        decided = counts[column].drop_nulls().to_list() if column in counts.columns else []
        gated = [one for gate in gates[learner.name] for one in gate.get("versions", {}).values()]
        found[learner.name] = sorted({int(one) for one in [*decided, *gated]})
    return found


def write_versions(
    scope: Scope, folder: Folder, leaves: Leaves, versions: Versions
) -> list[dict[str, Any]]:
    """Write the card of each version, and return what the registry and the record say of it."""
    registered = {
        (one.entry.automation, one.body.get("version")): one.index
        for one in leaves.all
        if one.kind == "model_registered"
    }
    found = []
    for learner in scope.learners:
        for number in versions[learner.name]:
            entry: dict[str, Any] = {"learner": learner.name, "version": number}
            entry["leaf"] = registered.get((learner.name, number))
            if entry["leaf"] is None:
                folder.lack(
                    f"registration of {learner.name} version {number}",
                    "The record has no leaf of it.",
                    VERSIONS,
                )
            found.append(entry | _version(scope, folder, learner, number))
    if not found:
        folder.lack(
            "model cards", "No version decided or was gated in the period.", VERSIONS, empty=True
        )
    folder.write_json(VERSIONS, found)
    return found


def _version(scope: Scope, folder: Folder, learner: Learner, number: int) -> dict[str, Any]:
    what = f"model card of {learner.name} version {number}"
    name = f"cards/{learner.name}-{number:05d}.md"
    try:
        version = scope.platform.registry.get(learner.name, number)
    except AiosError as error:
        folder.lack(what, error.what, name, empty=True)
        return {"card": None}
    card = None
    if version.card.strip():
        card = folder.write(name, version.card.encode())
        _whole_card(scope, folder, version, what)
    else:
        folder.lack(what, "The registry holds none.", name, empty=True)
    return {
        "candidate": version.candidate,
        "trained_until": version.trained_until,
        "trained_on_partition": version.tags.get("aios.partition"),
        "registered": version.created,
        "metrics": version.metrics,
        "tags": {
            name: text
            for name, text in sorted(version.tags.items())
            if name.startswith("aios.") and name not in ("aios.metrics", "aios.stage")
        },
        "card": card,
    }


def _whole_card(scope: Scope, folder: Folder, version: ModelVersion, what: str) -> None:
    """Write the card as it was registered, where the registry's text is cut."""
    if "*The card continues in `card.md`" not in version.card:
        return
    name = f"cards/{version.automation}-{version.number:05d}-as-registered.md"
    try:
        from mlflow.artifacts import load_text

        folder.write(name, load_text(f"runs:/{version.run_id}/report/card.md").encode())
    except Exception as error:
        why = f"Its file cannot be read: {type(error).__name__}."
        folder.lack(f"whole {what}", why, name)


def write_changes(scope: Scope, folder: Folder) -> list[dict[str, Any]]:
    """Write and return who decided from when: each change, its actor, reason and evidence.

    Those in force when the period begins are given as well.
    """
    from model_registry.champion import history

    found: list[dict[str, Any]] = []
    for learner in scope.learners:
        try:
            changes = history(scope.platform.registry, learner.name)
        except AiosError as error:
            folder.lack(f"promotions of {learner.name}", error.what, CHANGES)
            continue
        before = [one for one in changes if one.at < scope.start]
        shown = [*before[-1:], *(one for one in changes if scope.holds(one.at))]
        found += [{"learner": learner.name, **asdict(one)} for one in shown]
    if not found:
        folder.lack("promotions", "No model was in force in the period.", CHANGES, empty=True)
    folder.write_json(CHANGES, found)
    return found


def write_approvals(
    scope: Scope, folder: Folder, leaves: Leaves, versions: Versions
) -> list[dict[str, Any]]:
    """Write and return what was asked of approvers and what they said."""
    kinds = ("approval_requested", "approval", "refusal", "approval_expired")
    chosen = [*leaves.of(*kinds), *leaves.of_versions(versions)]
    found = {one.index: one.shown() for one in chosen if one.kind in kinds}
    approvals = [found[index] for index in sorted(found)]
    if not approvals:
        promotion = scope.automation.spec.promotion
        folder.lack(
            "approvals",
            "The record holds none for the period's versions"
            + ("; they are promoted without a person." if promotion == "automatic" else "."),
            APPROVALS,
            empty=True,
        )
    folder.write_json(APPROVALS, approvals)
    return approvals

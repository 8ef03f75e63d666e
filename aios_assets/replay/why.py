"""Why a decision was made: what it saw, the rules, the model and where that came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from aios.archive import archived_policy
from aios.automation import Automation, load_automation
from aios.database import open_database
from aios.digest import row_digests
from aios.errors import AiosError
from aios.halts import RULE as HALTED
from aios.lake import Lake
from aios.policy import MISSING, Policy
from aios.settings import Settings
from aios.windows import Window, window_of
from aios_assets.replay.aftermath import deeds_of, verdicts_of
from aios_assets.replay.house import Houses
from aios_assets.replay.ids import Located, decisions_of, locate
from aios_assets.replay.origin import Origin, origin_of
from aios_assets.replay.stages import content_columns
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from aios.record.leaves import Entry


class Record(Protocol):
    """What is asked of the log; see `aios.record.log.Log`."""

    def find(self, key: str) -> Entry | None:
        """Return the entry of a key."""

    def entries(self, *, kind: str | None = None, automation: str | None = None) -> Iterator[Entry]:
        """Return the entries of a kind, oldest first."""


@dataclass(frozen=True)
class Fired:
    """A rule that held.

    Attributes:
        name: Its name.
        when: Its condition.
        outcome: What it decides.
        reason: In words.
        decided: Whether it is the one that decided: the first that held.
    """

    name: str
    when: str
    outcome: str
    reason: str
    decided: bool


@dataclass(frozen=True)
class Why:
    """All that is known of a decision. Holds the event, so it may hold personal data.

    Attributes:
        decision_id: Whole.
        event: The event as it arrived.
        steps: By step, its outputs, status and model version.
        features: As they were known then.
        decision: The stored row: outcome, rule, score and every version.
        score: Of the champion.
        challengers: Scores of the versions that stood beside it.
        rules: That held, in the policy's order.
        missing: Inputs of the policy that were null: they alone send a decision to review.
        policy: The policy's version and hash, or why it is lost.
        models: The model, and those of the steps, each with where it came from.
        leaf: The entry of the record that covers the decision.
        outcome: The label, and when it was learned.
        verdicts: What people decided about it since.
        actions: What was done at other systems, and undone.
        others: Other decisions about the same event.
        lost: What could not be found, and why.
    """

    decision_id: str
    event: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    features: dict[str, Any]
    decision: dict[str, Any]
    score: float | None
    challengers: dict[str, float | None]
    rules: list[Fired]
    missing: list[str]
    policy: str
    models: list[Origin]
    leaf: dict[str, Any] | None
    outcome: dict[str, Any]
    verdicts: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    others: list[str]
    lost: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """Return it in lines for people."""
        from aios_assets.replay.why_text import lines

        return "\n".join(lines(self))


def why(decision_id: str, settings: Settings, log: Record | None = None) -> Why:
    """Collect all that is known of a decision. Changes nothing.

    Args:
        decision_id: See `aios_assets.replay.ids`.
        settings: Where state lives.
        log: The record, where there is one.

    Raises:
        AiosError: There is no such decision, or several.
    """
    one = locate(decision_id, settings)
    lost: list[str] = []
    decision = _row(Lake(settings.home / "lake" / one.automation), "decisions", one, lost)
    with Houses(one.automation, settings) as houses:
        try:
            automation = houses.of(decision["code_version"]).automation
        except AiosError as error:
            lost.append(f"{error.where}: {error.what}")
            automation = load_automation(one.automation, settings)
        return _why(one, automation, settings, decision, log, lost)


def _why(
    one: Located,
    automation: Automation,
    settings: Settings,
    decision: dict[str, Any],
    log: Record | None,
    lost: list[str],
) -> Why:
    platform, database = Platform(settings), open_database(settings.record)
    lake, window = platform.lake(one.automation), window_of(automation.spec.cadence, one.partition)
    event = _row(lake, "events", one, lost)
    features = _row(lake, "features", one, lost)
    predictions = _row(lake, "predictions", one, lost)
    _check_digest(event, content_columns(automation), "content_digest", "event", lost)
    own = list(automation.spec.feature_columns)
    _check_digest(features, own, "feature_digest", "row of features", lost)
    rules, missing, policy = _rules(lake, automation, decision, features, lost)
    return Why(
        decision_id=str(one),
        event=event,
        steps=_steps(automation, lake, one, lost),
        features={k: v for k, v in features.items() if k not in decision},
        decision=decision,
        score=decision["score"],
        challengers={k: v for k, v in predictions.items() if k.startswith("score_v")},
        rules=rules,
        missing=missing,
        policy=policy,
        models=_models(automation, platform, window, decision),
        leaf=_leaf(lake, one, log, lost),
        outcome=_outcome(automation, lake, one, decision),
        verdicts=verdicts_of(database, str(one)),
        actions=deeds_of(database, str(one)),
        others=[str(other) for other in decisions_of(one, settings) if other != one],
        lost=lost,
    )


def _row(lake: Lake, dataset: str, one: Located, lost: list[str]) -> dict[str, Any]:
    """Return the stored row of the decision's event; empty where there is none."""
    path = lake.path(dataset, one.partition)
    if not path.exists():
        lost.append(f"{dataset} of {one.partition} is missing: {path}")
        return {}
    same = (pl.col(one.column) == one.event) & (pl.col("revision") == one.revision)
    found = pl.scan_parquet(path, glob=False).filter(same).collect()
    if found.is_empty():
        lost.append(f"{dataset} of {one.partition} has no row of this event")
        return {}
    return found.row(0, named=True)


def _check_digest(
    row: dict[str, Any], columns: list[str], digest: str, what: str, lost: list[str]
) -> None:
    if not row:
        return
    frame = pl.DataFrame({name: pl.Series([row.get(name)]) for name in columns})
    if row_digests(frame)[0] != row.get(digest):
        lost.append(f"the stored {what} is not what it was: it no longer has its digest")


def _steps(
    automation: Automation, lake: Lake, one: Located, lost: list[str]
) -> dict[str, dict[str, Any]]:
    found = {}
    for step in automation.spec.steps:
        row = _row(lake, step.name, one, lost)
        own = [f"{step.name}_{what}" for what in ("status", "problem", "version")]
        found[step.name] = {name: row[name] for name in [*step.columns, *own] if name in row}
    return found


def _rules(
    lake: Lake,
    automation: Automation,
    decision: dict[str, Any],
    features: dict[str, Any],
    lost: list[str],
) -> tuple[list[Fired], list[str], str]:
    """Return the rules that held, the inputs that were missing, and the policy in words."""
    try:
        policy = _policy(lake, automation, decision["policy_hash"])
    except AiosError as error:
        lost.append(f"{error.where}: {error.what}")
        return [], [], f"{decision['policy_hash']}, whose text is lost"
    given = {**features, "score": decision["score"]}
    missing = [n for n in policy.inputs if given.get(n) is None or given[n] != given[n]]
    names = decision["fired"].split(",") if decision["fired"] else []
    fired = [
        Fired(rule.name, rule.when, rule.outcome, rule.reason, rule.name == decision["rule"])
        for rule in policy.rules
        if rule.name in names
    ]
    if decision["rule"] == policy.otherwise.name:
        rest = policy.otherwise
        fired.append(Fired(rest.name, "no rule holds", rest.outcome, rest.reason, True))
    if decision["rule"] == MISSING:
        why_not = "an input of the policy is missing"
        fired = [Fired(MISSING, "an input is null or NaN", policy.missing, why_not, True)]
    if decision["rule"] == HALTED:
        why_not = "the automation was halted: people decide"
        fired = [Fired(HALTED, "a halt holds", decision["outcome"], why_not, True)]
    return fired, missing, f"version {policy.version}, {policy.hash}"


def _policy(lake: Lake, automation: Automation, policy_hash: str) -> Policy:
    if automation.policy.hash == policy_hash:
        return automation.policy
    return archived_policy(lake, policy_hash)


def _models(
    automation: Automation, platform: Platform, window: Window, decision: dict[str, Any]
) -> list[Origin]:
    named = [(automation.name, decision["model_version"])]
    for name, number in decision.items():
        step = name.removesuffix("_version")
        if name.endswith("_version") and name not in ("model_version", "code_version"):
            named.append((f"{automation.name}.{step}", number))
    return [origin_of(platform, name, number, window) for name, number in named if number]


def _leaf(lake: Lake, one: Located, log: Record | None, lost: list[str]) -> dict[str, Any] | None:
    """Return the entry that covers the decisions' file as it is now."""
    if log is None:
        lost.append("no record was looked at")
        return None
    with open(lake.path("decisions", one.partition), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    entry = log.find(f"decisions/{one.automation}/{one.partition}/{digest}")
    if entry is not None:
        return {
            "index": entry.index,
            "recorded_at": entry.recorded_at,
            "actor": entry.actor,
            "file": digest,
            "row": one.row,
        }
    entries = log.entries(kind="decisions", automation=one.automation)
    other = [e.index for e in entries if e.body.get("partition") == one.partition]
    lost.append(
        f"the record covers this partition (leaf {other[-1]}), but with another file: the "
        "decisions were changed or made again since"
        if other
        else "the record does not cover this partition"
    )
    return None


def _outcome(
    automation: Automation, lake: Lake, one: Located, decision: dict[str, Any]
) -> dict[str, Any]:
    """Return the latest label of the event, or when one is due."""
    spec = automation.spec
    for key in reversed(lake.partitions("labels")):
        table = pl.scan_parquet(lake.path("labels", key), glob=False)
        found = table.filter(pl.col(one.column) == one.event).collect()
        if found.height:
            label, known_at = found.select("label", "known_at").row(-1)
            return {"label": label, "of": spec.label.column, "known_at": known_at}
    due: datetime = decision["known_at"] + spec.label.delay
    return {"label": None, "of": spec.label.column, "due": due}

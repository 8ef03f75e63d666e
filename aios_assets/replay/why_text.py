"""A decision's explanation as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios_assets.replay import aftermath

if TYPE_CHECKING:
    from aios_assets.replay.origin import Origin
    from aios_assets.replay.why import Why

_VERSIONS = ("policy_hash", "code_version", "feature_digest")


def lines(why: Why) -> Iterator[str]:
    """Yield the explanation, most telling first."""
    decision = why.decision
    score = "no score" if why.score is None else f"score {why.score:.6g}"
    yield f"{why.decision_id}: {decision['outcome']} by rule {decision['rule']} ({score})"
    for rule in why.rules:
        word = "decided" if rule.decided else "also held"
        yield f"  {word}: {rule.name} -> {rule.outcome} where {rule.when}: {rule.reason}"
    if why.missing:
        yield f"  missing inputs: {', '.join(why.missing)}"
    yield f"  policy: {why.policy}"
    yield f"  versions: {_listed({name: decision.get(name) for name in _VERSIONS})}"
    for other, value in why.challengers.items():
        yield f"  beside it, {other.replace('score_v', 'version ')} gave {_shown(value)}"
    yield f"event: {_listed(why.event)}"
    for name, outputs in why.steps.items():
        yield f"step {name}: {_listed(outputs)}"
    yield f"features: {_listed(why.features)}"
    for model in why.models:
        yield from _model(model)
    if not why.models:
        yield "model: none; there was no champion yet"
    yield from _ending(why)


def _model(one: Origin) -> Iterator[str]:
    yield f"model: {one.model} version {one.version}, recipe {one.candidate or 'unknown'}"
    yield f"  trained on {one.rows} rows known from {_shown(one.data_from)} to " \
        f"{_shown(one.data_to)}, until {_shown(one.trained_until)}"  # fmt: skip
    yield f"  training set: digest {one.dataset_digest}, {one.dataset}; code {one.code_version}, " \
        f"seed {one.seed}"  # fmt: skip
    if one.gate:
        against = one.gate["against"]
        beside = f"against version {against}" if against else "against no champion"
        yield f"  gate {one.gate['partition']}, {beside}: {one.gate['status']}. " \
            f"{' '.join(one.gate['reasons'])}"  # fmt: skip
    if one.promoted:
        change = one.promoted
        yield f"  {change['kind']} by {change['by']}, deciding from {_shown(change['at'])} " \
            f"(recorded {_shown(change['recorded_at'])}): {change['reason']}"  # fmt: skip
        yield f"  evidence: {change['evidence'] or 'none given'}"
    for text in one.lost:
        yield f"  not known: {text}"


def _ending(why: Why) -> Iterator[str]:
    if why.leaf:
        yield f"record: leaf {why.leaf['index']}, row {why.leaf['row']}, recorded " \
            f"{_shown(why.leaf['recorded_at'])} by {why.leaf['actor']}"  # fmt: skip
    yield from aftermath.lines(why.verdicts, why.actions)
    outcome = why.outcome
    if outcome["label"] is None:
        yield f"outcome: {outcome['of']} is not known; due {_shown(outcome['due'])}"
    else:
        yield f"outcome: {outcome['of']} = {outcome['label']:g}, " \
            f"known {_shown(outcome['known_at'])}"  # fmt: skip
    if why.others:
        yield f"other decisions about the event: {', '.join(why.others)}"
    for text in why.lost:
        yield f"not known: {text}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_shown(value)}" for name, value in values.items()) or "none"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="minutes")
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

"""What MLflow shows of rollouts: an alias and a tag of each version, made to follow the moves."""

from __future__ import annotations

from model_registry import ledger
from model_registry.registry import Registry
from model_registry.rollout import moves
from model_registry.stages import Move, latest, under_way

CHALLENGER_ALIAS = "challenger"
ROLLOUT_TAG = "aios.rollout"


def mirror(registry: Registry, automation: str) -> None:
    """Set the alias `challenger` and the versions' tags as the moves say; writes what differs."""
    known, client = moves(registry.log, automation), registry.client
    found = client.search_registered_models(filter_string=f"name='{automation}'")
    if not found:
        return
    here, aliased = under_way(known), found[0].aliases.get(CHALLENGER_ALIAS)
    if here is None and aliased is not None:
        client.delete_registered_model_alias(automation, CHALLENGER_ALIAS)
    elif here is not None and str(aliased) != str(here.version):
        client.set_registered_model_alias(automation, CHALLENGER_ALIAS, str(here.version))
    changes, stand = ledger.changes(registry.log, automation), latest(known)
    deciding = changes[-1].version if changes else None
    for version in registry.versions(automation) if known else []:
        last = stand.get(version.number)
        text = _in_words(last, deciding) if last else ""
        if version.tags.get(ROLLOUT_TAG, "") != text:
            client.set_model_version_tag(automation, str(version.number), ROLLOUT_TAG, text)


def _in_words(last: Move, deciding: int | None) -> str:
    if last.state == "champion" and last.version != deciding:
        return "replaced"
    share = f" {last.share:.0%}" if last.state in ("canary", "paused") and last.share else ""
    return f"{last.state.replace('_', ' ')}{share}"

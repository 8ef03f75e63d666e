"""Who decides: the only place that moves the aliases `champion` and `previous`.

The truth is the ledger of the record. MLflow's aliases and the versions' stages follow from it. A
change writes the ledger first; if it is killed after that, the next change or `restore_alias`
brings the rest in line.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from aios.errors import AiosError
from model_registry import ledger, rollout
from model_registry.cards import with_approvals
from model_registry.ledger import Change, Kind
from model_registry.loading import verify
from model_registry.registry import DESCRIPTION_LIMIT, ModelVersion, Registry
from model_registry.verdicts import passed

CHAMPION_ALIAS = "champion"
PREVIOUS_ALIAS = "previous"


def promote(
    registry: Registry,
    automation: str,
    number: int,
    *,
    at: datetime,
    by: str,
    reason: str,
    evidence: str = "",
    evidence_digest: str = "",
    approved_by: Sequence[str] = (),
    expected: int | None = None,
    stood: int | None = None,
) -> ModelVersion:
    """Let a version decide from `at` on. Repeating a recorded promotion changes nothing.

    Args:
        registry: Where.
        automation: Whose champion.
        number: The version.
        at: From when it decides, UTC-naive; not before the latest change.
        by: Who: `person:alice`, `service:gate`.
        reason: In words.
        evidence: What it rests on.
        evidence_digest: SHA-256 of that.
        approved_by: Who approved it.
        expected: The champion that the decider saw; 0 for none. When None, the present one.
        stood: The leaf of the move by which it stood in its rollout; when None, wherever.

    Raises:
        AiosError: The version does not exist, did not pass the gate (and never was champion),
            does not load, or `expected` is no longer the champion. Nothing is changed then.
            A version that is champion already stays so, without a second entry.
    """
    with registry.writing(automation):
        changes = history(registry, automation)
        version = registry.get(automation, number)
        if any(change.version == number and change.at == at for change in changes):
            _align(registry, automation, changes)
            return registry.get(automation, number)
        _refuse_stale(automation, expected, changes)
        if changes and changes[-1].version == number:
            _align(registry, automation, changes)
            return registry.get(automation, number)
        known = any(change.version == number for change in changes)
        if not known and not (version.stage == "gated" and passed(registry.log, version)):
            raise AiosError(
                f"it did not pass the gate (its stage is {version.stage!r})",
                where=version.label,
                fix="promote a version in stage 'gated'; see its card for the gate's reasons",
            )
        verify(registry, version)
        return _change(
            registry, version, changes, "promotion", at, by, stood,
            reason=reason, evidence=evidence, evidence_digest=evidence_digest,
            approved_by=list(approved_by),
        )  # fmt: skip


def rollback(
    registry: Registry,
    automation: str,
    *,
    to: int | None = None,
    at: datetime,
    by: str,
    reason: str,
    evidence: str = "",
    evidence_digest: str = "",
    expected: int | None = None,
) -> ModelVersion:
    """Let an earlier champion decide again from `at` on.

    Args:
        registry: Where.
        automation: Whose champion.
        to: Number of the earlier champion; by default the one before the present one. A second
            rollback goes one further back, never forward to what was rolled back.
        at: From when it decides, UTC-naive; not before the latest change.
        by: Who: `person:alice`, `service:rollout`.
        reason: In words.
        evidence: What it rests on.
        evidence_digest: SHA-256 of that.
        expected: The champion that the decider saw. When None, the present one.

    Raises:
        AiosError: There is no such champion, it does not load, or `expected` is no longer the
            champion. Nothing is changed then.
    """
    with registry.writing(automation):
        changes = history(registry, automation)
        done = [c for c in changes if c.kind == "rollback" and c.at == at]
        if done and (to is None or done[-1].version == to):
            _align(registry, automation, changes)
            return registry.get(automation, done[-1].version)
        _refuse_stale(automation, expected, changes)
        target = to if to is not None else _before_present(changes)
        if target is None:
            raise AiosError(
                "there is no earlier champion to return to",
                where=automation,
                fix="promote a gated version instead (aios promote)",
            )
        version = registry.get(automation, target)
        if all(change.version != target for change in changes):
            raise AiosError(
                "it never was champion",
                where=version.label,
                fix=f"choose one of: {_numbers(changes)}; or promote it (aios promote)",
            )
        if changes[-1].version == target:
            raise AiosError("it is the champion already", where=version.label, fix="nothing to do")
        verify(registry, version)
        return _change(
            registry, version, changes, "rollback", at, by,
            reason=reason, evidence=evidence, evidence_digest=evidence_digest, approved_by=[],
        )  # fmt: skip


def champion(registry: Registry, automation: str) -> ModelVersion | None:
    """The version that decides by the latest change; None before the first."""
    changes = history(registry, automation)
    return registry.get(automation, changes[-1].version) if changes else None


def champion_at(registry: Registry, automation: str, moment: datetime) -> ModelVersion | None:
    """The version that decided at a moment, UTC-naive: the latest change strictly before it.

    A promotion at the end of a partition therefore does not decide that partition's own rows
    when they are scored at its end.
    """
    number = deciding(history(registry, automation), moment)
    return registry.get(automation, number) if number is not None else None


def previous(registry: Registry, automation: str) -> ModelVersion | None:
    """The version that a rollback returns to; None where there is none."""
    number = _before_present(history(registry, automation))
    return registry.get(automation, number) if number is not None else None


def standing_in(registry: Registry, automation: str, version: ModelVersion) -> ModelVersion:
    """Who decides what the version has not decided yet: itself, or who replaced it by rollback.

    A rollback withdraws a version, also for a partition that ended before it and was late.
    """
    changes = history(registry, automation)
    withdrawn = changes[-1].kind == "rollback" and any(
        one.kind == "rollback" and one.previous == version.number for one in changes
    )
    return registry.get(automation, changes[-1].version) if withdrawn else version


def deciding(changes: Sequence[Change], moment: datetime) -> int | None:
    """The number that the latest change strictly before the moment names; None before the first."""
    before = [change for change in changes if change.at < moment]
    return before[-1].version if before else None


def history(registry: Registry, automation: str) -> list[Change]:
    """Every change of the champion, oldest first; empty for an automation without versions."""
    return ledger.changes(registry.log, automation)


def alias_mismatch(registry: Registry, automation: str) -> str | None:
    """How the aliases in MLflow differ from the history, in words; None when they agree.

    Someone edited them by hand, or a promotion was killed half-way.
    """
    changes = history(registry, automation)
    aliases = _aliases(registry, automation)
    wrong = [
        f"alias {alias!r} is {ledger.word(aliases.get(alias))}, "
        f"the history says {ledger.word(number)}"
        for alias, number in _wanted(changes).items()
        if aliases.get(alias) != number
    ]
    # The stages follow the aliases; what was killed between the two shows here only.
    present = changes[-1].version if changes else None
    in_force = [one.number for one in registry.versions(automation) if one.stage == "champion"]
    if in_force != ([present] if present else []):
        wrong.append(
            f"stage 'champion' is of {in_force or 'none'}, the history says {ledger.word(present)}"
        )
    return f"{automation}: {'; '.join(wrong)}" if wrong else None


def aliased(registry: Registry, automation: str) -> int | None:
    """Return the version that the alias `champion` in MLflow is set to, whoever set it."""
    return _aliases(registry, automation).get(CHAMPION_ALIAS)


def restore_alias(registry: Registry, automation: str) -> None:
    """Set the aliases and stages as the history says."""
    with registry.writing(automation):
        _align(registry, automation, history(registry, automation))


def _change(
    registry: Registry,
    version: ModelVersion,
    changes: list[Change],
    kind: Kind,
    at: datetime,
    by: str,
    stood: int | None = None,
    **why: str | list[str],
) -> ModelVersion:
    if changes and at < changes[-1].at:
        raise AiosError(
            f"a change at {at.isoformat()} would rewrite the past: version {changes[-1].version} "
            f"became champion at {changes[-1].at.isoformat()}",
            where=version.label,
            fix="give a later time; to replay history, use a fresh AIOS_HOME",
        )
    previous = changes[-1].version if changes else None
    body = {"version": version.number, "previous": previous, "kind": kind, **why}
    follow = partial(rollout.follow, stood=stood)
    entry = ledger.add(registry.log, version.automation, len(changes), by, at, body, follow)
    _align(registry, version.automation, [*changes, entry])
    return registry.get(version.automation, version.number)


def _align(registry: Registry, automation: str, changes: Sequence[Change]) -> None:
    """Make aliases, stages and approvals follow the history; writes only what differs."""
    aliases = _aliases(registry, automation)
    versions = registry.versions(automation)
    known = {version.number for version in versions}
    for alias, number in _wanted(changes).items():
        if aliases.get(alias) == number:
            continue
        if number is None:
            registry.client.delete_registered_model_alias(automation, alias)
            continue
        if number not in known:
            registry.get(automation, number)  # says so clearly where somebody deleted it
        registry.client.set_registered_model_alias(automation, alias, str(number))
    present = changes[-1].version if changes else None
    for version in versions:
        _approve(registry, version, changes)
        if version.number == present and version.stage != "champion":
            registry.set_stage(version, "champion")
        elif version.number != present and version.stage == "champion":
            registry.set_stage(version, "retired")


def _approve(registry: Registry, version: ModelVersion, changes: Sequence[Change]) -> None:
    approvals = [
        f"{change.kind.capitalize()} by {change.by}, deciding from {change.at:%Y-%m-%d %H:%M} UTC "
        f"(recorded {change.recorded_at:%Y-%m-%d %H:%M} UTC): {change.reason}"
        for change in changes
        if change.version == version.number
    ]
    if not approvals:
        return
    text = with_approvals(version.card, approvals, limit=DESCRIPTION_LIMIT)
    if text != version.card:
        registry.client.update_model_version(version.automation, str(version.number), text)


def _wanted(changes: Sequence[Change]) -> dict[str, int | None]:
    return {
        CHAMPION_ALIAS: changes[-1].version if changes else None,
        PREVIOUS_ALIAS: _before_present(changes),
    }


def _before_present(changes: Sequence[Change]) -> int | None:
    """The champion below the present one when rollbacks are taken back, as on a stack."""
    stack = ledger.line(changes)
    return stack[-2] if len(stack) > 1 else None


def _refuse_stale(automation: str, expected: int | None, changes: list[Change]) -> None:
    present = changes[-1].version if changes else 0
    if expected is not None and expected != present:
        raise ledger.stale(automation, changes, ledger.word(expected))


def _numbers(changes: Sequence[Change]) -> str:
    return ", ".join(str(number) for number in sorted({change.version for change in changes}))


def _aliases(registry: Registry, automation: str) -> dict[str, int]:
    model = _model(registry, automation)
    return {alias: int(number) for alias, number in model.aliases.items()} if model else {}


def _model(registry: Registry, automation: str):  # type: ignore[no-untyped-def]
    found = registry.client.search_registered_models(filter_string=f"name='{automation}'")
    return found[0] if found else None

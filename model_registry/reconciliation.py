"""What follows when an alias in MLflow was edited behind the ledger's back."""

from __future__ import annotations

from dataclasses import dataclass

from aios import clock
from aios.errors import AiosError
from aios.identity.actors import Actor
from aios.identity.guard import Guard
from aios.record.leaves import Act
from model_registry import champion
from model_registry.authority import Authority

SENSOR = Actor("registry", "sensor")


@dataclass(frozen=True)
class Reconciled:
    """What was found and done.

    Attributes:
        mismatch: How the aliases differed, in words.
        done: `restored` or `adopted`.
        why: Why an edit that should be adopted was not; else empty.
    """

    mismatch: str
    done: str
    why: str = ""


def reconcile(authority: Authority) -> Reconciled | None:
    """Bring MLflow's aliases and the ledger together by the automation's declared rule.

    `aliases: restore` sets the aliases as the ledger says. `aliases: adopt` promotes the version
    that the alias was set to, if the rules and the gate allow it; else it restores. Either is
    recorded.

    Returns:
        None where they agree.
    """
    registry, name = authority.registry, authority.learner.name
    if champion.alias_mismatch(registry, name) is None:
        return None
    with registry.writing(name):
        # A promotion that was under way has set its aliases by now.
        mismatch = champion.alias_mismatch(registry, name)
    if mismatch is None:
        return None
    why = ""
    if authority.learner.spec.aliases == "adopt":
        try:
            if _adopt(authority):
                return Reconciled(mismatch, "adopted")
        except AiosError as error:
            why = str(error)
    Guard(SENSOR, authority.access, registry.log).check("restore_alias", authority.automation())
    champion.restore_alias(registry, name)
    body = {"mismatch": mismatch, "not_adopted": why}
    registry.log.append(Act("alias_restored", name, str(SENSOR), body))
    registry.log.settle()
    return Reconciled(mismatch, "restored", why)


def _adopt(authority: Authority) -> bool:
    registry, name = authority.registry, authority.learner.name
    changes = champion.history(registry, name)
    edited = champion.aliased(registry, name)
    # A promotion that was killed half-way leaves the alias at the champion before: no edit.
    if edited is None or (changes and edited in (changes[-1].version, changes[-1].previous)):
        return False
    Guard(SENSOR, authority.access, registry.log).check("adopt_alias", authority.automation())
    champion.promote(
        registry,
        name,
        edited,
        at=clock.now(),
        by=str(SENSOR),
        reason="the alias was edited in MLflow",
        expected=changes[-1].version if changes else 0,
    )
    body = {"version": edited, "previous": changes[-1].version if changes else None}
    registry.log.append(Act("alias_adopted", name, str(SENSOR), body))
    registry.log.settle()
    return True

"""Changes of what an automation does: its policy, its risk and its code, as they take over.

A new policy or a lower risk of a high-risk automation decides nothing before another person than
the one who proposed it has accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

from aios.errors import AiosError
from aios.identity.access import Access
from aios.identity.actors import Actor
from aios.identity.directory import Directory
from aios.identity.guard import Guard
from aios.identity.resources import Automation, Context, Risk
from aios.record.leaves import Act, Entry
from aios.record.log import Log

PROPOSED, POLICY, CODE = "policy_proposed", "policy_changed", "configuration_changed"
_RISKS = get_args(Risk)


@dataclass(frozen=True)
class Changes:
    """The changes of one automation.

    Attributes:
        log: The record.
        declared: The automation as its folder declares it now.
        policy: Hash of the policy in its folder.
    """

    log: Log
    declared: Automation
    policy: str

    @cached_property
    def automation(self) -> Automation:
        """The automation as the rules see it: with the risk before the change, where higher."""
        return as_recorded(self.log, self.declared)

    def note_code(self, code_version: str, actor: str) -> None:
        """Record that an automation runs a version of its folder, unless it did before this."""
        latest = self.log.last(CODE, self.declared.name)
        if latest is None or latest.body["code_version"] != code_version:
            self._append(CODE, {"code_version": code_version}, actor)

    def note_policy(self, actor: str, *, rehearsing: bool) -> None:
        """Record that the policy decides, unless it did before this.

        Raises:
            AiosError: It or the risk is new on a high-risk automation, and nobody accepted it.
        """
        name, latest = self.declared.name, self.log.last(POLICY, self.declared.name)
        if latest and self._is_of(latest):
            return
        known = rehearsing or latest is None or self.accepted()
        if self.automation.risk == "high" and not known:
            raise AiosError(
                f"policy {self.policy} with risk {self.declared.risk!r} is new, and nobody has "
                "accepted it",
                where=name,
                fix=f"Propose it with 'aios policy {name} --propose'; another person accepts it "
                f"with 'aios policy {name} --accept'. Or restore what was before it.",
            )
        self._append(POLICY, {**self._version, "accepted_by": []}, actor)

    def accepted(self) -> Entry | None:
        """Return the newest leaf that lets this policy with this risk decide."""
        return self._newest(POLICY)

    def proposed(self) -> Entry | None:
        """Return the newest leaf that proposes this policy with this risk."""
        return self._newest(PROPOSED)

    def propose(self, actor: Actor, access: Access, reason: str) -> Entry:
        """Propose the policy for another person to accept.

        Raises:
            Denied: The rules do not allow it.
        """
        Guard(actor, access, self.log).check("request_approval", self.automation)
        return self._append(PROPOSED, {**self._version, "reason": reason}, str(actor))

    def accept(self, actor: Actor, access: Access) -> Entry:
        """Let the proposed policy decide; it is the proposer's change, with their roles of now.

        Raises:
            Denied: The rules do not allow it: the proposer accepts their own change.
            AiosError: Nobody proposed it, or the proposer is disabled.
        """
        proposed = self.proposed()
        if proposed is None:
            raise AiosError(
                f"nobody has proposed policy {self.policy} with risk {self.declared.risk!r}",
                where=self.declared.name,
                fix=f"Propose it first: aios policy {self.declared.name} --propose",
            )
        proposer = Directory(self.log.database).acting(proposed.actor)
        Guard(actor, access, self.log).check("approve", self.automation)
        context = Context(approved_by=[actor])
        Guard(proposer, access, self.log).check("change_policy", self.automation, context)
        body = {**self._version, "accepted_by": [str(actor)]}
        return self._append(POLICY, body, str(proposer))

    @property
    def _version(self) -> dict[str, Any]:
        return {"policy": self.policy, "risk": self.declared.risk}

    def _is_of(self, entry: Entry) -> bool:
        return {name: entry.body[name] for name in self._version} == self._version

    def _newest(self, kind: str) -> Entry | None:
        found = self.log.entries(kind=kind, automation=self.declared.name)
        return next((entry for entry in reversed(list(found)) if self._is_of(entry)), None)

    def _append(self, kind: str, body: dict[str, Any], actor: str) -> Entry:
        return self.log.append(Act(kind, self.declared.name, actor, body))


def as_recorded(log: Log, declared: Automation) -> Automation:
    """Return an automation with the higher of its declared and its last accepted risk.

    A lower risk in the declaration must not be the way around the second person.
    """
    latest = log.last(POLICY, declared.name)
    if latest is None:
        return declared
    return replace(declared, risk=max(declared.risk, latest.body["risk"], key=_RISKS.index))

"""Changes of what an automation does: its policy and its code, recorded as they change.

A new policy of a high-risk automation decides nothing before another person than the one who
proposed it has accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aios.errors import AiosError
from aios.identity.access import Access
from aios.identity.actors import Actor
from aios.identity.directory import Directory
from aios.identity.guard import Guard
from aios.identity.resources import Automation, Context
from aios.record.leaves import Act, Entry
from aios.record.log import Log

PROPOSED, POLICY, CODE = "policy_proposed", "policy_changed", "configuration_changed"


@dataclass(frozen=True)
class Changes:
    """The changes of one automation.

    Attributes:
        log: The record.
        automation: The automation as the rules see it.
    """

    log: Log
    automation: Automation

    def note_code(self, code_version: str, actor: str) -> None:
        """Record that an automation runs a version of its folder, unless it did before this."""
        latest = self.log.last(CODE, self.automation.name)
        if latest is None or latest.body["code_version"] != code_version:
            self._append(CODE, {"code_version": code_version}, actor)

    def note_policy(self, policy_hash: str, actor: str, *, rehearsing: bool) -> None:
        """Record that a policy decides, unless it did before this.

        Raises:
            AiosError: It is a new one of a high-risk automation, and nobody accepted it.
        """
        latest = self.log.last(POLICY, self.automation.name)
        if latest and latest.body["policy"] == policy_hash:
            return
        name = self.automation.name
        known = rehearsing or latest is None or self.accepted(policy_hash)
        if self.automation.risk == "high" and not known:
            raise AiosError(
                f"policy {policy_hash} is new, and nobody has accepted it",
                where=name,
                fix=f"Propose it with 'aios policy {name} --propose'; another person accepts it "
                f"with 'aios policy {name} --accept'. Or restore the policy before it.",
            )
        self._append(POLICY, {"policy": policy_hash, "accepted_by": []}, actor)

    def accepted(self, policy_hash: str) -> Entry | None:
        """Return the newest leaf that lets a policy decide."""
        return self._newest(POLICY, policy_hash)

    def proposed(self, policy_hash: str) -> Entry | None:
        """Return the newest leaf that proposes a policy."""
        return self._newest(PROPOSED, policy_hash)

    def propose(self, policy_hash: str, actor: Actor, access: Access, reason: str) -> Entry:
        """Propose a policy for another person to accept.

        Raises:
            Denied: The rules do not allow it.
        """
        Guard(actor, access, self.log).check("request_approval", self.automation)
        body = {"policy": policy_hash, "reason": reason}
        return self._append(PROPOSED, body, str(actor))

    def accept(self, policy_hash: str, actor: Actor, access: Access) -> Entry:
        """Let a proposed policy decide; it is the proposer's change, with their roles of now.

        Raises:
            Denied: The rules do not allow it: the proposer accepts their own change.
            AiosError: Nobody proposed it, or the proposer is disabled.
        """
        proposed = self.proposed(policy_hash)
        if proposed is None:
            raise AiosError(
                f"nobody has proposed policy {policy_hash}",
                where=self.automation.name,
                fix=f"Propose it first: aios policy {self.automation.name} --propose",
            )
        proposer = Directory(self.log.database).acting(proposed.actor)
        Guard(actor, access, self.log).check("approve", self.automation)
        context = Context(approved_by=[actor])
        Guard(proposer, access, self.log).check("change_policy", self.automation, context)
        body = {"policy": policy_hash, "accepted_by": [str(actor)]}
        return self._append(POLICY, body, str(proposer))

    def _newest(self, kind: str, policy_hash: str) -> Entry | None:
        found = self.log.entries(kind=kind, automation=self.automation.name)
        return next((e for e in reversed(list(found)) if e.body["policy"] == policy_hash), None)

    def _append(self, kind: str, body: dict[str, Any], actor: str) -> Entry:
        return self.log.append(Act(kind, self.automation.name, actor, body))

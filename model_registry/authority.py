"""Who may change which model decides: the rules are asked first, the record keeps the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from aios import clock
from aios.errors import AiosError, Stale
from aios.identity.access import Access, Action, Denied, authorise
from aios.identity.actors import Actor
from aios.identity.directory import Directory
from aios.identity.guard import Guard
from aios.identity.resources import Automation, Context, ModelVersion
from aios.record.changes import as_recorded
from model_registry import approvals, champion, ledger
from model_registry.approvals import Request
from model_registry.registration import leaf_key
from model_registry.registry import Registry
from model_registry.rollout import moves
from model_registry.stages import latest

if TYPE_CHECKING:
    from aios.learner import Learner
    from model_registry.registry import ModelVersion as Version

APPROVAL_RULES = {"four_eyes", "declared_approval"}
"""The rules that ask for another person's approval."""


@dataclass(frozen=True)
class Authority:
    """Changes of the champion of one model, each allowed, made and recorded.

    Attributes:
        registry: Where the versions are.
        access: The rules.
        learner: Whose champion.
    """

    registry: Registry
    access: Access
    learner: Learner

    def promote(
        self,
        number: int,
        actor: Actor,
        *,
        at: datetime,
        reason: str,
        evidence: str = "",
        evidence_digest: str = "",
        expected: int | None = None,
        stood: int | None = None,
    ) -> Version:
        """Let a version decide from `at` on; see `champion.promote`.

        Raises:
            Denied: The rules do not allow it.
            AiosError: It cannot be done; nothing is changed.
        """
        name, log = self.learner.name, self.registry.log
        seen = self._present() if expected is None else expected
        granted = self.check_step(number, actor, "champion", seen)
        promoted = champion.promote(
            self.registry, name, number, at=at, by=str(actor), reason=reason, evidence=evidence,
            evidence_digest=evidence_digest, expected=seen, stood=stood,
            approved_by=sorted({one.verdict_by for one in granted}),
        )  # fmt: skip
        for one in granted:
            approvals.close(log, one.number, "done")
        log.settle()
        return promoted

    def check_step(
        self,
        number: int,
        actor: Actor,
        step: approvals.Step,
        champion: int | None = None,
        *,
        growing: bool = False,
        quiet: bool = False,
    ) -> list[Request]:
        """Ask the rules whether a version may take a step; return the approvals that count.

        Args:
            number: The version.
            actor: Who lets it.
            step: Which step.
            champion: The champion that the decider saw, 0 for none; the present one by default.
            growing: Whether the version decides a share already.
            quiet: Leave no denial on record: a tick asks every minute what it may do.

        Raises:
            Denied: The rules do not allow it.
        """
        name, log = self.learner.name, self.registry.log
        version = self.registry.get(name, number)
        seen = self._present() if champion is None else champion
        directory = Directory(log.database)
        out = [
            one.leaf
            for one in moves(log, name)
            if one.version == number and one.state in ("rejected", "rolled_back", "superseded")
        ]
        ended = max(out, default=-1)
        granted = [
            one
            for one in approvals.approved_by(log, name, number, seen, step)
            # Nor one that was asked for before the version was taken out of its rollout.
            if one.number > ended
            # An approval of somebody who was shut out since does not count.
            if _may_act(directory, one.verdict_by)
        ]
        declared = getattr(self.learner.spec, "rollout", None)
        context = Context(
            promotion=self.learner.spec.promotion,
            approved_by=[Actor.parse(one.verdict_by) for one in granted],
            approval_declared=bool(declared and step in declared.approvals and not growing),
            growing=growing,
        )
        asked_by = granted[0].by if granted else None
        action: Action = "promote" if step == "champion" else "advance"
        resource = self._resource(version, asked_by)
        if quiet:
            authorise(self.access, actor, action, resource, context)
        else:
            self._guard(actor).check(action, resource, context)
        return granted

    def check(self, action: Action, actor: Actor) -> None:
        """Ask the rules whether somebody may do something to the automation's models.

        Raises:
            Denied: The rules do not allow it.
        """
        self._guard(actor).check(action, self.automation())

    def rollback(
        self,
        actor: Actor,
        *,
        at: datetime,
        reason: str,
        to: int | None = None,
        evidence: str = "",
        evidence_digest: str = "",
        expected: int | None = None,
    ) -> Version:
        """Let an earlier champion decide again; see `champion.rollback`.

        Raises:
            Denied: The rules do not allow it.
            AiosError: It cannot be done; nothing is changed.
        """
        # Of two who press at once, the second must not go one further back.
        seen = self._present() if expected is None else expected
        self._guard(actor).check("rollback", self.automation())
        back = champion.rollback(
            self.registry, self.learner.name, to=to, at=at, by=str(actor), reason=reason,
            evidence=evidence, evidence_digest=evidence_digest, expected=seen,
        )  # fmt: skip
        self.registry.log.settle()
        return back

    def request(
        self,
        number: int,
        actor: Actor,
        *,
        reason: str,
        evidence: str = "",
        evidence_digest: str = "",
        expected: int | None = None,
        step: approvals.Step = "champion",
    ) -> Request:
        """Ask somebody else to approve that a version replaces the present champion.

        Raises:
            Denied: The rules do not allow the actor to ask.
            AiosError: The version does not exist, did not pass the gate or is the champion, or
                `expected` is not.
        """
        name = self.learner.name
        version = self.registry.get(name, number)
        if version.stage == "rejected":
            raise AiosError(
                "it did not pass the gate",
                where=version.label,
                fix="Ask for a version in stage 'gated'; see its card for the gate's reasons.",
            )
        present = self._present()
        if number == present:
            raise AiosError("it is the champion already", where=version.label, fix="nothing to do")
        if expected not in (None, present):
            raise ledger.stale(name, champion.history(self.registry, name), f"version {expected}")
        self._guard(actor).check("request_approval", self._resource(version, str(actor)))
        return approvals.ask(
            self.registry.log, name, number, present, str(actor), reason=reason,
            evidence=evidence, evidence_digest=evidence_digest, step=step,
        )  # fmt: skip

    def decide(self, number: int, actor: Actor, *, approve: bool, reason: str) -> Request:
        """Approve or refuse a request of this model.

        Raises:
            Denied: The rules do not allow the actor to.
            AiosError: The request is not open, or is none of this model.
        """
        log = self.registry.log
        request = next(
            (one for one in approvals.requests(log, self.learner.name) if one.number == number),
            None,
        )
        if request is None:
            raise AiosError(
                f"there is no request {number}",
                where=self.learner.name,
                fix="List them: 'aios approvals'.",
            )
        version = self.registry.get(self.learner.name, request.version)
        self._guard(actor).check("approve", self._resource(version, request.by))
        decided = approvals.give_verdict(log, number, str(actor), approve=approve, reason=reason)
        log.settle()
        return decided

    def carry_out(self) -> list[str]:
        """Promote what was approved, close what has expired or was overtaken; say what was done.

        A step of a canary that was approved is taken by the next tick of the rollout.
        The requester promotes, with the roles of now; a denial is recorded and closes the request.
        """
        log, said = self.registry.log, []
        for one in approvals.requests(log, self.learner.name):
            if one.state not in ("open", "approved", "expired"):
                continue
            label = f"{one.automation} version {one.version}"
            if one.state == "expired":
                approvals.close(log, one.number, "expired")
                said.append(f"{label}: request {one.number} expired")
            elif one.state == "approved" and one.version == self._present():
                # Whoever promoted it was killed before this was noted.
                approvals.close(log, one.number, "done")
            elif one.champion != self._present():
                approvals.close(log, one.number, "overtaken")
                said.append(f"{label}: request {one.number} was overtaken by another champion")
            elif self._left(one):
                approvals.close(log, one.number, "overtaken")
                said.append(f"{label}: request {one.number} was overtaken: its rollout has ended")
            elif one.state == "approved" and one.step == "champion" and not self._paused(one):
                said.append(self._carry_out(one, label))
        return said

    def automation(self) -> Automation:
        """Return the model's owner as the rules see it."""
        whole = as_recorded(self.registry.log, self.learner.belongs_to.resource)
        return replace(whole, name=self.learner.name)

    def _left(self, one: Request) -> bool:
        """Tell whether a version left its rollout since its next step was asked for."""
        stand = latest(moves(self.registry.log, self.learner.name)).get(one.version)
        ended = stand is not None and stand.state in ("rejected", "rolled_back", "superseded")
        return ended or (one.step == "canary" and (not stand or stand.state == "champion"))

    def _paused(self, one: Request) -> bool:
        stand = latest(moves(self.registry.log, self.learner.name)).get(one.version)
        return stand is not None and stand.state == "paused"

    def _carry_out(self, one: Request, label: str) -> str:
        log = self.registry.log
        try:
            actor = Directory(log.database).acting(one.by)
        except AiosError as error:
            approvals.close(log, one.number, "overtaken")
            return f"{label}: request {one.number} cannot be carried out: {error}"
        try:
            self.promote(
                one.version, actor, at=clock.now(), reason=one.reason, evidence=one.evidence,
                evidence_digest=one.evidence_digest, expected=one.champion,
            )  # fmt: skip
        except (Denied, Stale) as error:
            approvals.close(log, one.number, "overtaken")
            return f"{label}: request {one.number} cannot be carried out: {error}"
        except AiosError as error:
            # What is in the way for a moment must not cost an approval: the next tick tries again.
            return f"{label}: request {one.number} waits: {error}"
        return f"{label} decides now, approved by {one.verdict_by}"

    def _present(self) -> int:
        now = champion.champion(self.registry, self.learner.name)
        return now.number if now else 0

    def _guard(self, actor: Actor) -> Guard:
        return Guard(actor, self.access, self.registry.log)

    def _resource(self, version: Version, requested_by: str | None) -> ModelVersion:
        return ModelVersion(
            self.automation(),
            version.number,
            trained_by=self._trainer(version),
            requested_by=Actor.parse(requested_by) if requested_by else None,
        )

    def _trainer(self, version: Version) -> Actor | None:
        """Return who trained a version by the record: MLflow's tag can be edited by anybody."""
        entry = self.registry.log.find(leaf_key(version))
        return Actor.parse(entry.body["trained_by"]) if entry else None


def needs_approval(denied: Denied) -> bool:
    """Tell whether nothing but another person's approval is missing."""
    return bool(denied.rules) and APPROVAL_RULES.issuperset(denied.rules)


def _may_act(directory: Directory, name: str) -> bool:
    try:
        directory.acting(name)
    except AiosError:
        return False
    return True

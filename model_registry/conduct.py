"""How rollouts are conducted: from a verdict to the next move, allowed, made and recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError, Stale
from aios.identity.access import Denied
from aios.identity.actors import ROLLOUT, Actor
from model_registry import approvals, champion
from model_registry.authority import needs_approval
from model_registry.findings import Finding, next_move
from model_registry.loading import verify
from model_registry.mirror import mirror
from model_registry.rollout import move, moves
from model_registry.stages import UNDER_WAY, Basis, Move, To, latest, queued, under_way
from model_registry.verdicts import passed

if TYPE_CHECKING:
    from aios.rollouts import Rollout
    from model_registry.authority import Authority


@dataclass(frozen=True)
class Conductor:
    """The rollouts of one automation's model.

    Attributes:
        authority: Who may change its champion.
        blocked: Returns why no version may be given decisions now; None where nothing is against
            it. Asked before every step forward.
    """

    authority: Authority
    blocked: Callable[[], str | None] = lambda: None

    @property
    def declared(self) -> Rollout:
        """How versions roll out.

        Raises:
            AiosError: The automation declares no rollout.
        """
        declared: Rollout | None = getattr(self.authority.learner.spec, "rollout", None)
        if declared is None:
            raise AiosError(
                "it declares no rollout: a version is promoted at once",
                where=self._name,
                fix="Declare 'rollout' in its defs.yaml, or use 'aios promote'.",
            )
        return declared

    def moves(self) -> list[Move]:
        """Return every move so far, oldest first."""
        return moves(self.authority.registry.log, self._name)

    def start(
        self,
        number: int,
        actor: Actor,
        *,
        at: datetime,
        reason: str,
        better: bool = False,
        **why: Any,
    ) -> Move:
        """Let a version that passed the gate go into shadow, or wait for the one under way.

        A newer version waits for the one under way, or takes its place, as declared.

        Args:
            number: The version.
            actor: Who lets it.
            at: From when on, UTC-naive.
            reason: In words.
            better: Whether it was found surely better than the one under way.
            why: The evidence and its digest.

        Raises:
            Denied: The rules do not let the person.
            AiosError: It did not pass the gate, does not load, or cannot start from where it
                stands. Nothing is changed then.
        """
        registry, known = self.authority.registry, self.moves()
        version = registry.get(self._name, number)
        if not passed(registry.log, version):
            raise AiosError(
                "it did not pass the gate",
                where=version.label,
                fix="Start a version in stage 'gated'; see its card for the gate's reasons.",
            )
        stand = latest(known).get(number)
        if stand and stand.state in ("queued", *UNDER_WAY):
            return stand
        there = [one for one in latest(known).values() if one.state in ("queued", *UNDER_WAY)]
        if number == self._champion() or any(one.version > number for one in there):
            raise AiosError(
                "it is the champion, or a newer version is under way",
                where=version.label,
                fix="Nothing to do; end the newer one first if this one is to decide.",
            )
        if actor.kind == "person":
            self.authority.check_step(number, actor, "canary", growing=True)
        verify(registry, version)
        here = under_way(known)
        # Only the newest waits: what it was trained on holds all that the others knew.
        newer = f"version {number} takes its place"
        to = [To(one, "superseded", reason=newer) for one in queued(known)]
        takes_over = {"supersede": True, "better": better, "queue": False}
        if here and takes_over[self.declared.newer]:
            to.append(To(here.version, "superseded", reason=newer))
            here = None
        to.append(To(number, "queued" if here else "shadow"))
        return self._move(known, to, Basis(str(actor), at, reason, **why))[-1]

    def advance(
        self,
        to: To,
        actor: Actor,
        *,
        at: datetime,
        reason: str,
        stood: int | None = None,
        **why: Any,
    ) -> str:
        """Let the version under way decide a larger share, or become champion.

        Args:
            to: Where to.
            actor: Who lets it.
            at: From when.
            reason: In words.
            stood: The leaf of the move by which it stood when that was decided; wherever when None.
            why: What it rests on: `evidence`, `evidence_digest`.

        Returns:
            What was done, in words: where an approval is needed, it is asked for.

        Raises:
            Denied: The rules do not allow it.
            AiosError: It cannot be done; nothing is changed.
        """
        known = self.moves()
        if why_not := self.blocked():
            raise AiosError(
                f"no version may be given decisions now: {why_not}",
                where=f"{self._name} version {to.version}",
                fix="Mend the cause; the rollout goes on by itself then.",
            )
        authority = self.authority
        basis: dict[str, Any] = {"reason": reason, **why}
        step: approvals.Step = "champion" if to.state == "champion" else "canary"
        seen, stand = self._champion() or 0, latest(known).get(to.version)
        if stood is not None and (stand is None or stand.leaf != stood):
            raise Stale(
                f"version {to.version} is in {stand.state if stand else 'no rollout'} by now",
                where=self._name,
                fix="Look at where the rollout stands (aios rollout), then decide again.",
            )
        try:
            if step == "champion":
                stood = stand.leaf if stand else None
                authority.promote(to.version, actor, at=at, expected=seen, stood=stood, **basis)
                mirror(authority.registry, self._name)
            else:
                growing = stand is not None and stand.share > 0
                granted = authority.check_step(to.version, actor, step, growing=growing)
                approved_by = tuple(sorted({one.verdict_by for one in granted}))
                self._move(known, [to], Basis(str(actor), at, **basis, approved_by=approved_by))
                for one in granted:
                    approvals.close(authority.registry.log, one.number, "done")
        except Denied as denied:
            if not needs_approval(denied):
                raise
            asked = authority.request(to.version, actor, expected=seen, step=step, **basis)
            return f"version {to.version} waits for an approval: request {asked.number}"
        if to.state == "champion":
            return f"version {to.version} is champion"
        return f"version {to.version} is in canary of {to.share:.0%}"

    def end(self, actor: Actor, *, at: datetime, reason: str, **why: Any) -> Move:
        """Take the version under way out: the champion decides everything again.

        Raises:
            Denied: The rules do not allow it.
            AiosError: No version is under way.
        """
        known = self.moves()
        here = self._here(known)
        self.authority.check("rollback", actor)
        to = To(here.version, "rolled_back" if here.share else "rejected")
        return self._move(known, [to], Basis(str(actor), at, reason, **why))[-1]

    def pause(self, actor: Actor, *, at: datetime, reason: str) -> Move:
        """Let the champion decide everything until the rollout is resumed.

        Raises:
            Denied: The rules do not allow it.
            AiosError: No version is under way.
        """
        known = self.moves()
        here = self._here(known)
        self.authority.check("rollback", actor)
        to = To(here.version, "paused", here.share)
        return self._move(known, [to], Basis(str(actor), at, reason))[-1]

    def resume(self, actor: Actor, *, at: datetime, reason: str) -> str:
        """Let a paused version go on where it was.

        Raises:
            Denied: The rules do not allow it.
            AiosError: No version is paused.
        """
        known = self.moves()
        here = self._here(known)
        if here.state != "paused":
            raise AiosError(
                f"version {here.version} is in {here.state}, not paused",
                where=self._name,
                fix="Nothing to do.",
            )
        self.authority.check_step(here.version, actor, "canary", growing=True)
        if here.share:
            return self.advance(To(here.version, "canary", here.share), actor, at=at, reason=reason)
        self._move(known, [To(here.version, "shadow")], Basis(str(actor), at, reason))
        return f"version {here.version} is in shadow"

    def tick(self, findings: Sequence[Finding], actor: Actor, *, at: datetime) -> list[str]:
        """Do what the newest findings call for; say what was done, and why nothing was.

        A finding about a stage that a version has left moves nothing, so that a tick that is
        repeated, or killed and run again, moves each version once.
        """
        said: list[str] = []
        by_version = {one.version: one for one in findings}
        stand = latest(self.moves())
        deciding = stand.get(self._champion() or 0)
        if deciding and deciding.state == "champion":
            found = by_version.get(deciding.version)
            if found and found.leaf == deciding.leaf and found.status == "worse":
                said.append(self._roll_back(deciding, found, at))
        here = under_way(self.moves())
        if here is None:
            said += self._start_next(actor, at)
        elif (found := by_version.get(here.version)) and found.leaf == here.leaf:
            said += self._act(here, found, actor, at)
        mirror(self.authority.registry, self._name)
        return said

    def _roll_back(self, deciding: Move, found: Finding, at: datetime) -> str:
        try:
            back = self.authority.rollback(ROLLOUT, at=at, expected=deciding.version, **_why(found))
        except AiosError as error:
            # Must not hold up the verdict on the version beside it.
            return f"version {deciding.version} is {found.text}; it cannot be rolled back: {error}"
        return f"version {deciding.version} was rolled back: {back.label} decides"

    def _act(self, here: Move, found: Finding, actor: Actor, at: datetime) -> list[str]:
        to = next_move(self.declared, here, found)
        if to is None:
            return []
        try:
            if to.state in ("rejected", "rolled_back"):
                self._move(self.moves(), [to], Basis(str(ROLLOUT), at, **_why(found)))
                return [f"version {to.version} is {to.state.replace('_', ' ')}: {found.text}"]
            waits = self._waits(to, here, actor)
            return [waits or self.advance(to, actor, at=at, stood=here.leaf, **_why(found))]
        except AiosError as error:
            # What is in the way of a step forward leaves everything as it is: the next tick tries.
            return [f"version {here.version} stays in {here.state}: {error}"]

    def _waits(self, to: To, here: Move, actor: Actor) -> str | None:
        """Return what a step waits for that was asked for before; None where it can be tried.

        Raises:
            Denied: The rules do not allow the step, nor by an approval.
        """
        step: approvals.Step = "champion" if to.state == "champion" else "canary"
        try:
            growing = here.share > 0 and step == "canary"
            self.authority.check_step(to.version, actor, step, growing=growing, quiet=True)
        except Denied as denied:
            if not needs_approval(denied):
                raise
            asked = [
                one
                for one in approvals.requests(self.authority.registry.log, self._name)
                if one.version == to.version and one.step == step
                if one.number > here.leaf and one.state in ("open", "refused")
            ]
            for one in asked[-1:]:
                by = f" by {one.verdict_by}" if one.verdict_by else ""
                return f"version {to.version} waits for an approval: request {one.number} is " + (
                    f"{one.state}{by}"
                )
        return None

    def _start_next(self, actor: Actor, at: datetime) -> list[str]:
        known = self.moves()
        for number in queued(known)[:1]:
            basis = Basis(str(actor), at, "its turn came")
            self._move(known, [To(number, "shadow")], basis)
            return [f"version {number} is in shadow"]
        return []

    def _move(self, known: Sequence[Move], to: Sequence[To], basis: Basis) -> list[Move]:
        log = self.authority.registry.log
        made = move(log, self._name, known, self._champion(), to, basis)
        log.settle()
        mirror(self.authority.registry, self._name)
        return made

    def _here(self, known: Sequence[Move]) -> Move:
        here = under_way(known)
        if here is None:
            raise AiosError("no version is under way", where=self._name, fix="See 'aios rollout'.")
        return here

    def _champion(self) -> int | None:
        changes = champion.history(self.authority.registry, self._name)
        return changes[-1].version if changes else None

    @property
    def _name(self) -> str:
        return self.authority.learner.name


def _why(found: Finding) -> dict[str, Any]:
    return {
        "reason": found.text,
        "evidence": found.evidence,
        "evidence_digest": found.digest,
    }

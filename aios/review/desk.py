"""The desk: everything that people do with cases and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aios.review import batches, deciding, holding, overrides, timeouts, undoing
from aios.review.office import Office
from aios.review.queue import row_of
from aios.review.verdicts import Form

if TYPE_CHECKING:
    from aios.actions.plan import Planned
    from aios.identity.actors import Actor
    from aios.review.batches import Batch
    from aios.review.queue import Case, Verdict


@dataclass(frozen=True)
class Desk(Office):
    """Where reviewers take and decide cases.

    What changes a decision asks the rules first, and what they deny is recorded; it is one
    transaction of the record with the cases, the verdicts and the actions.
    """

    def take(self, actor: Actor, case: str) -> Case:
        """Give a case to a reviewer, for the declared lease; one that they hold begins anew.

        Raises:
            Denied: The rules do not let them, or their verdict on it stands.
            AiosError: It is unknown, decided, held by somebody else, or waits for an approver.
        """
        return holding.take(self, actor, case)

    def next(self, actor: Actor, automation: str | None = None) -> Case | None:
        """Give a reviewer the most urgent case that nobody holds and that they may decide.

        Args:
            actor: The reviewer.
            automation: Only a case of this one.

        Returns:
            The case, held by them; None where there is none.

        Raises:
            Denied: The rules do not let them.
        """
        return holding.next_case(self, actor, automation)

    def keep(self, actor: Actor, case: str) -> Case:
        """Begin the lease of a case anew.

        Raises:
            AiosError: The actor does not hold it, or the lease is over.
        """
        return holding.keep(self, actor, case)

    def put_back(self, actor: Actor, case: str) -> None:
        """Let others take a case again.

        Raises:
            AiosError: The actor does not hold it.
        """
        holding.put_back(self, actor, case)

    def decide(
        self,
        actor: Actor,
        case: str,
        verdict: str,
        *,
        reason: str,
        outcome: str | None = None,
        comment: str = "",
    ) -> Verdict:
        """Decide a case that the actor holds.

        Where a second person is needed the verdict waits for theirs. Else its effects begin when
        the undo window is over. On a seeded case it looks the same, and has no effect.

        Args:
            actor: The reviewer.
            case: The case's id.
            verdict: `approve` the proposal, `change` it to `outcome`, `reject` (the safe outcome)
                or `escalate` to an approver.
            reason: A declared reason code.
            outcome: Of `change` only.
            comment: In words; it stays in the database, the record has its digest.

        Raises:
            Denied: The rules do not let them, or their verdict on it stands.
            AiosError: It is unknown, decided, not held by the actor; the lease is over; or the
                verdict does not suit the case or the declaration.
        """
        return deciding.decide(self, actor, case, Form(verdict, reason, outcome, comment))

    def decide_all(
        self,
        actor: Actor,
        automation: str,
        cause: str,
        verdict: str,
        *,
        reason: str,
        outcome: str | None = None,
        comment: str = "",
        limit: int = 100,
    ) -> Batch:
        """Decide the most urgent open cases of one cause together, all or none.

        Left out are those that need their own look (four eyes, reviewed twice, without proposal)
        and those that another holds. Arguments as of `decide`.

        Raises:
            Denied: The rules do not let them.
            AiosError: There is no such case, or the verdict does not suit one of them.
        """
        form = Form(verdict, reason, outcome, comment)
        return batches.decide_all(self, actor, automation, cause, form, limit)

    def undo(self, actor: Actor, verdict: str) -> list[Case]:
        """Take back a verdict or a batch, by its id, within the undo window.

        The cases wait again; that of a single verdict is held by the actor.

        Raises:
            Denied: The rules do not let the actor review.
            AiosError: It is unknown, somebody else's (an approver may), final, taken back
                already, or another verdict rests on it.
        """
        return undoing.undo(self, actor, verdict)

    def override(
        self, actor: Actor, decision: str, outcome: str, *, reason: str, comment: str = ""
    ) -> Verdict:
        """Decide a decision in effect otherwise, automatic or reviewed; final at once.

        What the former outcome caused is undone, what the new one causes is due.

        Raises:
            Denied: The rules do not let the actor.
            AiosError: There is no such decision, it waits for a verdict, has this outcome
                already, or takes two people.
        """
        return overrides.override(self, actor, decision, outcome, reason, comment)

    def time_out(self) -> int:
        """Decide the safe outcome of every case past its time that nobody holds.

        Returns:
            How many cases.

        Raises:
            AiosError: Some could not be decided; all others were.
        """
        return timeouts.time_out(self)

    def preview(self, case: str, outcome: str) -> list[Planned]:
        """Return what an outcome of a case would cause."""
        with self.log.database.reading() as connection:
            row = row_of(connection, case)
        return self.planned(self.automation(row.automation), row.partition, {row.decision: outcome})

    def facts(self, case: str) -> dict[str, Any]:
        """Return the decided row of a case: all that was known of it."""
        with self.log.database.reading() as connection:
            row = row_of(connection, case)
        automation = self.automation(row.automation)
        return self.decided(automation, row.partition, [row.decision])[row.decision]

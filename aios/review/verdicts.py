"""Verdicts: what a reviewer says of a case, and how it is kept and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from aios.errors import AiosError
from aios.identity.tables import moment_of
from aios.review.declared import REASONS
from aios.review.queue import row_of
from aios.review.tables import CASES, VERDICTS, salt_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from aios.identity.actors import Actor
    from aios.review.declared import Review

Kind = Literal["approve", "change", "reject", "escalate"]
KINDS: tuple[str, ...] = get_args(Kind)

_COMMENT = 4_000


@dataclass(frozen=True)
class Form:
    """What a reviewer says.

    Attributes:
        verdict: `approve` the proposal, `change` it to `outcome`, `reject` (the safe outcome) or
            `escalate` to an approver.
        reason: A declared reason code.
        outcome: Of `change` only.
        comment: In words, up to 4,000 characters; may hold personal data, and is not recorded.
    """

    verdict: str
    reason: str
    outcome: str | None = None
    comment: str = ""

    def check(self, review: Review, where: str) -> None:
        """Raise an AiosError where it does not suit the declaration."""
        if self.verdict not in KINDS:
            raise AiosError(
                f"'{self.verdict}' is no verdict", where=where, fix=f"Use {', '.join(KINDS)}."
            )
        check_words(self.reason, self.comment, review, where)
        if self.verdict == "change":
            check_outcome(self.outcome, review.outcomes, where)
        elif self.outcome is not None:
            raise AiosError(
                f"'{self.verdict}' takes no outcome",
                where=where,
                fix="To decide another outcome than the proposed one, use 'change'.",
            )

    def outcome_for(self, review: Review, case: Row[Any]) -> str | None:
        """Return the outcome that it decides for a case; None where it escalates.

        Raises:
            AiosError: It approves a proposal that is not shown, or changes it to itself.
        """
        shown = is_shown(case)
        if self.verdict == "approve" and not shown:
            raise AiosError(
                "its proposal is not shown, so it cannot be approved",
                where=f"case {case.id}",
                fix=f"Use 'change' with an outcome: {', '.join(review.outcomes)}.",
            )
        if self.verdict == "change" and shown and self.outcome == case.proposal:
            raise AiosError(
                f"'{self.outcome}' is what is proposed",
                where=f"case {case.id}",
                fix="Use 'approve', or another outcome.",
            )
        outcomes = {"approve": case.proposal, "reject": review.safe, "change": self.outcome}
        return outcomes.get(self.verdict)


def check_words(reason: str, comment: str, review: Review | None, where: str) -> None:
    """Raise an AiosError where the reason is not declared or the comment is too long."""
    reasons = review.reasons if review else REASONS
    if reason not in reasons:
        raise AiosError(
            f"'{reason}' is no declared reason", where=where, fix=f"Use {', '.join(reasons)}."
        )
    if len(comment) > _COMMENT:
        raise AiosError(
            f"the comment has {len(comment)} characters", where=where, fix=f"Use up to {_COMMENT}."
        )


def check_outcome(outcome: str | None, outcomes: Sequence[str], where: str) -> None:
    """Raise an AiosError where the outcome is not among those that may be decided."""
    if outcome not in outcomes:
        what = f"'{outcome}' is no declared outcome" if outcome else "an outcome is missing"
        raise AiosError(what, where=where, fix=f"Use {', '.join(outcomes)}.")


def is_shown(case: Row[Any]) -> bool:
    """Tell whether the reviewers of a case see its proposal."""
    return not (case.hidden or case.double)


def standing(connection: Connection, case: str) -> list[Row[Any]]:
    """Return the verdicts on a case that stand, oldest first."""
    wanted = [VERDICTS.c.case == case, VERDICTS.c.undone_at.is_(None)]
    return list(connection.execute(sa.select(VERDICTS).where(*wanted).order_by(VERDICTS.c.leaf)))


def waiting_case(connection: Connection, case: str) -> Row[Any]:
    """Return the row of a case that waits.

    Raises:
        AiosError: There is none, or it is decided: says by whom.
    """
    row = row_of(connection, case)
    if row.closed_at is None:
        return row
    where = f"case {case}"
    if row.state == "superseded":
        raise AiosError(
            "a later run decided it",
            where=where,
            fix="Go on with the next case; override the decision if it is wrong.",
        )
    last = standing(connection, case)[-1]
    raise AiosError(
        f"it is decided already: {last.outcome}, by {last.reviewer} at {moment_text(last.at)}",
        where=where,
        fix="Go on with the next case; override the decision if it is wrong.",
    )


def check_held(case: Row[Any], actor: Actor, now: int) -> None:
    """Raise an AiosError where an actor does not hold a case."""
    where = f"case {case.id}"
    if case.holder != str(actor):
        holds = case.holder is not None and case.held_until > now
        raise AiosError(
            f"{case.holder} holds it until {moment_text(case.held_until)}"
            if holds
            else f"{actor} does not hold it",
            where=where,
            fix="Take the next case." if holds else "Take it first.",
        )
    if case.held_until <= now:
        raise AiosError(
            f"the lease ended at {moment_text(case.held_until)}", where=where, fix="Take it again."
        )


def check_role(case: Row[Any], actor: Actor) -> None:
    """Raise an AiosError where a case waits for an approver, and the actor is none."""
    if case.state == "escalated" and "approver" not in actor.roles:
        raise AiosError(
            "it is escalated: it waits for an approver",
            where=f"case {case.id}",
            fix="Take the next case; 'next' gives only what you may decide.",
        )


def check_unseen(given: Sequence[Row[Any]], actor: Actor) -> None:
    """Raise an AiosError where an actor's verdict is among those that stand."""
    if any(one.reviewer == str(actor) for one in given):
        raise AiosError(
            f"{actor} has decided it already, and it waits for another person",
            where=f"case {given[0].case}",
            fix="Take the next case, or undo the verdict first.",
        )


def new_row(case: Row[Any], leaf: int, values: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `VERDICTS` on a case, all but what `values` say."""
    return {
        "id": verdict_id(case.id, leaf),
        "case": case.id,
        "automation": case.automation,
        "partition": case.partition,
        "decision": case.decision,
        "event": case.event,
        "shown": is_shown(case),
        "rehearsed": case.rehearsed,
        "batch": None,
        "leaf": leaf,
        "held_at": case.held_at,
        "undone_at": None,
        **values,
    }


def verdict_id(about: str, leaf: int) -> str:
    """Return the id of a verdict about a case or decision, or of a batch."""
    return blake2b(f"{about}/{leaf}".encode(), digest_size=16).hexdigest()


def close(connection: Connection, case: str, state: str, outcome: str | None, now: int) -> None:
    """Let a case stand so, held by nobody."""
    values = {"state": state, "outcome": outcome, "holder": None, "held_until": None}
    closed_at = None if outcome is None else now
    query = CASES.update().where(CASES.c.id == case)
    connection.execute(query.values(**values, held_at=None, closed_at=closed_at))


def sealed(connection: Connection, comment: str) -> str | None:
    """Return the digest of a comment for the record, salted: short texts could be guessed."""
    if not comment:
        return None
    return blake2b(comment.encode(), key=salt_of(connection), digest_size=16).hexdigest()


def moment_text(micros: int) -> str:
    """Return a moment in microseconds since 1970 as a person reads it."""
    return f"{moment_of(micros):%Y-%m-%d %H:%M:%S} UTC"

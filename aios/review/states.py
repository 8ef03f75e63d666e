"""The states of a case: where a verdict takes it, from nothing but the verdicts that stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from aios.review.declared import Review

State = Literal["open", "second", "escalated", "closed"]


class Flags(Protocol):
    """What a case asks for."""

    @property
    def four_eyes(self) -> bool:
        """Whether an approving verdict needs a second person."""

    @property
    def double(self) -> bool:
        """Whether a second person reviews it blindly."""


class Given(Protocol):
    """A verdict."""

    @property
    def verdict(self) -> str:
        """Its kind."""

    @property
    def outcome(self) -> str | None:
        """What it decides; None of an escalation."""


@dataclass(frozen=True)
class Stand:
    """Where a case stands.

    Attributes:
        state: Its state.
        outcome: What is decided; None while it is not.
    """

    state: State = "open"
    outcome: str | None = None


def stand(review: Review, case: Flags, verdicts: Sequence[Given]) -> Stand:
    """Return where a case stands after its verdicts, oldest first; undone ones left out.

    Two who agree close it, two who do not escalate it, and an approver closes what is escalated;
    but an approving outcome under four eyes takes two who would approve.
    """
    state: State = "open"
    opinions: list[str] = []
    for given in verdicts:
        if given.outcome is None:
            state = "escalated"
            continue
        opinions.append(given.outcome)
        if given.verdict == "time_out":
            state = "closed"
        elif state == "second":
            state = "closed" if opinions[-2] == given.outcome else "escalated"
        elif _lacks_one(review, case, opinions) or (state == "open" and case.double):
            state = "second"
        else:
            state = "closed"
    return Stand(state, opinions[-1] if state == "closed" else None)


def _lacks_one(review: Review, case: Flags, opinions: Sequence[str]) -> bool:
    """Tell whether the last opinion approves, and needs another that does."""
    if not case.four_eyes or opinions[-1] not in review.approving:
        return False
    return sum(opinion in review.approving for opinion in opinions) < 2

"""What every act on cases and decisions needs: the rules, the log, the automations, their data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios import clock
from aios.errors import AiosError
from aios.identity.actors import Actor
from aios.identity.guard import Guard
from aios.identity.resources import Context
from aios.identity.tables import micros
from aios.lake import Lake

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.actions.plan import Planned
    from aios.automation import Automation
    from aios.identity.access import Access
    from aios.record.log import Log
    from aios.review.declared import Review


@dataclass(frozen=True)
class Office:
    """Where cases are decided.

    Attributes:
        log: The record, and the database of cases.
        access: The rules of who may.
        automations: By name; only their cases can be decided.
        home: The folder of all embedded state, with the lakes.
        now: Returns the time, UTC-naive.
    """

    log: Log
    access: Access
    automations: Mapping[str, Automation]
    home: Path
    now: Callable[[], datetime] = clock.wall

    def at(self) -> int:
        """Return the time in microseconds since 1970."""
        return micros(self.now())

    def automation(self, name: str) -> Automation:
        """Return an automation.

        Raises:
            AiosError: There is none of that name here.
        """
        if name not in self.automations:
            raise AiosError(
                f"there is no automation '{name}'",
                where="review",
                fix=f"Known: {', '.join(sorted(self.automations)) or 'none'}.",
            )
        return self.automations[name]

    def review(self, name: str) -> Review:
        """Return how an automation's cases are decided.

        Raises:
            AiosError: It declares no review.
        """
        review = self.automation(name).spec.review
        if review is None:
            raise AiosError(
                "it declares no review", where=name, fix="Declare 'review' in its defs.yaml."
            )
        return review

    def may_review(self, actor: Actor, name: str, seen_by: Collection[str] = ()) -> list[str]:
        """Return the rules that let an actor decide a case.

        Args:
            actor: Who.
            name: The automation.
            seen_by: Whose verdict on it stands.

        Raises:
            Denied: The rules do not allow it; that is recorded.
        """
        context = Context(reviewed_by=[Actor.parse(one) for one in seen_by if _is_person(one)])
        guard = Guard(actor, self.access, self.log)
        return list(guard.check("review", self.automation(name).resource, context))

    def decided(
        self, automation: Automation, partition: str, decisions: Collection[str]
    ) -> dict[str, dict[str, Any]]:
        """Return decided rows by the decision's id; see `aios.consequences.decided_rows`.

        Raises:
            AiosError: A decision is not in the lake any more.
        """
        from aios.consequences import decided_rows

        lake = Lake(self.home / "lake" / automation.name)
        rows = decided_rows(automation, lake, partition, decisions)
        found = {row["decision"]: row for row in rows.iter_rows(named=True)}
        if missing := sorted(set(decisions) - found.keys()):
            raise AiosError(
                f"there is no decision {missing[0]}",
                where=f"{automation.name} {partition}",
                fix="A correction of the event is decided anew, with a revision of its own; "
                "look for that.",
            )
        return found

    def planned(
        self, automation: Automation, partition: str, outcomes: Mapping[str, str]
    ) -> list[Planned]:
        """Return what outcomes of a partition's decisions cause; nothing is done yet.

        Args:
            automation: Whose.
            partition: Which.
            outcomes: For each decision its outcome.
        """
        effects = automation.spec.actions.effects if automation.spec.actions else {}
        acting = [key for key, outcome in outcomes.items() if outcome in effects]
        if not acting:
            return []
        from aios.actions.plan import plan

        rows = self.decided(automation, partition, acting)
        return [
            one
            for key in acting
            for one in plan(automation, outcomes[key], {**rows[key], "outcome": outcomes[key]})
        ]


def span(duration: timedelta) -> int:
    """Return a duration in microseconds."""
    return duration // timedelta(microseconds=1)


def let_have(
    connection: Connection,
    automation: Automation,
    decisions: Sequence[str],
    planned: Sequence[Planned],
    *,
    now: int,
    due_at: int | None = None,
    dry: bool,
) -> None:
    """Let decisions have these effects and no others; see `aios.actions.outbox.apply`."""
    if automation.spec.actions is None or not decisions:
        return
    from aios.actions.outbox import apply

    apply(connection, automation, decisions, planned, now=now, due_at=due_at, dry=dry)


def _is_person(actor: str) -> bool:
    return actor.startswith("person:")

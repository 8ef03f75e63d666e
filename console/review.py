"""What the pages about cases show: the desk, the facts of a case, what a verdict will do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from aios.archive import archived_policy
from aios.errors import AiosError
from aios.known import known_events
from aios.review.desk import Desk
from aios.review.queue import Verdict, verdicts_by
from aios.review.tables import CASES

if TYPE_CHECKING:
    from aios.actions.plan import Planned
    from aios.automation import Automation
    from aios.lake import Lake
    from aios.policy import Rule
    from console.house import House
    from console.security import Visitor

_DAY = timedelta(days=1)
_NOT_SHOWN = {
    *("outcome", "rule", "fired", "score", "model_version", "policy_hash", "code_version"),
    *("feature_digest", "content_digest", "decision", "partition", "revision"),
}


@dataclass(frozen=True)
class Effects:
    """What an outcome causes.

    Attributes:
        outcome: Which.
        planned: In their order.
        problem: Why it cannot be told.
    """

    outcome: str
    planned: list[Planned]
    problem: str = ""


def desk_of(house: House) -> Desk:
    """Return where cases are decided."""
    return Desk(
        house.log, house.access, house.automations(), house.settings.home, house.options.now
    )


def undoable(visitor: Visitor) -> Verdict | None:
    """Return the visitor's last verdict that can be taken back now."""
    now = visitor.house.options.now()
    found = verdicts_by(visitor.house.log.database, visitor.actor, since=now - _DAY)
    return next((one for one in found if one.final_at > now), None)


def facts_shown(automation: Automation, facts: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the event's fields and steps' outputs, and the features, by name.

    Nothing that was decided: of a case whose proposal is hidden that would tell it.
    """
    features = automation.spec.feature_columns
    own = {k: v for k, v in facts.items() if k not in _NOT_SHOWN and k not in features}
    return own, {name: facts.get(name) for name in features}


def rules_of(automation: Automation, lake: Lake, facts: Mapping[str, Any]) -> list[Rule]:
    """Return the rules that fired, in the words of the policy that decided."""
    policy = automation.policy
    if policy.hash != facts["policy_hash"]:
        try:
            policy = archived_policy(lake, facts["policy_hash"])
        except AiosError:
            return []
    names = (facts["fired"] or "").split(",")
    return [rule for rule in policy.rules if rule.name in names]


def picture_of(
    automation: Automation, lake: Lake, facts: Mapping[str, Any], name: str
) -> bytes | None:
    """Return what a step draws of a case's document, as PNG; None where it draws nothing."""
    step = next((one for one in automation.spec.steps if one.name == name and one.page), None)
    if step is None or step.page is None:
        return None
    identity = automation.spec.id
    own = (pl.col(identity) == facts[identity]) & (pl.col("revision") == facts["revision"])
    rows = known_events(automation, lake, facts["partition"], through=name, json=True).filter(own)
    _, picture = automation.function(step.page)(rows)
    return bytes(picture)


def effects_of(automation: Automation, facts: Mapping[str, Any]) -> list[Effects]:
    """Return for each outcome that a reviewer may decide what it causes."""
    from aios.actions.plan import plan

    if automation.spec.review is None or automation.spec.actions is None:
        return []
    found = []
    for outcome in automation.spec.review.outcomes:
        try:
            found.append(Effects(outcome, plan(automation, outcome, facts)))
        except AiosError as error:
            found.append(Effects(outcome, [], error.what))
    return found


def waits_for_review(house: House, decision: str) -> bool:
    """Tell whether a case about a decision waits: its reviewers must not look up the answer."""
    waiting = [CASES.c.decision == decision, CASES.c.closed_at.is_(None)]
    with house.log.database.reading() as connection:
        query = sa.select(CASES.c.id).where(*waiting).limit(1)
        return connection.execute(query).first() is not None

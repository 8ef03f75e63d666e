"""A decision, found by its id or its event's: why it was made, what followed, and overriding it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from aios.automation import Automation
from aios.errors import AiosError
from aios.identity.resources import Platform
from aios.review.declared import REASONS
from aios_assets.replay.aftermath import deeds_of, verdicts_of
from aios_assets.replay.ids import locate
from aios_assets.replay.why import Why, why
from console.names import Code, Comment, Search
from console.pages import done, page
from console.review import desk_of, waits_for_review
from console.security import Reader, Visitor, Writer

router = APIRouter()

Decision = Annotated[str, Form(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=400)]


@dataclass(frozen=True)
class _Choices:
    """What an override may choose from; nothing where the visitor may not override."""

    outcomes: list[str]
    reasons: list[str]


@router.get("/decisions", response_class=HTMLResponse)
def decisions(request: Request, visitor: Reader, find: Search = "") -> Response:
    """Search a decision, and show why it was made to those who may read what it saw."""
    found, problem = None, ""
    if find.strip():
        # Asked before the search: whether there is such an event is told to nobody else.
        visitor.guard.check("read_payload", Platform())
        try:
            found = _found(visitor, find.strip())
        except AiosError as error:
            problem = f"{error.what[:1].upper()}{error.what[1:]}. {error.fix}"
    choices, database = _choices(visitor, found), visitor.house.log.database
    return page(
        request, visitor, "decisions.html", find=find, why=found, problem=problem,
        verdicts=verdicts_of(database, found.decision_id) if found else [],
        deeds=deeds_of(database, found.decision_id) if found else [],
        outcomes=choices.outcomes, reasons=choices.reasons,
    )  # fmt: skip


@router.post("/decisions/override", response_class=HTMLResponse)
def override(
    visitor: Writer, decision: Decision, outcome: Code, reason: Code, comment: Comment = ""
) -> Response:
    """Decide a decision otherwise."""
    given = desk_of(visitor.house).override(
        visitor.actor, decision, outcome, reason=reason, comment=comment
    )
    return done(visitor, f"{given.decision} is overridden: {given.outcome}.", "/decisions")


def _found(visitor: Visitor, text: str) -> Why:
    house = visitor.house
    one = str(locate(text, house.settings))
    if "auditor" not in visitor.actor.roles and waits_for_review(house, one):
        raise AiosError("a case about it waits", fix="Decide the case first.")
    return why(one, house.settings, house.log)


def _choices(visitor: Visitor, found: Why | None) -> _Choices:
    automation: Automation | None = None
    if found is not None:
        automation = visitor.house.automations().get(found.decision_id.partition("/")[0])
    if automation is None or not visitor.house.may(visitor.actor, "override", automation.resource):
        return _Choices([], [])
    review = automation.spec.review
    policy = [one for one in automation.policy.outcomes if one != "review"]
    return _Choices(review.outcomes if review else policy, review.reasons if review else REASONS)

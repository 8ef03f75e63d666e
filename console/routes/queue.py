"""The queue: which cases wait, by cause, and verdicts on many of one cause together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, Response

from aios.review.queue import counts, queue
from console.names import AnyCode, AnyName, Comment, Line, Search
from console.pages import done, page
from console.review import desk_of, undoable
from console.security import Reader, Visitor, Writer

router = APIRouter()

CASES = 50
"""Cases on a page."""

_CAUSES = 12

State = Annotated[Literal["", "open", "second", "escalated"], Query()]
After = Annotated[str, Query(pattern=r"^(\d{1,18}\.[A-Za-z0-9_-]{1,64})?$")]
BatchVerdict = Annotated[Literal["approve", "change", "reject", "escalate"], Form()]
Limit = Annotated[int, Form(ge=1, le=500)]
OneName = Annotated[str, Form(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.get("/queue", response_class=HTMLResponse)
def waiting(
    request: Request,
    visitor: Reader,
    automation: AnyName = "",
    cause: Search = "",
    state: State = "",
    mine: bool = False,
    overdue: bool = False,
    after: After = "",
) -> Response:
    """Show the cases that wait, the most urgent first."""
    house = visitor.house
    database, now = house.log.database, house.options.now()
    sees = house.may(visitor.actor, "read_payload")
    found = queue(
        database, now=now, automation=automation or None, cause=cause or None,
        state=state or None, mine=visitor.actor if mine else None, overdue=overdue,
        after=after or None, limit=CASES,
    )  # fmt: skip
    groups = counts(database, now=now, automation=automation or None)
    filters: dict[str, Any] = {"automation": automation, "cause": cause, "state": state,
                               "mine": mine, "overdue": overdue}  # fmt: skip
    reviews = {
        name: one.spec.review for name, one in house.automations().items() if one.spec.review
    }
    return page(
        request, visitor, "queue.html", found=found, groups=groups[:_CAUSES],
        waiting=sum(one.waiting for one in groups), filters=filters, sees=sees, reviews=reviews,
        undo=undoable(visitor), may_review=_may_review(visitor),
    )  # fmt: skip


@router.post("/queue/next", response_class=HTMLResponse)
def take_next(visitor: Writer, automation: AnyCode = "") -> Response:
    """Take the most urgent case that nobody holds."""
    case = desk_of(visitor.house).next(visitor.actor, automation or None)
    if case is None:
        return done(visitor, "No case waits for you.", "/queue")
    return done(visitor, "", f"/cases/{case.id}")


@router.post("/queue/batch", response_class=HTMLResponse)
def decide_many(
    visitor: Writer,
    automation: OneName,
    cause: Line,
    verdict: BatchVerdict,
    reason: AnyCode,
    outcome: AnyCode = "",
    comment: Comment = "",
    limit: Limit = 100,
) -> Response:
    """Give one verdict on the most urgent cases of one cause."""
    batch = desk_of(visitor.house).decide_all(
        visitor.actor, automation, cause, verdict, reason=reason,
        outcome=outcome or None if verdict == "change" else None, comment=comment, limit=limit,
    )  # fmt: skip
    return done(visitor, f"{len(batch.cases)} cases are decided: {verdict}.", "/queue")


def _may_review(visitor: Visitor) -> bool:
    house = visitor.house
    found = house.automations().values()
    return any(house.may(visitor.actor, "review", one.resource) for one in found)

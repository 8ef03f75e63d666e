"""One case: what is known of it, what a verdict will do, and the verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Form, Path, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from aios.automation import Automation
from aios.errors import AiosError
from aios.review.queue import Case, get_case, verdicts_seen
from console.explain import mattered
from console.names import AnyCode, Comment, Id
from console.pages import done, page
from console.review import desk_of, effects_of, facts_shown, picture_of, rules_of, undoable
from console.security import Reader, Visitor, Writer
from console.similar import similar

router = APIRouter()

StepName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Verdict = Annotated[Literal["approve", "change", "reject", "escalate"], Form()]


@router.get("/cases/{case}", response_class=HTMLResponse)
def show(request: Request, visitor: Reader, case: Id) -> Response:
    """Show a case to those who may read what it is about."""
    house = visitor.house
    found, automation = _case(visitor, case)
    facts, problem = {}, ""
    try:
        facts = desk_of(house).facts(case)
    except AiosError as error:
        problem = error.what
    fields, features = facts_shown(automation, facts)
    lake = house.platform.lake(automation.name)
    held = found.holder == str(visitor.actor) and found.held_until is not None
    return page(
        request, visitor, "case.html", case=found, review=automation.spec.review,
        fields=fields, features=features, problem=problem,
        rules=rules_of(automation, lake, facts) if facts else [],
        effects=effects_of(automation, facts) if facts else [],
        drawn=[one.name for one in automation.spec.steps if one.page] if facts else [],
        dry=found.rehearsed or bool(automation.spec.actions and automation.spec.actions.dry_run),
        verdicts=verdicts_seen(house.log.database, case, visitor.actor), held=held,
        undo=undoable(visitor),
        may_review=house.may(visitor.actor, "review", automation.resource),
    )  # fmt: skip


@router.get("/cases/{case}/mattered", response_class=HTMLResponse)
def what_mattered(request: Request, visitor: Reader, case: Id) -> Response:
    """Show the features that moved the score; of a case without a shown score, none."""
    found, automation = _case(visitor, case)
    features, problem = [], ""
    if not found.shown:
        problem = "The score of this case is not shown."
    else:
        try:
            facts = desk_of(visitor.house).facts(case)
            features = mattered(automation, visitor.house.platform, facts)
        except AiosError as error:
            problem = error.what
    most = max((abs(one.effect) for one in features), default=1.0)
    return page(request, visitor, "mattered.html", features=features, most=most, problem=problem)


@router.get("/cases/{case}/similar", response_class=HTMLResponse)
def what_is_similar(request: Request, visitor: Reader, case: Id) -> Response:
    """Show past decisions that are like this one."""
    _, automation = _case(visitor, case)
    house = visitor.house
    rows, problem = [], ""
    try:
        facts = desk_of(house).facts(case)
        lake = house.platform.lake(automation.name)
        rows = similar(automation, lake, house.log.database, facts)
    except AiosError as error:
        problem = error.what
    return page(request, visitor, "similar.html", rows=rows, problem=problem)


@router.get("/cases/{case}/pictures/{step}", response_class=HTMLResponse)
def picture(visitor: Reader, case: Id, step: StepName) -> Response:
    """Serve the picture of a case's document, with what a step read marked in it."""
    _, automation = _case(visitor, case)
    house = visitor.house
    facts = desk_of(house).facts(case)
    png = picture_of(automation, house.platform.lake(automation.name), facts, step)
    if png is None:
        raise HTTPException(404)
    return Response(png, media_type="image/png")


@router.post("/cases/{case}/take", response_class=HTMLResponse)
def take(visitor: Writer, case: Id) -> Response:
    """Take a case, so that nobody else decides it meanwhile."""
    desk_of(visitor.house).take(visitor.actor, case)
    return done(visitor, "", f"/cases/{case}")


@router.post("/cases/{case}/keep", response_class=HTMLResponse)
def keep(visitor: Writer, case: Id) -> Response:
    """Keep a case for another while."""
    desk_of(visitor.house).keep(visitor.actor, case)
    return done(visitor, "It stays with you.", f"/cases/{case}")


@router.post("/cases/{case}/put-back", response_class=HTMLResponse)
def put_back(visitor: Writer, case: Id) -> Response:
    """Let others take it."""
    desk_of(visitor.house).put_back(visitor.actor, case)
    return done(visitor, "It is back in the queue.", "/queue")


@router.post("/cases/{case}/verdict", response_class=HTMLResponse)
def decide(
    visitor: Writer,
    case: Id,
    verdict: Verdict,
    reason: AnyCode = "",
    outcome: AnyCode = "",
    comment: Comment = "",
) -> Response:
    """Decide a case that the visitor holds."""
    desk = desk_of(visitor.house)
    if verdict == "approve" and not reason:
        known = get_case(visitor.house.log.database, case, now=visitor.house.options.now())
        reason = desk.review(known.automation).reasons[0]
    given = desk.decide(
        visitor.actor, case, verdict, reason=reason, comment=comment,
        outcome=outcome or None if verdict == "change" else None,
    )  # fmt: skip
    return done(visitor, f"Your verdict: {given.outcome or 'escalated'}.", f"/cases/{case}")


@router.post("/verdicts/{verdict}/undo", response_class=HTMLResponse)
def undo(visitor: Writer, verdict: Id) -> Response:
    """Take a verdict or a batch back."""
    cases = desk_of(visitor.house).undo(visitor.actor, verdict)
    place = f"/cases/{cases[0].id}" if len(cases) == 1 else "/queue"
    many = "The case is" if len(cases) == 1 else f"{len(cases)} cases are"
    return done(visitor, f"{many} open again.", place)


def _case(visitor: Visitor, case: str) -> tuple[Case, Automation]:
    """Return a case and its automation, to those who may read it."""
    house = visitor.house
    found = get_case(house.log.database, case, now=house.options.now())
    automation = house.automation(found.automation)
    visitor.guard.check("read_payload", automation.resource)
    return found, automation

"""Models and their rollouts, with the buttons that the command line has, behind the same rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from aios import clock
from aios.automation import Automation
from aios.errors import AiosError
from aios.identity.access import Denied
from aios.identity.resources import ModelVersion
from aios.learner import Learner, learners
from console.names import Model, Number, Reason, Version
from console.pages import done, markdown, page
from console.security import Reader, Visitor, Writer
from console.standing import learner_of, picture, standing

if TYPE_CHECKING:
    from model_registry.authority import Authority
    from model_registry.conduct import Conductor

router = APIRouter()

Step = Annotated[Literal["advance", "pause", "resume", "end"], Form()]
Verdict = Annotated[Literal["approve", "refuse"], Form()]


@router.get("/rollouts", response_class=HTMLResponse)
def rollouts(request: Request, visitor: Reader) -> Response:
    """List everything that learns."""
    found = [
        one.name for automation in visitor.house.automations().values()
        for one in learners(automation)
    ]  # fmt: skip
    return page(request, visitor, "rollouts.html", learners=found)


@router.get("/rollouts/{name}", response_class=HTMLResponse)
def rollout(request: Request, visitor: Reader, name: Model) -> Response:
    """Show where a model stands and what may be done about it."""
    learner = _learner(visitor, name)
    found = standing(learner, visitor.house.platform, _conductor(visitor, learner))
    whose = replace(learner.belongs_to.resource, name=name)
    may, me = visitor.house.may, visitor.actor
    offered = {
        "rollback": may(me, "rollback", whose),
        "promote": may(me, "request_approval", ModelVersion(whose, 0)),
        # Whoever asked does not approve; who trained the version is asked of the record later.
        "approve": {one.number for one in found.requests if one.by != str(me)}
        if may(me, "approve", whose)
        else set(),
    }
    return page(
        request, visitor, "rollout.html", one=found, offered=offered,
        declared=_conductor(visitor, learner) is not None,
    )  # fmt: skip


@router.get("/rollouts/{name}/plots/{version}/{number}", response_class=HTMLResponse)
def plot(visitor: Reader, name: Model, version: Number, number: Number) -> Response:
    """Serve one plot of the newest report."""
    automation = _learner(visitor, name)
    png = None
    if isinstance(automation, Automation):
        png = picture(automation, visitor.house.platform, version, number)
    if png is None:
        raise HTTPException(404)
    return Response(png, media_type="image/png")


@router.get("/rollouts/{name}/cards/{version}", response_class=HTMLResponse)
def card(request: Request, visitor: Reader, name: Model, version: Number) -> Response:
    """Show the model card of a version, with the gate's verdict and the approvals so far."""
    found = visitor.house.platform.registry.get(_learner(visitor, name).name, version)
    text = markdown(found.card)
    return page(request, visitor, "card.html", name=name, version=version, text=text)


@router.post("/rollouts/{name}/promote", response_class=HTMLResponse)
def promote(
    visitor: Writer, name: Model, version: Version, champion: Version, reason: Reason
) -> Response:
    """Let a version decide, or ask for the approval that it needs."""
    from model_registry.authority import needs_approval

    authority = _authority(visitor, _learner(visitor, name))
    try:
        now = authority.promote(
            version, visitor.actor, at=clock.now(), reason=reason, expected=champion
        )
    except Denied as denied:
        if not needs_approval(denied):
            raise
        asked = authority.request(version, visitor.actor, reason=reason, expected=champion)
        said = f"This needs another person's approval. Request {asked.number} asks for it."
        return done(visitor, said, f"/rollouts/{name}")
    return done(visitor, f"{now.label} decides now.", f"/rollouts/{name}")


@router.post("/rollouts/{name}/rollback", response_class=HTMLResponse)
def rollback(visitor: Writer, name: Model, champion: Version, reason: Reason) -> Response:
    """Let the champion before decide again."""
    authority = _authority(visitor, _learner(visitor, name))
    back = authority.rollback(visitor.actor, at=clock.now(), reason=reason, expected=champion)
    return done(visitor, f"{back.label} decides again.", f"/rollouts/{name}")


@router.post("/rollouts/{name}/start", response_class=HTMLResponse)
def start(visitor: Writer, name: Model, version: Version, reason: Reason) -> Response:
    """Let a version that passed the gate go into shadow, or wait for its turn."""
    made = _declared(visitor, name).start(version, visitor.actor, at=clock.now(), reason=reason)
    said = "waits for its turn" if made.state == "queued" else f"is in {made.state}"
    return done(visitor, f"Version {version} {said}.", f"/rollouts/{name}")


@router.post("/rollouts/{name}/step", response_class=HTMLResponse)
def step(visitor: Writer, name: Model, what: Step, version: Version, reason: Reason) -> Response:
    """Move, pause, resume or end the version under way: the one that the visitor saw there."""
    from model_registry.findings import step_after
    from model_registry.stages import under_way

    conductor, actor, at = _declared(visitor, name), visitor.actor, clock.now()
    here = under_way(conductor.moves())
    if here is None or here.version != version:
        raise AiosError(f"version {version} is not under way any more", fix="Look again.")
    match what:
        case "advance":
            said = conductor.advance(
                step_after(conductor.declared, here), actor, at=at, reason=reason
            )
        case "pause":
            conductor.pause(actor, at=at, reason=reason)
            said = f"version {version} is paused: the champion decides all"
        case "resume":
            said = conductor.resume(actor, at=at, reason=reason)
        case "end":
            made = conductor.end(actor, at=at, reason=reason)
            said = f"version {version} is {made.state.replace('_', ' ')}"
    return done(visitor, f"{said[0].upper()}{said[1:]}.", f"/rollouts/{name}")


@router.post("/rollouts/{name}/requests/{number}", response_class=HTMLResponse)
def decide(
    visitor: Writer, name: Model, number: Number, verdict: Verdict, reason: Reason
) -> Response:
    """Approve or refuse what another person asked for; what was approved is carried out."""
    authority = _authority(visitor, _learner(visitor, name))
    decided = authority.decide(number, visitor.actor, approve=verdict == "approve", reason=reason)
    said = f"Request {number} is {decided.state}."
    if decided.state == "approved":
        said += " A sensor carries it out."
    return done(visitor, said, f"/rollouts/{name}")


def _learner(visitor: Visitor, name: str) -> Learner:
    return learner_of(visitor.house.automation(name.partition(".")[0]), name)


def _authority(visitor: Visitor, learner: Learner) -> Authority:
    from model_registry.authority import Authority

    return Authority(visitor.house.platform.registry, visitor.house.access, learner)


def _conductor(visitor: Visitor, learner: Learner) -> Conductor | None:
    """Return who conducts the rollouts; None where none is declared."""
    from sensors.rollout import conductor_of

    if not isinstance(learner, Automation) or learner.spec.rollout is None:
        return None
    return conductor_of(learner, visitor.house.platform)


def _declared(visitor: Visitor, name: str) -> Conductor:
    conductor = _conductor(visitor, _learner(visitor, name))
    if conductor is None:
        raise AiosError("it declares no rollout", fix="Promote a version at once.")
    return conductor

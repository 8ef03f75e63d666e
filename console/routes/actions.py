"""Actions at other systems: figures by receiver, incidents by cause, what people do about them."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, Response

from aios.actions.incidents import Which, incidents, payload_of, repair, resolve, retry
from aios.actions.overview import overview
from aios.actions.recall import recall
from aios.automation import Automation
from aios.errors import AiosError
from console.names import Id, Name, Page, Reason
from console.pages import done, page
from console.security import Reader, Visitor, Writer

router = APIRouter()

INCIDENTS = 50
"""Incidents on a page."""

Key = Annotated[str, Form(pattern=r"^([0-9a-f]{64})?$")]
OneKey = Annotated[str, Form(pattern=r"^[0-9a-f]{64}$")]
Cause = Annotated[str, Form(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=400)]
Short = Annotated[str, Form(pattern=r"^[A-Za-z0-9_]{0,63}$")]
Mend = Annotated[Literal["retry", "not_done_retry", "done", "not_done"], Form()]
Payload = Annotated[str, Form(max_length=20_000)]
Partition = Annotated[str, Form(pattern=r"^\d{4}-\d{2}-\d{2}$")]


@router.get("/actions", response_class=HTMLResponse)
def actions(request: Request, visitor: Reader) -> Response:
    """List the automations that act, with their figures."""
    house = visitor.house
    found = {
        name: overview(house.log.database, one, now=house.options.now)
        for name, one in house.automations().items()
        if one.spec.actions
    }
    return page(request, visitor, "actions.html", found=found)


@router.get("/actions/{name}", response_class=HTMLResponse)
def incidents_of(request: Request, visitor: Reader, name: Name, number: Page = 1) -> Response:
    """Show an automation's receivers and its open incidents."""
    house, automation = visitor.house, _automation(visitor, name)
    database = house.log.database
    found = incidents(database, name, limit=INCIDENTS, offset=INCIDENTS * (number - 1))
    may = {
        action: house.may(visitor.actor, action, automation.resource)
        for action in ("mend", "recall", "read_payload")
    }
    return page(
        request, visitor, "incidents.html", name=name, may=may, incidents=found, number=number,
        more=len(found) == INCIDENTS, figures=overview(database, automation, now=house.options.now),
        partitions=house.platform.lake(name).partitions("decisions")[-60:][::-1],
    )  # fmt: skip


@router.get("/actions/{name}/{key}", response_class=HTMLResponse)
def incident(request: Request, visitor: Reader, name: Name, key: Id) -> Response:
    """Show one incident with what it sends, to those who may read that."""
    house, automation = visitor.house, _automation(visitor, name)
    payload = payload_of(visitor.guard, automation, key)
    found = incidents(house.log.database, name, Which(keys=[key]))
    return page(
        request, visitor, "incident.html", name=name, one=found[0] if found else None, key=key,
        payload=json.dumps(payload, indent=1, sort_keys=True, ensure_ascii=False),
        may_mend=house.may(visitor.actor, "mend", automation.resource),
    )  # fmt: skip


@router.post("/actions/{name}/mend", response_class=HTMLResponse)
def mend(
    visitor: Writer,
    name: Name,
    what: Mend,
    reason: Reason,
    key: Key = "",
    cause: Cause = "",
    receiver: Short = "",
    type: Short = "",
) -> Response:
    """Send again, or say what became of them: one incident, or all of one cause."""
    automation = _automation(visitor, name)
    if not key and not cause:
        raise AiosError("which incidents?", fix="Choose a cause or an incident.")
    which = Which(keys=[key]) if key else Which(
        cause=cause, receiver=receiver or None, type=type or None
    )  # fmt: skip
    guard, now = visitor.guard, visitor.house.options.now
    if what in ("retry", "not_done_retry"):
        sure = what == "not_done_retry"
        many = retry(guard, automation, which, reason=reason, not_done=sure, now=now)
        said = "are sent again"
    else:
        many = resolve(guard, automation, which, done=what == "done", reason=reason, now=now)
        said = f"are resolved: {'done' if what == 'done' else 'not done'}"
    return done(visitor, f"{many:,} incidents {said}.", f"/actions/{name}")


@router.post("/actions/{name}/repair", response_class=HTMLResponse)
def mend_payload(
    visitor: Writer, name: Name, key: OneKey, payload: Payload, reason: Reason, sure: bool = False
) -> Response:
    """Send an incident again with another payload, under the same key."""
    automation = _automation(visitor, name)
    try:
        sent = json.loads(payload)
    except (ValueError, RecursionError):
        raise AiosError("the payload is no JSON", fix="Correct it.") from None
    repair(visitor.guard, automation, key, sent, reason=reason, not_done=sure,
           now=visitor.house.options.now)  # fmt: skip
    return done(visitor, "It is sent again as repaired.", f"/actions/{name}")


@router.post("/actions/{name}/recall", response_class=HTMLResponse)
def recall_partition(visitor: Writer, name: Name, partition: Partition, reason: Reason) -> Response:
    """Undo what a partition's decisions caused, the last effect first."""
    automation = _automation(visitor, name)
    effects = recall(
        visitor.guard, automation, partition=partition, reason=reason,
        now=visitor.house.options.now,
    )  # fmt: skip
    said = f"{effects.cancelled:,} actions are cancelled, {effects.undone:,} will be undone."
    return done(visitor, said, f"/actions/{name}")


def _automation(visitor: Visitor, name: str) -> Automation:
    automation = visitor.house.automation(name)
    if automation.spec.actions is None:
        raise AiosError("it declares no actions", fix="Choose one of the list.")
    return automation

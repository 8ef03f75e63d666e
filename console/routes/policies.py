"""Policies: which one decides, which one waits for another person, and what the tuner found."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from aios.archive import POLICIES
from aios.automation import Automation
from aios.errors import Stale
from aios.record.changes import POLICY, Changes
from console.names import Hash, Name, Reason
from console.pages import done, markdown, page
from console.plots import curves
from console.security import Reader, Visitor, Writer

if TYPE_CHECKING:
    from aios.record.leaves import Entry

router = APIRouter()


@dataclass(frozen=True)
class Standing:
    """Where the policy in the folder of an automation stands.

    Attributes:
        automation: Whose.
        risk: The higher of its declared and its last accepted one.
        state: `decides`, `accepted`, `proposed`, or `new`.
        deciding: The leaf of the policy that decides now; None before the first.
        proposed: The leaf that asks for the one in the folder.
    """

    automation: Automation
    risk: str
    state: str
    deciding: Entry | None
    proposed: Entry | None


@router.get("/policies", response_class=HTMLResponse)
def policies(request: Request, visitor: Reader) -> Response:
    """List every policy, and whether it waits for somebody."""
    found = [_standing(visitor, one) for one in visitor.house.automations().values()]
    return page(request, visitor, "policies.html", standings=found)


@router.get("/policies/{name}", response_class=HTMLResponse)
def policy(request: Request, visitor: Reader, name: Name) -> Response:
    """Show a policy beside the one that decides, and what the tuner found last."""
    house, me = visitor.house, visitor.actor
    automation = house.automation(name)
    found = _standing(visitor, automation)
    text = (automation.folder / automation.spec.policy).read_text()
    by = found.proposed.actor if found.proposed else ""
    return page(
        request, visitor, "policy.html", one=found, text=text,
        changes=_difference(_deciding_text(visitor, found), text),
        tuned=_tuned(house.settings.home, name, text),
        may_propose=house.may(me, "request_approval", automation.resource),
        may_accept=by != str(me) and house.may(me, "approve", automation.resource),
    )  # fmt: skip


@router.post("/policies/{name}/propose", response_class=HTMLResponse)
def propose(visitor: Writer, name: Name, seen: Hash, reason: Reason) -> Response:
    """Ask another person to let the policy of the folder decide."""
    changes = _changes(visitor, name, seen)
    changes.propose(visitor.actor, visitor.house.access, reason)
    return done(visitor, f"Policy {seen} waits for another person now.", f"/policies/{name}")


@router.post("/policies/{name}/accept", response_class=HTMLResponse)
def accept(visitor: Writer, name: Name, seen: Hash) -> Response:
    """Let the policy that another person proposed decide."""
    _changes(visitor, name, seen).accept(visitor.actor, visitor.house.access)
    said = f"Policy {seen} decides from the next partition on."
    return done(visitor, said, f"/policies/{name}")


def _changes(visitor: Visitor, name: str, seen: str) -> Changes:
    automation = visitor.house.automation(name)
    if automation.policy.hash != seen:
        raise Stale("the folder has another policy by now", where=name, fix="Look at it again.")
    return Changes(visitor.house.log, automation.resource, seen)


def _standing(visitor: Visitor, automation: Automation) -> Standing:
    log = visitor.house.log
    changes = Changes(log, automation.resource, automation.policy.hash)
    deciding, accepted, proposed = (
        log.last(POLICY, automation.name), changes.accepted(), changes.proposed(),
    )  # fmt: skip
    if accepted and deciding and accepted.index == deciding.index:
        state = "decides"
    elif accepted:
        state = "accepted"
    else:
        state = "proposed" if proposed else "new"
    return Standing(automation, changes.automation.risk, state, deciding, proposed)


def _deciding_text(visitor: Visitor, found: Standing) -> str | None:
    """Return the text of the policy that decides; None where none does, or it is not kept."""
    if found.deciding is None:
        return None
    lake = visitor.house.platform.lake(found.automation.name)
    path = lake.path(POLICIES, found.deciding.body["policy"], "yaml")
    return path.read_text() if path.exists() else None


def _tuned(home: Path, name: str, text: str) -> dict[str, Any] | None:
    """Return what the tuner found last: in words, as plots, whole, and as changed lines."""
    from aios.review.proposals import newest

    left = newest(home, name)
    if left is None:
        return None
    return {
        "status": left.found["status"],
        "why": left.found["why"],
        "plots": curves(left.found),
        "report": markdown(left.report),
        "changes": _difference(text, left.policy) if left.policy else [],
    }


def _difference(before: str | None, after: str) -> list[str]:
    """Return what differs, line by line; nothing where there is nothing to compare with."""
    if before is None:
        return []
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="")
    return list(lines)[2:]

"""The kill switch: stop decisions without people, of one automation or of all, and let go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from aios.halts import EVERYTHING, halt, release
from console.names import Reason, Scope
from console.pages import done, page
from console.security import Reader, Visitor, Writer

if TYPE_CHECKING:
    from aios.identity.resources import Automation

router = APIRouter()


@router.get("/switch", response_class=HTMLResponse)
def switch(request: Request, visitor: Reader) -> Response:
    """Show what is halted, and offer to halt and release."""
    return page(request, visitor, "switch.html")


@router.post("/switch/halt", response_class=HTMLResponse)
def halt_now(visitor: Writer, scope: Scope, reason: Reason) -> Response:
    """Send every decision to people from now on."""
    halt(visitor.guard, _resource(visitor, scope), reason)
    return done(visitor, f"{_named(scope)} is halted: people decide now.", "/switch")


@router.post("/switch/release", response_class=HTMLResponse)
def release_now(visitor: Writer, scope: Scope, reason: Reason) -> Response:
    """Let the models decide again."""
    release(visitor.guard, _resource(visitor, scope), reason)
    return done(visitor, f"{_named(scope)} is released.", "/switch")


def _resource(visitor: Visitor, scope: str) -> Automation | None:
    return None if scope == EVERYTHING else visitor.house.automation(scope).resource


def _named(scope: str) -> str:
    return "Everything" if scope == EVERYTHING else scope

"""Signing in with a token, or with the code at the terminal, and out again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from aios.identity.actors import NotSignedIn
from aios.identity.directory import Directory
from console.pages import outside
from console.security import (
    FormToken,
    Reader,
    Writer,
    address_of,
    check_origin,
    cookie_of,
    house_of,
    refuse,
)

router = APIRouter()

Secret = Annotated[str, Form(max_length=200)]


@router.get("/", response_class=HTMLResponse)
def home(visitor: Reader) -> Response:
    """Lead to what the visitor most likely came for."""
    reviews = "reviewer" in visitor.actor.roles
    return RedirectResponse("/queue" if reviews else "/health", 303)


@router.get("/sign-in", response_class=HTMLResponse)
def ask(request: Request, code: Annotated[str, Query(max_length=200)] = "") -> Response:
    """Ask for a token; the local user of an embedded set-up has a code."""
    house = house_of(request)
    local = not Directory(house.log.database).has_people()
    return outside(house, "sign_in.html", local=local, code=code if local else "", problem="")


@router.post("/sign-in", response_class=HTMLResponse)
def sign_in(
    request: Request, token: Secret = "", code: Secret = "", form: FormToken = ""
) -> Response:
    """Begin a session, always a new one."""
    house = house_of(request)
    check_origin(request)
    house.sessions.check_form(None, form)
    house.attempts.check(f"from {address_of(request)}", "attempts")
    if token.startswith("aios_"):
        # By the token's name too: many addresses must not try one token together.
        house.attempts.check(f"as {token[5:21]}", "attempts")
    try:
        session = house.sessions.begin(token) if token or not code else None
        if session is None and house.local.take(code):
            session = house.sessions.begin_local()
            house.options.say(f"Signed in. The next code: {house.local.renew()}")
        if session is None:
            raise NotSignedIn("the code is not valid", fix="Take the newest one.")
    except NotSignedIn as error:
        refuse(request, 401, "not signed in")
        local = not Directory(house.log.database).has_people()
        return outside(house, "sign_in.html", 401, local=local, code="", problem=str(error.what))
    answer = RedirectResponse("/", 303)
    request.state.cookie = cookie_of(house, house.sessions.write(session))
    return answer


@router.post("/sign-out", response_class=HTMLResponse)
def sign_out(request: Request, visitor: Writer) -> Response:
    """End the session, also for copies of its cookie."""
    visitor.house.sessions.end(visitor.session)
    request.state.cookie = cookie_of(visitor.house, "", ended=True)
    return RedirectResponse("/sign-in", 303)

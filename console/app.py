"""The console as a web application, and how it is served."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from aios.errors import AiosError, Stale
from aios.identity.access import Denied
from aios.identity.actors import NotSignedIn
from aios.identity.directory import Directory
from console.house import House
from console.limits import TooMany
from console.options import LOOPBACK, Options
from console.pages import text_of
from console.routes import ROUTERS
from console.security import reason_of, refuse, signed_in
from console.sessions import Forged, Replayed
from console.wire import Wire

if TYPE_CHECKING:
    from aios.settings import Settings

_STATIC = Path(__file__).parent / "static"
_log = logging.getLogger("aios.console")

_STATUS: list[tuple[type[AiosError], int]] = [
    (NotSignedIn, 401),
    (Denied, 403),
    (Forged, 403),
    (Replayed, 409),
    (Stale, 409),
    (TooMany, 429),
]


def create_app(settings: Settings, options: Options | None = None) -> FastAPI:
    """Return the console of a home; opens nothing until it is asked for something.

    Args:
        settings: Where state lives.
        options: How it is run; from the environment by default.
    """
    app = FastAPI(title="AIOS console", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.house = House(settings, options or Options.from_env())
    app.add_middleware(Wire, house=app.state.house, broken=_on_bug)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(AiosError, _on_aios_error)
    app.add_exception_handler(RequestValidationError, _on_unfit)
    app.add_exception_handler(HTTPException, _on_http)
    return app


def serve(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 3001,
    say: Callable[[str], object] = print,
) -> None:
    """Serve the console until it is interrupted.

    Args:
        settings: Where state lives.
        host: Which of the machine's addresses to listen on.
        port: Where.
        say: Tells the person at the terminal something.

    Raises:
        AiosError: It would be open to a network without an address of its own, or to anybody; or
            it cannot listen there.
    """
    import uvicorn

    options = Options.from_env(say)
    app = create_app(settings, options)
    house: House = app.state.house
    people = Directory(house.log.database).has_people()
    own = f"http://{host}:{port}"
    if host not in LOOPBACK and not options.url:
        raise AiosError(
            f"on {host} others could reach the console, and it does not know its own address",
            where="AIOS_CONSOLE_UI",
            fix="Set it to the address that browsers use, best one with https.",
        )
    if (host not in LOOPBACK or options.url) and not people:
        raise AiosError(
            "no person is registered, so whoever reaches the console would be the local user",
            where=host,
            fix="Register a person first: aios actors add.",
        )
    listening = _listen(host, port)
    say(f"Console  {options.url or own}")
    if not people:
        say(f"Sign in  {own}/sign-in?code={house.local.renew()} (works once)")
    threading.Thread(target=_warm_up, args=(house,), daemon=True).start()
    # Neither paths nor queries go to a log file: both may name a person's event.
    config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False,
                            proxy_headers=bool(options.url))  # fmt: skip
    uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise AiosError(
            f"it cannot listen there: {error}",
            where=f"{host}:{port}",
            fix="Give another --port, or end what listens there.",
        ) from error


def _warm_up(house: House) -> None:
    """Load the registry's library, which takes seconds, before somebody waits for it."""
    with suppress(AiosError):
        house.platform.registry.automations()


def _on_aios_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AiosError)
    writes = request.method not in ("GET", "HEAD")
    found = next((code for kind, code in _STATUS if isinstance(error, kind)), None)
    status = found or (409 if writes else 404)
    if status == 401 and not writes:
        return _to_sign_in(request)
    # A denial is on record already: the guard put it there.
    if not isinstance(error, Denied) and (writes or found):
        refuse(request, status, reason_of(error))
    return _trouble(request, status, error.what, error.fix)


def _on_unfit(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = sorted({str(one["loc"][-1])[:40] for one in error.errors()})
    refuse(request, 422, "a value of another form than asked for")
    return _trouble(request, 422, f"This does not fit: {', '.join(fields)}.", "Correct it.")


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if getattr(request.state, "too_long", False):
        refuse(request, 413, "too long")
        return _trouble(request, 413, "The request is too long.", "Send less.")
    if request.method not in ("GET", "HEAD") or error.status_code not in (404, 405):
        refuse(request, error.status_code, "no such page")
    return _trouble(request, error.status_code, "There is no such page.", "Use the menu.")


def _on_bug(request: Request, error: Exception) -> Response:
    """Answer that something broke; the log tells where, and not with which values."""
    places = "".join(traceback.format_tb(error.__traceback__)[-6:])
    _log.error("%s failed: %s\n%s", request.method, type(error).__name__, places)
    return _trouble(request, 500, "Something broke in the console.", "See its log.")


def _to_sign_in(request: Request) -> Response:
    if request.headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in"})
    return RedirectResponse("/sign-in", 303)


def _trouble(request: Request, status: int, what: str, fix: str) -> HTMLResponse:
    try:
        known = signed_in(request).actor
    except AiosError:
        known = None
    context = {"status": status, "what": what, "fix": fix, "actor": known}
    return HTMLResponse(text_of("trouble.html", context), status)

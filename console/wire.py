"""What holds for every request and answer: their size, their host, the headers of safety."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from console.house import House

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of every page but the reports."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "cache-control": "no-store",
    "content-security-policy": POLICY,
}


class TooLong(Exception):
    """A body that is longer than the limit."""


class Wire:
    """Checks a request's host and size, and sets the headers of its answer.

    Args:
        app: What answers.
        house: Its options.
        broken: Answers where nothing else did. An error must not go further: the server would
            write it to its log, with the values in its text.
    """

    def __init__(
        self, app: ASGIApp, house: House, broken: Callable[[Request, Exception], Response]
    ) -> None:
        self.app, self.house, self.broken = app, house, broken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        headers = Headers(scope=scope)
        options = self.house.options

        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._dress(MutableHeaders(scope=message), scope)
            await send(message)

        if not options.knows(headers.get("host", "")):
            elsewhere = PlainTextResponse("This is another console's address.\n", 421)
            await elsewhere(scope, receive, dressed)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 12 or int(length) > options.body:
            scope["state"]["too_long"] = True
        try:
            await self.app(scope, _limited(receive, scope, options.body), dressed)
        except Exception as error:
            answer = self.broken(Request(scope), error)
            if not begun:
                await answer(scope, receive, dressed)

    def _dress(self, headers: MutableHeaders, scope: Scope) -> None:
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if self.house.options.secure:
            headers["strict-transport-security"] = "max-age=31536000"
        if cookie := scope["state"].get("cookie"):
            headers.append("set-cookie", cookie)


def _limited(receive: Receive, scope: Scope, most: int) -> Receive:
    """Return a receiver that ends a body above the limit."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        if scope["state"].get("too_long"):
            raise TooLong
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            scope["state"]["too_long"] = True
            raise TooLong
        return message

    return limited

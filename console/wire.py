"""What holds for every request and answer: their size, their host, the headers of safety."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

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
    """

    def __init__(self, app: ASGIApp, house: House) -> None:
        self.app, self.house = app, house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        headers = Headers(scope=scope)
        options = self.house.options

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._dress(MutableHeaders(scope=message), scope)
            await send(message)

        if not options.knows(headers.get("host", "")):
            answer = PlainTextResponse("This is another console's address.\n", 421)
            await answer(scope, receive, dressed)
            return
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > options.body:
            scope["state"]["too_long"] = True
        await self.app(scope, _limited(receive, scope, options.body), dressed)

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

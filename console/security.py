"""Who asks, and whether a write is theirs: what every route depends on; refusals go on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Form, Request

from aios.errors import AiosError
from aios.identity.actors import Actor
from aios.identity.guard import Guard
from aios.record.leaves import Act
from console.house import House
from console.sessions import Forged, Session

UNKNOWN = "nobody"
"""The actor of a refusal where nobody is signed in."""

_SHOWN = 120


@dataclass(frozen=True)
class Visitor:
    """Who is signed in.

    Attributes:
        actor: With their roles of now.
        session: Their session.
        house: What pages use.
    """

    actor: Actor
    session: Session
    house: House

    @property
    def guard(self) -> Guard:
        """The rules, asked on their behalf."""
        return self.house.guard(self.actor)


def house_of(request: Request) -> House:
    """Return the console's state."""
    house: House = request.app.state.house
    return house


def signed_in(request: Request) -> Visitor:
    """Return who asks.

    Raises:
        NotSignedIn: Nobody is signed in.
    """
    house = house_of(request)
    sessions = house.sessions
    session, actor = sessions.read(request.cookies.get(sessions.cookie))
    # What a page fetches by itself is nobody being there: else an open page never expires.
    if sessions.stale(session) and "hx-request" not in request.headers:
        request.state.cookie = cookie_of(house, sessions.write(session))
    return Visitor(actor, session, house)


Reader = Annotated[Visitor, Depends(signed_in)]
FormToken = Annotated[str, Form(max_length=300)]


def writing(request: Request, visitor: Reader, form: FormToken = "") -> Visitor:
    """Return who writes, after all checks that the write is theirs.

    Raises:
        NotSignedIn: Nobody is signed in.
        Forged: It comes from elsewhere.
        Replayed: It was sent before.
        TooMany: They write too often.
    """
    check_origin(request)
    visitor.house.sessions.check_form(visitor.session, form)
    visitor.house.writes.check(visitor.session.id, "changes")
    return visitor


Writer = Annotated[Visitor, Depends(writing)]


def check_origin(request: Request) -> None:
    """Let a write pass that a page of this console sent.

    Raises:
        Forged: It comes from elsewhere, or does not say where from.
    """
    own = house_of(request).options.origin(request.headers.get("host", ""))
    if request.headers.get("origin") != own:
        raise Forged("the form comes from elsewhere", fix="Use the console's own pages.")


def cookie_of(house: House, value: str, *, ended: bool = False) -> str:
    """Return the header that sets the session's cookie, or takes it away."""
    parts = [f"{house.sessions.cookie}={value}", "Path=/", "HttpOnly", "SameSite=Strict"]
    if house.options.secure:
        parts.append("Secure")
    parts.append("Max-Age=0" if ended else f"Max-Age={int(house.options.longest.total_seconds())}")
    return "; ".join(parts)


def address_of(request: Request) -> str:
    """Return where a request comes from, as the server saw it: no header can change that."""
    return request.client.host if request.client else "unknown"


def refuse(request: Request, status: int, reason: str) -> None:
    """Put on record that a request was refused: its path and why, nothing that it carried."""
    house = house_of(request)
    if not house.refusals.allows(address_of(request)):
        return
    body = {
        "method": request.method[:10],
        "path": ascii(request.url.path)[1:-1][:_SHOWN],
        "status": status,
        "reason": reason,
    }
    house.log.append(Act("refused", None, _actor_of(request), body))


def _actor_of(request: Request) -> str:
    try:
        return str(signed_in(request).actor)
    except AiosError:
        return UNKNOWN


def reason_of(error: AiosError) -> str:
    """Return an error's kind in words for the record: its text may repeat what was sent."""
    names = {
        "NotSignedIn": "not signed in",
        "Forged": "forged form",
        "Replayed": "replayed form",
        "TooMany": "too many requests",
        "Stale": "out of date",
    }
    return names.get(type(error).__name__, "refused by the platform")

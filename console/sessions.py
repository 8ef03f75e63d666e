"""Sessions: a signed cookie that names a token, and forms that work once.

The cookie holds no token and no role. Whose token it is, whether it still counts and what its
actor may do is read on every request, so that who is shut out is out at once.
"""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, URLSafeSerializer

from aios.errors import AiosError
from aios.identity.actors import LOCAL, Actor, NotSignedIn
from aios.identity.directory import Directory
from aios.identity.tables import micros
from aios.record.leaves import Act
from console.limits import Once

if TYPE_CHECKING:
    from datetime import timedelta

    from aios.record.log import Log
    from console.options import Options

AGAIN = "Sign in again."
_FRESH = 60_000_000
_SECOND = 1_000_000


@dataclass(frozen=True)
class Session:
    """Who signed in and when.

    Attributes:
        id: 128 random bits, new at each sign-in.
        actor: Such as `person:alice`.
        token: The id of their token; empty for the local user.
        began: When, in microseconds since 1970.
        seen: The last request, to the minute.
    """

    id: str
    actor: str
    token: str
    began: int
    seen: int


class Sessions:
    """The sessions of one console.

    Args:
        folder: Where the key that signs cookies is kept.
        log: The record.
        options: The limits.
    """

    def __init__(self, folder: Path, log: Log, options: Options) -> None:
        key = _server_key(folder / "console.secret")
        self._cookies = URLSafeSerializer(key, salt="aios.console.session")
        # Forms of an earlier process are void: which of them were used, nobody knows any more.
        self._forms = URLSafeSerializer(secrets.token_bytes(32), salt="aios.console.form")
        self._used = Once(100_000)
        self._log, self._options = log, options
        self._directory = Directory(log.database, options.now)

    @property
    def cookie(self) -> str:
        """The cookie's name; with https, one that no other host can set."""
        return "__Host-aios" if self._options.secure else "aios_console"

    def begin(self, text: str) -> Session:
        """Return a new session of the owner of a token.

        Raises:
            NotSignedIn: The token does not count, or is no person's.
        """
        actor = self._directory.actor_of(text)
        if actor.kind != "person":
            raise NotSignedIn("the console is for people", fix="Use a person's token.")
        return self._begin(actor, text.strip().split("_")[1])

    def begin_local(self) -> Session:
        """Return a new session of the local user.

        Raises:
            NotSignedIn: A person is registered by now.
        """
        if self._directory.has_people():
            raise NotSignedIn("people are registered here", fix="Sign in with a token.")
        return self._begin(LOCAL, "")

    def _begin(self, actor: Actor, token: str) -> Session:
        now = self._now()
        session = Session(secrets.token_urlsafe(16), str(actor), token, now, now)
        self._log.append(Act("signed_in", None, str(actor), {"token": token or "local"}))
        return session

    def end(self, session: Session) -> None:
        """End a session for good, wherever its cookie was copied to."""
        act = Act("signed_out", None, session.actor, {}, key=_ended(session))
        self._log.append(act)

    def read(self, cookie: str | None) -> tuple[Session, Actor]:
        """Return the session of a cookie and its actor with their roles of now.

        Raises:
            NotSignedIn: There is none, it has ended, or its token or actor counts no more.
        """
        if not cookie:
            raise NotSignedIn("nobody is signed in", fix="Sign in.")
        try:
            session = Session(**self._cookies.loads(cookie))
        except (BadSignature, TypeError):
            raise NotSignedIn("the session is not valid", fix=AGAIN) from None
        now, options = self._now(), self._options
        if now - session.seen > _micros(options.idle) or now - session.began > _micros(
            options.longest
        ):
            raise NotSignedIn("the session has expired", fix=AGAIN)
        if self._log.find(_ended(session)):
            raise NotSignedIn("the session was ended", fix=AGAIN)
        return session, self._actor(session, now)

    def write(self, session: Session) -> str:
        """Return the cookie of a session, seen now."""
        return str(self._cookies.dumps(asdict(replace(session, seen=self._now()))))

    def stale(self, session: Session) -> bool:
        """Tell whether the cookie is to be written again."""
        return self._now() - session.seen > _FRESH

    def new_form(self, session: Session | None) -> str:
        """Return what a form of a session carries; without one, of the page to sign in."""
        owner = session.id if session else ""
        return str(self._forms.dumps([owner, secrets.token_urlsafe(12), self._now() // _SECOND]))

    def check_form(self, session: Session | None, form: str) -> None:
        """Let a form pass once.

        Raises:
            Forged: It is none of this session's.
            Replayed: It was sent before.
        """
        try:
            owner, nonce, made = self._forms.loads(form)
        except (BadSignature, TypeError, ValueError):
            raise Forged("the form is not from this console", fix="Reload the page.") from None
        if owner != (session.id if session else ""):
            raise Forged("the form is of another session", fix="Reload the page.")
        if self._now() // _SECOND - made > self._options.idle.total_seconds():
            raise Forged("the form is too old", fix="Reload the page.")
        if not self._used.take(nonce):
            raise Replayed("the form was sent before", fix="Reload the page and look what it did.")

    def _actor(self, session: Session, now: int) -> Actor:
        if not session.token:
            if self._directory.has_people():
                raise NotSignedIn("people are registered here", fix="Sign in with a token.")
            return LOCAL
        try:
            token = self._directory.token(session.token)
            found = self._directory.find(token.actor)
        except AiosError:
            raise NotSignedIn("the token is gone", fix=AGAIN) from None
        if found.disabled_at is not None:
            raise NotSignedIn("your access is switched off", fix="Ask an operator.")
        if token.revoked_at is not None or micros(token.expires_at) <= now:
            raise NotSignedIn("the token counts no more", fix="Ask an operator for a new one.")
        return found.actor

    def _now(self) -> int:
        return micros(self._options.now())


class Forged(AiosError):
    """A form that no page of this console made for this session."""


class Replayed(AiosError):
    """A form that was sent before."""


class LocalCode:
    """The code that lets the local user in, once; the next one appears at the terminal."""

    def __init__(self, options: Options) -> None:
        self._options, self._lock = options, threading.Lock()
        self._code, self._until = "", 0

    def renew(self) -> str:
        """Return a new code, which is valid for fifteen minutes."""
        with self._lock:
            self._code = secrets.token_urlsafe(24)
            self._until = micros(self._options.now()) + 15 * 60 * _SECOND
            return self._code

    def take(self, code: str) -> bool:
        """Tell whether this is the code, and use it up."""
        with self._lock:
            valid = bool(self._code) and micros(self._options.now()) < self._until
            if not valid or not secrets.compare_digest(code.encode(), self._code.encode()):
                return False
            self._code = ""
            return True


def _ended(session: Session) -> str:
    return f"console/signed_out/{session.id}"


def _micros(span: timedelta) -> int:
    return int(span.total_seconds() * _SECOND)


def _server_key(path: Path) -> bytes:
    """Return the key in a file, which the first console makes, for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(secrets.token_bytes(32))
        try:
            os.link(aside, path)
        except FileExistsError:
            pass  # another console was first: its key holds
        finally:
            aside.unlink()
    if path.stat().st_mode & 0o077:
        raise AiosError("others may read the key", where=str(path), fix=f"chmod 600 {path}")
    return path.read_bytes()

"""The directory: which people and services there are, their roles, and their tokens.

A token is `aios_<id>_<secret>`: 64 bits that name it and 256 random bits that nobody guesses. Only
its SHA-256 is stored. A slow, salted hash protects passwords, which are few enough to try out;
2^256 secrets are not, so a fast hash loses nothing, and each call can afford it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios import clock
from aios.errors import AiosError
from aios.identity.actors import BUILT_IN, Actor, NotSignedIn, Role
from aios.identity.tables import (
    ACTORS,
    CLOCK,
    TOKENS,
    IssuedToken,
    Registered,
    Token,
    actor_in,
    micros,
    moment_of,
    registered_in,
    token_in,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from aios.database import Database

MANAGER: Role = "operator"
"""The role that lets others in, by the rules of `access/`; there is always a person who has it."""

_FORM = re.compile(r"aios_([0-9a-f]{16})_[A-Za-z0-9_-]{43}")
# How stale a token's last use may be: a call in between costs no write.
_MINUTE = 60_000_000
_CLOCK = "If the time is wrong, set the clock; docs/access.md says what to do after it ran ahead."


class Directory:
    """Actors and tokens in the platform's database.

    Args:
        database: The platform's database.
        now: The time of the machine, UTC without tzinfo.
        within: A transaction of whoever changes more at once than the directory; without it each
            change is one of its own.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], datetime] = clock.wall,
        *,
        within: Connection | None = None,
    ) -> None:
        self._database, self._now, self._within = database, now, within

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        if self._within is not None:
            yield self._within
            return
        with self._database.writing() as connection:
            yield connection

    def add(self, actor: Actor) -> None:
        """Register a person or a service with their roles.

        The first person ends the local user's reign, and so has to be an operator.

        Raises:
            AiosError: The name is taken or the platform's own, the kind needs no registration, or
                nobody could let others in afterwards.
        """
        if actor.kind not in ("person", "service"):
            raise AiosError(
                f"{actor} cannot be registered",
                fix="Schedules and sensors act inside the platform and need no registration.",
            )
        if actor in BUILT_IN:
            raise AiosError(f"{actor} is the platform's own", fix="Choose another name.")
        with self._writing() as connection:
            if _find(connection, actor):
                raise AiosError(
                    f"{actor} is registered already",
                    fix="Change their roles, or choose another name.",
                )
            row = {"kind": actor.kind, "name": actor.name, "roles": sorted(actor.roles)}
            connection.execute(
                ACTORS.insert().values(**row, created_at=micros(self._now()), disabled_at=None)
            )
            _check_managed(connection)

    def change_roles(self, actor: Actor, roles: Iterable[Role]) -> Actor:
        """Give an actor these roles and no others; return the actor with them.

        Raises:
            AiosError: The actor is not registered, a role is none, or nobody could let others in
                afterwards.
        """
        changed = Actor(actor.name, actor.kind, frozenset(roles))
        with self._writing() as connection:
            self._update(connection, actor, roles=sorted(changed.roles))
        return changed

    def disable(self, actor: Actor) -> None:
        """Shut an actor out; their tokens are revoked for good.

        Raises:
            AiosError: The actor is not registered, or nobody could let others in afterwards.
        """
        now = micros(self._now())
        with self._writing() as connection:
            self._update(connection, actor, disabled_at=now)
            connection.execute(
                TOKENS.update()
                .where(_of(TOKENS, actor), TOKENS.c.revoked_at.is_(None))
                .values(revoked_at=now)
            )

    def enable(self, actor: Actor) -> None:
        """Let a disabled actor in again, with new tokens.

        Raises:
            AiosError: The actor is not registered.
        """
        with self._writing() as connection:
            self._update(connection, actor, disabled_at=None)

    def actors(self) -> list[Registered]:
        """Return all registered actors, the disabled ones too, by kind and name."""
        with self._database.reading() as connection:
            rows = connection.execute(ACTORS.select().order_by(ACTORS.c.kind, ACTORS.c.name)).all()
        return [registered_in(row) for row in rows]

    def find(self, actor: Actor) -> Registered:
        """Return a registered actor with their roles of now.

        Raises:
            AiosError: The actor is not registered.
        """
        with self._database.reading() as connection:
            row = _find(connection, actor)
        if row is None:
            raise _unknown(actor)
        return registered_in(row)

    def acting(self, name: str) -> Actor:
        """Return an actor of the record, such as `person:alice`, with the roles of now.

        Raises:
            AiosError: The actor is not registered, or is disabled.
        """
        actor = Actor.parse(name)
        if actor in BUILT_IN:
            return next(one for one in BUILT_IN if one == actor)
        found = self.find(actor)
        if found.disabled_at is not None:
            raise AiosError(f"{actor} is disabled", fix="Ask again as somebody else.")
        return found.actor

    def has_people(self) -> bool:
        """Return whether a person was ever registered; the local user has no say then."""
        with self._database.reading() as connection:
            found = connection.execute(
                sa.select(ACTORS.c.name).where(ACTORS.c.kind == "person").limit(1)
            )
            return found.first() is not None

    def issue_token(self, actor: Actor, expires: datetime) -> IssuedToken:
        """Return a new token of an actor.

        Args:
            actor: A registered actor who is not disabled.
            expires: Until when it is valid, UTC without tzinfo.

        Raises:
            AiosError: The actor is not registered or is disabled, or `expires` is past.
        """
        name = secrets.token_hex(8)
        text = f"aios_{name}_{secrets.token_urlsafe(32)}"
        with self._writing() as connection:
            now = self._advance(connection)
            row = _find(connection, actor)
            if row is None:
                raise _unknown(actor)
            if row.disabled_at is not None:
                raise AiosError(f"{actor} is disabled", fix="Enable the actor first.")
            if micros(expires) <= now:
                raise AiosError(
                    f"the token would expire at {expires:%Y-%m-%d %H:%M}, and it is "
                    f"{moment_of(now):%Y-%m-%d %H:%M} already (UTC)",
                    fix="Give a later moment. " + _CLOCK,
                )
            connection.execute(
                TOKENS.insert().values(
                    id=name,
                    kind=actor.kind,
                    name=actor.name,
                    digest=_digest(text),
                    created_at=now,
                    expires_at=micros(expires),
                )
            )
        return IssuedToken(name, text)

    def revoke(self, token_id: str) -> None:
        """Make a token useless, from now on and for good.

        Raises:
            AiosError: There is no such token.
        """
        with self._writing() as connection:
            token = _find_token(connection, token_id)
            if token is None:
                raise _no_token(token_id)
            if token.revoked_at is None:
                now = micros(self._now())
                connection.execute(
                    TOKENS.update().where(TOKENS.c.id == token_id).values(revoked_at=now)
                )

    def tokens(self) -> list[Token]:
        """Return all tokens ever issued, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                TOKENS.select().order_by(TOKENS.c.created_at, TOKENS.c.id)
            ).all()
        return [token_in(row) for row in rows]

    def token(self, token_id: str) -> Token:
        """Return what is known of one token.

        Raises:
            AiosError: There is no such token.
        """
        with self._database.reading() as connection:
            row = _find_token(connection, token_id)
        if row is None:
            raise _no_token(token_id)
        return token_in(row)

    def actor_of(self, text: str) -> Actor:
        """Return whose token this is, with their roles of now.

        Raises:
            NotSignedIn: The token is wrong, revoked or expired, or its actor disabled. Only who
                has the whole token learns which, and nobody learns a name.
        """
        form = _FORM.fullmatch(text.strip())
        with self._database.reading() as connection:
            token = _find_token(connection, form[1]) if form else None
            row = _find(connection, Actor(token.name, token.kind)) if token else None
            seen = connection.execute(sa.select(CLOCK.c.seen_at)).scalar_one()
        stored = token.digest if token else bytes(32)
        if not hmac.compare_digest(stored, _digest(text.strip())) or not token or not row:
            raise NotSignedIn("the token is not valid", fix="Copy it again, or ask for a new one.")
        if row.disabled_at is not None:
            raise NotSignedIn("your access is switched off", fix=f"Ask an {MANAGER}.")
        if token.revoked_at is not None:
            raise NotSignedIn("the token was revoked", fix=f"Ask an {MANAGER} for a new one.")
        now = micros(self._now())
        if token.expires_at <= max(now, seen):
            if now > seen:
                with self._writing() as connection:
                    self._advance(connection)
            raise self._expired(token.expires_at, now)
        if now - (token.last_used_at or 0) > _MINUTE:
            with self._writing() as connection:
                used = self._advance(connection)
                connection.execute(
                    TOKENS.update().where(TOKENS.c.id == token.id).values(last_used_at=used)
                )
        return actor_in(row)

    def _expired(self, expired: int, now: int) -> NotSignedIn:
        text = f"the token expired at {moment_of(expired):%Y-%m-%d %H:%M} UTC"
        if now >= expired:
            return NotSignedIn(text, fix=f"Ask an {MANAGER} for a new one.")
        return NotSignedIn(
            f"{text}; that the clock reads {moment_of(now):%Y-%m-%d %H:%M} now does not revive it",
            fix=f"Ask an {MANAGER} for a new one. " + _CLOCK,
        )

    def _advance(self, connection: Connection) -> int:
        """Note the time, under the writer's lock; return the latest that was seen."""
        now = micros(self._now())
        connection.execute(CLOCK.update().where(CLOCK.c.seen_at < now).values(seen_at=now))
        return connection.execute(sa.select(CLOCK.c.seen_at)).scalar_one()

    def _update(self, connection: Connection, actor: Actor, **values: Any) -> None:
        changed = connection.execute(ACTORS.update().where(_of(ACTORS, actor)).values(**values))
        if not changed.rowcount:
            raise _unknown(actor)
        _check_managed(connection)


def _check_managed(connection: Connection) -> None:
    """Refuse a change after which nobody could let others in."""
    people = connection.execute(
        sa.select(ACTORS.c.roles, ACTORS.c.disabled_at).where(ACTORS.c.kind == "person")
    ).all()
    if people and not any(MANAGER in row.roles and row.disabled_at is None for row in people):
        raise AiosError(
            f"no person would have the role {MANAGER} then, so nobody could let others in",
            fix=f"Give the role {MANAGER} to a person first; the first person needs it.",
        )


def _of(table: sa.Table, actor: Actor) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.kind == actor.kind, table.c.name == actor.name)


def _find(connection: Connection, actor: Actor) -> Row[Any] | None:
    return connection.execute(ACTORS.select().where(_of(ACTORS, actor))).first()


def _find_token(connection: Connection, token_id: str) -> Row[Any] | None:
    return connection.execute(TOKENS.select().where(TOKENS.c.id == token_id)).first()


def _no_token(token_id: str) -> AiosError:
    return AiosError(f"there is no token {token_id}", fix="List the tokens.")


def _unknown(actor: Actor) -> AiosError:
    return AiosError(f"{actor} is not registered", fix="List the actors, or add this one.")


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()

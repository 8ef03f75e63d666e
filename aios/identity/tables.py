"""The tables of actors, tokens and the time that was seen, and what their rows say."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aios.database import metadata
from aios.identity.actors import Actor

if TYPE_CHECKING:
    from sqlalchemy import Row

_EPOCH = datetime(1970, 1, 1)


ACTORS = sa.Table(
    "identity_actors",
    metadata,
    sa.Column("kind", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("roles", sa.JSON, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("disabled_at", sa.BigInteger),
)
TOKENS = sa.Table(
    "identity_tokens",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
    sa.Column("last_used_at", sa.BigInteger),
)
CLOCK = sa.Table(
    "identity_clock",
    metadata,
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
)
"""The latest time that was seen. What has expired stays so, whatever the clock says later."""


@dataclass(frozen=True)
class Registered:
    """An actor as the directory has them; times are UTC without tzinfo."""

    actor: Actor
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True)
class Token:
    """What is known of a token, which is all but the token; times are UTC without tzinfo."""

    id: str
    actor: Actor
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True)
class IssuedToken:
    """A new token, with the text that is shown this once and stored nowhere."""

    id: str
    text: str = field(repr=False)


def actor_in(row: Row[Any]) -> Actor:
    """Return the actor of a row of `ACTORS`."""
    return Actor(row.name, row.kind, frozenset(row.roles))


def registered_in(row: Row[Any]) -> Registered:
    """Return what a row of `ACTORS` says."""
    return Registered(actor_in(row), moment_of(row.created_at), _maybe(row.disabled_at))


def token_in(row: Row[Any]) -> Token:
    """Return what a row of `TOKENS` says."""
    return Token(
        row.id,
        Actor(row.name, row.kind),
        moment_of(row.created_at),
        moment_of(row.expires_at),
        _maybe(row.revoked_at),
        _maybe(row.last_used_at),
    )


def micros(moment: datetime) -> int:
    """Return a moment, UTC without tzinfo, as the tables keep it: in microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_of(micros: int) -> datetime:
    """Return the moment of so many microseconds since 1970, UTC without tzinfo."""
    return _EPOCH + timedelta(microseconds=micros)


def _maybe(micros: int | None) -> datetime | None:
    return None if micros is None else moment_of(micros)

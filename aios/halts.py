"""The kill switch: while an automation is halted, all its decisions go to people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from aios import clock
from aios.database import metadata
from aios.errors import AiosError
from aios.identity.resources import Automation, Platform
from aios.identity.tables import micros, moment_of
from aios.record.leaves import Act

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.database import Database
    from aios.identity.guard import Guard
    from aios.record.log import Log

EVERYTHING = "*"
"""The scope of a halt of all automations."""

RULE = "halted"
"""What decisions that a halt sent to review name as their rule."""

HALTS = sa.Table(
    "halts",
    metadata,
    sa.Column("scope", sa.String(200), primary_key=True),
    sa.Column("since", sa.BigInteger, nullable=False),
    sa.Column("by", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)


class Halted(AiosError):
    """The automation was halted before its decisions were on record."""


@dataclass(frozen=True)
class Halt:
    """A halt that holds now.

    Attributes:
        scope: The automation, or `*` for all.
        since: From when, UTC-naive.
        by: Who halted.
        reason: Why.
    """

    scope: str
    since: datetime
    by: str
    reason: str


def halts(database: Database) -> list[Halt]:
    """Return every halt that holds now, by scope."""
    with database.reading() as connection:
        rows = connection.execute(HALTS.select().order_by(HALTS.c.scope)).all()
    return [Halt(row.scope, moment_of(row.since), row.by, row.reason) for row in rows]


def halted(connection: Connection, automation: str) -> bool:
    """Tell whether an automation is halted, in the transaction of whoever asks."""
    scopes = HALTS.c.scope.in_([EVERYTHING, automation])
    return connection.execute(sa.select(HALTS.c.scope).where(scopes).limit(1)).first() is not None


def refuse_halted(connection: Connection, automation: str) -> None:
    """Raise `Halted` where an automation is halted."""
    if halted(connection, automation):
        raise Halted(f"{automation} is halted", fix="End it with 'aios release' when it is safe.")


def halted_before(log: Log, automation: str, index: int) -> bool:
    """Tell whether a halt of an automation, or of all, is on record before a leaf."""
    found = log.entries(kind="halt", end=index)
    return any(one.automation in (None, automation) for one in found)


def halt(guard: Guard, automation: Automation | None, reason: str) -> None:
    """Send all decisions to review from now on, and hold back actions; recorded.

    Args:
        guard: Who halts.
        automation: What; None for all automations.
        reason: Why.

    Raises:
        Denied: The rules do not allow it.
        AiosError: It is halted already.
    """
    guard.check("halt", automation or Platform())
    scope = automation.name if automation else EVERYTHING
    with guard.log.transaction() as transaction:
        connection = transaction.connection
        known = connection.execute(HALTS.select().where(HALTS.c.scope == scope)).first()
        if known:
            raise AiosError(f"{_said(scope)} is halted already, by {known.by}: {known.reason}")
        row = {"scope": scope, "since": micros(clock.wall()), "by": str(guard.actor),
               "reason": reason}  # fmt: skip
        connection.execute(HALTS.insert().values(row))
        act = Act("halt", _of(automation), str(guard.actor), {"reason": reason})
        transaction.append([act])


def release(guard: Guard, automation: Automation | None, reason: str) -> None:
    """End a halt; recorded. What went to review stays there.

    Raises:
        Denied: The rules do not allow it.
        AiosError: It is not halted.
    """
    guard.check("release", automation or Platform())
    scope = automation.name if automation else EVERYTHING
    with guard.log.transaction() as transaction:
        gone = transaction.connection.execute(HALTS.delete().where(HALTS.c.scope == scope))
        if not gone.rowcount:
            raise AiosError(f"{_said(scope)} is not halted", fix="See 'aios status'.")
        act = Act("release", _of(automation), str(guard.actor), {"reason": reason})
        transaction.append([act])


def _of(automation: Automation | None) -> str | None:
    return automation.name if automation else None


def _said(scope: str) -> str:
    return "everything" if scope == EVERYTHING else scope

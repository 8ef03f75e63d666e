"""Where an automation's actions stand, in a few cheap figures for pages and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios import clock
from aios.actions.claims import Lane, standing
from aios.actions.incidents import causes
from aios.actions.rows import among, run
from aios.actions.states import PENDING, UNSURE
from aios.halts import halted
from aios.identity.tables import micros, moment_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.automation import Automation
    from aios.database import Database

_SECOND = 1_000_000


def overview(
    database: Database, automation: Automation, *, now: Callable[[], datetime] = clock.wall
) -> dict[str, Any]:
    """Return where an automation's actions stand; plain data.

    Returns:
        `halted`: whether nothing but compensations is sent; `dry_run`: whether nothing is.
        `states`: receiver -> state -> count. `due`: actions that could be sent or asked after now.
        `oldest_due`: seconds that the oldest of them waits, None without one.
        `oldest_lease`: seconds since the oldest call that nobody settled yet, None without one.
        `incidents`: open ones by cause, as `incidents.Cause`, `oldest` in seconds.
        `receivers`: receiver -> `breaker` (closed, open or probing), `failures` in a row, `trips`,
        `open_until` (UTC without tzinfo, None where closed), `budget` and `left`: repeated calls in
        an hour and those left now, `repeats`: those made so far.
    """
    at, name, actions = micros(now()), automation.name, automation.spec.actions
    with database.reading() as connection:
        states: dict[str, dict[str, int]] = {}
        for receiver, state, count in run(
            connection,
            "SELECT receiver, state, count(*) FROM actions WHERE automation = ? GROUP BY 1, 2",
            name,
        ):
            states.setdefault(receiver, {})[state] = count
        due, oldest_due = _due(connection, name, actions.receivers if actions else (), at)
        lease = run(
            connection,
            "SELECT min(intent_at) FROM actions WHERE automation = ? AND lease_until > 0",
            name,
        ).scalar()
        repeats = dict(
            run(
                connection,
                "SELECT receiver, repeats FROM action_receivers WHERE automation = ?",
                name,
            ).all()
        )
        receivers = {}
        for receiver, declared in actions.receivers.items() if actions else ():
            circuit, bucket = standing(connection, Lane(name, receiver, declared), at)
            until = moment_of(circuit.open_until) if circuit.open_until else None
            receivers[receiver] = {
                **asdict(circuit),
                "open_until": until,
                "budget": declared.retries,
                "left": int(bucket.tokens),
                "repeats": repeats.get(receiver, 0),
            }
        stopped = halted(connection, name)
    open_ = [asdict(cause) for cause in causes(database, name)]
    for cause in open_:
        cause["oldest"] = (at - micros(cause["oldest"])) / _SECOND
    return {
        "halted": stopped,
        "dry_run": bool(actions and actions.dry_run),
        "states": states,
        "due": due,
        "oldest_due": None if oldest_due is None else (at - oldest_due) / _SECOND,
        "oldest_lease": None if lease is None else (at - lease) / _SECOND,
        "incidents": open_,
        "receivers": receivers,
    }


def _due(
    connection: Connection, automation: str, receivers: Iterable[str], now: int
) -> tuple[int, int | None]:
    """Return how many could be handled now, and since when the oldest is due."""
    condition, value = among(connection, "receiver", receivers)
    found = run(
        connection,
        f"SELECT count(*), min(due_at) FROM actions WHERE automation = ? AND {condition} "
        f"AND state IN ('{PENDING}', '{UNSURE}') AND due_at <= ?",
        *(automation, value, now),
    ).one()
    return found[0], found[1]

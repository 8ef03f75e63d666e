"""Claims: a worker's rows for as long as its lease holds, within breaker, budget and halt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aios.actions import rows as outbox
from aios.actions.breaker import Circuit
from aios.actions.budget import Bucket
from aios.actions.declared import Receiver
from aios.actions.rows import COLUMNS, Row, run
from aios.actions.states import PENDING, SENDING, UNSURE, expired
from aios.halts import halted

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EXPIRED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Lane:
    """The actions of one automation at one receiver.

    Attributes:
        automation: Whose.
        receiver: Its name.
        declared: What is declared of it.
    """

    automation: str
    receiver: str
    declared: Receiver


@dataclass(frozen=True)
class Claim:
    """What a worker holds.

    Attributes:
        lease: Its own; nobody else settles these rows while it is theirs.
        until: Microseconds; whoever comes later may ask for them.
        rows: In the order in which they were due.
        probe: The breaker is not closed: this is its one call.
    """

    lease: str
    until: int
    rows: list[Row]
    probe: bool


def due(connection: Connection, lane: Lane, now: int) -> list[str]:
    """Return, without the writer's lock, the states in which there may be something to claim."""
    circuit, bucket = standing(connection, lane, now)
    if not circuit.passes(now):
        return []
    found = []
    for state in (PENDING, UNSURE):
        condition, values = _due(connection, lane, state, now)
        if bucket.tokens < 1:
            condition += f" AND {_FREE[state]}"
        if run(connection, f"SELECT 1 FROM actions WHERE {condition} LIMIT 1", *values).first():
            found.append(state)
    return found


def claim(
    connection: Connection, lane: Lane, state: str, *, now: int, lease: str, until: int, limit: int
) -> Claim:
    """Take what is due: to be sent (`pending`), or to be asked after (`unsure`).

    The intent is written with it: who dies after this leaves rows that are asked after. A call that
    repeats one takes from the budget; the first call of an action does not, nor the first question
    after it.

    Args:
        connection: A transaction that alone writes.
        lane: Where.
        state: `pending` or `unsure`.
        now: Microseconds.
        lease: A name that was never used.
        until: When it is over.
        limit: At most so many.
    """
    circuit, bucket = standing(connection, lane, now)
    probe = circuit.breaker != "closed"
    if not circuit.passes(now):
        return Claim(lease, until, [], probe)
    limit = 1 if probe else limit
    condition, values = _due(connection, lane, state, now)
    taken = _take(connection, state, lease, until, now, condition, [*values, limit], _FREE[state])
    repeats = min(limit - len(taken), int(bucket.tokens))
    again: list[Row] = []
    if repeats > 0:
        again = _take(
            *(connection, state, lease, until, now, condition, [*values, repeats]),
            f"NOT ({_FREE[state]})",
        )
    if again or (taken and probe):
        after = circuit.probe(until) if probe else circuit
        keep(connection, lane, after, bucket.spend(len(again)), repeats=len(again))
    rows = sorted([*taken, *again], key=lambda row: (row.due_at, row.decision, row.step))
    return Claim(lease, until, rows, probe)


_FREE = {PENDING: "calls = 0", UNSURE: "calls = 1"}
"""What needs no budget."""


def _due(connection: Connection, lane: Lane, state: str, now: int) -> tuple[str, list[object]]:
    condition = "automation = ? AND receiver = ? AND state = ? AND due_at <= ? AND expires_at > ?"
    if state == UNSURE:
        condition += " AND lease IS NULL"
    elif halted(connection, lane.automation):
        condition += " AND undoes IS NOT NULL"
    return condition, [lane.automation, lane.receiver, state, now, now]


def _take(
    connection: Connection,
    state: str,
    lease: str,
    until: int,
    now: int,
    due: str,
    values: list[object],
    budget: str,
) -> list[Row]:
    intent = f", state = '{SENDING}', intent_at = {now:d}" if state == PENDING else ""
    sql = (
        f"UPDATE actions SET lease = ?, lease_until = ?, calls = calls + 1{intent} WHERE key IN "
        f"(SELECT key FROM actions WHERE {due} AND {budget} ORDER BY due_at LIMIT ?) "
        f"RETURNING {COLUMNS}"
    )
    return [Row(*one) for one in run(connection, sql, lease, until, *values)]


def leases_over(connection: Connection, automation: str, now: int) -> bool:
    """Tell whether a lease of an automation is over."""
    sql = f"SELECT 1 FROM actions WHERE {_OVER} LIMIT 1"
    return run(connection, sql, automation, now).first() is not None


def end_leases(connection: Connection, automation: str, now: int) -> None:
    """Let go of what a worker holds that was not heard of in time: it is to be asked after."""
    run(
        connection,
        f"UPDATE actions SET state = '{UNSURE}', doubt_at = intent_at, due_at = ?, lease = NULL, "
        f"lease_until = NULL WHERE {_OVER}",
        *(now, automation, now),
    )


_OVER = "automation = ? AND lease_until <= ?"


def expire(connection: Connection, automation: str, now: int) -> None:
    """Make incidents of what could not be delivered in its time."""
    rows = outbox.select(
        connection,
        f"automation = ? AND state IN ('{PENDING}', '{UNSURE}') AND expires_at <= ? "
        f"AND lease IS NULL LIMIT {_EXPIRED_AT_ONCE}",
        *(automation, now),
    )
    outbox.update(connection, [(row, expired(row, now)) for row in rows])


def standing(connection: Connection, lane: Lane, now: int) -> tuple[Circuit, Bucket]:
    """Return the breaker and the budget of a receiver."""
    found = run(
        connection,
        "SELECT breaker, failures, trips, open_until, tokens, tokens_at FROM action_receivers "
        "WHERE automation = ? AND receiver = ?",
        *(lane.automation, lane.receiver),
    ).first()
    retries = lane.declared.retries
    if found is None:
        return Circuit(), Bucket.full(retries, now)
    return Circuit(*found[:4]), Bucket(*found[4:]).at_time(retries, now)


def keep(
    connection: Connection, lane: Lane, circuit: Circuit, bucket: Bucket, *, repeats: int = 0
) -> None:
    """Store the breaker and the budget of a receiver, and count calls that repeat one."""
    run(
        connection,
        "INSERT INTO action_receivers (automation, receiver, breaker, failures, trips, open_until, "
        "tokens, tokens_at, repeats) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (automation, receiver) DO UPDATE SET breaker = excluded.breaker, "
        "failures = excluded.failures, trips = excluded.trips, open_until = excluded.open_until, "
        "tokens = excluded.tokens, tokens_at = excluded.tokens_at, "
        "repeats = action_receivers.repeats + excluded.repeats",
        *(lane.automation, lane.receiver, circuit.breaker, circuit.failures, circuit.trips),
        *(circuit.open_until, bucket.tokens, bucket.at, repeats),
    )

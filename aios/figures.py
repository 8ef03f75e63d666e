"""The figures of the platform's database: halts, actions, receivers and reviews, by SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa

from aios.actions.states import DONE, INCIDENT, PENDING, SENDING, UNSURE
from aios.actions.tables import ACTIONS, RECEIVERS
from aios.halts import EVERYTHING, HALTS
from aios.review.tables import CASES, VERDICTS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.spec import Spec

QUANTILES = (0.5, 0.95, 0.99)
NEWEST = 2000
"""Of how many the latencies are."""

PATIENCE = 60_000_000
"""Microseconds for which what takes a look at every action is not looked up again."""

POSITIONS = ("closed", "open", "probing")

Figure = tuple[str, tuple[str, ...], float]
"""Name, values of the labels, value."""

Found = Iterator[Figure]

_looked: dict[str, tuple[int, list[Figure]]] = {}


def figures(
    connection: Connection,
    specs: Mapping[str, Spec | None],
    decided: Mapping[str, tuple[str, int]],
    now: int,
) -> Found:
    """Yield what one consistent look at the database says.

    Args:
        connection: That looks.
        specs: The declarations by automation; None where not readable.
        decided: The last partition with decisions of each automation, and how many these are.
        now: Microseconds since 1970.
    """
    yield from _halts(connection, specs)
    yield from _actions(connection, specs, now)
    yield from _receivers(connection)
    yield from _cases(connection, now)
    yield from _verdicts(connection)
    yield from _intervention(connection, decided)


def _halts(connection: Connection, specs: Mapping[str, Spec | None]) -> Found:
    scopes = set(connection.execute(sa.select(HALTS.c.scope)).scalars())
    yield "aios_halted", (EVERYTHING,), float(EVERYTHING in scopes)
    for name in specs:
        yield "aios_halted", (name,), float(bool({EVERYTHING, name} & scopes))


def _actions(connection: Connection, specs: Mapping[str, Spec | None], now: int) -> Found:
    where = (ACTIONS.c.automation, ACTIONS.c.receiver)
    counts = sa.select(*where, ACTIONS.c.state, sa.func.count(), sa.func.min(ACTIONS.c.due_at))
    for name, receiver, state, count, due in connection.execute(
        counts.group_by(*where, ACTIONS.c.state).order_by(*where, ACTIONS.c.state)
    ).all():
        yield "aios_actions", (name, receiver, state), count
        if state == PENDING:
            yield "aios_action_oldest_due_seconds", (name, receiver), max(0, now - due) / 1e6
        if state == INCIDENT:
            yield "aios_action_incidents", (name, receiver), count
        if state == DONE:
            yield from _latency(connection, name, receiver)
    leased = sa.select(*where, sa.func.min(ACTIONS.c.intent_at))
    leased = leased.where(ACTIONS.c.lease.is_not(None), ACTIONS.c.state.in_([SENDING, UNSURE]))
    for name, receiver, since in connection.execute(leased.group_by(*where)):
        if since is not None:
            yield "aios_action_lease_age_seconds", (name, receiver), (now - since) / 1e6
    yield from _since_a_while(connection, specs, now)


def _since_a_while(connection: Connection, specs: Mapping[str, Spec | None], now: int) -> Found:
    url = str(connection.engine.url)
    then, known = _looked.get(url, (0, []))
    if not 0 <= now - then < PATIENCE:
        known = list(_calls(connection, specs))
        _looked[url] = (now, known)
    yield from known


def _calls(connection: Connection, specs: Mapping[str, Spec | None]) -> Found:
    """Yield calls and costs, which take a look at every action."""
    by = (ACTIONS.c.automation, ACTIONS.c.receiver, ACTIONS.c.type)
    done = sa.func.sum(sa.case((ACTIONS.c.state == DONE, 1), else_=0))
    query = sa.select(*by, sa.func.sum(ACTIONS.c.calls), done).group_by(*by)
    calls: Counter[tuple[str, str]] = Counter()
    costs: dict[str, list[float]] = {}
    for name, receiver, type_, made, finished in connection.execute(query):
        calls[name, receiver] += int(made)
        spec = specs.get(name)
        if spec and spec.actions:
            price = {call.type: call.cost for call in spec.actions.calls}.get(type_, 0.0)
            cost = costs.setdefault(name, [0.0, 0])
            cost[0], cost[1] = cost[0] + price * finished, cost[1] + finished
    for labels, made in sorted(calls.items()):
        yield "aios_action_calls_total", labels, made
    for name, (cost_of_all, number) in sorted(costs.items()):
        yield "aios_action_cost_total", (name,), cost_of_all
        if number:
            yield "aios_cost_per_action", (name,), cost_of_all / number


def _latency(connection: Connection, name: str, receiver: str) -> Found:
    newest = (
        sa.select(ACTIONS.c.ended_at - ACTIONS.c.created_at)
        .where(
            ACTIONS.c.automation == name, ACTIONS.c.receiver == receiver, ACTIONS.c.state == DONE
        )
        .order_by(ACTIONS.c.due_at.desc())
        .limit(NEWEST)
    )
    yield from _quantiles(connection, "aios_action_latency_seconds", (name, receiver), newest)


def _quantiles(
    connection: Connection, figure: str, labels: tuple[str, ...], query: sa.Select[tuple[int]]
) -> Found:
    taken = [one for one in connection.execute(query).scalars() if one is not None]
    if taken:
        for level, value in zip(QUANTILES, np.quantile(taken, QUANTILES) / 1e6, strict=True):
            yield figure, (*labels, f"{level:g}"), float(value)


def _receivers(connection: Connection) -> Found:
    for row in connection.execute(sa.select(RECEIVERS)):
        labels = (row.automation, row.receiver)
        yield "aios_receiver_failures", labels, row.failures
        yield "aios_action_retries_total", labels, row.repeats
        for position in POSITIONS:
            yield "aios_receiver_breaker", (*labels, position), float(row.breaker == position)


def _cases(connection: Connection, now: int) -> Found:
    real = CASES.c.answer.is_(None)
    by = (CASES.c.automation, CASES.c.state)
    counts = sa.select(*by, sa.func.count()).where(real).group_by(*by).order_by(*by)
    names: dict[str, None] = {}
    for name, state, count in connection.execute(counts):
        names[name] = None
        yield "aios_review_cases", (name, state), count
    late = sa.func.sum(sa.case((CASES.c.due_at <= now, 1), else_=0))
    waiting = sa.select(CASES.c.automation, late, sa.func.min(CASES.c.opened_at))
    waiting = waiting.where(real, CASES.c.closed_at.is_(None)).group_by(CASES.c.automation)
    found = {name: (overdue, since) for name, overdue, since in connection.execute(waiting).all()}
    for name in names:
        overdue, since = found.get(name, (0, now))
        yield "aios_review_overdue", (name,), overdue
        yield "aios_review_oldest_seconds", (name,), (now - since) / 1e6
        newest = (
            sa.select(CASES.c.closed_at - CASES.c.opened_at)
            .where(CASES.c.automation == name, CASES.c.state == "closed", real)
            .order_by(CASES.c.closed_at.desc())
            .limit(NEWEST)
        )
        yield from _quantiles(connection, "aios_review_latency_seconds", (name,), newest)


def _verdicts(connection: Connection) -> Found:
    by = (VERDICTS.c.automation, VERDICTS.c.verdict)
    standing = sa.select(*by, sa.func.count()).where(VERDICTS.c.undone_at.is_(None))
    for name, verdict, count in connection.execute(standing.group_by(*by).order_by(*by)):
        yield "aios_review_verdicts_total", (name, verdict), count


def _intervention(connection: Connection, decided: Mapping[str, tuple[str, int]]) -> Found:
    for name, (key, rows) in decided.items():
        cases = sa.select(CASES.c.decision).where(
            CASES.c.automation == name,
            CASES.c.partition == key,
            CASES.c.answer.is_(None),
            CASES.c.state != "superseded",
        )
        overrides = sa.select(VERDICTS.c.decision).where(
            VERDICTS.c.automation == name,
            VERDICTS.c.partition == key,
            VERDICTS.c.in_effect,
            VERDICTS.c.undone_at.is_(None),
        )
        either = sa.union(cases, overrides).subquery()
        touched = connection.execute(sa.select(sa.func.count()).select_from(either)).scalar_one()
        if rows:
            yield "aios_human_intervention_ratio", (name,), touched / rows

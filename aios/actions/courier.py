"""A courier takes the actions of one automation to one receiver: claim, call, settle."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from secrets import token_hex
from typing import TYPE_CHECKING

import orjson

from aios import telemetry
from aios.actions.claims import (
    Claim,
    Lane,
    claim,
    due,
    end_leases,
    expire,
    leases_over,
)
from aios.actions.connectors.base import Answer, Connector, Request, Unavailable, Unsure
from aios.actions.rows import Row
from aios.actions.settling import settle
from aios.actions.states import PENDING, UNSURE, can_be_asked
from aios.errors import AiosError
from aios.identity.tables import micros

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.record.log import Log

ASKED = 32
"""Rows that are asked after with one claim."""

_MARGIN = timedelta(seconds=5)
_MICRO = timedelta(microseconds=1)
_SWEEP = 60_000_000
_SETTLE_TRIES = 6
_CALLS_EACH = frozenset(("http", "email"))
"""Kinds of receiver that take one call an action; the others take a batch."""


class Courier:
    """Takes actions to one receiver; used by one thread at a time.

    Args:
        log: The record; its database has the outbox.
        automation: Whose.
        lane: Where.
        name: Of the worker, in its leases.
        now: UTC without tzinfo.
        rng: Of the jitter.
        connect: Makes the connector.
        batch: Rows of one claim at most.

    Attributes:
        problem: Why nothing can be sent now; None where it can.
    """

    def __init__(
        self,
        log: Log,
        automation: Automation,
        lane: Lane,
        *,
        name: str,
        now: Callable[[], datetime],
        rng: Random,
        connect: Callable[[Lane], Connector],
        batch: int,
    ) -> None:
        self._log, self._automation, self.lane, self._name = log, automation, lane, name
        self._now, self._rng, self._connect = now, rng, connect
        declared = lane.declared
        calls_each = declared.kind in _CALLS_EACH
        self._batch = min(batch, declared.parallel * 8) if calls_each else batch
        waves = -(-self._batch // declared.parallel) if calls_each else 2
        self._lease = (declared.timeout * waves + _MARGIN) // _MICRO
        # A receiver that is down should meet few calls before the breaker knows.
        self._window = min(declared.breaker.failures, self._batch)
        self._connector: Connector | None = None
        self._swept = 0
        self.problem: str | None = None

    def step(self) -> int:
        """Ask after what is unsure, then send what is due; return how many rows were handled.

        Raises:
            AiosError: The database cannot be used; what was sent is asked after later.
        """
        try:
            self._connector = self._connector or self._connect(self.lane)
        except AiosError as error:
            self.problem = str(error)
            return 0
        self.problem = None
        now = self._micros()
        with self._log.database.reading() as connection:
            over = leases_over(connection, self.lane.automation, now)
            waiting = due(connection, self.lane, now)
        self._sweep(over, now)
        # First what is sent: asking where nothing can be asked would use up the breaker's probe.
        limits = {PENDING: self._window, UNSURE: min(ASKED, self._batch)}
        states = limits if over else waiting
        return sum(self._round(state, limits[state]) for state in states)

    def close(self) -> None:
        """Let go of the connector."""
        if self._connector:
            self._connector.close()
            self._connector = None

    def _round(self, state: str, limit: int) -> int:
        lease = f"{self._name[:60]}:{token_hex(12)}"
        with self._log.database.writing() as connection:
            now = self._micros()
            until = now + self._lease
            claimed = claim(
                connection, self.lane, state, now=now, lease=lease, until=until, limit=limit
            )
        if not claimed.rows:
            return 0
        began = self._now()
        answers = self._send(claimed) if state == PENDING else self._ask(claimed)
        self._trace(claimed.rows, answers, began)
        if state == PENDING:
            self._widen(answers)
        self._settle(claimed, answers)
        return sum(answer is not None for answer in answers)

    def _send(self, claimed: Claim) -> Sequence[Answer | None]:
        if self._late(claimed):
            return [None] * len(claimed.rows)
        requests = [request_of(row) for row in claimed.rows]
        try:
            answers = self._of(requests)
        except Exception as error:
            return [Unsure(f"the connector raised {type(error).__name__}")] * len(requests)
        if len(answers) != len(requests):
            return [Unsure("the connector did not answer for each request")] * len(requests)
        return answers

    def _of(self, requests: Sequence[Request]) -> Sequence[Answer]:
        assert self._connector is not None
        return self._connector.send(requests)

    def _ask(self, claimed: Claim) -> Sequence[Answer | None]:
        answers: list[Answer | None] = []
        for row in claimed.rows:
            gone = bool(answers) and isinstance(answers[-1], Unavailable)
            if gone or self._late(claimed):
                break
            answers.append(self._find(request_of(row)))
        return [*answers, *[None] * (len(claimed.rows) - len(answers))]

    def _find(self, request: Request) -> Answer:
        assert self._connector is not None
        if not can_be_asked(self.lane.declared):
            return Unsure("the receiver cannot be asked")
        try:
            return self._connector.find(request)
        except Exception as error:
            return Unsure(f"the connector raised {type(error).__name__}")

    def _late(self, claimed: Claim) -> bool:
        """Tell whether another call might outlast the lease."""
        return self._micros() + self.lane.declared.timeout // _MICRO > claimed.until

    def _widen(self, answers: Sequence[Answer | None]) -> None:
        trouble = any(isinstance(one, Unavailable | Unsure) for one in answers)
        least = min(self.lane.declared.breaker.failures, self._batch)
        self._window = least if trouble else min(self._window * 2, self._batch)

    def _settle(self, claimed: Claim, answers: Sequence[Answer | None]) -> None:
        # What the receiver answered is worth some patience with the database.
        for tries in range(1, _SETTLE_TRIES + 1):
            try:
                with self._log.transaction() as transaction:
                    settle(
                        transaction,
                        self._automation,
                        self.lane,
                        claimed,
                        answers,
                        now=self._micros(),
                        rng=self._rng,
                    )
                return
            except AiosError:
                if tries == _SETTLE_TRIES or self._micros() >= claimed.until:
                    raise
                time.sleep(0.05 * 2**tries)

    def _sweep(self, over: bool, now: int) -> None:
        late = now - self._swept >= _SWEEP
        if not over and not late:
            return
        with self._log.database.writing() as connection:
            if over:
                end_leases(connection, self.lane.automation, now)
            if late:
                expire(connection, self.lane.automation, now)
        self._swept = now if late else self._swept

    def _micros(self) -> int:
        return micros(self._now())

    def _trace(
        self, rows: Sequence[Row], answers: Sequence[Answer | None], began: datetime
    ) -> None:
        if not telemetry.share():
            return
        alike: dict[tuple[str, str, int], list[str]] = defaultdict(list)
        for row, answer in zip(rows, answers, strict=True):
            if answer is not None:
                alike[row.type, type(answer).__name__.lower(), row.calls].append(row.decision)
        for (kind, state, attempt), decisions in alike.items():
            telemetry.emit_for(
                "action",
                decisions,
                start=began,
                end=self._now(),
                type=kind,
                receiver=self.lane.receiver,
                state=state,
                attempt=attempt,
            )


def request_of(row: Row) -> Request:
    """Return what is sent of a row."""
    traced = telemetry.share() > 0
    return Request(
        key=row.key,
        type=row.type,
        to=row.to,
        payload=orjson.loads(row.payload),
        undoes=row.undoes,
        attempt=row.calls,
        trace=telemetry.trace_of(row.decision).traceparent if traced else None,
    )

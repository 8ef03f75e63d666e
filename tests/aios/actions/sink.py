"""An automation that acts, receivers that obey or do not, and a clock that tests turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from aios.actions.connectors.base import NOT_THERE, Answer, Done, Request, Unsure
from aios.actions.outbox import Effects, apply
from aios.actions.plan import Planned, plan
from aios.actions.rows import Row, select
from aios.actions.worker import Worker
from aios.automation import Automation
from aios.identity.tables import micros
from aios.record.log import Log
from tests.aios.identity.cast import ACCESS
from tests.aios.record.fresh import fresh_log
from tests.conftest import settings_in, write_automation

START = datetime(2026, 1, 1, 12)

EFFECTS = """
def pay(decided):
    return {"amount": decided["amount"], "customer": decided["customer"]}


def refund(payload, receipt):
    return {"amount": payload["amount"], "of": receipt.get("id")}


def note(decided):
    return {"text": "paid"}


def unnote(payload, receipt):
    return {"text": "not paid"}


def broken(*known):
    raise ValueError(known)


def frame(decided):
    return {"when": object()}
"""

ACTIONS: dict[str, Any] = {
    "receivers": {
        "bank": {"kind": "http", "address": "http://localhost:1", "status": "/{key}"},
        "mail": {"kind": "files", "address": "/tmp/none"},
    },
    "effects": {
        "approve": [
            {
                "type": "pay",
                "receiver": "bank",
                "to": "payments",
                "body": "effects:pay",
                "compensate": {
                    "type": "refund",
                    "receiver": "bank",
                    "to": "refunds",
                    "body": "effects:refund",
                },
            },
            {
                "type": "note",
                "receiver": "mail",
                "body": "effects:note",
                "compensate": {"type": "unnote", "receiver": "mail", "body": "effects:unnote"},
            },
        ],
        "block": [{"type": "reject", "receiver": "mail", "body": "effects:note"}],
    },
}


class Killed(BaseException):
    """A worker dies here."""


@dataclass
class Clock:
    """Virtual time."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, span: timedelta) -> None:
        self.at += span


@dataclass
class Sink:
    """A receiver that drops keys it has seen, and does as it is told with each call.

    Attributes:
        mood: What happens to a call; None does it and says so.
        effects: Effects by key, in order.
        calls: Every call that reached it: what it was (send or find) and when.
    """

    clock: Clock
    mood: Callable[[Request], Answer | None] | None = None
    asking: Callable[[Request], Answer | None] | None = None
    effects: list[Request] = field(default_factory=list)
    calls: list[tuple[str, datetime, Request]] = field(default_factory=list)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Answer:
        self.calls.append(("send", self.clock.at, request))
        answer = self.mood(request) if self.mood else None
        return answer or self.do(request)

    def do(self, request: Request) -> Done:
        """Have the effect, once a key."""
        if request.key not in self.seen:
            self.effects.append(request)
            self.seen[request.key] = {"id": len(self.effects)}
        return Done(self.seen[request.key])

    def find(self, request: Request) -> Answer:
        self.calls.append(("find", self.clock.at, request))
        if self.asking and (answer := self.asking(request)):
            return answer
        return Done(self.seen[request.key]) if request.key in self.seen else NOT_THERE

    def close(self) -> None:
        pass

    @property
    def types(self) -> list[str]:
        return [request.type for request in self.effects]


@dataclass
class House:
    """An automation with its outbox, its receivers and workers."""

    automation: Automation
    log: Log
    clock: Clock
    sinks: dict[str, Sink]

    def worker(self, name: str = "w", seed: int = 0, **given: Any) -> Worker:
        return Worker(
            self.log,
            ACCESS,
            [self.automation],
            name=name,
            now=self.clock,
            rng=Random(seed),
            connectors=lambda lane: self.sinks[lane.receiver],
            **given,
        )

    def planned(self, number: int, outcome: str = "approve") -> list[Planned]:
        return plan(self.automation, outcome, decided(number))

    def decide(self, *numbers: int, outcome: str = "approve", **given: Any) -> Effects:
        """Let decisions have the effects of an outcome."""
        planned = [one for number in numbers for one in self.planned(number, outcome)]
        with self.log.database.writing() as connection:
            return apply(
                connection,
                self.automation,
                [decided(number)["decision"] for number in numbers],
                planned,
                now=micros(self.clock()),
                **given,
            )

    def rows(self, condition: str = "1 = 1 ORDER BY created_at, step") -> list[Row]:
        with self.log.database.reading() as connection:
            return select(connection, condition)

    def states(self) -> Counter[tuple[str, str]]:
        return Counter((row.type, row.state) for row in self.rows())

    def pass_(self, **span: float) -> None:
        self.clock.pass_(timedelta(**span))


def decided(number: int) -> dict[str, Any]:
    return {
        "loan_id": number,
        "customer": f"c{number}",
        "amount": 10.5 + number,
        "decision": f"loans/2026-01-01/{number}@0",
        "partition": "2026-01-01",
    }


def house(folder: Path, *, actions: Mapping[str, Any] | None = None) -> House:
    """A house below a folder."""
    settings = settings_in(folder)
    written = write_automation(
        settings.automations / "loans", actions=actions or ACTIONS, files={"effects.py": EFFECTS}
    )
    clock = Clock()
    automation = Automation.load(written, settings)
    assert automation.spec.actions
    sinks = {name: Sink(clock) for name in automation.spec.actions.receivers}
    return House(automation, fresh_log(folder / "record"), clock, sinks)


def lost(request: Request) -> Answer:
    """Nothing arrived, and nobody knows."""
    return Unsure("no answer in time")

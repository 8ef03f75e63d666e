"""A receiver that is down: left alone within its budget, while the others lose nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aios.actions.connectors.base import Answer, Request, Unavailable, Unsure
from tests.aios.actions.sink import ACTIONS, START, House, Killed, house

pytestmark = pytest.mark.loop

HOUR = timedelta(hours=1)
RETRIES = 40
ONE_EACH: dict[str, Any] = {
    "receivers": {
        "bank": {**ACTIONS["receivers"]["bank"], "retries": RETRIES},
        "mail": ACTIONS["receivers"]["mail"],
    },
    "effects": {
        "approve": [{"type": "pay", "receiver": "bank", "body": "effects:pay"}],
        "block": [{"type": "note", "receiver": "mail", "body": "effects:note"}],
    },
}


def most_in_an_hour(times: list[datetime]) -> int:
    return max((sum(0 <= (b - a) / HOUR < 1 for b in times) for a in times), default=0)


@pytest.mark.parametrize(
    "answer",
    [lambda _: Unavailable("HTTP 503"), lambda _: Unsure("no answer in time")],
    ids=["says so", "is silent"],
)
def test_down_for_an_hour(tmp_path: Path, answer: Callable[[Request], Answer]) -> None:
    loans = house(tmp_path, actions=ONE_EACH)
    bank, mail = loans.sinks["bank"], loans.sinks["mail"]
    bank.mood = bank.asking = answer
    workers = [loans.worker(name, seed=i) for i, name in enumerate("ab")]
    for minute in range(60):
        numbers = range(minute * 10, minute * 10 + 10)
        loans.decide(*numbers)
        loans.decide(*(1000 + number for number in numbers), outcome="block")
        for _ in range(2):
            for worker in workers:
                worker.step()
            loans.pass_(seconds=30)
        # The other receiver has all that it was to have, minute by minute.
        assert len(mail.effects) == (minute + 1) * 10
    down = len(bank.calls)
    assert down <= RETRIES / 2
    assert bank.effects == []
    bank.mood = bank.asking = None
    while loans.states()["pay", "done"] < 600 and loans.clock() < START + 5 * HOUR:
        for worker in workers:
            worker.drain()
        loans.pass_(minutes=5)
    assert loans.states() == {("pay", "done"): 600, ("note", "done"): 600}
    assert len(bank.effects) == 600
    called: dict[str, list[datetime]] = {}
    for _, at, request in bank.calls:
        called.setdefault(request.key, []).append(at)
    repeated = [at for times in called.values() for at in times[1:]]
    assert most_in_an_hour(repeated) <= RETRIES


def test_one_probe_at_a_time_and_ever_longer_rests(tmp_path: Path) -> None:
    loans = house(tmp_path, actions=ONE_EACH)
    loans.sinks["bank"].mood = lambda _: Unavailable("down")
    loans.decide(*range(100))
    workers = [loans.worker(name, seed=i) for i, name in enumerate("abc")]
    for _ in range(1800 // 5):
        for worker in workers:
            worker.step()
        loans.pass_(seconds=5)
    times = [at for _, at, _ in loans.sinks["bank"].calls]
    assert times[4] == times[0]
    rests = [(later - before).total_seconds() for before, later in pairwise(times[4:])]
    assert rests[:5] == pytest.approx([30, 60, 120, 240, 480], abs=5)
    assert max(rests) <= 605


def test_a_probe_that_dies_is_followed_by_another(tmp_path: Path) -> None:
    loans = house(tmp_path, actions=ONE_EACH)
    bank = loans.sinks["bank"]
    bank.mood = lambda _: Unavailable("down")
    loans.decide(*range(10))
    loans.worker().drain()
    loans.pass_(seconds=31)

    def die(_: Request) -> Answer:
        raise Killed

    bank.mood = die
    with pytest.raises(Killed):
        loans.worker().drain()
    bank.mood = None
    assert loans.worker("b").drain() == 0
    for _ in range(10):
        loans.pass_(minutes=1)
        loans.worker("b").drain()
    assert loans.states() == {("pay", "done"): 10}


def test_left_alone_as_long_as_it_asks(tmp_path: Path) -> None:
    loans = house(tmp_path, actions=ONE_EACH)
    bank = loans.sinks["bank"]
    bank.mood = lambda _: Unavailable("HTTP 429", timedelta(minutes=5))
    loans.decide(*range(20))
    loans.worker().drain()
    first = len(bank.calls)
    bank.mood = None
    loans.pass_(minutes=4, seconds=50)
    loans.worker().drain()
    assert len(bank.calls) == first <= 5
    run_until_done(loans)


def run_until_done(loans: House) -> None:
    for _ in range(12):
        loans.pass_(minutes=5)
        loans.worker().drain()
    assert set(loans.states()) == {("pay", "done")}

"""Whatever dies, lies or is taken back: one effect or one open incident, and all undone in order.

Several workers on one outbox in virtual time. Receivers drop, delay, duplicate, refuse and lie;
workers die before and after each call; decisions change and are recalled at any moment, also while
a call is under way. In the end the receivers behave, a truthful person mends what is open, and then
what the receivers did must be what the last decisions want.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aios.actions.connectors.base import Answer, Done, Failed, Refused, Request, Unavailable, Unsure
from aios.actions.incidents import Which, incidents, resolve, retry
from aios.actions.recall import recall
from aios.actions.rows import Row
from aios.actions.states import CANCELLED, DONE, INCIDENT, WAITING
from aios.database import Database
from aios.errors import AiosError
from aios.halts import HALTS
from aios.identity.guard import Guard
from tests.aios.actions.sink import ACTIONS, House, Killed, Sink, decided, house
from tests.aios.identity.cast import ACCESS, OPS
from tests.aios.record.fresh import close
from tests.servers import postgres_server

pytestmark = pytest.mark.loop

DECISIONS = range(6)
# Few attempts and little rest: more comes to an end while things still happen.
OFTEN = {"attempts": 3, "breaker": {"failures": 5, "rest": "20s", "longest": "1m"}}
MAIL = {**ACTIONS["receivers"]["mail"], **OFTEN, "repeats": False}
BANK = {**ACTIONS["receivers"]["bank"], **OFTEN, "timeout": "1s"}
DECLARED = {**ACTIONS, "receivers": {"bank": BANK, "mail": MAIL}}

MOODS = (
    *("drops", "late", "late", "lies", "refuses", "fails", "down"),
    *("dies before", "dies after", "withdrawn meanwhile"),
)


class Naive(Sink):
    """A receiver that does whatever arrives, as often as it arrives."""

    def do(self, request: Request) -> Done:
        self.effects.append(request)
        self.seen.setdefault(request.key, {"id": len(self.effects)})
        return Done(self.seen[request.key])


class Outbox(RuleBasedStateMachine):
    """Workers, receivers, people and time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="outbox"))
        self.loans: House = house(self.folder, actions=DECLARED)
        self.loans.sinks["mail"] = Naive(self.loans.clock)
        self.order: list[Request] = []
        for sink in self.loans.sinks.values():
            sink.effects = self.order
        self.on_the_way: list[tuple[datetime, Sink, Request]] = []
        self.wanted: dict[int, str | None] = {}
        self.guard = Guard(OPS, ACCESS, self.loans.log)

    @initialize()
    def first(self) -> None:
        self.decide(*DECISIONS, outcome="approve")

    def decide(self, *numbers: int, outcome: str) -> None:
        self.loans.decide(*numbers, outcome=outcome)
        self.wanted |= dict.fromkeys(numbers, outcome)

    @rule(number=st.sampled_from(DECISIONS), outcome=st.sampled_from(["approve", "block"]))
    def decided(self, number: int, outcome: str) -> None:
        self.decide(number, outcome=outcome)

    @rule(number=st.sampled_from(DECISIONS))
    def recalled(self, number: int) -> None:
        with suppress(AiosError):
            recall(
                self.guard,
                self.loans.automation,
                decisions=[decided(number)["decision"]],
                reason="test",
                now=self.loans.clock,
            )
        self.wanted[number] = None

    @rule(seed=st.integers(0, 2**32), name=st.sampled_from("abc"), seconds=st.integers(0, 45))
    def work(self, seed: int, name: str, seconds: int) -> None:
        chance = Random(seed)
        for sink in self.loans.sinks.values():
            sink.mood = self.mood(sink, chance)
            sink.asking = lambda _: Unsure("HTTP 500") if chance.random() < 0.4 else None
        worker = self.loans.worker(name, seed=seed, batch=chance.choice([1, 2, 5]))
        with suppress(Killed):
            for _ in range(6):
                worker.step()
                self.time_passes(seconds)

    @rule(seed=st.integers(0, 2**32))
    def storm(self, seed: int) -> None:
        """Many things at once, mostly work."""
        chance = Random(seed)
        names = ("work", "time", "decided", "recalled", "halt", "mend")
        for name in chance.choices(names, (8, 2, 2, 1, 0.3, 0.3), k=25):
            match name:
                case "work":
                    self.work(chance.getrandbits(32), chance.choice("abc"), chance.randrange(46))
                case "time":
                    self.time_passes(chance.choice([45, 200, 1000]))
                case "decided":
                    outcome = chance.choice(["approve", "approve", "block"])
                    self.decide(chance.choice(DECISIONS), outcome=outcome)
                case "recalled":
                    self.recalled(chance.choice(DECISIONS))
                case "halt":
                    self.halt(on=chance.random() < 0.3)
                case "mend":
                    self.mend()

    def mood(self, sink: Sink, chance: Random) -> Callable[[Request], Answer | None]:
        trouble = chance.choice([0.1, 0.5, 0.9])

        def late(request: Request) -> Answer:
            # Within `settles`, which is a minute.
            at = self.loans.clock() + timedelta(seconds=59 * chance.random())
            self.on_the_way.append((at, sink, request))
            return Unsure("no answer in time")

        def answer(request: Request) -> Answer | None:
            if chance.random() > trouble:
                return None
            match chance.choice(MOODS):
                case "drops":
                    return Unsure("cut")
                case "late":
                    return late(request)
                case "lies":
                    sink.do(request)
                    return Unsure("HTTP 500")
                case "refuses":
                    return Refused("HTTP 422") if request.key not in sink.seen else None
                case "fails":
                    return Failed("busy") if request.key not in sink.seen else None
                case "down":
                    return Unavailable("HTTP 503")
                case "dies before":
                    raise Killed
                case "dies after":
                    sink.do(request)
                    raise Killed
                case "withdrawn meanwhile":
                    self.recalled(self.number_of(request))
                    if chance.random() < 0.5:
                        return late(request)
            return None

        return answer

    def number_of(self, request: Request) -> int:
        row = next(row for row in self.loans.rows() if row.key == request.key)
        return int(row.decision.rpartition("/")[2].partition("@")[0])

    @rule(seconds=st.sampled_from([45, 200, 1000]))
    def time_passes(self, seconds: int) -> None:
        self.loans.pass_(seconds=seconds)
        self.arrive(self.loans.clock())

    def arrive(self, until: datetime = datetime.max) -> None:
        for at, sink, request in self.on_the_way:
            if at <= until:
                sink.do(request)
        self.on_the_way = [one for one in self.on_the_way if one[0] > until]

    @rule(on=st.sampled_from([True, False, False]))
    def halt(self, on: bool) -> None:
        with self.loans.log.database.writing() as connection:
            connection.execute(HALTS.delete())
            if on:
                row = {"scope": "*", "since": 0, "by": "person:olga", "reason": "test"}
                connection.execute(HALTS.insert().values(row))

    @rule()
    def mend(self) -> None:
        """Mend all incidents as one would who can look into the receivers."""
        self.arrive()
        for one in incidents(self.loans.log.database, limit=1000):
            there = one.key in self.loans.sinks[one.receiver].seen
            no_undo = one.cause == "cannot be undone"
            which = Which(keys=[one.key])
            given = {"reason": "test", "now": self.loans.clock}
            if there or no_undo or one.recalled:
                done = there or no_undo
                resolve(self.guard, self.loans.automation, which, done=done, **given)  # type: ignore[arg-type]
            else:
                retry(self.guard, self.loans.automation, which, not_done=True, **given)  # type: ignore[arg-type]

    @invariant()
    def no_effect_twice(self) -> None:
        twice = {key: n for key, n in Counter(one.key for one in self.order).items() if n > 1}
        assert not twice

    def teardown(self) -> None:
        self.arrive()
        self.halt(on=False)
        for sink in self.loans.sinks.values():
            sink.mood = sink.asking = None
        self.finish()
        self.check(self.loans.rows(), mended=False)
        for _ in range(4):
            self.mend()
            self.finish()
        self.check(self.loans.rows(), mended=True)
        close(self.loans.log)
        shutil.rmtree(self.folder)

    def finish(self) -> None:
        worker = self.loans.worker("last")
        for _ in range(12):
            self.loans.pass_(minutes=8)
            worker.drain()

    def check(self, rows: list[Row], *, mended: bool) -> None:
        there = [one.key for one in self.order]
        assert len(there) == len(set(there))
        assert set(there) <= {row.key for row in rows}
        for row in rows:
            ends = {DONE, CANCELLED} if mended else {DONE, CANCELLED, INCIDENT, WAITING}
            assert row.state in ends, row
            by_hand = row.receipt == '{"said_by": "person:ops"}'
            if row.state == DONE and not by_hand:
                assert row.key in there
            if row.state == CANCELLED or (row.state == INCIDENT and row.doubt_at is None):
                assert row.key not in there
        assert any(row.state == INCIDENT for row in rows) or all(
            row.state != WAITING for row in rows
        )
        self.check_undone(rows, there)
        if mended:
            self.check_wanted(rows, there)

    def check_undone(self, rows: list[Row], there: list[str]) -> None:
        undoing = {row.undoes: row for row in rows if row.undoes}
        place = {key: i for i, key in enumerate(there)}
        by_decision: dict[str, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row.created_at, row.step)):
            undo = undoing.get(row.key)
            if undo is not None:
                assert row.recalled
                assert row.state == DONE
                by_decision.setdefault(row.decision, []).append(row)
                if undo.key in place:
                    assert place[row.key] < place[undo.key]
            elif row.recalled and row.state == DONE:
                # Only where an earlier one of unknown outcome waits for a person.
                assert any(
                    one.recalled and one.state == INCIDENT
                    for one in rows
                    if one.decision == row.decision
                )
        for undone in by_decision.values():
            for earlier, later in pairwise(undone):
                first, second = undoing[later.key].key, undoing[earlier.key].key
                same_time = place.get(later.key, 0) < place.get(second, 0)
                if first in place and second in place and same_time:
                    assert place[first] < place[second]

    def check_wanted(self, rows: list[Row], there: list[str]) -> None:
        kinds = {one.key: one.type for one in self.order}
        for number in DECISIONS:
            keys = {row.key for row in rows if row.decision == decided(number)["decision"]}
            done = Counter(kinds[key] for key in there if key in keys)
            wanted = int(self.wanted.get(number) == "approve")
            assert done["pay"] - done["refund"] == wanted
            assert done["note"] - done["unnote"] == wanted


TestOutbox = Outbox.TestCase
TestOutbox.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)


@pytest.mark.parametrize("seed", range(6))
def test_storms(seed: int) -> None:
    through_storms(seed)


def test_storms_on_postgres() -> None:
    with postgres_server("fsync=off") as server:
        for seed in (101, 102):
            through_storms(seed, Database(server.create(f"storm{seed}")))


def through_storms(seed: int, database: Database | None = None) -> None:
    """Three storms, then the end."""
    outbox = Outbox()
    if database:
        outbox.loans.log.database = database
    outbox.first()
    for part in range(3):
        outbox.storm(seed * 3 + part)
        outbox.no_effect_twice()
    outbox.teardown()

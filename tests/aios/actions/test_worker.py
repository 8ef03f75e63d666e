"""Workers: one effect for each action, whatever the receiver and the worker's death do to it."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from aios.actions.connectors.base import Answer, Failed, Refused, Request, Unavailable, Unsure
from aios.actions.recall import recall
from aios.actions.settling import root_of
from aios.actions.worker import Worker
from aios.errors import AiosError
from aios.halts import HALTS
from aios.identity.access import Access, Denied
from aios.identity.guard import Guard
from tests.aios.actions.sink import ACTIONS, House, Killed, decided, house, lost
from tests.aios.identity.cast import ACCESS, OPS, REV, copy

pytestmark = pytest.mark.unit

WEEK = timedelta(days=7)


@pytest.fixture
def loans(tmp_path: Path) -> House:
    return house(tmp_path)


def receiver(**changes: object) -> dict[str, object]:
    """The declaration with another bank."""
    bank = {**ACTIONS["receivers"]["bank"], **changes}
    return {**ACTIONS, "receivers": {**ACTIONS["receivers"], "bank": bank}}


def die(_: Request) -> Answer:
    raise Killed


def finish(loans: House, *, hours: int = 2) -> None:
    """Work until nothing changes any more."""
    worker = loans.worker("last", seed=9)
    for _ in range(hours * 12):
        worker.drain()
        loans.pass_(minutes=5)


class TestSettling:
    def test_done_in_order_with_receipts_and_leaves(self, loans: House) -> None:
        loans.decide(1, 2)
        assert loans.worker().drain() == 4
        assert set(loans.states()) == {("pay", "done"), ("note", "done")}
        rows = [row for row in loans.rows() if row.receiver == "bank"]
        leaf = loans.log.get(rows[0].leaf or 0)
        assert (leaf.kind, leaf.actor) == ("actions", "service:worker")
        assert leaf.body["states"] == {"done": 2}
        assert leaf.body["root"] == root_of(rows)
        assert "c1" not in leaf.leaf.decode()

    def test_the_next_step_waits_for_the_first(self, loans: House) -> None:
        loans.sinks["bank"].mood = lambda _: Unavailable("down")
        loans.decide(1)
        loans.worker().drain()
        assert loans.sinks["mail"].effects == []
        loans.sinks["bank"].mood = None
        finish(loans)
        assert loans.sinks["mail"].types == ["note"]

    def test_refused_is_an_incident_and_stops_the_steps_after(self, loans: House) -> None:
        loans.sinks["bank"].mood = lambda _: Refused("HTTP 422 for 'c1' of account 1234567")
        loans.decide(1)
        finish(loans)
        pay, note = loans.rows()
        assert (pay.state, note.state) == ("incident", "waiting")
        assert pay.cause == "refused: HTTP 422 for ... of account ..."

    def test_failures_are_spread_out_and_end_as_an_incident(self, tmp_path: Path) -> None:
        loans = house(tmp_path, actions=receiver(attempts=5))
        loans.sinks["bank"].mood = lambda _: Failed("busy")
        loans.decide(1)
        worker = loans.worker()
        for _ in range(600):
            worker.drain()
            loans.pass_(seconds=0.25)
        times = [at for _, at, _ in loans.sinks["bank"].calls]
        gaps = [after - before for before, after in pairwise(times)]
        assert len(times) == 5
        assert all(gap <= timedelta(seconds=2 * 2**i) for i, gap in enumerate(gaps))
        assert len(set(gaps)) > 2
        assert loans.rows()[0].cause == "failed too often"

    def test_a_connector_that_breaks_its_word_is_unsure(self, loans: House) -> None:
        def broken(_: Request) -> Answer:
            raise ValueError("payload")

        loans.sinks["bank"].mood = broken
        loans.decide(1)
        loans.worker().step()
        row = loans.rows()[0]
        assert (row.state, row.problem) == ("unsure", "the connector raised ValueError")

    def test_the_worker_may_act_only_by_the_rules(self, loans: House, tmp_path: Path) -> None:
        copy(tmp_path)
        for file in tmp_path.glob("*.cedar"):
            file.write_text(file.read_text().replace("service:worker", "service:nobody"))
        with pytest.raises(Denied):
            Worker(loans.log, Access.load(tmp_path), [loans.automation])


class TestUnknownOutcome:
    def test_killed_before_the_call_it_is_asked_and_sent(self, loans: House) -> None:
        loans.sinks["bank"].mood = die
        loans.decide(1)
        with pytest.raises(Killed):
            loans.worker().step()
        loans.sinks["bank"].mood = None
        assert loans.worker("other").step() == 0
        finish(loans)
        kinds = [kind for kind, _, _ in loans.sinks["bank"].calls]
        assert kinds == ["send", "find", "send"]
        assert loans.sinks["bank"].types == ["pay"]
        assert loans.states()["note", "done"] == 1

    def test_killed_after_the_call_it_is_asked_and_not_sent_again(self, loans: House) -> None:
        def do_and_die(request: Request) -> Answer:
            loans.sinks["bank"].do(request)
            raise Killed

        loans.sinks["bank"].mood = do_and_die
        loans.decide(1)
        with pytest.raises(Killed):
            loans.worker().step()
        finish(loans)
        assert [kind for kind, _, _ in loans.sinks["bank"].calls] == ["send", "find"]
        assert loans.states()["pay", "done"] == 1

    def test_a_lie_about_failing_is_found_out(self, loans: House) -> None:
        def lie(request: Request) -> Answer:
            loans.sinks["bank"].do(request)
            return Unsure("HTTP 500")

        loans.sinks["bank"].mood = lie
        loans.decide(1)
        finish(loans)
        assert len(loans.sinks["bank"].effects) == 1
        assert loans.states()["pay", "done"] == 1

    def test_never_sent_again_where_the_receiver_does_not_drop_keys(self, tmp_path: Path) -> None:
        loans = house(tmp_path, actions=receiver(repeats=False))
        loans.sinks["bank"].mood = lost
        loans.decide(1)
        finish(loans)
        assert [kind for kind, _, _ in loans.sinks["bank"].calls] == ["send", "find"]
        assert loans.rows()[0].cause == "unknown outcome"

    def test_nobody_to_ask_is_an_incident(self, tmp_path: Path) -> None:
        loans = house(tmp_path, actions=receiver(status=None))
        loans.sinks["bank"].mood = lost
        loans.decide(1)
        finish(loans)
        assert [kind for kind, _, _ in loans.sinks["bank"].calls] == ["send"]
        assert loans.rows()[0].cause == "unknown outcome"

    def test_who_cannot_tell_is_asked_a_few_times(self, loans: House) -> None:
        loans.sinks["bank"].mood = lost
        loans.sinks["bank"].asking = lambda _: Unsure("HTTP 500")
        loans.decide(1)
        finish(loans)
        kinds = [kind for kind, _, _ in loans.sinks["bank"].calls]
        assert kinds == ["send", *["find"] * 7]
        assert loans.rows()[0].cause == "unknown outcome"

    def test_one_that_lost_its_lease_does_not_overwrite(self, loans: House) -> None:
        def slow(request: Request) -> Answer:
            loans.pass_(minutes=30)
            loans.sinks["bank"].mood = None
            loans.sinks["bank"].do(request)
            loans.worker("other", seed=3).drain()
            return Refused("said too late")

        loans.sinks["bank"].mood = slow
        loans.decide(1)
        loans.worker("first").step()
        assert loans.states()["pay", "done"] == 1
        assert len(loans.sinks["bank"].effects) == 1

    def test_a_worker_that_slept_past_its_lease_sends_nothing(self, loans: House) -> None:
        def asleep() -> datetime:
            if any(row.state == "sending" and row.calls == 1 for row in loans.rows()):
                loans.pass_(hours=1)
            return loans.clock()

        loans.decide(1)
        connectors = loans.sinks.__getitem__
        worker = Worker(
            loans.log,
            ACCESS,
            [loans.automation],
            now=asleep,
            connectors=lambda lane: connectors(lane.receiver),
        )
        worker.step()
        assert loans.sinks["bank"].calls == []
        assert loans.rows()[0].state == "pending"
        finish(loans)
        assert len(loans.sinks["bank"].effects) == 1

    def test_undelivered_in_its_time_is_an_incident(self, loans: House) -> None:
        loans.sinks["bank"].mood = lambda _: Unavailable("down")
        loans.decide(1)
        worker = loans.worker()
        worker.drain()
        loans.pass_(days=8)
        worker.drain()
        assert (loans.rows()[0].state, loans.rows()[0].cause) == ("incident", "expired")


class TestRecall:
    def guard(self, loans: House) -> Guard:
        return Guard(OPS, ACCESS, loans.log)

    def test_a_partition_is_undone_and_recorded(self, loans: House) -> None:
        loans.decide(1, 2)
        loans.worker().drain()
        loans.decide(3)
        effects = recall(
            self.guard(loans), loans.automation, partition="2026-01-01", reason="bad model",
            now=loans.clock,
        )  # fmt: skip
        assert (effects.cancelled, effects.undone) == (2, 4)
        loans.worker().drain()
        assert sorted(loans.sinks["bank"].types) == ["pay", "pay", "refund", "refund"]
        body = next(loans.log.entries(kind="recall")).body
        assert (body["decisions"], body["undone"], body["reason"]) == (3, 4, "bad model")

    def test_in_flight_is_resolved_first(self, loans: House) -> None:
        def recalled(request: Request) -> Answer:
            loans.sinks["bank"].mood = None
            recall(
                self.guard(loans), loans.automation,
                decisions=[decided(1)["decision"]], reason="stop", now=loans.clock,
            )  # fmt: skip
            return loans.sinks["bank"].do(request)

        loans.sinks["bank"].mood = recalled
        loans.decide(1)
        finish(loans)
        assert loans.sinks["bank"].types == ["pay", "refund"]
        assert loans.states() == {
            ("pay", "done"): 1,
            ("note", "cancelled"): 1,
            ("refund", "done"): 1,
        }

    @pytest.mark.parametrize("arrives", [True, False])
    def test_not_there_counts_when_nothing_can_arrive_any_more(
        self, loans: House, arrives: bool
    ) -> None:
        sent: list[Request] = []

        def cut(request: Request) -> Answer:
            sent.append(request)
            loans.sinks["bank"].mood = None
            return Unsure("cut")

        loans.sinks["bank"].mood = cut
        loans.decide(1)
        worker = loans.worker()
        worker.step()
        guard, decisions = self.guard(loans), [decided(1)["decision"]]
        recall(guard, loans.automation, decisions=decisions, reason="stop", now=loans.clock)
        loans.pass_(seconds=30)
        worker.drain()
        if arrives:
            loans.sinks["bank"].do(sent[0])
        finish(loans)
        assert loans.sinks["bank"].types == (["pay", "refund"] if arrives else [])
        assert loans.states()["pay", "done" if arrives else "cancelled"] == 1

    def test_without_a_compensation_a_person_has_to(self, tmp_path: Path) -> None:
        note = {"type": "note", "receiver": "mail", "body": "effects:note"}
        pay = ACTIONS["effects"]["approve"][0]
        loans = house(tmp_path, actions={**ACTIONS, "effects": {"approve": [pay, note]}})
        loans.decide(1)
        loans.worker().drain()
        recall(
            self.guard(loans), loans.automation, partition="2026-01-01", reason="x", now=loans.clock
        )
        loans.worker().drain()
        assert loans.sinks["bank"].types == ["pay", "refund"]
        incident = next(row for row in loans.rows() if row.state == "incident")
        assert (incident.cause, incident.undoes is not None) == ("cannot be undone", True)

    def test_refused_to_whom_may_not_and_where_nothing_is_left(self, loans: House) -> None:
        loans.decide(1)
        with pytest.raises(Denied):
            recall(Guard(REV, ACCESS, loans.log), loans.automation, partition="x", reason="")
        with pytest.raises(AiosError, match="nothing is left"):
            recall(self.guard(loans), loans.automation, partition="2026-01", reason="")
        with pytest.raises(AiosError, match="no decision of loans"):
            recall(self.guard(loans), loans.automation, decisions=["a/b/1@0"], reason="")


class TestHalt:
    def test_only_compensations_are_sent(self, loans: House) -> None:
        loans.decide(1, 2)
        loans.worker().drain()
        loans.decide(3)
        loans.decide(1, outcome="block")
        with loans.log.database.writing() as connection:
            row = {"scope": "loans", "since": 0, "by": "person:olga", "reason": "stop"}
            connection.execute(HALTS.insert().values(row))
        finish(loans)
        assert loans.sinks["bank"].types == ["pay", "pay", "refund"]
        with loans.log.database.writing() as connection:
            connection.execute(HALTS.delete())
        finish(loans)
        assert loans.sinks["bank"].types == ["pay", "pay", "refund", "pay"]


class TestRun:
    def test_threads_take_everything_and_stop(self, loans: House) -> None:
        loans.decide(*range(30))
        stop = threading.Event()
        thread = threading.Thread(target=loans.worker().run, args=(stop,))
        thread.start()
        for _ in range(200):
            if loans.states()["note", "done"] == 30:
                break
            stop.wait(0.05)
        stop.set()
        thread.join(5)
        assert not thread.is_alive()
        assert loans.states() == {("pay", "done"): 30, ("note", "done"): 30}

    def test_a_missing_secret_loses_nothing(self, loans: House) -> None:
        def missing(_: object) -> object:
            raise AiosError("there is no KEY in the environment")

        loans.decide(1)
        worker = Worker(loans.log, ACCESS, [loans.automation], connectors=missing)  # type: ignore[arg-type]
        assert worker.drain() == 0
        assert "KEY" in worker.problems["loans/bank"]
        assert loans.states()["pay", "pending"] == 1

"""Incidents: found, grouped, retried, repaired and resolved by people who may, and recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from aios.actions.connectors.base import Answer, Refused, Request, Unsure
from aios.actions.incidents import Which, causes, incidents, payload_of, repair, resolve, retry
from aios.actions.overview import overview
from aios.actions.recall import recall
from aios.errors import AiosError
from aios.identity.access import Denied
from aios.identity.guard import Guard
from tests.aios.actions.sink import ACTIONS, House, house
from tests.aios.actions.test_worker import finish, receiver
from tests.aios.identity.cast import ACCESS, AUD, OPS, REV

pytestmark = pytest.mark.unit


@pytest.fixture
def loans(tmp_path: Path) -> House:
    return house(tmp_path)


def ops(loans: House) -> Guard:
    return Guard(OPS, ACCESS, loans.log)


def refuse(loans: House, *numbers: int, why: str = "HTTP 422") -> None:
    """Let the payments of decisions be refused, then let the bank behave."""
    loans.sinks["bank"].mood = lambda _: Refused(why)
    loans.decide(*numbers)
    loans.worker().drain()
    loans.sinks["bank"].mood = None


def lose(loans: House, number: int, *, arrives: bool) -> None:
    """Let nobody know what became of a payment."""
    bank = loans.sinks["bank"]

    def cut(request: Request) -> Answer:
        if arrives:
            bank.do(request)
        return Unsure("cut")

    bank.mood, bank.asking = cut, lambda _: Unsure("HTTP 500")
    loans.decide(number)
    finish(loans)
    bank.mood = bank.asking = None


def test_listed_by_page_and_cause(loans: House) -> None:
    refuse(loans, 1, 2, 3)
    refuse(loans, 4, why="HTTP 400")
    database = loans.log.database
    assert [(one.cause, one.count) for one in causes(database, "loans")] == [
        ("refused: HTTP 422", 3),
        ("refused: HTTP 400", 1),
    ]
    first, rest = incidents(database, limit=2), incidents(database, limit=9, offset=2)
    assert len({one.key for one in [*first, *rest]}) == 4
    assert len(incidents(database, "loans", Which(cause="refused: HTTP 400"))) == 1
    assert incidents(database, "other") == []


def test_retried_in_bulk_by_cause(loans: House) -> None:
    refuse(loans, 1, 2, 3)
    refuse(loans, 4, why="HTTP 400")
    which = Which(cause="refused: HTTP 422")
    assert retry(ops(loans), loans.automation, which, reason="mended", now=loans.clock) == 3
    finish(loans)
    assert loans.states()["pay", "done"] == 3
    assert loans.states()["note", "done"] == 3
    body = next(loans.log.entries(kind="incident_mended")).body
    assert (body["cause"], body["count"], body["what"]) == ("refused", 3, "retry")
    assert len(body["keys"]) == 64


def test_repaired_with_another_payload_and_the_same_key(loans: House) -> None:
    refuse(loans, 1)
    (one,) = incidents(loans.log.database)
    repair(
        ops(loans), loans.automation, one.key, {"amount": 12.0}, reason="typing", now=loans.clock
    )
    finish(loans)
    (effect,) = loans.sinks["bank"].effects
    assert (effect.key, effect.payload) == (one.key, {"amount": 12.0})
    leaf = next(loans.log.entries(kind="incident_mended")).leaf.decode()
    assert "12" not in leaf.replace(leaf[leaf.find('"keys"') : leaf.find('"keys"') + 80], "")[:120]
    with pytest.raises(AiosError, match="plain data"):
        repair(ops(loans), loans.automation, one.key, ["x"], reason="", now=loans.clock)


def test_unknown_is_not_simply_sent_again(loans: House) -> None:
    lose(loans, 1, arrives=False)
    which = Which(unknown=True)
    with pytest.raises(AiosError, match="nobody knows"):
        retry(ops(loans), loans.automation, which, reason="try", now=loans.clock)
    assert loans.rows()[0].state == "incident"
    retry(
        ops(loans), loans.automation, which, reason="asked", not_done=True, now=loans.clock
    )  # fmt: skip
    finish(loans)
    assert loans.states()["note", "done"] == 1


def test_said_to_be_done_the_next_step_goes_ahead(loans: House) -> None:
    lose(loans, 1, arrives=True)
    resolve(ops(loans), loans.automation, Which(), done=True, reason="seen", now=loans.clock)
    finish(loans)
    assert loans.states() == {("pay", "done"): 1, ("note", "done"): 1}
    assert len(loans.sinks["bank"].effects) == 1


def test_said_not_to_be_done_the_later_steps_are_given_up(loans: House) -> None:
    refuse(loans, 1)
    resolve(ops(loans), loans.automation, Which(), done=False, reason="never", now=loans.clock)
    finish(loans)
    assert loans.states() == {("pay", "cancelled"): 1, ("note", "cancelled"): 1}
    assert loans.sinks["mail"].effects == []
    assert loans.decide(1).enqueued == 0


@pytest.mark.parametrize("arrives", [True, False])
def test_recalled_of_unknown_outcome_waits_for_a_person(loans: House, arrives: bool) -> None:
    lose(loans, 1, arrives=arrives)
    recall(ops(loans), loans.automation, partition="2026-01-01", reason="x", now=loans.clock)
    finish(loans)
    with pytest.raises(AiosError, match="withdrawn"):
        retry(
            ops(loans), loans.automation, Which(), reason="", not_done=True, now=loans.clock
        )  # fmt: skip
    resolve(ops(loans), loans.automation, Which(), done=arrives, reason="seen", now=loans.clock)
    finish(loans)
    assert loans.sinks["bank"].types == (["pay", "refund"] if arrives else [])


def test_what_cannot_be_undone_is_built_anew_once_it_can(tmp_path: Path) -> None:
    reject = {"type": "reject", "receiver": "mail", "body": "effects:note"}
    loans = house(tmp_path, actions={**ACTIONS, "effects": {"block": [reject]}})
    loans.decide(1, outcome="block")
    loans.worker().drain()
    recall(ops(loans), loans.automation, partition="2026-01-01", reason="x", now=loans.clock)
    with pytest.raises(AiosError, match="nothing that undoes it"):
        retry(ops(loans), loans.automation, Which(), reason="", now=loans.clock)
    undo = {"type": "unreject", "receiver": "mail", "body": "effects:unnote"}
    declared = {**ACTIONS, "effects": {"block": [{**reject, "compensate": undo}]}}
    loans.automation = house(tmp_path / "b", actions=declared).automation
    retry(ops(loans), loans.automation, Which(), reason="declared", now=loans.clock)
    finish(loans)
    assert loans.sinks["mail"].types == ["reject", "unreject"]


def test_only_who_may(loans: House) -> None:
    refuse(loans, 1)
    (one,) = incidents(loans.log.database)
    guard = Guard(REV, ACCESS, loans.log)
    with pytest.raises(Denied):
        retry(guard, loans.automation, Which(), reason="")
    with pytest.raises(Denied):
        payload_of(ops(loans), loans.automation, one.key)
    auditor = Guard(AUD, ACCESS, loans.log)
    assert payload_of(auditor, loans.automation, one.key)["customer"] == "c1"
    assert [leaf.body["action"] for leaf in loans.log.entries(kind="denied")] == [
        "mend",
        "read_payload",
    ]


def test_none_or_gone_meanwhile_is_said(loans: House) -> None:
    with pytest.raises(AiosError, match="no such open incident"):
        retry(ops(loans), loans.automation, Which(cause="x"), reason="")
    with pytest.raises(AiosError, match="1 of 1 are no open"):
        retry(ops(loans), loans.automation, Which(keys=["x"]), reason="")


def test_overview(tmp_path: Path) -> None:
    loans = house(tmp_path, actions=receiver(retries=100))
    refuse(loans, 1)
    loans.decide(2)
    loans.pass_(seconds=30)
    found = overview(loans.log.database, loans.automation, now=loans.clock)
    assert found["states"] == {
        "bank": {"incident": 1, "pending": 1},
        "mail": {"waiting": 2},
    }
    assert (found["due"], found["oldest_due"], found["oldest_lease"]) == (1, 30, None)
    assert found["incidents"][0]["cause"] == "refused: HTTP 422"
    assert found["incidents"][0]["oldest"] == 30
    bank = found["receivers"]["bank"]
    assert (bank["breaker"], bank["budget"], bank["left"], bank["repeats"]) == (
        "closed",
        100,
        50,
        0,
    )
    assert not found["halted"]

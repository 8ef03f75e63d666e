"""The outbox: decisions have the effects that are wanted and no others, whatever came before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from aios.actions.outbox import Effects, apply
from aios.actions.plan import json_of, plan
from aios.actions.rows import update
from aios.errors import AiosError, Stale
from aios.identity.tables import micros
from tests.aios.actions.sink import ACTIONS, House, decided, house

pytestmark = pytest.mark.unit


@pytest.fixture
def loans(tmp_path: Path) -> House:
    return house(tmp_path)


class TestPlan:
    def test_effects_in_their_order_from_the_row(self, loans: House) -> None:
        pay, note = plan(loans.automation, "approve", decided(1))
        assert (pay.type, pay.receiver, pay.to, pay.step) == ("pay", "bank", "payments", 0)
        assert pay.payload == {"amount": 11.5, "customer": "c1"}
        assert (note.type, note.step, note.entity) == ("note", 1, "c1")

    def test_an_outcome_without_effects_has_none(self, loans: House) -> None:
        assert plan(loans.automation, "review", decided(1)) == []

    @pytest.mark.parametrize(
        ("function", "said"), [("broken", "raised ValueError"), ("frame", "holds a object")]
    )
    def test_a_bad_function_is_named_without_its_data(
        self, tmp_path: Path, function: str, said: str
    ) -> None:
        effect = {"type": "pay", "receiver": "bank", "body": f"effects:{function}"}
        loans = house(tmp_path, actions={**ACTIONS, "effects": {"approve": [effect]}})
        with pytest.raises(AiosError, match=said) as caught:
            plan(loans.automation, "approve", decided(1))
        assert "loans, action 'pay' of loans/2026-01-01/1@0" in str(caught.value)
        assert "c1" not in caught.value.what

    @pytest.mark.parametrize("payload", [[], {"a": float("nan")}, {1: 2}, {"a": 2**70}, {"a": {3}}])
    def test_only_plain_objects_are_sent(self, payload: object) -> None:
        with pytest.raises(AiosError, match="plain data"):
            json_of(payload, "here")


class TestApply:
    def test_steps_wait_for_the_one_before(self, loans: House) -> None:
        assert loans.decide(1) == Effects(enqueued=2)
        pay, note = loans.rows()
        assert (pay.state, note.state, note.after) == ("pending", "waiting", pay.key)

    def test_again_changes_nothing(self, loans: House) -> None:
        loans.decide(1, 2)
        before = loans.rows()
        loans.pass_(hours=1)
        assert loans.decide(1, 2) == Effects()
        assert loans.rows() == before

    def test_another_outcome_withdraws_what_was_not_sent(self, loans: House) -> None:
        loans.decide(1)
        assert loans.decide(1, outcome="block") == Effects(enqueued=1, cancelled=2)
        assert loans.states() == {
            ("pay", "cancelled"): 1,
            ("note", "cancelled"): 1,
            ("reject", "pending"): 1,
        }

    def test_taken_back_in_time_and_wanted_again_it_is_sent_once(self, loans: House) -> None:
        later = micros(loans.clock() + timedelta(seconds=30))
        loans.decide(1, due_at=later)
        assert loans.worker().drain() == 0
        loans.decide(1, outcome="block", due_at=later)
        loans.decide(1, due_at=later)
        loans.pass_(seconds=31)
        loans.worker().drain()
        assert loans.sinks["bank"].types == ["pay"]
        assert loans.sinks["mail"].types == ["note"]

    def test_paid_blocked_and_approved_again_pays_again_after_the_refund(
        self, loans: House
    ) -> None:
        loans.decide(1)
        loans.worker().drain()
        assert loans.decide(1, outcome="block") == Effects(enqueued=1, undone=2)
        assert loans.decide(1) == Effects(enqueued=2, cancelled=1)
        loans.worker().drain()
        assert loans.sinks["bank"].types == ["pay", "refund", "pay"]
        assert loans.sinks["mail"].types == ["note", "unnote", "note"]
        assert set(loans.states().values()) == {1, 2}

    def test_undone_in_reverse_order_with_what_came_back(self, loans: House) -> None:
        loans.decide(1)
        loans.worker().drain()
        loans.decide(1, outcome="block")
        rows = {row.type: row for row in loans.rows() if row.state != "done"}
        assert rows["unnote"].state == "pending"
        assert (rows["refund"].state, rows["refund"].after) == ("waiting", rows["unnote"].key)
        assert rows["reject"].after == rows["refund"].key
        assert rows["refund"].payload == '{"amount":11.5,"of":1}'

    def test_a_rehearsal_sends_nothing_and_touches_nothing_real(self, loans: House) -> None:
        loans.decide(1)
        assert loans.decide(1, outcome="block", dry=True) == Effects()
        assert loans.decide(2, dry=True) == Effects(enqueued=2)
        loans.worker().drain()
        assert len(loans.sinks["bank"].effects) == 1
        assert loans.states()["pay", "dry_run"] == 1
        assert loans.decide(2, outcome="block", dry=True) == Effects(enqueued=1, cancelled=2)
        assert loans.states()["reject", "dry_run"] == 1

    def test_declared_dry_run_sends_nothing(self, tmp_path: Path) -> None:
        loans = house(tmp_path, actions={**ACTIONS, "dry_run": True})
        loans.decide(1)
        assert loans.worker().drain() == 0
        assert set(loans.states()) == {("pay", "dry_run"), ("note", "dry_run")}

    def test_decisions_without_effects_lose_theirs(self, loans: House) -> None:
        loans.decide(1, 2)
        with loans.log.database.writing() as connection:
            effects = apply(
                connection,
                loans.automation,
                [decided(1)["decision"]],
                [],
                now=micros(loans.clock()),
            )
        assert effects == Effects(cancelled=2)
        assert loans.states()["pay", "pending"] == 1

    def test_all_or_nothing(self, loans: House) -> None:
        good = loans.planned(1)
        bad = replace(loans.planned(2)[0], payload={"a": {1}})
        with pytest.raises(AiosError, match="plain data"), loans.log.database.writing() as one:
            apply(one, loans.automation, [], [*good, bad], now=0)
        assert loans.rows() == []

    def test_a_change_of_what_is_otherwise_than_found_is_refused(self, loans: House) -> None:
        loans.decide(1)
        row = loans.rows()[0]
        loans.worker().drain()
        with pytest.raises(Stale), loans.log.database.writing() as connection:
            update(connection, [(row, row)])

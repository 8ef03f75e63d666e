"""What follows from decisions: payments at a real receiver, cases for people, and the way back."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from aios import clock, halts, telemetry
from aios.actions.overview import overview
from aios.actions.recall import recall
from aios.evidence.verification import verify_pack
from aios.identity.actors import LOCAL
from aios.identity.guard import guard_of
from aios.review.desk import Desk
from aios.review.queue import Case, queue
from aios.review.tables import CASES, VERDICTS
from aios.settings import PROJECT
from aios_assets.evidence.pack import build_pack
from aios_assets.instance import run_job
from aios_assets.replay.replay import replay
from tests.aios.collector import collecting
from tests.aios.evidence.reading import content, leaves_of, missing
from tests.conftest import POLICY
from tests.loops.conftest import NAME, QUIET, REHEARSED, Loop, end_of, key
from tests.loops.test_sensors import tick
from tests.servers import Insurer, insurer

pytestmark = pytest.mark.loop

NOW = REHEARSED
"""The first week that is decided in earnest."""

REVIEW: dict[str, Any] = {
    "outcomes": ["approve", "block"],
    "safe": "block",
    "proposals": [{"when": "score < 0.5", "outcome": "approve"}],
    "undo": "0s",
    "labels": {"approve": 0, "block": 1},
    "seeded": 0.1,
    "double": 0,
    "hidden": 0,
}
ACTIONS: dict[str, Any] = {
    "receivers": {
        "bank": {
            "kind": "http",
            "address": "${BANK_URL}",
            "status": "/effects/{key}",
        }
    },
    "effects": {
        "approve": [
            {
                "type": "pay",
                "receiver": "bank",
                "to": "/payments",
                "body": "effects:payment",
                "cost": 0.5,
                "compensate": {
                    "type": "take_back",
                    "receiver": "bank",
                    "to": "/reversals",
                    "body": "effects:reversal",
                },
            }
        ]
    },
}
EFFECTS = """
def payment(decision):
    return {"loan": decision["loan_id"], "amount": decision["amount"], "as": decision["outcome"]}


def reversal(payload, receipt):
    return {"loan": payload["loan"]}
"""


class Bank:
    """The receiver, as those who check its books see it."""

    def __init__(self, server: Insurer) -> None:
        self.server = server

    def loans(self, kind: str) -> list[int]:
        """The loans that an effect of a kind is about, in order."""
        return sorted(one["body"]["loan"] for one in self.server.effects() if one["kind"] == kind)


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bank]:
    with insurer(tmp_path) as server:
        monkeypatch.setenv("BANK_URL", server.url)
        yield Bank(server)


@pytest.fixture
def acting(loop: Loop, bank: Bank) -> Loop:
    loop.redeclare(review=REVIEW, actions=ACTIONS, files={"effects.py": EFFECTS})
    return loop


def decide(loop: Loop, week: int, **ops: Any) -> None:
    """Run a week in earnest, as its schedule does."""
    job = loop.repository.get_job(f"{NAME}_batch")
    run_job(loop.instance, job, key(week), tags={}, ops=ops)


def materialize(loop: Loop, noun: str) -> dg.ExecuteInProcessResult:
    job = loop.repository.get_job(f"{NAME}_{noun}")
    return job.execute_in_process(instance=loop.instance, run_config=QUIET, raise_on_error=False)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    assert result.success
    return {one.check_name: one.passed for one in result.get_asset_check_evaluations()}


def desk(loop: Loop) -> Desk:
    platform = loop.platform
    return Desk(platform.log, platform.access, {NAME: loop.automation}, loop.settings.home)


def decided(loop: Loop, week: int, outcome: str) -> list[int]:
    frame = loop.lake.read("decisions", key(week)).filter(pl.col("outcome") == outcome)
    return sorted(frame["loan_id"])


def waiting(loop: Loop) -> list[Case]:
    database = loop.platform.log.database
    return queue(database, now=clock.wall(), automation=NAME, limit=500).cases


def approve(loop: Loop, case: Case) -> None:
    """Let a reviewer approve a case, whatever is proposed."""
    at = desk(loop)
    at.take(LOCAL, case.id)
    verdict = "approve" if case.proposal == "approve" else "change"
    outcome = None if verdict == "approve" else "approve"
    at.decide(LOCAL, case.id, verdict, outcome=outcome, reason="agreed")


def states(loop: Loop) -> dict[str, int]:
    found = overview(loop.platform.log.database, loop.automation)["states"]
    return found.get("bank", {})


def test_what_is_approved_is_paid_once_and_what_is_unclear_waits(acting: Loop, bank: Bank) -> None:
    decide(acting, NOW)
    approved = decided(acting, NOW, "approve")
    assert approved
    assert states(acting) == {"pending": len(approved)}
    assert {int(case.event) for case in waiting(acting)} >= set(decided(acting, NOW, "review"))

    assert checks(materialize(acting, "actions")) == {
        "no_incident": True,
        "in_time": True,
        "receivers_agree": True,
    }
    decide(acting, NOW)
    materialize(acting, "actions")

    assert bank.loans("payment") == approved
    assert states(acting) == {"done": len(approved)}
    assert acting.platform.log.verify().problems == []


def test_another_decision_takes_back_what_the_first_one_caused(acting: Loop, bank: Bank) -> None:
    decide(acting, NOW)
    materialize(acting, "actions")
    before = decided(acting, NOW, "approve")
    strict = {**POLICY, "version": 2}
    strict["rules"] = [POLICY["rules"][0], {**POLICY["rules"][1], "when": "score < 0.1"}]
    acting.redeclare(review=REVIEW, actions=ACTIONS, files={"effects.py": EFFECTS}, policy=strict)

    decide(acting, NOW)
    materialize(acting, "actions")

    after = decided(acting, NOW, "approve")
    assert set(after) < set(before)
    assert bank.loans("payment") == before
    assert bank.loans("reversal") == sorted(set(before) - set(after))


def test_sensors_send_what_nobody_sent_and_keep_verdicts(
    acting: Loop, bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions, reviews = f"{NAME}_actions_sensor", f"{NAME}_reviews_sensor"
    first = tick(acting, actions)
    assert [one.run_key for one in first.run_requests or []] == [None], "once a day, to look"
    assert not tick(acting, actions, first.cursor).run_requests

    decide(acting, NOW)
    later = clock.wall() + timedelta(minutes=2)
    monkeypatch.setattr(clock, "wall", lambda: later)
    assert len(tick(acting, actions, first.cursor).run_requests or []) == 1
    seen = tick(acting, reviews)
    assert len(seen.run_requests or []) == 1
    assert not tick(acting, reviews, seen.cursor).run_requests

    approve(acting, waiting(acting)[0])
    assert len(tick(acting, reviews, seen.cursor).run_requests or []) == 1

    with acting.platform.log.database.writing() as connection:
        connection.execute(CASES.update().values(due_at=0))
    assert tick(acting, reviews).run_requests
    assert waiting(acting) == []
    with acting.platform.log.database.reading() as connection:
        late = VERDICTS.select().where(VERDICTS.c.verdict == "time_out")
        assert {row.outcome for row in connection.execute(late)} == {"block"}


def test_a_recall_takes_back_a_partition(acting: Loop, bank: Bank) -> None:
    decide(acting, NOW)
    materialize(acting, "actions")

    done = recall(
        guard_of(acting.settings), acting.automation, partition=key(NOW), reason="wrong prices"
    )
    materialize(acting, "actions")

    assert done.undone == len(decided(acting, NOW, "approve"))
    assert bank.loans("reversal") == bank.loans("payment") == decided(acting, NOW, "approve")


def test_a_verdict_acts_and_teaches(acting: Loop, bank: Bank) -> None:
    decide(acting, NOW)
    paid = set(decided(acting, NOW, "approve"))
    real = set(decided(acting, NOW, "review"))
    for case in waiting(acting):
        approve(acting, case)
    materialize(acting, "actions")
    found = checks(materialize(acting, "reviews"))

    # Seeded cases were among them, and paid nothing.
    assert bank.loans("payment") == sorted(paid | real)
    assert found["in_time"]
    verdicts = acting.lake.read_all("verdicts")
    assert verdicts is not None
    assert set(verdicts["loan_id"]) == real
    assert set(verdicts["label"]) == {0.0}
    assert set(verdicts["source"]) == {"review person:local"}


def test_a_training_learns_from_verdicts_until_the_outcome_is_known(acting: Loop) -> None:
    decide(acting, NOW)
    outcomes = acting.lake.read_all("labels")
    assert outcomes is not None
    known, unknown = outcomes["loan_id"][0], decided(acting, NOW, "review")[0]
    final_at = [end_of(NOW) - timedelta(hours=1)] * 2
    rows = {"loan_id": [unknown, known], "label": [1.0, 1.0], "known_at": final_at}
    acting.lake.write("verdicts", key(NOW), pl.DataFrame({**rows, "source": "review person:ann"}))

    acting.run("retrain", NOW)

    learned = acting.lake.read("training_set", key(NOW)).select("loan_id", "label_source")
    assert dict(learned.iter_rows())[unknown] == "review person:ann"
    assert dict(learned.iter_rows())[known] == "outcome"


def test_while_halted_people_decide_and_nothing_is_sent(acting: Loop, bank: Bank) -> None:
    guard = guard_of(acting.settings)
    decide(acting, NOW)
    halts.halt(guard, acting.automation.resource, "complaints")

    decide(acting, NOW + 1)
    materialize(acting, "actions")

    frame = acting.lake.read("decisions", key(NOW + 1))
    assert set(frame["outcome"]) == {"review"}
    assert set(frame["rule"]) == {halts.RULE}
    assert bank.loans("payment") == []
    assert replay(NAME, acting.settings, partition=key(NOW + 1)).holds

    halts.release(guard, acting.automation.resource, "looked into")
    materialize(acting, "actions")
    decide(acting, NOW + 2)
    assert bank.loans("payment") == decided(acting, NOW, "approve")
    assert set(decided(acting, NOW + 2, "approve"))


def test_a_halt_between_deciding_and_recording_is_kept(
    acting: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aios_assets.lifecycle import decisions

    guard, made = guard_of(acting.settings), decisions.decide_window

    def then_halted(*args: Any) -> Any:
        counts = made(*args)
        if not halts.halts(acting.platform.log.database):
            halts.halt(guard, None, "now")
        return counts

    monkeypatch.setattr(decisions, "decide_window", then_halted)
    decide(acting, NOW)
    assert set(acting.lake.read("decisions", key(NOW))["outcome"]) == {"review"}
    assert states(acting) == {}


def test_a_rehearsal_sends_nothing_and_leaves_its_last_cases(acting: Loop, bank: Bank) -> None:
    acting.rehearse(NOW + 2)
    materialize(acting, "actions")

    assert set(states(acting)) == {"dry_run"}
    assert {case.partition for case in waiting(acting) if case.rehearsed} >= {key(NOW + 1)}
    approve(acting, waiting(acting)[0])
    materialize(acting, "actions")
    assert bank.server.effects() == []

    decide(acting, NOW + 1)
    materialize(acting, "actions")
    assert bank.loans("payment") == decided(acting, NOW + 1, "approve")
    assert not any(case.rehearsed for case in waiting(acting))


def test_a_version_asked_for_by_name_causes_nothing(acting: Loop, bank: Bank) -> None:
    decide(acting, NOW)
    before = states(acting), len(waiting(acting))
    first = acting.versions()[0].number

    decide(acting, NOW, **{f"{NAME}__predictions": {"config": {"version": first}}})

    assert (states(acting), len(waiting(acting))) == before


def test_an_evidence_pack_tells_what_people_decided_and_what_was_done(
    acting: Loop, bank: Bank, tmp_path: Path
) -> None:
    decide(acting, NOW)
    for case in waiting(acting):
        approve(acting, case)
    decide(acting, NOW + 1)
    for case in waiting(acting)[:2]:
        approve(acting, case)
    materialize(acting, "actions")
    guard = guard_of(acting.settings)
    halts.halt(guard, acting.automation.resource, "complaints")
    recall(guard, acting.automation, partition=key(NOW), reason="wrong prices")

    pack = build_pack(
        acting.automation, acting.platform, end_of(NOW - 1), end_of(NOW), tmp_path / "pack"
    )

    public = "\n".join(str(one) for one in acting.platform.log.public_keys())
    assert verify_pack(pack.folder, public).problems == []
    reviews, actions = content(pack, "reviews.json"), content(pack, "actions.json")
    approved, sent = (decided(acting, NOW, one) for one in ("approve", "review"))
    assert {one["reviewer"] for one in reviews["by_reviewer"]} == {str(LOCAL)}
    assert reviews["measures"]["overrides"]["all"]["all"]["n"] == len(sent)
    paid = len(approved) + len(sent)
    assert actions["actions"] == 2 * paid
    assert [one["state"] for one in actions["by_receiver"]] == ["done", "pending"]
    assert actions["cost"] == 0.5 * paid
    assert [one["body"]["undone"] for one in actions["recalls"]] == [paid]
    # All of it happened after the period that the pack is about.
    kinds = Counter(one["kind"] for one in leaves_of(pack).values())
    assert kinds["verdict"] == reviews["verdicts"] >= len(sent)
    assert reviews["timed_out"] == 0
    assert (kinds["recall"], kinds["actions"] > 0) == (1, True)
    assert not {"verdicts of people", "effects of the decisions"} & set(missing(pack))


def test_a_trace_leads_from_the_event_to_the_receipt(acting: Loop, bank: Bank) -> None:
    with collecting() as (address, spans):
        traced = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": address, "AIOS_TRACES": "1"}
        for words in (["run", NAME, "--partition", key(NOW)], ["worker", "--once"]):
            command = [sys.executable, "-m", "aios_assets.cli", *words]
            subprocess.run(command, env=traced, cwd=PROJECT, check=True, capture_output=True)
    loan = decided(acting, NOW, "approve")[0]
    mine = [one for one in spans if one["trace"] == telemetry.trace(NAME, loan).id.hex()]
    stages = ["events", "features", "predictions", "decisions", "action"]
    assert [one["name"] for one in mine] == stages
    assert len({one["said"]["process.pid"] for one in mine}) == 2
    assert bank.loans("payment") == decided(acting, NOW, "approve")

"""Many days of a desk at random: what must hold after every step, whatever people do."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from aios.actions.tables import ACTIONS
from aios.errors import AiosError
from aios.identity.tables import micros
from aios.review.states import stand
from aios.review.tables import CASES, VERDICTS
from tests.aios.review.test_cases import seed
from tests.aios.review.world import ANN, BOB, CID, EVE, FAY, KEY, World, loan, make_world

pytestmark = pytest.mark.loop

PEOPLE = {str(actor): actor for actor in (ANN, BOB, CID, EVE, FAY)}
ACTORS = st.sampled_from(sorted(PEOPLE))
LOANS = [loan(n, amount=95_000.0 if n % 3 == 0 else 100.0, score=0.4 + n % 2 / 5) for n in range(8)]
SPANS = st.sampled_from([1, 4, 5, 14, 15, 60, 60 * 24])
LIVE = ("pending", "waiting")


class Days(RuleBasedStateMachine):
    """Reviewers who take, decide, undo and forget cases; loans that are decided anew."""

    verdicts = Bundle("verdicts")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world: World = make_world(Path(self.folder.name))
        self.world.declare(hidden=0.3, double=0.4)
        self.world.decide(LOANS)
        self.seeded = {seed(self.world, number) for number in (1, 2, 3)}
        self.changes = 0

    def teardown(self) -> None:
        assert self.world.log.verify().problems == []
        self.world.log.database.engine.dispose()
        self.folder.cleanup()

    @rule(actor=ACTORS)
    def take_the_next(self, actor: str) -> None:
        self.world.desk.next(PEOPLE[actor])

    @rule(actor=ACTORS, number=st.integers(0, 10))
    def take_any(self, actor: str, number: int) -> None:
        rows = self.world.rows()
        row = rows[number % len(rows)]
        before = row.holder if row.held_until and row.held_until > self.at else None
        try:
            case = self.world.desk.take(PEOPLE[actor], row.id)
        except AiosError:
            return
        assert before in (None, actor)
        assert case.holder == actor
        assert row.closed_at is None

    @rule(
        target=verdicts,
        actor=ACTORS,
        verdict=st.sampled_from(["approve", "change", "reject", "escalate"]),
        outcome=st.sampled_from(["approve", "partly", "block"]),
        number=st.integers(0, 3),
    )
    def decide(self, actor: str, verdict: str, outcome: str, number: int) -> str | None:
        held = self.world.rows(CASES, CASES.c.holder == actor)
        if not held:
            return None
        row = held[number % len(held)]
        given = self.standing(row.id)
        try:
            entered = self.world.desk.decide(
                PEOPLE[actor],
                row.id,
                verdict,
                outcome=outcome if verdict == "change" else None,
                reason="agreed",
            )
        except AiosError:
            return None
        assert row.held_until > self.at
        assert actor not in {one.reviewer for one in given}
        assert row.state != "escalated" or "approver" in PEOPLE[actor].roles
        self.changes += 1
        return entered.id

    @rule(target=verdicts, actor=ACTORS, verdict=st.sampled_from(["approve", "reject"]))
    def decide_all(self, actor: str, verdict: str) -> str | None:
        cases = self.world.cases()
        if not cases:
            return None
        try:
            batch = self.world.desk.decide_all(
                PEOPLE[actor], "loans", cases[0].cause, verdict, reason="agreed", limit=2
            )
        except AiosError:
            return None
        self.changes += 1
        return batch.id

    @rule(actor=ACTORS, verdict=verdicts)
    def undo(self, actor: str, verdict: str | None) -> None:
        if verdict is None:
            return
        wanted = (VERDICTS.c.id == verdict) | (VERDICTS.c.batch == verdict)
        rows = self.world.rows(VERDICTS, wanted)
        try:
            self.world.desk.undo(PEOPLE[actor], verdict)
        except AiosError:
            return
        assert all(row.final_at > self.at for row in rows)
        assert actor in {row.reviewer for row in rows} or "approver" in PEOPLE[actor].roles
        self.changes += 1

    @rule(
        actor=ACTORS,
        number=st.sampled_from([0, 1, 2, 20]),
        outcome=st.sampled_from(["approve", "block"]),
    )
    def override(self, actor: str, number: int, outcome: str) -> None:
        try:
            self.world.desk.override(
                PEOPLE[actor], f"loans/{KEY}/{number}@0", outcome, reason="agreed"
            )
        except AiosError:
            return
        self.changes += 1

    @rule(minutes=SPANS)
    def wait(self, minutes: int) -> None:
        self.world.clock.forward(timedelta(minutes=minutes))

    @rule()
    def time_out(self) -> None:
        held = self.world.rows(CASES, CASES.c.held_until > self.at)
        self.changes += self.world.desk.time_out()
        for row in held:
            assert self.world.rows(CASES, CASES.c.id == row.id)[0].state == row.state

    @rule(number=st.integers(0, 7), outcome=st.sampled_from(["review", "block"]))
    def decide_anew(self, number: int, outcome: str) -> None:
        """A run of the policy that thinks otherwise of one loan."""
        self.world.decide(
            [*LOANS[:number], LOANS[number] | {"outcome": outcome}, *LOANS[number + 1 :]]
        )

    @property
    def at(self) -> int:
        return micros(self.world.clock())

    def standing(self, case: str) -> list:
        wanted = [VERDICTS.c.case == case, VERDICTS.c.undone_at.is_(None)]
        return sorted(self.world.rows(VERDICTS, *wanted), key=lambda row: row.leaf)

    @invariant()
    def effects_have_the_verdicts_that_they_need(self) -> None:
        review = self.world.automation.spec.review
        live = [row for row in self.world.rows(ACTIONS) if row.state in LIVE and not row.undoes]
        cases = {row.decision: row for row in self.world.rows() if row.answer is None}
        policy = {row["decision"]: row["outcome"] for row in self.world.decided().to_dicts()}
        for action in live:
            case = cases.get(action.decision)
            if case is None or case.state == "superseded":
                given = [
                    row
                    for row in self.world.rows(VERDICTS, VERDICTS.c.decision == action.decision)
                    if row.in_effect and row.undone_at is None
                ]
                last = max(given, key=lambda row: row.leaf).outcome if given else None
                assert action.outcome == (last or policy[action.decision])
                continue
            assert case.state == "closed"
            assert action.outcome == case.outcome
            given = self.standing(case.id)
            people = {row.reviewer for row in given if row.outcome in review.approving}
            if action.outcome in review.approving and case.four_eyes:
                assert len(people) >= 2

    @invariant()
    def cases_stand_where_their_verdicts_lead(self) -> None:
        review = self.world.automation.spec.review
        for row in self.world.rows():
            given = self.standing(row.id)
            if row.state == "superseded":
                continue
            reviews = [one for one in given if one.verdict != "override"]
            stands = stand(review, row, reviews)
            assert row.state == stands.state
            assert (
                (row.closed_at is not None) == (row.outcome is not None) == (row.state == "closed")
            )
            if row.state == "closed":
                assert row.outcome == given[-1].outcome
                assert row.holder is None
                if row.answer is None:
                    assert given[-1].in_effect
                assert sum(one.in_effect for one in reviews) <= 1

    @invariant()
    def seeded_cases_have_no_effect(self) -> None:
        assert not any(row.in_effect for one in self.seeded for row in self.standing(one))

    @invariant()
    def every_change_has_its_leaf(self) -> None:
        kinds = ["verdict", "verdicts", "verdict_undone", "override"]
        assert len(list(self.world.log.entries(kind=kinds))) == self.changes
        known = {entry.index: entry for entry in self.world.log.entries(kind=kinds)}
        for row in self.world.rows(VERDICTS):
            assert known[row.leaf].actor == row.reviewer


TestDays = Days.TestCase
TestDays.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)

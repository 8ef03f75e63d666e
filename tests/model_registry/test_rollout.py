"""Moves of rollouts: which are allowed, who is faster, what follows from a change of champion."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.errors import AiosError, Stale
from aios.record.leaves import Act
from aios.record.log import Log
from model_registry import ledger, stages
from model_registry.rollout import check, follow, forget, move, moves
from model_registry.stages import (
    FOLLOWS,
    STATES,
    UNDER_WAY,
    Basis,
    Move,
    To,
    latest,
    queued,
    stage_of,
    under_way,
    watched,
)
from tests.aios.record.fresh import close, fresh_log
from tests.model_registry.opening import log_in

pytestmark = pytest.mark.unit

NAME = "claims"
START = datetime(2026, 1, 1)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def basis(minutes: float = 0, **given: Any) -> Basis:
    return Basis("service:rollout", at(minutes), "evidence", **given)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = fresh_log(tmp_path)
    yield opened
    close(opened)


def go(log: Log, *to: To, minutes: float = 0, name: str = NAME) -> list[Move]:
    """Make moves one transaction, by what is the case now."""
    known, changes = moves(log, name), ledger.changes(log, name)
    champion = changes[-1].version if changes else None
    return move(log, name, known, champion, to, basis(minutes))


def change(log: Log, version: int, kind: str = "promotion", minutes: float = 0) -> ledger.Change:
    known = ledger.changes(log, NAME)
    body = {
        "version": version, "previous": known[-1].version if known else None, "kind": kind,
        "reason": "labels", "evidence": "report 7", "evidence_digest": "ab",
        "approved_by": ["person:ann"],
    }  # fmt: skip
    return ledger.add(log, NAME, len(known), "person:alice", at(minutes), body, follow)


def stands(log: Log) -> dict[int, str]:
    return {one.version: one.state for one in latest(moves(log, NAME)).values()}


TO_REACH: dict[str | None, list[To]] = {
    None: [],
    "queued": [To(1, "queued")],
    "shadow": [To(1, "shadow")],
    "canary": [To(1, "shadow"), To(1, "canary", 0.05)],
    "paused": [To(1, "shadow"), To(1, "canary", 0.05), To(1, "paused", 0.05)],
    "champion": [To(1, "champion", 1.0)],
    "superseded": [To(1, "queued"), To(1, "superseded")],
    "rolled_back": [To(1, "champion", 1.0), To(1, "rolled_back")],
    "rejected": [To(1, "shadow"), To(1, "rejected")],
}
SHARES = {"canary": 0.25, "paused": 0.05, "champion": 1.0}
ALLOWED = {
    (None, "queued"), (None, "shadow"), (None, "champion"),
    ("queued", "shadow"), ("queued", "superseded"), ("queued", "champion"),
    ("shadow", "canary"), ("shadow", "champion"), ("shadow", "paused"), ("shadow", "rejected"),
    ("shadow", "superseded"),
    ("canary", "canary"), ("canary", "champion"), ("canary", "paused"), ("canary", "rolled_back"),
    ("canary", "superseded"),
    ("paused", "rejected"),
    ("paused", "canary"), ("paused", "champion"),
    ("paused", "rolled_back"), ("paused", "superseded"),
    ("champion", "rolled_back"),
    ("superseded", "queued"), ("superseded", "shadow"), ("superseded", "champion"),
    ("rolled_back", "champion"),
}  # fmt: skip
"""As the design says, with a share of 5 % in `paused`: that one goes back to its canary."""


class TestTable:
    @pytest.mark.parametrize("state", [None, *STATES])
    def test_from_each_state_only_the_declared_moves(self, log: Log, state: str | None) -> None:
        for to in TO_REACH[state]:
            go(log, to)
        before = moves(log, NAME)
        target: Any
        for target in STATES:
            if (state, target) in ALLOWED:
                continue
            with pytest.raises(AiosError) as refused:
                go(log, To(1, target, SHARES.get(target, 0.0)))
            assert "version 1" in refused.value.where
            assert refused.value.fix
        assert moves(log, NAME) == before

    @pytest.mark.parametrize(("state", "target"), sorted(ALLOWED, key=str))
    def test_the_declared_moves(self, log: Log, state: str | None, target: Any) -> None:
        for to in TO_REACH[state]:
            go(log, to)
        [made] = go(log, To(1, target, SHARES.get(target, 0.0)))
        assert moves(log, NAME)[-1] == made
        assert made.state == target

    def test_every_state_is_reached_and_nothing_leaves_a_rejection(self) -> None:
        assert set(FOLLOWS) == {None, *STATES}
        assert {state for follows in FOLLOWS.values() for state in follows} == set(STATES)
        assert FOLLOWS["rejected"] == ()

    def test_a_share_never_shrinks(self, log: Log) -> None:
        for to in (To(1, "shadow"), To(1, "canary", 0.25)):
            go(log, to)
        for share in (0.25, 0.05):
            with pytest.raises(AiosError, match="share"):
                go(log, To(1, "canary", share))
        go(log, To(1, "canary", 0.5))
        assert [one.share for one in moves(log, NAME)] == [0.0, 0.25, 0.5]

    def test_nor_by_way_of_a_pause(self, log: Log) -> None:
        for to in (To(1, "shadow"), To(1, "canary", 0.5), To(1, "paused", 0.5)):
            go(log, to)
        with pytest.raises(AiosError):
            go(log, To(1, "canary", 0.05))
        with pytest.raises(AiosError):
            go(log, To(1, "shadow"))
        go(log, To(1, "canary", 0.5))

    @pytest.mark.parametrize("share", [0.0, -0.1, 1.0, 1.5, float("nan")])
    def test_a_canary_decides_some_and_not_all(self, log: Log, share: float) -> None:
        go(log, To(1, "shadow"))
        with pytest.raises(AiosError):
            go(log, To(1, "canary", share))

    def test_one_version_at_a_time(self, log: Log) -> None:
        go(log, To(1, "shadow"))
        with pytest.raises(AiosError, match="version 1 is under way, in shadow"):
            go(log, To(2, "shadow"))
        go(log, To(2, "queued"))
        go(log, To(1, "superseded"), To(2, "shadow"))
        assert stands(log) == {1: "superseded", 2: "shadow"}

    def test_all_or_none(self, log: Log) -> None:
        go(log, To(1, "shadow"))
        size = log.size()
        with pytest.raises(AiosError):
            go(log, To(1, "superseded"), To(2, "canary", 0.05))
        assert (stands(log), log.size()) == ({1: "shadow"}, size)

    def test_no_move_rewrites_the_past(self, log: Log) -> None:
        go(log, To(1, "shadow"), minutes=5)
        with pytest.raises(AiosError, match="rewrite the past"):
            go(log, To(1, "canary", 0.05), minutes=4)
        go(log, To(1, "canary", 0.05), minutes=5)

    def test_a_move_is_a_leaf_that_says_everything(self, log: Log) -> None:
        change(log, 7)
        why = basis(3, evidence="report 4", evidence_digest="cd", approved_by=("person:bob",))
        [made] = move(log, NAME, [], 7, [To(9, "shadow")], why)
        assert moves(log, NAME) == [made]
        assert (made.version, made.state, made.share, made.champion) == (9, "shadow", 0.0, 7)
        assert (made.by, made.reason, made.at) == ("service:rollout", "evidence", at(3))
        assert (made.evidence, made.evidence_digest) == ("report 4", "cd")
        assert made.approved_by == ("person:bob",)
        entry = log.get(made.leaf)
        assert (entry.kind, entry.actor, entry.automation) == ("rollout", "service:rollout", NAME)
        assert entry.recorded_at == made.recorded_at

    def test_automations_do_not_stand_in_each_others_way(self, log: Log) -> None:
        go(log, To(1, "shadow"))
        go(log, To(2, "shadow"), name="tickets")
        assert [one.version for one in moves(log, "tickets")] == [2]


STEPS = st.lists(
    st.tuples(
        st.integers(1, 3), st.sampled_from(STATES), st.sampled_from([0.0, 0.05, 0.25, 0.5, 1.0])
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_is_tried_what_is_recorded_is_a_way_through_the_table(
    steps: list[tuple[int, Any, float]],
) -> None:
    """Of any attempts, those that are let through keep every invariant."""
    known: list[Move] = []
    for version, state, share in steps:
        try:
            stages.refuse_wrong(NAME, known, To(version, state, share), START)
        except AiosError:
            continue
        known.append(Move(version, state, share, None, START, START, "x", "y", leaf=len(known)))
    for number in (1, 2, 3):
        own = [one for one in known if one.version == number]
        assert all(one.state in FOLLOWS[before.state] for before, one in pairwise(own))
        runs = [stage_of(known[: i + 1], number) for i in range(len(known))]
        for run in runs:
            shares = [one.share for one in run if one.state == "canary"]
            assert shares == sorted(shares)
    for i in range(len(known)):
        stand = latest(known[: i + 1]).values()
        assert sum(one.state in UNDER_WAY for one in stand) <= 1


class TestTogether:
    def test_who_saw_fewer_moves_is_told_of_the_last(self, log: Log) -> None:
        go(log, To(1, "shadow"))
        seen = moves(log, NAME)
        go(log, To(1, "canary", 0.05), minutes=2)
        for stale in ([], seen):
            with pytest.raises(Stale, match="version 1 is in canary by service:rollout, from"):
                move(log, NAME, stale, None, [To(1, "rejected")], basis(3))
        assert len(moves(log, NAME)) == 2

    def test_who_saw_another_champion_is_told_of_the_present(self, log: Log) -> None:
        go(log, To(2, "shadow"))
        change(log, 1)
        change(log, 3, minutes=1)
        with pytest.raises(Stale, match="the champion is version 3 by person:alice"):
            move(log, NAME, moves(log, NAME), 1, [To(4, "shadow")], basis(2))

    def test_who_saw_moves_that_were_forgotten_since(self, log: Log) -> None:
        go(log, To(1, "shadow"))
        seen = moves(log, NAME)
        forget(log, NAME)
        with pytest.raises(Stale):
            move(log, NAME, seen, None, [To(1, "canary", 0.05)], basis())
        go(log, To(1, "shadow"))
        # As many moves as were seen, but not those.
        with pytest.raises(Stale):
            move(log, NAME, seen, None, [To(1, "canary", 0.05)], basis())

    def test_of_many_processes_one_moves(self, tmp_path: Path) -> None:
        log = fresh_log(tmp_path)
        go(log, To(1, "shadow"))
        seen, count = moves(log, NAME), 12
        close(log)
        again: Any = log_in
        go_on, results = os.pipe(), os.pipe()
        children = []
        for number in range(count):
            child = os.fork()
            if child:
                children.append(child)
                continue
            os.close(go_on[1])
            said = b"?"
            try:
                os.read(go_on[0], 1)
                to = To(1, "canary", (number + 1) / 100) if number % 2 else To(1, "rejected")
                move(again(tmp_path), NAME, seen, None, [to], basis(number))
                said = b"w"
            except Stale:
                said = b"l"
            except BaseException as error:
                sys.stderr.write(f"{error}\n")
            os.write(results[1], said)
            os._exit(0)
        os.close(go_on[1])
        for child in children:
            os.waitpid(child, 0)
        told = os.read(results[0], 100)
        assert (told.count(b"w"), told.count(b"l")) == (1, count - 1)
        log = again(tmp_path)
        assert len(moves(log, NAME)) == 2
        assert log.size() == 2
        assert log.verify().problems == []
        assert check(log) == []


class TestFollowing:
    def test_a_promotion_ends_the_way_in_the_same_transaction(self, log: Log) -> None:
        change(log, 1)
        go(log, To(2, "shadow"))
        made = change(log, 2, minutes=3)
        last = moves(log, NAME)[-1]
        assert (last.version, last.state, last.share, last.champion) == (2, "champion", 1.0, 1)
        assert (last.by, last.at, last.approved_by) == ("person:alice", at(3), ("person:ann",))
        assert (last.evidence, last.evidence_digest, last.reason) == ("report 7", "ab", "labels")
        assert last.leaf == made.leaf + 1

    def test_one_that_stood_beside_another_champion_is_superseded(self, log: Log) -> None:
        change(log, 1)
        go(log, To(2, "shadow"))
        go(log, To(3, "queued"), To(9, "queued"))
        change(log, 4, minutes=3)
        assert stands(log) == {2: "superseded", 3: "superseded", 9: "queued"}

    def test_a_rollback_is_one_of_the_rollout_and_supersedes_who_is_under_way(
        self, log: Log
    ) -> None:
        change(log, 1)
        go(log, To(2, "shadow"))
        change(log, 2, minutes=1)
        go(log, To(3, "shadow"), To(3, "canary", 0.05), minutes=2)
        change(log, 1, "rollback", minutes=3)
        assert stands(log) == {2: "rolled_back", 3: "superseded"}
        assert under_way(moves(log, NAME)) is None

    def test_one_that_was_rejected_does_not_become_champion(self, log: Log) -> None:
        change(log, 1)
        go(log, To(2, "shadow"), To(2, "rejected"))
        size = log.size()
        with pytest.raises(AiosError, match="from rejected to champion"):
            change(log, 2, minutes=1)
        assert [one.version for one in ledger.changes(log, NAME)] == [1]
        assert log.size() == size

    def test_without_rollouts_a_change_moves_nothing(self, log: Log) -> None:
        change(log, 1)
        change(log, 2)
        change(log, 1, "rollback")
        assert moves(log, NAME) == []

    def test_a_former_champion_is_promoted_again(self, log: Log) -> None:
        """Its last move says champion still: nobody rolled it back, another one came after it."""
        go(log, To(1, "shadow"))
        change(log, 1)
        go(log, To(2, "shadow"))
        change(log, 2, minutes=1)
        change(log, 1, minutes=2)
        assert [one.version for one in ledger.changes(log, NAME)] == [1, 2, 1]
        assert stands(log)[1] == "champion"

    def test_a_rollback_to_one_that_was_rolled_back_makes_it_champion(self, log: Log) -> None:
        for number in (1, 2):
            go(log, To(number, "shadow"), minutes=number)
            change(log, number, minutes=number)
        change(log, 1, "rollback", minutes=3)
        change(log, 2, "rollback", minutes=4)
        assert stands(log) == {1: "rolled_back", 2: "champion"}

    def test_a_rollback_to_one_under_way_leaves_no_champion_in_shadow(self, log: Log) -> None:
        change(log, 1)
        change(log, 2, minutes=1)
        go(log, To(1, "shadow"), minutes=2)
        change(log, 1, "rollback", minutes=3)
        assert under_way(moves(log, NAME)) is None


class TestStandings:
    def test_as_of_a_moment_by_the_moves_before_it(self, log: Log) -> None:
        go(log, To(1, "shadow"), minutes=0)
        go(log, To(1, "canary", 0.05), minutes=10)
        go(log, To(1, "rolled_back"), minutes=20)
        known = moves(log, NAME)
        found = {
            minute: under_way([one for one in known if one.at < at(minute)])
            for minute in (0, 1, 10, 11, 20, 21)
        }
        assert {minute: one.state if one else None for minute, one in found.items()} == {
            0: None, 1: "shadow", 10: "shadow", 11: "canary", 20: "canary", 21: None,
        }  # fmt: skip

    def test_the_queue_is_in_the_order_in_which_they_came(self, log: Log) -> None:
        go(log, To(1, "shadow"))
        go(log, To(2, "queued"), To(2, "superseded"), To(3, "queued"), To(2, "queued"))
        assert queued(moves(log, NAME)) == [3, 2]

    def test_the_present_run_of_a_version_begins_where_it_last_entered_shadow(
        self, log: Log
    ) -> None:
        for to in (
            To(1, "shadow"), To(1, "canary", 0.05), To(1, "superseded"), To(1, "shadow"),
            To(1, "paused"), To(1, "shadow"), To(1, "canary", 0.25),
        ):  # fmt: skip
            go(log, to)
        run = stage_of(moves(log, NAME), 1)
        assert [one.state for one in run] == ["shadow", "paused", "shadow", "canary"]

    def test_a_champion_is_watched_until_its_labels_are_old(self, log: Log) -> None:
        change(log, 1)
        go(log, To(2, "shadow"))
        change(log, 2, minutes=10)
        known, reopen = moves(log, NAME), timedelta(minutes=5)
        late = watched(known, reopen, at(14.9))
        assert late is not None
        assert late.version == 2
        assert watched(known, reopen, at(15)) is None
        change(log, 1, "rollback", minutes=12)
        assert watched(moves(log, NAME), reopen, at(13)) is None


class TestChecking:
    @pytest.mark.parametrize(
        "edit",
        [
            "DELETE FROM rollout_moves WHERE automation = 'claims'",
            "DELETE FROM rollout_moves WHERE automation = 'claims' AND position = 3",
            "DELETE FROM rollout_moves WHERE automation = 'claims' AND position = 1",
            "UPDATE rollout_moves SET leaf = 0 WHERE automation = 'claims' AND position = 3",
            "UPDATE rollout_moves SET leaf = 1 - leaf WHERE automation = 'claims' AND leaf < 2",
            "UPDATE rollout_moves SET leaf = 3 WHERE automation = 'claims' AND position = 3",
            "UPDATE rollout_moves SET automation = 'claims', position = 4 WHERE leaf = 3",
            "INSERT INTO rollout_moves VALUES ('claims', 4, 4)",
            "INSERT INTO rollout_moves VALUES ('new', 1, 0)",
        ],
    )
    def test_an_edit_of_the_moves_is_noticed(self, log: Log, edit: str) -> None:
        for to in (To(1, "shadow"), To(1, "canary", 0.05), To(1, "rolled_back")):
            go(log, to)
        go(log, To(1, "shadow"), name="tickets")
        log.append(Act("override", NAME, "person:rev", {}))
        assert check(log) == []
        with log.transaction() as transaction:
            transaction.connection.exec_driver_sql(edit)
        assert any(("of claims" in one or "of new" in one) for one in check(log))

    def test_begun_anew_the_leaves_stay(self, log: Log) -> None:
        go(log, To(1, "shadow"), To(1, "rejected"))
        forget(log, NAME)
        forget(log, NAME)
        assert moves(log, NAME) == []
        go(log, To(1, "shadow"))
        assert [one.state for one in moves(log, NAME)] == ["shadow"]
        assert len(list(log.entries(kind="rollout"))) == 3
        assert len(list(log.entries(kind="rollouts_begun_anew"))) == 1
        assert log.verify().problems == []
        assert check(log) == []

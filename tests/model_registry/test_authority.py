"""Who may change the champion: the rules before the act, four eyes on high risk, all on record."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aios import clock
from aios.errors import AiosError, Stale
from aios.identity.actors import GATE, REHEARSAL, ROLLOUT, Actor
from model_registry import champion
from model_registry.authority import Authority, needs_approval
from tests.model_registry.claims import (
    ALICE,
    ANN,
    NAME,
    OLGA,
    authority_over,
    person,
    registry_at,
)
from tests.model_registry.deeds import (
    acts,
    approve,
    ask,
    champions,
    log_of,
    promote,
    refused,
    with_people,
)

pytestmark = pytest.mark.loop


@pytest.fixture
def low(tmp_path: Path) -> Authority:
    """Alice, Ann and Bob, and an automation of limited risk."""
    return with_people(authority_over(registry_at(tmp_path), tmp_path, risk="limited"))


@pytest.fixture
def high(tmp_path: Path) -> Authority:
    """The same on high risk, with version 1 as champion."""
    authority = authority_over(registry_at(tmp_path), tmp_path, risk="high")
    first = datetime(2026, 1, 1)
    champion.promote(authority.registry, NAME, 1, at=first, by="person:olga", reason="the first")
    return with_people(authority)


class TestPromote:
    def test_by_who_may(self, low: Authority) -> None:
        at = log_of(low).size()
        assert promote(low, 2, ALICE, evidence="run 7").number == 2
        assert champions(low) == [(2, "person:alice")]
        assert acts(low, at) == [("promotion", "person:alice", NAME)]
        (entry,) = log_of(low).entries(kind="promotion")
        assert (entry.body["evidence"], entry.body["approved_by"]) == ("run 7", [])
        size = int(log_of(low).checkpoints()[-1].splitlines()[1])
        assert size == entry.index + 1

    @pytest.mark.parametrize("actor", [ANN, OLGA, person("mallory"), GATE, ROLLOUT, REHEARSAL])
    def test_by_who_may_not(self, low: Authority, actor: Actor) -> None:
        denied = refused(low, lambda: promote(low, 2, actor))
        assert not needs_approval(denied)
        assert "What to do" in str(denied)

    def test_services_where_it_is_declared(self, tmp_path: Path) -> None:
        registry = registry_at(tmp_path)
        authority = authority_over(registry, tmp_path, risk="minimal", promotion="automatic")
        promote(authority, 1, GATE)
        promote(authority, 2, REHEARSAL)
        promote(authority, 3, ROLLOUT)
        refused(authority, lambda: promote(authority, 1, Actor("nightly", "schedule")))
        by = ["service:gate", "service:rehearsal", "service:rollout"]
        assert [one for _, one in champions(authority)] == by

    def test_of_a_version_that_does_not_exist_or_did_not_pass(self, low: Authority) -> None:
        low.registry.set_stage(low.registry.get(NAME, 2), "rejected")
        at = log_of(low).size()
        for number, says in ((9, "version 9 does not exist"), (2, "did not pass the gate")):
            with pytest.raises(AiosError, match=says):
                promote(low, number, ALICE)
        assert log_of(low).size() == at

    def test_over_another_champion_than_was_seen(self, low: Authority) -> None:
        promote(low, 1, ALICE, expected=0)
        with pytest.raises(Stale, match=r"version 1 by person:alice.*expected none"):
            promote(low, 2, ALICE, expected=0)

    def test_a_rule_that_cannot_be_recorded_allows_nothing(
        self, low: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise AiosError("the disk is full")

        monkeypatch.setattr(low.registry.log, "transaction", full)
        with pytest.raises(AiosError, match="the disk is full"):
            promote(low, 2, ANN)
        monkeypatch.undo()
        assert champions(low) == []


class TestRollback:
    def test_by_an_operator_alone_also_on_high_risk(self, high: Authority) -> None:
        approve(high, ask(high))
        promote(high, 2, ALICE)
        high.rollback(OLGA, at=clock.now(), reason="complaints")
        assert champions(high)[-1] == (1, "person:olga")
        assert acts(high, log_of(high).size() - 1) == [("rollback", "person:olga", NAME)]
        refused(high, lambda: high.rollback(ANN, at=clock.now(), reason="complaints"))

    def test_of_two_at_once_one_goes_back(self, low: Authority, tmp_path: Path) -> None:
        for number in (1, 2, 3):
            promote(low, number, ALICE)
        together, wrong = threading.Barrier(2), []
        rollback = champion.rollback

        def after_both_looked(*arguments: Any, **given: Any) -> Any:
            together.wait()
            return rollback(*arguments, **given)

        def press() -> None:
            try:
                low.rollback(OLGA, at=clock.now(), reason="complaints")
            except AiosError as error:
                wrong.append(str(error))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(champion, "rollback", after_both_looked)
            threads = [threading.Thread(target=press) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert [version for version, _ in champions(low)] == [1, 2, 3, 2]
        assert len(wrong) == 1
        assert "the champion is version 2 by person:olga" in wrong[0]


def test_a_rejected_version_that_was_relabelled_in_mlflow_is_not_promoted(low: Any) -> None:
    low.registry.set_stage(low.registry.get(NAME, 2), "rejected")
    client = low.registry.client
    client.set_model_version_tag(NAME, "2", "aios.stage", "gated")
    with pytest.raises(AiosError, match="did not pass the gate"):
        low.promote(2, ALICE, at=clock.now(), reason="nobody looks")

"""A policy, a risk and a version of the code take over on record, on high risk with two people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aios.errors import AiosError
from aios.identity.access import Access, Denied
from aios.identity.actors import Actor
from aios.identity.directory import Directory
from aios.identity.resources import Automation
from aios.record.changes import CODE, POLICY, Changes, as_recorded
from aios.record.log import Log
from aios.settings import PROJECT
from tests.model_registry.opening import log_in

pytestmark = pytest.mark.unit

ANN = Actor("ann", "person", frozenset({"ml_engineer", "operator"}))
BOB = Actor("bob", "person", frozenset({"approver", "ml_engineer"}))
HIGH = Automation("claims", "high")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    opened = log_in(tmp_path)
    for actor in (ANN, BOB):
        Directory(opened.database).add(actor)
    return opened


@pytest.fixture(scope="module")
def access() -> Access:
    return Access.load(PROJECT / "access")


def decided(log: Log, automation: Automation, policy: str, *, rehearsing: bool = False) -> None:
    Changes(log, automation, policy).note_policy("service:dagster", rehearsing=rehearsing)


def policies(log: Log) -> list[tuple[str, str]]:
    return [(one.body["policy"], one.body["risk"]) for one in log.entries(kind=POLICY)]


def test_the_first_policy_decides_and_is_recorded_once(log: Log) -> None:
    for _ in range(3):
        decided(log, HIGH, "one")
    assert policies(log) == [("one", "high")]


def test_a_new_policy_on_high_risk_decides_nothing_until_another_person_accepted_it(
    log: Log, access: Access
) -> None:
    decided(log, HIGH, "one")
    with pytest.raises(AiosError, match="nobody has accepted it") as refused:
        decided(log, HIGH, "two")
    assert "aios policy claims --propose" in refused.value.fix
    changes = Changes(log, HIGH, "two")
    with pytest.raises(AiosError, match="nobody has proposed"):
        changes.accept(BOB, access)
    changes.propose(BOB, access, "fewer reviews")
    with pytest.raises(Denied):
        changes.accept(BOB, access)
    with pytest.raises(AiosError, match="nobody has accepted it"):
        decided(log, HIGH, "two")


def test_what_another_person_accepted_decides_as_the_proposers_change(
    log: Log, access: Access
) -> None:
    decided(log, HIGH, "one")
    changes = Changes(log, HIGH, "two")
    changes.propose(ANN, access, "fewer reviews")
    leaf = changes.accept(BOB, access)
    assert (leaf.actor, leaf.body["accepted_by"]) == ("person:ann", ["person:bob"])
    decided(log, HIGH, "two")
    assert policies(log) == [("one", "high"), ("two", "high")]


def test_an_accepted_policy_may_return_and_its_return_is_recorded(log: Log, access: Access) -> None:
    test_what_another_person_accepted_decides_as_the_proposers_change(log, access)
    decided(log, HIGH, "one")
    assert policies(log)[-1] == ("one", "high")


def test_a_lower_risk_is_a_change_that_needs_another_person(log: Log, access: Access) -> None:
    decided(log, HIGH, "one")
    lower = replace(HIGH, risk="limited")
    assert as_recorded(log, lower).risk == "high"
    with pytest.raises(AiosError, match="risk 'limited' is new"):
        decided(log, lower, "one")
    changes = Changes(log, lower, "one")
    changes.propose(ANN, access, "it was overrated")
    changes.accept(BOB, access)
    decided(log, lower, "one")
    assert as_recorded(log, lower).risk == "limited"


def test_a_higher_risk_counts_at_once(log: Log) -> None:
    decided(log, replace(HIGH, risk="limited"), "one")
    assert as_recorded(log, HIGH).risk == "high"


@pytest.mark.parametrize(("risk", "rehearsing"), [("limited", False), ("high", True)])
def test_elsewhere_a_new_policy_decides_at_once_on_record(
    log: Log, risk: str, rehearsing: bool
) -> None:
    automation = replace(HIGH, risk=risk)
    for policy in ("one", "two", "two", "one"):
        decided(log, automation, policy, rehearsing=rehearsing)
    assert [policy for policy, _ in policies(log)] == ["one", "two", "one"]


def test_a_disabled_proposers_change_is_not_accepted(log: Log, access: Access) -> None:
    decided(log, HIGH, "one")
    changes = Changes(log, HIGH, "two")
    changes.propose(BOB, access, "fewer reviews")
    Directory(log.database).disable(BOB)
    with pytest.raises(AiosError, match="person:bob is disabled"):
        changes.accept(ANN, access)


def test_code_is_recorded_as_it_takes_over(log: Log) -> None:
    changes = Changes(log, HIGH, "one")
    for version in ("a", "a", "b", "a"):
        changes.note_code(version, "service:dagster")
    assert [one.body["code_version"] for one in log.entries(kind=CODE)] == ["a", "b", "a"]

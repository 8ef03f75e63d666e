"""Who may do what: each rule of `access/` is held by a case, and a denial says what to do."""

from __future__ import annotations

import re
import textwrap
from itertools import chain
from pathlib import Path

import pytest

from aios.errors import AiosError
from aios.identity.access import ACTIONS, Access, Action, Denied, authorise
from aios.identity.actors import GATE, LOCAL, ROLES, Actor
from aios.identity.directory import MANAGER
from aios.identity.resources import Automation, Context, Resource
from tests.aios.identity.cast import (
    ACCESS,
    ALICE,
    ANN,
    BOT,
    CASES,
    CLAIMS,
    DAN,
    FOLDER,
    LOW,
    NIGHTLY,
    OPS,
    PLATFORM,
    TICKETS,
    WATCH,
    Case,
    copy,
    managing,
    person,
)

pytestmark = pytest.mark.unit


def outcome(access: Access, case: Case) -> tuple[bool, str]:
    """Whether a case is allowed, and by which rule."""
    try:
        rules = authorise(access, case.actor, case.action, case.resource, case.context)
    except Denied as denied:
        return False, " ".join(denied.rules)
    return True, " ".join(rules)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.actor}-{c.action}-{c.resource}")
def test_case(case: Case) -> None:
    assert outcome(ACCESS, case) == (case.allowed, case.rules)


@pytest.mark.parametrize("rule", ACCESS.rules.by_id.values(), ids=lambda rule: rule.id)
def test_every_rule_is_held_by_a_case(rule, tmp_path: Path) -> None:
    for file in FOLDER.glob("*.cedar*"):
        (tmp_path / file.name).write_text(file.read_text().replace(rule.text, ""))
    without = Access.load(tmp_path)
    assert len(without.rules.by_id) == len(ACCESS.rules.by_id) - 1
    assert any(outcome(without, case)[0] != case.allowed for case in CASES), (
        f"without {rule.id} every case ends as before: add one that needs it"
    )


def test_somebody_other_than_the_actor_manages_by_the_role_the_directory_guards() -> None:
    assert ACCESS.open_to("manage_access", PLATFORM) == (MANAGER,)


def test_local_user_may_do_all_but_what_takes_two() -> None:
    for case in CASES:
        takes_two = case.context.approval_declared or case.context.subject == LOCAL
        if case.resource in (LOW, TICKETS, PLATFORM) and not takes_two:
            local = case._replace(actor=LOCAL)
            assert outcome(ACCESS, local)[0], local


# What a denial says


def test_denial_names_rule_reason_place_and_who_may() -> None:
    with pytest.raises(Denied) as denied:
        authorise(ACCESS, ALICE, "promote", CLAIMS)
    error = denied.value
    assert (error.actor, error.action, error.resource) == (ALICE, "promote", CLAIMS)
    rule = ACCESS.rules.by_id["four_eyes"]
    assert f"person:alice may not promote claims version 3: rule four_eyes ({rule.place})" in str(
        error
    )
    assert rule.says in str(error)
    assert rule.file.read_text().splitlines()[rule.line - 1] == '@id("four_eyes")'
    assert error.open_to == ("ml_engineer", "service:gate", "service:rehearsal", "service:rollout")
    assert "ml_engineer, service:gate, service:rehearsal, service:rollout" in error.fix


def test_denial_without_a_rule_names_those_that_would_permit_and_what_is_missing() -> None:
    with pytest.raises(Denied, match="no rule permits it") as denied:
        authorise(ACCESS, WATCH, "rollback", CLAIMS)
    assert denied.value.rules == ()
    text = str(denied.value)
    assert "operator_rolls_back" in text
    assert "Missing: the role operator." in text
    assert "engineer_rolls_back" in text
    assert "Missing: the role ml_engineer." in text
    assert "rollout_rolls_back" in text
    assert "Missing: to be service:rollout." in text
    assert "engineer_promotes" not in text


def test_condition_that_fails_is_named_as_missing() -> None:
    with pytest.raises(Denied, match=r"sensor_adopts .* Missing: its condition\."):
        authorise(ACCESS, OPS, "adopt_alias", LOW)


def test_rules_for_another_kind_of_thing_are_not_offered() -> None:
    with pytest.raises(Denied) as denied:
        authorise(ACCESS, OPS, "request_approval", CLAIMS)
    assert "data_engineer_requests" not in str(denied.value)
    assert denied.value.open_to == ("ml_engineer", "service:gate", "service:rollout")


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("fly", LOW, Context()),
        ("promote", LOW, Context()),
        ("override", PLATFORM, Context()),
        ("manage_access", PLATFORM, Context()),
        ("run", LOW, managing(DAN, "roles")),
        ("configure", Automation("x", "High"), Context()),  # type: ignore[arg-type]
        ("promote", TICKETS, Context("Automatic")),  # type: ignore[arg-type]
    ],
)
def test_what_the_schema_does_not_know_is_denied(
    action: Action, resource: Resource, context: Context
) -> None:
    with pytest.raises(Denied, match="the rules cannot be asked"):
        authorise(ACCESS, LOCAL, action, resource, context)


def test_rule_that_cannot_be_evaluated_denies_all(tmp_path: Path) -> None:
    copy(tmp_path)
    with (tmp_path / "models.cedar").open("a") as file:
        file.write(
            '@id("huge") @says("Overflows.") forbid (principal, action, resource is ModelVersion)'
            " when { resource.number * 9223372036854775807 == 1 };"
        )
    access = Access.load(tmp_path)
    with pytest.raises(Denied, match=r"the rules cannot be asked: .*overflow") as denied:
        authorise(access, ALICE, "promote", TICKETS)
    assert denied.value.rules == ()


@pytest.mark.parametrize("actor", [BOT, WATCH, NIGHTLY, GATE])
def test_machine_cannot_stand_for_a_person_who_approved(actor: Actor) -> None:
    with pytest.raises(AiosError, match="approvals are given by people"):
        Context(approved_by=[ANN, actor])


# The page on the rules


def test_page_names_every_rule_action_and_role() -> None:
    page = (FOLDER / "README.md").read_text()
    for name in chain(ACCESS.rules.by_id, ACTIONS, ROLES):
        assert f"`{name}`" in page, f"access/README.md says nothing of {name}"


def test_example_of_the_page_does_what_it_says(tmp_path: Path) -> None:
    copy(tmp_path)
    (example,) = re.findall(r"```cedar\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    (tmp_path / "owners.cedar").write_text(textwrap.dedent(example))
    access = Access.load(tmp_path)
    owned = Automation("tickets", "limited", owners=("dan@example.org",))
    owner = person("dan@example.org", "data_engineer")
    assert authorise(access, owner, "change_policy", owned) == ("data_engineer_changes_policy",)
    with pytest.raises(Denied, match="Only an owner changes the policy"):
        authorise(access, DAN, "change_policy", owned)

"""What holds of the access rules whatever the roles, the model and the situation are."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.identity.access import ACTIONS, Action, Denied, authorise
from aios.identity.actors import REHEARSAL, ROLES, Actor, Role
from aios.identity.resources import Automation, Context, ModelVersion, Resource, Risk
from tests.aios.identity.cast import ACCESS, ALICE, NOBODY, NONE, PLATFORM, person

pytestmark = pytest.mark.unit

people = st.builds(person, st.sampled_from(["a", "b", "c"]))
actors = st.builds(
    Actor,
    st.sampled_from(["a", "b", "gate", "rehearsal"]),
    st.sampled_from(["person", "service", "schedule", "sensor"]),
    st.frozensets(st.sampled_from(ROLES)),
)
automations = st.builds(
    Automation, st.just("claims"), st.sampled_from(["minimal", "limited", "high"])
)
versions = st.builds(ModelVersion, automations, st.just(1), st.none() | actors, st.none() | actors)
contexts = st.builds(
    Context, st.sampled_from(["manual", "automatic"]), st.frozensets(people, max_size=3)
)


def allowed(actor: Actor, action: Action, resource: Resource, context: Context = NONE) -> bool:
    try:
        return bool(authorise(ACCESS, actor, action, resource, context))
    except Denied:
        return False


@given(actors, versions, contexts)
def test_no_roles_let_anybody_approve_their_own_model(
    actor: Actor, version: ModelVersion, context: Context
) -> None:
    if allowed(actor, "approve", version, context):
        assert actor.kind == "person"
        assert "approver" in actor.roles
        assert version.trained_by is not None
        assert version.requested_by is not None
        assert actor not in (version.trained_by, version.requested_by)


@given(st.frozensets(st.sampled_from(ROLES)), automations, contexts, st.booleans(), actors)
def test_own_model_is_named_as_the_reason(
    roles: frozenset[Role], automation: Automation, context: Context, trained: bool, other: Actor
) -> None:
    me = person("me", *roles)
    makers = (me, other) if trained else (other, me)
    with pytest.raises(Denied) as denied:
        authorise(ACCESS, me, "approve", ModelVersion(automation, 1, *makers), context)
    assert denied.value.rules == ("own_model",)


def test_high_risk_is_promoted_with_another_persons_approval_and_not_without() -> None:
    three = [person(name, *ROLES) for name in "abc"]
    approvals = [set(some) for count in range(4) for some in combinations(three, count)]
    outcomes = set()
    for actor, trainer, requester in product(three, [None, *three], [None, *three]):
        version = ModelVersion(Automation("claims", "high"), 1, trainer, requester)
        makers = {actor, trainer, requester}
        for approved_by in approvals:
            expected = None not in makers and bool(approved_by - makers)
            outcomes.add(expected)
            for promotion in ("manual", "automatic"):
                context = Context(promotion, approved_by)
                assert allowed(actor, "promote", version, context) == expected
    assert outcomes == {True, False}


@given(actors, versions, contexts)
def test_no_machine_promotes_by_hand(actor: Actor, version: ModelVersion, context: Context) -> None:
    if actor.kind != "person" and allowed(actor, "promote", version, context):
        assert actor.kind == "service"
        assert context.promotion == "automatic"


@given(actors, versions, contexts)
def test_only_a_rehearsal_does_without_the_second_person(
    actor: Actor, version: ModelVersion, context: Context
) -> None:
    if version.automation.risk != "high" or not allowed(actor, "promote", version, context):
        return
    if not set(context.approved_by) - {actor, version.trained_by, version.requested_by}:
        assert actor == REHEARSAL
        assert context.promotion == "automatic"


@given(st.sampled_from(ACTIONS), st.sampled_from(["minimal", "limited", "high"]), contexts)
def test_who_has_no_role_may_do_nothing(action: Action, risk: Risk, context: Context) -> None:
    automation = Automation("claims", risk)
    version = ModelVersion(automation, 1, ALICE, ALICE)
    for resource in (automation, version, PLATFORM):
        assert not allowed(NOBODY, action, resource, context)
        assert not allowed(Actor("stranger", "service"), action, resource, context)


@given(actors, automations)
def test_rolling_back_never_waits_for_an_approval(actor: Actor, automation: Automation) -> None:
    if actor.roles & {"operator", "ml_engineer"}:
        assert allowed(actor, "rollback", automation)

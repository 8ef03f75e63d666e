"""Where verdicts take a case."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.review.declared import Review
from aios.review.states import Stand, stand

pytestmark = pytest.mark.unit

DECLARED = Review(outcomes=["approve", "partly", "block"], approving=["approve", "partly"],
                  safe="block")  # fmt: skip
OUTCOMES = {"approve": "approve", "partly": "partly", "block": "block", "escalate": None}


class Flags(NamedTuple):
    four_eyes: bool = False
    double: bool = False


class Given(NamedTuple):
    verdict: str
    outcome: str | None


def after(case: Flags, *verdicts: str) -> Stand:
    return stand(DECLARED, case, [Given(one, OUTCOMES[one]) for one in verdicts])


FOUR, TWICE, BOTH, PLAIN = Flags(True), Flags(double=True), Flags(True, True), Flags()


@pytest.mark.parametrize(
    ("case", "verdicts", "state"),
    [
        (PLAIN, [], "open"),
        (PLAIN, ["approve"], "closed"),
        (PLAIN, ["escalate"], "escalated"),
        (PLAIN, ["escalate", "approve"], "closed"),
        (PLAIN, ["escalate", "escalate"], "escalated"),
        (FOUR, ["block"], "closed"),
        (FOUR, ["approve"], "second"),
        (FOUR, ["approve", "approve"], "closed"),
        (FOUR, ["approve", "block"], "escalated"),
        (FOUR, ["approve", "partly"], "escalated"),
        (FOUR, ["approve", "block", "approve"], "closed"),
        (FOUR, ["approve", "block", "block"], "closed"),
        (FOUR, ["escalate", "approve"], "second"),
        (FOUR, ["escalate", "approve", "approve"], "closed"),
        (TWICE, ["block"], "second"),
        (TWICE, ["block", "block"], "closed"),
        (TWICE, ["block", "approve"], "escalated"),
        (TWICE, ["block", "approve", "approve"], "closed"),
        (TWICE, ["escalate", "approve"], "closed"),
        (BOTH, ["block", "approve"], "escalated"),
        (BOTH, ["block", "escalate", "approve"], "second"),
        (BOTH, ["block", "escalate", "approve", "approve"], "closed"),
    ],
)
def test_where_verdicts_lead(case: Flags, verdicts: list[str], state: str) -> None:
    stands = after(case, *verdicts)
    assert stands.state == state
    assert stands.outcome == (OUTCOMES[verdicts[-1]] if state == "closed" else None)


@given(
    st.builds(Flags, st.booleans(), st.booleans()),
    st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=6),
)
def test_nothing_is_approved_by_too_few(case: Flags, verdicts: list[str]) -> None:
    """Verdicts are given until the case closes, and then no more."""
    ends = [at for at in range(len(verdicts) + 1) if after(case, *verdicts[:at]).outcome]
    given_ = verdicts[: ends[0]] if ends else verdicts
    outcome = after(case, *given_).outcome
    if outcome in DECLARED.approving and case.four_eyes:
        assert sum(one in DECLARED.approving for one in given_) >= 2
    if outcome and case.double:
        assert len(given_) >= 2


def test_a_time_out_closes_whatever_was_said() -> None:
    late = Given("time_out", "block")
    assert stand(DECLARED, BOTH, [Given("approve", "approve"), late]) == Stand("closed", "block")

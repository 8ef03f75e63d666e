"""The breaker and the budget of a receiver."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.actions.breaker import Circuit
from aios.actions.budget import Bucket
from aios.actions.connectors.base import Answer, Done, Failed, Refused, Unavailable, Unsure
from aios.actions.declared import Breaker

pytestmark = pytest.mark.unit


@given(
    retries=st.integers(1, 50),
    waits=st.lists(st.integers(0, 2 * 3_600_000_000), min_size=1, max_size=40),
    wanted=st.integers(1, 60),
)
def test_no_hour_sees_more_than_the_budget(retries: int, waits: list[int], wanted: int) -> None:
    now, bucket, spent = 0, Bucket.full(retries, 0), list[int]()
    for wait in waits:
        now += wait
        bucket = bucket.at_time(retries, now)
        calls = min(wanted, int(bucket.tokens))
        bucket = bucket.spend(calls)
        spent += [now] * calls
    for start in spent:
        assert sum(start <= at < start + 3_600_000_000 for at in spent) <= retries


def test_a_clock_set_back_brings_no_budget() -> None:
    bucket = Bucket.full(10, 1000).spend(5)
    assert bucket.at_time(10, 0).tokens == 0
    assert bucket.at_time(10, 0).at_time(10, 1000).tokens == 0


class TestCircuit:
    declared = Breaker(failures=3)

    def heard(self, circuit: Circuit, *answers: Answer, probed: int | None = None) -> Circuit:
        return circuit.heard(answers, self.declared, 0, probed_until=probed, asked=False)

    def test_failures_in_a_row_open_it(self) -> None:
        down = Unavailable("down")
        assert self.heard(Circuit(), down, down).breaker == "closed"
        assert self.heard(Circuit(), down, Unsure("cut"), down).breaker == "open"
        assert self.heard(Circuit(), down, down, Done({}), down).failures == 1
        assert self.heard(Circuit(), down, down, Failed("busy"), down).breaker == "open"

    def test_only_the_probe_closes_it(self) -> None:
        probing = Circuit("open", 3, 2, 50).probe(90)
        assert self.heard(probing, Done({})) == probing
        assert self.heard(probing, Done({}), probed=80) == probing
        assert self.heard(probing, Refused("no"), probed=90) == Circuit()
        again = self.heard(probing, Unsure("cut"), probed=90)
        assert (again.breaker, again.trips, again.open_until) == ("open", 3, 120_000_000)

    def test_not_knowing_when_asked_is_no_failure(self) -> None:
        answers = [Unsure("no status")] * 9
        found = Circuit().heard(answers, self.declared, 0, probed_until=None, asked=True)
        assert found == Circuit()

"""What people do with the champion of `claims`, and how a denial is checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aios import clock
from aios.identity.access import Denied
from aios.identity.actors import Actor
from aios.record.log import Log
from model_registry.approvals import requests
from model_registry.authority import Authority
from model_registry.champion import history
from tests.model_registry.claims import ALICE, BOB, NAME, people


def with_people(authority: Authority) -> Authority:
    people(log_of(authority))
    return authority


def log_of(authority: Authority) -> Log:
    return authority.registry.log


def promote(authority: Authority, number: int, actor: Actor, **given: Any) -> Any:
    return authority.promote(number, actor, at=clock.now(), reason="better", **given)


def ask(authority: Authority, number: int = 2, actor: Actor = ALICE) -> int:
    return authority.request(number, actor, reason="better", evidence="gate 2026-02").number


def approve(authority: Authority, number: int, actor: Actor = BOB) -> Any:
    return authority.decide(number, actor, approve=True, reason="looked at it")


def champions(authority: Authority) -> list[tuple[int, str]]:
    return [(one.version, one.by) for one in history(authority.registry, NAME)]


def acts(authority: Authority, first: int) -> list[tuple[str, str, str | None]]:
    """Kind, actor and automation of each leaf from an index on."""
    return [(one.kind, one.actor, one.automation) for one in log_of(authority).entries(first=first)]


def refused(authority: Authority, attempt: Callable[[], Any]) -> Denied:
    """Make an attempt that the rules deny, and check that it leaves its denial and no more."""
    before, at = champions(authority), log_of(authority).size()
    states = [one.state for one in requests(log_of(authority))]
    with pytest.raises(Denied) as denied:
        attempt()
    assert champions(authority) == before
    assert [one.state for one in requests(log_of(authority))] == states
    (entry,) = log_of(authority).entries(first=at)
    assert (entry.kind, entry.actor, entry.automation) == ("denied", str(denied.value.actor), NAME)
    assert entry.body["action"] == denied.value.action
    assert entry.body["rules"] == list(denied.value.rules)
    assert entry.body["access_digest"] == authority.access.digest
    return denied.value

"""What claims ask of the insurer."""

from __future__ import annotations

from typing import Any

import pytest

from aios.actions.plan import plan
from aios.automation import load_automation
from aios.settings import PROJECT, Settings

pytestmark = pytest.mark.unit

DECIDED: dict[str, Any] = {
    "claim_id": 7,
    "rep_number": 3,
    "decision": "claims/2025-01-01/7@0",
    "partition": "2025-01-01",
    "rule": "low_and_small",
    "outcome": "approve",
    "vehicle_price": 24.5,
    "deductible": 400.0,
}


@pytest.fixture
def claims(tmp_path: Any) -> Any:
    folder = PROJECT / "aios_assets" / "automations"
    return load_automation("claims", Settings.embedded(tmp_path, folder))


def test_an_approved_claim_is_paid_less_its_deductible(claims: Any) -> None:
    [pay] = plan(claims, "approve", DECIDED)
    assert (pay.type, pay.receiver, pay.to) == ("pay", "insurer", "/payments")
    assert pay.payload["claim"] == 7
    assert (pay.payload["amount"], pay.payload["currency"]) == (24_100.0, "USD")


@pytest.mark.parametrize("missing", ["vehicle_price", "deductible"])
def test_what_a_person_approved_without_a_price_leaves_the_amount_to_the_insurer(
    claims: Any, missing: str
) -> None:
    [pay] = plan(claims, "approve", {**DECIDED, missing: None})
    assert pay.payload["amount"] is None


def test_a_deductible_above_the_price_pays_nothing(claims: Any) -> None:
    [pay] = plan(claims, "approve", {**DECIDED, "vehicle_price": 0.3})
    assert pay.payload["amount"] == 0.0


def test_a_blocked_claim_is_investigated_and_both_can_be_taken_back(claims: Any) -> None:
    [investigate] = plan(claims, "block", DECIDED)
    assert investigate.payload["because"] == "low_and_small"
    for effects in claims.spec.actions.effects.values():
        for effect in effects:
            back = claims.function(effect.compensate.body)
            assert back({"claim": 7}, {"reference": "R1"}) == {"claim": 7, "reference": "R1"}

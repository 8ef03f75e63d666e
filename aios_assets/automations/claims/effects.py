"""What the insurer is asked to do: pay, investigate, and take either back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CURRENCY = "USD"


def payment(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payment of a claim: the middle of its price band less the deductible.

    Where either is missing, as a person may have approved it, the insurer names the amount.
    """
    price, deductible = decision["vehicle_price"], decision["deductible"]
    amount = None if price is None or deductible is None else 1000 * price - deductible
    return {**_claim(decision), "amount": amount and max(round(amount, 2), 0.0),
            "currency": CURRENCY}  # fmt: skip


def investigation(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the order to investigate a claim, with the rule that asks for it."""
    return {**_claim(decision), "because": decision["rule"]}


def reversal(payload: Mapping[str, Any], receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what takes a payment or an investigation back, by the insurer's own number."""
    return {"claim": payload["claim"], "reference": receipt.get("reference")}


def _claim(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {"claim": decision["claim_id"], "decision": decision["decision"]}

"""The invoices' policy: what may never be approved, whatever else is said of an invoice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.policy import Policy, load_policy
from aios_assets.automations.invoices import features

pytestmark = pytest.mark.unit

POLICY = load_policy(Path(features.__file__).parent / "policy.yaml")
ALONE = Policy(
    version=1,
    required=POLICY.required,
    rules=[rule for rule in POLICY.rules if rule.outcome == "approve"],
)
# Stated here on their own, so that a changed bar in the policy is seen.
HIGH_VALUE = 5000.0
DOUBTED = {
    "confidence": 0.9,
    "company_confidence": 0.8,
    "date_confidence": 0.8,
    "address_confidence": 0.8,
    "total_confidence": 0.9,
}
FINE: dict[str, float] = {
    **dict.fromkeys(DOUBTED, 0.99), "score": 0.02, "total_amount": 120.0, "duplicate_score": 0.0,
    "totals_differ": 0.0, "iban_changed": 0.0, "iban_unusual": 0.0, "iban_invalid": 0.0,
    "vendor_seen": 4.0,
}  # fmt: skip

SHARE, FLAG = st.floats(0, 1), st.sampled_from([0.0, 1.0])
ANYTHING: dict[str, st.SearchStrategy[float]] = {
    **dict.fromkeys(DOUBTED, SHARE), "score": SHARE, "duplicate_score": SHARE,
    "total_amount": st.floats(-1e9, 1e9), "vendor_seen": st.integers(0, 9).map(float),
    **dict.fromkeys(["totals_differ", "iban_changed", "iban_unusual", "iban_invalid"], FLAG),
}  # fmt: skip
# Near to approval, where a slip of the policy would show: all is fine but for some inputs.
INVOICES = st.lists(
    st.lists(st.sampled_from(sorted(FINE)), max_size=4).flatmap(
        lambda names: st.fixed_dictionaries({name: ANYTHING[name] for name in names})
    ),
    min_size=1,
    max_size=20,
).map(lambda rows: [FINE | row for row in rows])
PATIENT = settings(deadline=None, max_examples=60)


def outcomes(*rows: dict[str, Any]) -> list[str]:
    """What is decided by all rules, and by the approving one if the others were not there."""
    frame = pl.DataFrame(rows, schema=dict.fromkeys(FINE, pl.Float64))
    return [word for policy in (POLICY, ALONE) for word in policy.decide(frame)["outcome"]]


def rule(**facts: float | None) -> tuple[str, str]:
    frame = pl.DataFrame([FINE | facts], schema=dict.fromkeys(FINE, pl.Float64))
    return POLICY.decide(frame).row(0)[:2]


def test_the_policy_looks_at_what_is_generated_here_and_at_nothing_else() -> None:
    assert POLICY.inputs == sorted(FINE)
    assert sorted(POLICY.required) == POLICY.inputs


def test_an_invoice_beyond_doubt_is_approved() -> None:
    assert rule() == ("approve", "beyond_doubt")
    edge = {**DOUBTED, "total_amount": 4999.99, "vendor_seen": 1.0}
    assert rule(**edge) == ("approve", "beyond_doubt")


@PATIENT
@given(INVOICES, st.data())
def test_a_missing_input_is_never_approved(rows: list[dict[str, float]], data: Any) -> None:
    gaps = st.dictionaries(
        st.sampled_from(sorted(FINE)), st.sampled_from([None, float("nan")]), min_size=1
    )
    assert set(outcomes(*({**row, **data.draw(gaps)} for row in rows))) == {"review"}


@pytest.mark.parametrize("name", sorted(FINE))
@pytest.mark.parametrize("gap", [None, float("nan")])
def test_each_input_is_needed(name: str, gap: float | None) -> None:
    assert rule(**{name: gap}) == ("review", "missing_input")


@pytest.mark.parametrize("name", DOUBTED)
def test_a_confidence_just_below_its_bar_goes_to_review(name: str) -> None:
    assert rule(**{name: DOUBTED[name]})[0] == "approve"
    assert rule(**{name: DOUBTED[name] - 1e-9}) == ("review", "low_confidence")


@pytest.mark.parametrize("name", DOUBTED)
@PATIENT
@given(INVOICES, st.data())
def test_low_confidence_is_never_approved(
    name: str, rows: list[dict[str, float]], data: Any
) -> None:
    low = st.floats(0, DOUBTED[name], exclude_max=True)
    assert "approve" not in outcomes(*(row | {name: data.draw(low)} for row in rows))


@PATIENT
@given(INVOICES, st.floats(HIGH_VALUE, allow_nan=False))
def test_high_value_is_never_approved(rows: list[dict[str, float]], amount: float) -> None:
    assert "approve" not in outcomes(*(row | {"total_amount": amount} for row in rows))


@pytest.mark.parametrize(
    ("name", "least"), [("duplicate_score", 0.3), ("iban_changed", 1.0), ("iban_unusual", 1.0),
                        ("iban_invalid", 1.0), ("totals_differ", 1.0), ("score", 0.2)],
)  # fmt: skip
@PATIENT
@given(INVOICES, st.data())
def test_a_warning_is_never_approved(
    name: str, least: float, rows: list[dict[str, float]], data: Any
) -> None:
    """Duplicates, changed bank details and the rest, whatever else the invoice says."""
    warning = st.floats(least, 1)
    assert "approve" not in outcomes(*(row | {name: data.draw(warning)} for row in rows))


@PATIENT
@given(INVOICES)
def test_an_unknown_vendor_is_never_approved(rows: list[dict[str, float]]) -> None:
    assert "approve" not in outcomes(*(row | {"vendor_seen": 0.0} for row in rows))


@PATIENT
@given(INVOICES)
def test_every_complete_invoice_gets_a_reason_of_its_own(rows: list[dict[str, float]]) -> None:
    """What is withheld from approval is named by a rule, never by the rest."""
    frame = pl.DataFrame(rows, schema=dict.fromkeys(FINE, pl.Float64))
    assert "needs_a_person" not in POLICY.decide(frame)["rule"].to_list()


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        ({"duplicate_score": 1.0, "iban_changed": 1.0}, ("block", "duplicate")),
        ({"iban_changed": 1.0, "total_amount": 9000.0}, ("block", "bank_details_changed")),
        ({"duplicate_score": 0.5}, ("review", "perhaps_duplicate")),
        ({"iban_unusual": 1.0}, ("review", "bank_details_unclear")),
        ({"totals_differ": 1.0}, ("review", "totals_disagree")),
        ({"total_amount": 5000.0}, ("review", "high_value")),
        ({"total_amount": 0.0}, ("review", "no_amount_to_pay")),
        ({"vendor_seen": 0.0}, ("review", "unknown_vendor")),
        ({"date_confidence": 0.79}, ("review", "low_confidence")),
        ({"score": 0.9}, ("review", "likely_corrected")),
    ],
)
def test_each_reason_by_hand(facts: dict[str, float], verdict: tuple[str, str]) -> None:
    assert rule(**facts) == verdict

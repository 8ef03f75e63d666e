"""Features of invoices: hand-checked rows, forged bank details, and a past that is the past."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios_assets.automations.invoices import features

pytestmark = pytest.mark.unit

DAY = timedelta(days=1)
NOON = datetime(2025, 5, 14, 12)
# All with right check digits, but for the last.
OURS, THEIRS, THIRD = (
    "DE89 3704 0044 0532 0130 00",
    "GB82 WEST 1234 5698 7654 32",
    "CH9300762011623852957",
)
MISREAD = "DE89 3704 0O44 0532 0130 00"
SCHEMA: dict[str, Any] = {
    "document_id": pl.String, "known_at": pl.Datetime("us"), "vendor": pl.String,
    "iban": pl.String, "currency": pl.String, "read_by": pl.String, "duplicate_of": pl.String,
    "invoice_date": pl.Datetime("us"), "totals_agree": pl.Boolean, "tax_amount": pl.Float64,
    **dict.fromkeys(features.NUMBERS, pl.Float64),
}  # fmt: skip
FACTS: dict[str, Any] = {
    **dict.fromkeys(features.NUMBERS, 0.5),
    "document_id": "a", "known_at": NOON, "vendor": "acme", "iban": OURS, "currency": "EUR",
    "read_by": "given", "invoice_date": datetime(2025, 5, 10), "totals_agree": True,
    "total_amount": 250.0, "tax_amount": 50.0,
}  # fmt: skip


def records(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([FACTS | row for row in rows], schema=SCHEMA)


def one(**facts: Any) -> dict[str, Any]:
    return features.document(records(facts)).row(0, named=True)


def arrivals(*rows: tuple[str, float, dict[str, Any]]) -> pl.DataFrame:
    """Records from (document, day known, other facts)."""
    return records(*({"document_id": i, "known_at": NOON + d * DAY} | f for i, d, f in rows))


def last(*rows: tuple[str, float, dict[str, Any]]) -> dict[str, Any]:
    return features.history(arrivals(*rows)).row(-1, named=True)


def test_a_document_by_hand() -> None:
    row = one(company_confidence=0.9)
    expected = {
        "document_id": "a", "event_time": NOON, "known_at": NOON, "company_confidence": 0.9,
        "total_amount": 250.0, "log_amount": pytest.approx(5.5215, abs=1e-4), "round_amount": 1.0,
        "tax_share": 0.2, "weekend": 1.0, "days_to_receipt": 4.5, "has_iban": 1.0,
        "iban_invalid": 0.0, "totals_agree": 1.0, "totals_differ": 0.0, "currency": "EUR",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("agree", "tax", "differ"),
    [(True, 1.0, 0.0), (False, None, 1.0), (None, None, 0.0), (None, 1.0, 1.0), (True, None, 0.0)],
)
def test_totals_differ_where_what_is_printed_was_not_confirmed(
    agree: bool | None, tax: float | None, differ: float
) -> None:
    assert one(totals_agree=agree, tax_amount=tax)["totals_differ"] == differ


@pytest.mark.parametrize(
    ("iban", "has", "invalid"),
    [(OURS, 1, 0), ("IBAN: gb82-WEST-12345698765432", 1, 0), (MISREAD, 1, 1), ("DE", 1, 1),
     (None, 0, 0), (" -", 0, 0)],
)  # fmt: skip
def test_bank_details_are_checked(iban: str | None, has: int, invalid: int) -> None:
    row = one(iban=iban)
    assert (row["has_iban"], row["iban_invalid"]) == (has, invalid)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), 0.0, -5.0])
def test_no_amount_is_turned_into_a_feature(value: float | None) -> None:
    row = one(total_amount=value)
    assert row["log_amount"] is None
    assert row["tax_share"] is None
    assert row["total_amount"] in (None, 0.0, -5.0)


def test_a_document_of_which_nothing_was_read_keeps_its_row() -> None:
    empty = {**dict.fromkeys(SCHEMA), "document_id": "a", "known_at": NOON}
    events = pl.DataFrame([empty], schema=SCHEMA)
    row = features.document(events).row(0, named=True)
    assert [row[name] for name in ("has_iban", "iban_invalid", "totals_differ")] == [0, 0, 0]
    assert row["confidence"] is None
    assert features.history(events).row(0)[3:] == (0.0, None, None, 0.0, 0.0)
    assert features.vendor(events).is_empty()
    for view in (features.document, features.history, features.vendor):
        assert view(events.clear()).schema == view(records({})).schema


def test_history_by_hand() -> None:
    row = last(
        ("a", 0, {"total_amount": 100.0}),
        ("b", 1, {"total_amount": 400.0, "iban": None}),
        ("c", 2, {"total_amount": None}),
        ("x", 2, {"vendor": "other"}),
        ("d", 3, {}),
    )
    numbers = {name: row[name] for name in features.HISTORY}
    assert numbers == dict(zip(features.HISTORY, (3.0, 1.0, 1.0, 0.0, 0.0), strict=True))


def test_a_vendors_record_by_hand() -> None:
    rows = features.vendor(
        arrivals(
            ("a", 0, {"total_amount": 100.0}),
            ("b", 4, {"total_amount": 200.0}),
            ("c", 4, {"total_amount": 900.0}),
            ("d", 10, {}),
            ("e", 10, {"vendor": None}),
        )
    )
    days = (pl.col("known_at") - NOON).dt.total_days()
    assert rows.select("vendor", days, *features.VENDOR).rows() == [
        ("acme", 0, 0, None, None, None),
        ("acme", 4, 1, 100.0, 4.0, 4.0),
        ("acme", 10, 3, 400.0, 6.0, 10.0),
    ]


def test_new_bank_details_are_changed_until_they_are_the_vendors_own() -> None:
    changed = [("a", 0, {}), ("b", 20, {}), ("c", 40, {"iban": THEIRS})]
    assert last(*changed)["iban_changed"] == 1
    assert last(*changed, ("d", 60, {"iban": THEIRS}))["iban_changed"] == 1
    twice = [*changed, ("d", 60, {"iban": THEIRS})]
    assert last(*twice, ("e", 69, {"iban": THEIRS}))["iban_changed"] == 1
    assert last(*twice, ("e", 70, {"iban": THEIRS}))["iban_changed"] == 0


def test_a_forged_invoice_does_not_make_the_next_honest_one_suspect() -> None:
    row = last(("a", 0, {}), ("b", 20, {}), ("c", 40, {"iban": THEIRS}), ("d", 45, {}))
    assert (row["iban_changed"], row["iban_share"]) == (0, pytest.approx(2 / 3))


def test_copies_do_not_make_bank_details_the_vendors_own() -> None:
    forged = {"iban": THEIRS, "duplicate_of": "c"}
    rows = [
        ("a", 0, {}),
        ("b", 1, {}),
        ("c", 2, {"iban": THEIRS}),
        ("d", 3, forged),
        ("e", 4, forged),
    ]
    row = last(*rows, ("f", 90, {"iban": THEIRS}))
    assert (row["iban_changed"], row["vendor_seen"]) == (1, 3)


def test_misread_bank_details_are_no_others_but_an_unknown_account_is() -> None:
    before = [("a", 0, {}), ("b", 20, {})]
    assert last(*before, ("c", 40, {"iban": MISREAD}))["iban_changed"] == 0
    assert last(*before, ("c", 40, {"iban": THIRD[:-3] + "000"}))["iban_changed"] == 1
    assert last(("a", 0, {"iban": MISREAD}), ("b", 20, {}))["iban_changed"] == 0


@pytest.mark.parametrize(
    ("before", "now", "unusual"),
    [((OURS, OURS), None, 1), ((OURS, None), None, 0), ((None, None), OURS, 1),
     ((None, OURS), OURS, 0), ((), OURS, 0), ((), None, 0)],
)  # fmt: skip
def test_bank_details_that_come_or_go(
    before: tuple[str | None, ...], now: str | None, unusual: int
) -> None:
    rows = [(f"p{i}", float(i), {"iban": iban}) for i, iban in enumerate(before)]
    assert last(*rows, ("now", 9, {"iban": now}))["iban_unusual"] == unusual


def test_a_corrected_document_counts_once_and_never_for_itself() -> None:
    first = ("a", 0, {"total_amount": 10.0})
    again = ("a", 5, {"total_amount": 100.0})
    assert last(first, again)["vendor_seen"] == 0
    row = last(first, again, ("b", 6, {"total_amount": 300.0}))
    assert (row["vendor_seen"], row["amount_ratio"]) == (1, 3.0)


def test_history_ends_after_its_lookback() -> None:
    assert last(("a", 0, {}), ("b", 400, {}))["vendor_seen"] == 1
    assert last(("a", 0, {}), ("b", 400.001, {}))["vendor_seen"] == 0


STREAMS = st.lists(
    st.fixed_dictionaries(
        {
            "document_id": st.sampled_from("abcdefgh"),
            "known_at": st.integers(0, 900).map(lambda days: NOON + days * DAY),
            "vendor": st.sampled_from(["acme", "other", None]),
            "total_amount": st.sampled_from([None, 10.0, 30.0, 50.0, float("nan")]),
            "iban": st.sampled_from([None, OURS, THEIRS, THIRD, MISREAD]),
            "duplicate_of": st.sampled_from([None, None, None, "z"]),
        }
    ),
    max_size=25,
    unique_by=lambda row: (row["document_id"], row["known_at"]),
)
VIEWS = [features.document, features.history, features.vendor]
SAME = {
    features.document: "document_id",
    features.history: "document_id",
    features.vendor: "vendor",
}


@pytest.mark.parametrize("view", VIEWS)
@settings(deadline=None, max_examples=80)
@given(STREAMS, st.integers(0, 900), st.randoms())
def test_a_row_sees_nothing_known_at_its_time_or_later(view, rows, day, random) -> None:
    """Whatever arrives with a row or after it, in any order, leaves the row as it was."""
    moment = NOON + day * DAY
    mine = {"document_id": "mine", "known_at": moment, "vendor": "acme"}
    past = [row for row in rows if row["known_at"] < moment]
    others = [*past, *(row for row in rows if row["known_at"] >= moment)]
    random.shuffle(others)
    key = "mine" if SAME[view] == "document_id" else "acme"
    at = (pl.col(SAME[view]) == key) & (pl.col("known_at") == moment)
    alone = view(records(*past, mine)).filter(at)
    assert alone.height == 1
    assert view(records(*others, mine)).filter(at).equals(alone)


@pytest.mark.parametrize("view", VIEWS)
@settings(deadline=None, max_examples=80)
@given(STREAMS, st.integers(0, 900), st.integers(1, 300))
def test_a_row_is_the_same_from_every_window(view, rows, day, days) -> None:
    start, end = NOON + day * DAY, NOON + (day + days) * DAY
    inside = pl.col("known_at").is_between(start, end, closed="left")
    events = records(*rows).sort("known_at", "document_id")
    window = events.filter(
        pl.col("known_at").is_between(start - features.LOOKBACK, end, closed="left")
    )
    here, whole = view(window).filter(inside), view(events).filter(inside)
    assert here.equals(whole)


@settings(deadline=None, max_examples=80)
@given(STREAMS)
def test_history_agrees_with_its_definition(rows) -> None:
    found = features.history(records(*rows))
    assert found.height == len(rows)
    for row in found.iter_rows(named=True):
        moment, me = row["known_at"], row["document_id"]
        mine = next(r for r in rows if (r["document_id"], r["known_at"]) == (me, moment))
        latest = {
            r["document_id"]: r
            for r in sorted(rows, key=lambda r: r["known_at"])
            if moment - features.LOOKBACK <= r["known_at"] < moment and r["document_id"] != me
        }
        own = [
            r for r in latest.values()
            if mine["vendor"] and r["vendor"] == mine["vendor"] and r["duplicate_of"] is None
        ]  # fmt: skip
        assert row["vendor_seen"] == len(own)
        if mine["iban"] in (OURS, THEIRS, THIRD):
            sound = [r for r in own if r["iban"] in (OURS, THEIRS, THIRD)]
            same = [r["known_at"] for r in sound if r["iban"] == mine["iban"]]
            established = len(same) >= 2 and min(same) <= moment - 30 * DAY
            assert row["iban_changed"] == (len(same) < len(sound) and not established)

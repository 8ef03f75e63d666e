"""Generated invoices: the same every time, true to what is printed, honest about their tricks."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban as account

from aios_assets.automations.invoices import generator
from aios_assets.automations.invoices.extraction.normalise import parse_date, parse_money
from aios_assets.automations.invoices.generator import months, vendors
from aios_assets.automations.invoices.generator.months import Arrival
from aios_assets.automations.invoices.generator.tricks import SHARES

pytestmark = pytest.mark.unit

YEAR = [one for month in range(1, 13) for one in generator.arrivals(2025, month)]
WITH_INVOICE = [one for one in YEAR if one.invoice]
BY_ID = {one.id: one for one in YEAR}
LEDGER = list(chain.from_iterable(generator.ledger(2025, month) for month in range(1, 13)))
# The year of eight seeds: the shares of one year alone are too coarse.
SEEDS = [
    one
    for seed in range(8)
    for month in range(1, 13)
    for one in generator.arrivals(2025, month, seed=seed)
]


def forget() -> None:
    for kept in (months.arrivals, months._first_time, vendors.vendors):
        kept.cache_clear()


def printed(one: Arrival) -> str:
    return " ".join(word.text for word in generator.document(one.uri).words)


@pytest.mark.parametrize("seed", [vendors.SEED, 1])
def test_a_month_is_a_pure_function_of_year_month_and_seed(seed: int) -> None:
    first = generator.arrivals(2025, 5, seed=seed)
    forget()
    generator.arrivals(2025, 11, seed=seed)  # what was asked before does not matter
    assert generator.arrivals(2025, 5, seed=seed) == first
    assert generator.arrivals(2025, 5, seed=seed + 1) != first
    assert generator.arrivals(2025, 6, seed=seed) != first


def test_documents_and_scans_are_the_same_every_time() -> None:
    some = [one for one in generator.arrivals(2025, 5) if one.invoice]
    documents = [generator.document(one.uri) for one in some]
    scan = generator.image(some[0].uri).tobytes()
    forget()
    assert [generator.document(one.uri) for one in some] == documents
    assert generator.image(some[0].uri).tobytes() == scan


@settings(max_examples=20)
@given(st.integers(2025, 2026), st.integers(1, 12), st.integers(0, 2**32))
def test_a_month_holds_its_own_documents_in_order(year: int, month: int, seed: int) -> None:
    found = generator.arrivals(year, month, seed=seed)
    assert len({one.id for one in found}) == len({one.uri for one in found}) == len(found) > 70
    times = [one.received_at for one in found]
    assert times == sorted(times)
    assert {(time.year, time.month) for time in times} == {(year, month)}
    assert all(one.copy_of in {other.id for other in found} for one in found if one.copy_of)


def test_no_document_comes_before_its_date() -> None:
    for one in WITH_INVOICE:
        assert one.invoice
        assert one.received_at >= one.invoice.day
        assert one.invoice.due is None or one.invoice.due > one.invoice.day


def test_the_truth_of_clean_words_is_printed() -> None:
    clean = [one for one in WITH_INVOICE if not one.noisy]
    assert len(clean) > 600
    for one in clean:
        text = printed(one)
        for field, value in generator.truth(one).items():
            assert value is None or value in text, (one.id, field, value)


def test_only_careless_words_differ_from_what_is_printed() -> None:
    noisy = [one for one in WITH_INVOICE if one.noisy][:100]
    missing = [
        value not in printed(one)
        for one in noisy
        for value in generator.truth(one).values()
        if value is not None
    ]
    assert 0.005 < np.mean(missing) < 0.2


def test_truth_means_what_the_invoice_says() -> None:
    for one in WITH_INVOICE:
        invoice, truth = one.invoice, generator.truth(one)
        assert invoice
        assert parse_money(truth["total"]) == invoice.total
        assert (truth["tax"] is None) == (invoice.tax is None)
        assert parse_money(truth["tax"]) == invoice.tax
        assert parse_date(truth["due_date"]) == invoice.due
        assert truth["number"] == invoice.number
        assert truth["company"] == invoice.company
        assert (truth["iban"] or "").replace(" ", "") == (invoice.iban or "")


def test_dates_are_read_as_the_day_that_was_meant() -> None:
    for one in WITH_INVOICE:
        assert one.invoice
        assert parse_date(generator.truth(one)["date"]) == one.invoice.day


def test_boxes_lie_inside_the_page() -> None:
    for one in WITH_INVOICE:
        document = generator.document(one.uri)
        (page,) = document.pages
        boxes = np.array([word.box for word in document.words])
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= page).all(), one.id
        assert (boxes[:, :2] < boxes[:, 2:]).all()


def test_bank_accounts_have_right_check_digits() -> None:
    accounts = {one.invoice.iban for one in WITH_INVOICE if one.invoice and one.invoice.iban}
    assert len(accounts) > 40
    assert all(account.is_valid(one, check_country=False) for one in accounts)
    every = [number for one in vendors.vendors() for number in (one.iban, one.other_iban)]
    assert all(account.is_valid(one, check_country=False) for one in every)
    assert len(set(every)) == 2 * vendors.VENDORS


def test_every_trick_is_in_the_ledger() -> None:
    assert [row["document_id"] for row in LEDGER] == [one.id for one in YEAR]
    assert [row["trick"] for row in LEDGER] == [one.trick for one in YEAR]
    assert [row["copy_of"] for row in LEDGER] == [one.copy_of for one in YEAR]
    assert [row["condition"] for row in LEDGER] == [one.condition for one in YEAR]
    assert {*SHARES, "copy", "rescan", None} == {row["trick"] for row in LEDGER}


@pytest.mark.parametrize("trick", [*SHARES, "copy", "rescan"])
def test_tricks_have_about_their_declared_shares(trick: str) -> None:
    first = [one for one in SEEDS if one.invoice and not one.copy_of]
    found = sum(one.trick == trick for one in SEEDS) / len(first)
    share = {"copy": months.COPIES, "rescan": months.RESENT}.get(trick) or SHARES[trick]
    # A bank can change only where one was printed before; only the first 20 days come again.
    least = 0.55 if trick in ("changed_bank", "imitation", "copy", "rescan") else 1
    spread = 3 * np.sqrt(share / len(first))
    assert least * share - spread < found < share + spread


def test_scans_noise_and_damage_have_about_their_declared_shares() -> None:
    first = [one for one in SEEDS if one.invoice and not one.copy_of]
    assert np.mean([one.scanned for one in first]) == pytest.approx(months.SCANNED, abs=0.006)
    assert np.mean([one.noisy for one in first]) == pytest.approx(months.NOISY, abs=0.02)
    assert np.mean([one.high for one in first]) == pytest.approx(months.HIGH, abs=0.008)
    broken = Counter(one.condition for one in SEEDS if one.invoice is None)
    assert set(broken) == set(months.DAMAGED)
    assert len(first) / len(SEEDS) > 0.93


def honest_of(vendor: vendors.Vendor) -> set[str | None]:
    return {vendor.iban, vendor.other_iban, None}


def test_each_trick_is_what_its_name_says() -> None:
    for one in WITH_INVOICE:
        invoice = one.invoice
        assert invoice
        if one.copy_of:
            continue
        vendor = invoice.vendor
        assert (invoice.iban in honest_of(vendor)) == (
            one.trick not in ("changed_bank", "imitation")
        )
        assert (invoice.company != vendor.name) == (one.trick == "imitation")
        assert bool(invoice.note) == (one.trick == "instruction")
        net = sum(line.amount for line in invoice.lines) - invoice.discount + invoice.shipping
        adds_up = abs(net + (invoice.tax or 0) - invoice.total) < 0.011
        assert adds_up == (one.trick != "wrong_total"), one.id


def test_inflated_invoices_are_far_above_the_vendors_usual() -> None:
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for one in SEEDS:
        if one.invoice and not one.high and one.trick in (None, "inflated"):
            ratio = one.invoice.total / one.invoice.vendor.usual
            ratios[one.trick == "inflated"].append(ratio)
    assert np.median(ratios[True]) > 4 * np.median(ratios[False])


def test_words_that_persuade_are_printed_and_change_no_value() -> None:
    some = [one for one in WITH_INVOICE if one.trick == "instruction" and not one.noisy]
    assert some
    for one in some:
        assert one.invoice
        assert one.invoice.note in printed(one)
        assert one.invoice.note not in generator.truth(one).values()


def test_copies_share_their_digest_and_scans_do_not() -> None:
    again = [one for one in YEAR if one.copy_of]
    assert {one.trick for one in again} == {"copy", "rescan"}
    for one in again:
        first = BY_ID[one.copy_of or ""]
        assert one.invoice == first.invoice
        assert (one.digest == first.digest) == (one.trick == "copy")
        assert one.received_at > first.received_at
        if one.trick == "copy" and not one.scanned:
            twin, original = (generator.document(doc.uri) for doc in (one, first))
            assert twin.words == original.words
    whole = Counter(one.digest for one in YEAR if one.trick != "copy")
    assert set(whole.values()) == {1}


def test_a_few_vendors_move_to_the_portal_in_september() -> None:
    moved = {one.name for one in vendors.vendors() if one.number in vendors.PORTAL_VENDORS}
    for month in range(1, 13):
        of_month = [row for row in generator.ledger(2025, month) if row["layout"]]
        on_portal = {row["vendor"] for row in of_month if row["layout"] == "portal"}
        active = {row["vendor"] for row in of_month} & moved
        assert on_portal == (active if month >= 9 else set())
        assert month < 9 or len(on_portal) >= 3
    late = [one for one in generator.arrivals(2025, 9) if one.invoice]
    share = np.mean([one.invoice.layout == "portal" for one in late if one.invoice])
    assert 0.15 < share < 0.5


def test_an_honest_change_of_bank_lasts() -> None:
    for vendor in vendors.vendors():
        if vendor.changes_bank is None:
            continue
        mine = [
            one.invoice
            for one in YEAR
            if one.invoice and one.invoice.vendor == vendor and one.trick is None
        ]
        change = datetime(2025, vendor.changes_bank + 1, 1)
        for invoice in mine:
            expected = vendor.other_iban if invoice.day >= change else vendor.iban
            assert invoice.iban in (expected, None)


def test_vendors_come_and_go() -> None:
    for one in WITH_INVOICE:
        assert one.invoice
        vendor, index = one.invoice.vendor, one.received_at.month - 1
        assert vendor.since <= index <= vendor.until
    assert {one.since > 0 for one in vendors.vendors()} == {True, False}
    assert len({one.name for one in vendors.vendors()}) == vendors.VENDORS


def test_every_layout_currency_and_language_appears() -> None:
    invoices = [one.invoice for one in WITH_INVOICE if one.invoice]
    assert {one.layout for one in invoices} == {*vendors.LAYOUTS, "portal"}
    assert {one.vendor.currency for one in invoices} == {"EUR", "GBP", "MYR", "USD", "CHF"}
    assert {one.vendor.language for one in invoices} == {"en", "de", "fr"}
    days = [one.received_at - one.invoice.day for one in WITH_INVOICE if one.invoice]
    assert max(days) < timedelta(days=13)


def test_a_scan_shows_the_page() -> None:
    one = next(one for one in WITH_INVOICE if one.scanned)
    scanned = generator.image(one.uri)
    (page,) = generator.document(one.uri).pages
    assert scanned.size == page
    pixels = np.asarray(scanned).astype(float)
    assert np.median(pixels) > 200
    ink = [pixels[int(t) : int(b), int(x) : int(r)].min() for x, t, r, b in boxes(one)]
    assert np.mean(np.array(ink) < 128) > 0.9


def boxes(one: Arrival) -> list[tuple[float, float, float, float]]:
    return [word.box for word in generator.document(one.uri).words]


def test_an_unknown_document_is_an_error() -> None:
    with pytest.raises(KeyError):
        generator.document("generated:2025-03/202503-9999")

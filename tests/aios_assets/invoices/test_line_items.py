"""Line items are the rows that end with an amount; what they add up to is compared with care."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.documents.document import Document, Word
from aios_assets.automations.invoices import generator
from aios_assets.automations.invoices.extraction.line_items import MOST, line_items, totals_agree
from aios_assets.automations.invoices.extraction.segments import Page

pytestmark = pytest.mark.unit

SIZE = (600.0, 20_000.0)


def words(*rows: tuple[str, ...], page: int = 0) -> list[Word]:
    return [
        Word(
            text,
            (20.0 + 150 * column, 10.0 + 20 * row, 140.0 + 150 * column, 26.0 + 20 * row),
            page=page,
        )
        for row, texts in enumerate(rows)
        for column, text in enumerate(texts)
    ]


def page(*rows: tuple[str, ...]) -> Page:
    return Page.of(Document("x", tuple(words(*rows)), (SIZE,)))


def test_rows_that_end_with_an_amount_are_the_items() -> None:
    found = line_items(
        page(
            ("ACME TRADING",),
            ("Widget", "2", "10.00"),
            ("Cable, 3 m", "RM 1,005.50"),
            ("Returned", "-4.00"),
            ("TOTAL", "1,011.50"),
        )
    )
    assert [(one["description"], one["amount"]) for one in found] == [
        ("Widget", 10.0), ("Cable, 3 m", 1005.5), ("Returned", -4.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "label",
    ["SUBTOTAL", "Gesamt", "MwSt 19%", "GST 6%", "CASH", "Change", "Rounding", "Discount", "TVA"],
)
def test_totals_taxes_and_payments_are_no_items(label: str) -> None:
    assert line_items(page((label, "12.50"))) == []


def test_an_item_may_begin_like_the_word_of_a_total() -> None:
    (found,) = line_items(page(("Nettoyage", "50.00"), ("Nettobetrag", "50.00")))
    assert found["description"] == "Nettoyage"


@pytest.mark.parametrize("row", [("10.00",), ("Widget", "ten"), ("***", "5.00"), ("Widget",)])
def test_a_row_without_words_or_amount_is_no_item(row: tuple[str, ...]) -> None:
    assert line_items(page(row)) == []


@pytest.mark.parametrize(
    ("row", "quantity"),
    [
        (("2 x Widget", "10.00"), 2),
        (("12", "Widget", "10.00"), 12),
        (("2PC Chicken", "8.00"), 2),
        (("Widget 3 @ 5.00", "15.00"), 3),
        (("Widget", "3", "5.00", "15.00"), 3),
        (("Widget", "3 5.00", "15.00"), 3),
        (("Widget 3x5.00", "15.00"), 3),
        (("LED panel 60x60", "3", "15.00"), 3),
        (("60x60 panel", "15.00"), None),
        (("Widget", "5.00"), None),  # the amount is not how many
        (("Widget", "1 234,56"), None),
        (("12345", "Widget", "5.00"), None),  # nor is the beginning of an article's number
        (("01/02/2020", "Widget", "5.00"), None),
    ],
)
def test_quantity_is_what_is_printed_as_one(row: tuple[str, ...], quantity: int | None) -> None:
    (found,) = line_items(page(row))
    assert found["quantity"] == quantity


@given(st.permutations(range(12)))
def test_the_order_of_the_source_does_not_matter(order: list[int]) -> None:
    rows = words(*((f"Item {'abcd'[at]}{'abcd'[at]}", "x", f"{at + 1}.00") for at in range(4)))
    shuffled = Document("x", tuple(rows[at] for at in order), (SIZE,))
    assert [one["amount"] for one in line_items(Page.of(shuffled))] == [1.0, 2.0, 3.0, 4.0]


def test_later_pages_come_later() -> None:
    rows = [*words(("Second", "2.00"), page=1), *words(("First", "1.00"), page=0)]
    found = line_items(Page.of(Document("x", tuple(rows), (SIZE, SIZE))))
    assert [one["description"] for one in found] == ["First", "Second"]


def test_there_are_never_more_than_the_most() -> None:
    assert len(line_items(page(*[("Widget", "1.00")] * (MOST + 40)))) == MOST
    assert line_items(page()) == []


@pytest.mark.parametrize("layout", ["letter", "columns", "table", "sidebar", "compact"])
def test_the_lines_of_a_clean_invoice_are_all_found(layout: str) -> None:
    clean = [
        one
        for one in generator.arrivals(2025, 3)
        if one.invoice and one.invoice.layout == layout and not (one.scanned or one.noisy)
    ]
    assert clean
    for one in clean:
        found = line_items(Page.of(generator.document(one.uri)))
        wanted = {(float(line.quantity), line.amount) for line in one.invoice.lines}
        assert wanted <= {(item["quantity"], item["amount"]) for item in found}, one.uri


CENTS = st.integers(1, 100_000)


@given(st.lists(CENTS, min_size=1, max_size=20), st.integers(0, 50_000))
def test_lines_and_tax_that_add_up_agree(cents: list[int], tax: int) -> None:
    items = [{"amount": one / 100} for one in cents]
    assert totals_agree(items, tax / 100, (sum(cents) + tax) / 100) is True
    assert totals_agree(items, tax / 100, sum(cents) / 100) is True  # the tax is included
    assert totals_agree(items, None, sum(cents) / 100) is True


@given(st.lists(CENTS, min_size=1, max_size=20), st.integers(100, 10_000))
def test_what_differs_by_more_than_rounding_does_not_agree(cents: list[int], more: int) -> None:
    items = [{"amount": one / 100} for one in cents]
    assert totals_agree(items, None, (sum(cents) + more) / 100) is False


@pytest.mark.parametrize(
    ("amounts", "total"), [([], 5.0), ([5.0], None), ([5.0, None], 5.0), ([], None)]
)
def test_what_cannot_be_compared_is_null(amounts: list[float | None], total: float | None) -> None:
    assert totals_agree([{"amount": one} for one in amounts], 1.0, total) is None

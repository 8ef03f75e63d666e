"""Printed dates, amounts and names mean what a reader takes them to mean."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios_assets.automations.invoices.extraction.normalise import (
    parse_date,
    parse_money,
    same,
    vendor_key,
    without_registration,
)

pytestmark = pytest.mark.unit

FORMATS = [
    "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y-%m-%d", "%d %b %Y", "%d-%b-%Y", "%Y%m%d", "%d/%m/%y",
    "%B %d, %Y", "%d %b %y",
]  # fmt: skip


@given(st.dates(date(2000, 1, 1), date(2035, 1, 1)), st.sampled_from(FORMATS))
def test_a_printed_day_is_that_day(day: date, form: str) -> None:
    expected = datetime(day.year, day.month, day.day)
    assert parse_date(day.strftime(form)) == expected
    assert parse_date(f"DATE: {day.strftime(form)} 12:30") == expected


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("12. März 2024", (2024, 3, 12)),
        ("1. Dezember 2024", (2024, 12, 1)),
        ("14 juillet 2024", (2024, 7, 14)),
        ("3 décembre 2024", (2024, 12, 3)),
        ("4 août 2024", (2024, 8, 4)),
        ("3 Mac 2018", (2018, 3, 3)),
        ("12 Ogos 2018", (2018, 8, 12)),
        ("2 Disember 2018", (2018, 12, 2)),
        ("05MAR2018", (2018, 3, 5)),
        ("05 / 06 / 2024", (2024, 6, 5)),
        ("12/31/2018", (2018, 12, 31)),  # no month has the number 31
        ("29/02/2024", (2024, 2, 29)),
    ],
)
def test_days_in_other_words(text: str, day: tuple[int, int, int]) -> None:
    assert parse_date(text) == datetime(*day)


@given(st.text(max_size=60))
def test_any_text_can_be_asked_for_its_value(text: str) -> None:
    for parse in (parse_date, parse_money, vendor_key):
        parse(text)
        assert parse(f"{text} 1") == parse(f"{text} 1")
    assert same("company", text, "ACME") in (True, False)


@pytest.mark.parametrize("text", [None, "", "99/99/2020", "TOTAL 12.50", "31/02/2020", "12/2020"])
def test_what_is_no_day_is_none(text: str | None) -> None:
    assert parse_date(text) is None


# Thousands are set apart by no-break spaces and by the apostrophe of print as well.
MARKS = st.sampled_from(
    [(",", "."), (".", ","), ("'", "."), ("", "."), (" ", ","),
     ("\u00a0", ","), ("\u202f", ","), ("\u2019", ".")]
)  # fmt: skip


@given(st.integers(0, 99_999_999), MARKS)
def test_a_printed_amount_is_that_amount(cents: int, marks: tuple[str, str]) -> None:
    thousands, point = marks
    text = f"{cents // 100:,}".replace(",", thousands) + f"{point}{cents % 100:02d}"
    for printed in (text, f"RM {text}", f"${text}", f"Total: {text}"):
        assert parse_money(printed) == pytest.approx(cents / 100)


@pytest.mark.parametrize("text", [None, "", "TOTAL", "12/03/2020", "1.2.3"])
def test_what_is_no_amount_is_none(text: str | None) -> None:
    assert parse_money(text) is None


@pytest.mark.parametrize(
    ("field", "read", "right", "expected"),
    [
        ("total", "RM 9.00", "9.00", True),
        ("total", "9.00", "9.01", False),
        ("total", None, "9.00", False),
        ("date", "2018-03-04", "04/03/2018", True),
        ("date", "05/03/2018", "04/03/2018", False),
        ("company", "Gardenia Bakeries (KL) Sdn. Bhd.", "GARDENIA BAKERIES (KI) SDN BHD", True),
        ("company", "99 SPEED MART", "98 SPEED MART", False),
        ("address", "NO 4, JALAN A", "NO 5, JALAN A", False),
        ("number", "INV-1", "INV-I", False),
        ("tax", "-1.00", "1.00", False),
        ("due_date", None, "04/03/2018", False),
        ("iban", "DE89 3704 0044", "DE8937040044", True),
        ("company", None, "A", False),  # nothing read is never right
        ("address", "", "7", False),
        ("company", "GARDENIA", "ZENITH GMBH", False),
    ],
)
def test_the_same_value_however_it_is_printed(field, read, right, expected) -> None:
    assert same(field, read, right) is expected


def test_a_vendor_has_one_key() -> None:
    names = ["ACME TRADING SDN BHD", "Acme Trading Sdn. Bhd. (123456-X)", "ACME  TRADING"]
    assert {vendor_key(name) for name in names} == {"ACMETRADING"}
    assert vendor_key(None) is None
    assert vendor_key("SDN BHD") == "SDNBHD"
    assert without_registration("ACME SDN BHD (789417-W)") == "ACME SDN BHD"

"""A layout is told by numbers that hold at any size of the scan and notice another layout."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.documents.document import Document, Word
from aios.documents.layout import DESCRIPTORS, describe

pytestmark = pytest.mark.unit

Box = tuple[float, float, float, float]
INVOICE = [
    ("Harbour and Finch Ltd", (10.0, 10.0, 50.0, 18.0)),
    ("12 March 2024", (62.0, 40.0, 95.0, 48.0)),
    ("Cement 25 kg", (10.0, 90.0, 40.0, 98.0)),
    ("1,200.00", (70.0, 90.0, 90.0, 98.0)),
    ("Subtotal", (10.0, 140.0, 30.0, 148.0)),
    ("34.50", (72.0, 140.0, 92.0, 148.0)),
    ("Amount due", (10.0, 160.0, 30.0, 168.0)),
    ("1,234.50", (70.0, 160.0, 94.0, 168.0)),
]


def document(
    words: list[tuple[str, Box]], width: float = 100, height: float = 200, page: int = 0
) -> Document:
    runs = tuple(Word(text, box, page=page) for text, box in words)
    return Document("x", runs, ((width, height),))


def scaled(words: list[tuple[str, Box]], by: float) -> list[tuple[str, Box]]:
    return [(text, tuple(edge * by for edge in box)) for text, box in words]  # type: ignore[misc]


def test_each_number_is_what_its_name_says() -> None:
    found = describe(document(INVOICE))
    assert tuple(found) == DESCRIPTORS
    text = "".join(text for text, _ in INVOICE)
    assert found == {
        "page_aspect": 2.0,
        "segments": 8.0,
        "mean_segment_width": pytest.approx((40 + 33 + 30 + 20 + 20 + 20 + 20 + 24) / 8 / 100),
        "left_share": pytest.approx(4 / 8),
        "right_share": pytest.approx(4 / 8),
        "top_density": pytest.approx(2 / 8),
        "digit_share": pytest.approx(sum(map(str.isdigit, text)) / len(text)),
        "amount_right": pytest.approx((0.90 + 0.92 + 0.94) / 3),
        "date_height": pytest.approx(44 / 200),
        "total_height": pytest.approx(164 / 200),
    }


@given(st.floats(0.2, 20))
def test_the_size_of_the_scan_does_not_matter(by: float) -> None:
    small = describe(document(INVOICE))
    large = describe(document(scaled(INVOICE, by), 100 * by, 200 * by))
    assert large == {name: pytest.approx(value) for name, value in small.items()}


@given(st.permutations(INVOICE))
def test_the_order_of_the_words_hardly_matters(words: list[tuple[str, Box]]) -> None:
    one, other = describe(document(INVOICE)), describe(document(words))
    assert one == {name: pytest.approx(value) for name, value in other.items()}


@pytest.mark.parametrize("text", ["12/03/2024", "2024-03-12", "3.4.24", "12 Mar 2024", "1-Jan-99"])
def test_dates_of_many_forms_are_found(text: str) -> None:
    assert describe(document([(text, (10, 50, 40, 60))]))["date_height"] == pytest.approx(0.275)


@pytest.mark.parametrize("text", ["TOTAL RM", "Gesamt", "Summe", "Montant", "JUMLAH", "amount due"])
def test_totals_of_many_languages_are_found_and_the_last_one_counts(text: str) -> None:
    words = [("total", (10.0, 10.0, 30.0, 20.0)), (text, (10.0, 150.0, 30.0, 160.0))]
    assert describe(document(words))["total_height"] == pytest.approx(0.775)


def test_what_is_not_on_the_page_is_null() -> None:
    found = describe(document([("hello", (10, 10, 30, 20))]))
    absent = [name for name, value in found.items() if value is None]
    assert absent == ["amount_right", "date_height", "total_height"]
    assert found["digit_share"] == 0


def test_a_subtotal_or_an_order_number_is_neither_total_nor_amount() -> None:
    found = describe(document([("Subtotal", (10, 90, 40, 98)), ("No. 471112", (60, 90, 80, 98))]))
    assert (found["total_height"], found["amount_right"]) == (None, None)


@pytest.mark.parametrize(
    "given_",
    [
        Document("x", (), ((100.0, 200.0),)),
        Document("x", (Word("a", (1, 1, 2, 2)),), ()),
        document([("a", (1, 1, 2, 2))], page=1),
        document([("a", (math.nan, 1, 2, 2))]),
        document([("a", (1, 1, math.inf, 2))]),
    ],
)
def test_without_words_on_the_first_page_all_is_null(given_: Document) -> None:
    assert describe(given_) == dict.fromkeys(DESCRIPTORS)


@given(
    st.lists(st.tuples(st.text(max_size=12), st.tuples(*[st.floats(-1e6, 1e6)] * 4)), max_size=6),
    st.floats(0, 1e5),
    st.floats(0, 1e5),
)
def test_any_page_has_finite_numbers(
    words: list[tuple[str, Box]], width: float, height: float
) -> None:
    found = describe(document(words, width, height))
    assert tuple(found) == DESCRIPTORS
    assert all(value is None or math.isfinite(value) for value in found.values())


def test_another_layout_stands_out_and_the_same_one_does_not() -> None:
    """Simulated vendors: a print that shakes by a hundredth is the same layout, mirrored is not."""
    draw = np.random.default_rng(11)

    def printed(mirrored: bool) -> list[float]:
        words = []
        for text, box in INVOICE:
            left, top, right, bottom = np.array(box) + draw.normal(0, 1.0, 4)
            edges = (
                (100 - right, top, 100 - left, bottom) if mirrored else (left, top, right, bottom)
            )
            words.append((text, tuple(map(float, edges))))
        return [value or 0.0 for value in describe(document(words)).values()]

    usual = np.array([printed(False) for _ in range(200)])
    spread = usual.std(axis=0) + 0.01

    def far(values: list[float]) -> float:
        return float(np.abs((np.array(values) - usual.mean(axis=0)) / spread).max())

    assert np.mean([far(printed(False)) > 6 for _ in range(200)]) < 0.01
    assert np.mean([far(printed(True)) > 6 for _ in range(200)]) > 0.99

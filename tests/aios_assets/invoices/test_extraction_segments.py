"""Pages as the extraction sees them: any document is one, finite and of bounded size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.documents.document import Document, Word
from aios_assets.automations.invoices.extraction.candidates import MOST, propose
from aios_assets.automations.invoices.extraction.fields import FIELDS
from aios_assets.automations.invoices.extraction.segments import FIRST, LAST, MOST_LETTERS, Page
from aios_assets.automations.invoices.extraction.tagging import layout

pytestmark = pytest.mark.unit


def page(*lines: tuple[str, float, float]) -> Page:
    """A page of texts at left and top, letters eight pixels wide and lines ten high."""
    words = [Word(text, (x, y, x + 8 * len(text), y + 10)) for text, x, y in lines]
    return Page.of(Document("a", tuple(words), ((400.0, 600.0),)))


def test_segments_know_what_is_left_of_them_and_above() -> None:
    found = page(("TOTAL", 10, 100), ("12.00", 300, 101), ("CASH", 10, 120), ("20.00", 300, 120))
    assert found.left == [-1, 0, -1, 2]
    assert found.above == [-1, -1, 0, 1]
    assert found.row == [[], [0], [], [2]]


def test_words_without_a_place_or_a_letter_are_left_out() -> None:
    nowhere = (float("nan"), 0.0, 1.0, 1.0)
    words = (Word("--", (0, 0, 9, 9)), Word("B2", nowhere), Word("A1", (0, 0, 9, 9)))
    found = Page.of(Document("a", words, ((10.0, 10.0),)))
    assert (found.texts, found.origin) == (["A1"], [2])


def test_later_pages_lie_below() -> None:
    words = (Word("A1", (0, 90, 9, 99), page=0), Word("B2", (0, 0, 9, 9), page=1))
    found = Page.of(Document("a", words, ((100.0, 100.0), (100.0, 100.0))))
    assert found.boxes[1, 1] > found.boxes[0, 3]


def test_the_work_on_a_page_is_bounded() -> None:
    text = "TOTAL 1.00 2.00 3.00 01/02/2018 A1B2 C3D4" * 10
    found = page(*[(text, 10.0, 10.0 * at) for at in range(3_000)])
    assert len(found) == FIRST + LAST
    assert max(map(len, found.texts)) == MOST_LETTERS
    some = propose(found, np.ones((len(found), len(FIELDS))))
    assert max(map(len, some.values())) <= MOST


@given(
    st.lists(
        st.tuples(
            st.text(max_size=12),
            st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4),
            st.integers(0, 3),
        ),
        max_size=12,
    ),
    st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=2),
)
def test_any_document_is_a_page_of_finite_numbers(
    words: list[tuple[str, tuple[float, float, float, float], int]],
    pages: list[tuple[float, float]],
) -> None:
    document = Document("a", tuple(Word(t, box, 1.0, n) for t, box, n in words), tuple(pages))
    found = Page.of(document)
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(layout(found)).all()
    assert len(found.left) == len(found.above) == len(found.row) == len(found)
    for some in propose(found, np.zeros((len(found), len(FIELDS)))).values():
        assert all(0 <= at < len(found) for one in some for at in one.segments)

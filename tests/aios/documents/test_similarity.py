"""Fingerprints recognise a misread copy and tell other documents of the same vendor apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.documents.document import Document, Word
from aios.documents.layout import DESCRIPTORS, describe
from aios.documents.similarity import fingerprint, resemblance

pytestmark = pytest.mark.unit


@given(st.text())
def test_a_text_resembles_itself_whatever_it_holds(text: str) -> None:
    print_ = fingerprint(text)
    assert len(print_) == 256
    assert resemblance(print_, print_) == 1.0
    assert fingerprint(text) == print_


def misread(text: str, share: float, draw: np.random.Generator) -> str:
    return "".join("X" if draw.random() < share else one for one in text)


def test_copies_resemble_more_than_neighbours(datasets: Path) -> None:
    path = datasets / "sroie_receipts" / "train.jsonl"
    rows = [json.loads(row) for row in path.read_text().splitlines()[:150]]
    texts = ["\n".join(row["words"]) for row in rows]
    draw = np.random.default_rng(0)
    prints = [fingerprint(text) for text in texts]
    copies = [
        resemblance(p, fingerprint(misread(t, 0.01, draw)))
        for p, t in zip(prints, texts, strict=True)
    ]
    others = [resemblance(a, b) for at, a in enumerate(prints) for b in prints[:at]]
    assert np.quantile(copies, 0.02) > 0.7
    assert np.quantile(others, 0.99) < 0.65


def test_the_estimate_is_close_to_the_true_share() -> None:
    draw = np.random.default_rng(1)
    letters = np.array(list("ABCDEFGHIJKLMNOP"))
    base = "".join(draw.choice(letters, 600))
    other = base[:300] + "".join(draw.choice(letters, 300))
    sets = [{text[at : at + 5] for at in range(596)} for text in (base, other)]
    true = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert resemblance(fingerprint(base), fingerprint(other)) == pytest.approx(true, abs=0.19)


def document(*words: tuple[str, tuple[float, float, float, float]]) -> Document:
    return Document("x", tuple(Word(text, box) for text, box in words), ((100.0, 200.0),))


def test_a_layout_is_described_in_numbers() -> None:
    found = describe(
        document(
            ("ACME LTD", (10, 10, 50, 20)),
            ("12/03/2024", (60, 40, 95, 50)),
            ("TOTAL", (10, 150, 30, 160)),
            ("12.50", (70, 150, 90, 160)),
        )
    )
    assert set(found) == set(DESCRIPTORS)
    assert found["page_aspect"] == 2
    assert found["segments"] == 4
    assert found["amount_right"] == pytest.approx(0.9)
    assert found["date_height"] == pytest.approx(0.225)
    assert found["total_height"] == pytest.approx(0.775)


@pytest.mark.parametrize("words", [[], [("a", (float("nan"), 0.0, 1.0, 1.0))]])
def test_without_words_there_is_no_layout(words) -> None:
    assert describe(document(*words)) == dict.fromkeys(DESCRIPTORS)

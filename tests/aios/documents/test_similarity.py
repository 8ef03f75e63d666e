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


def letter(draw: np.random.Generator, vendor: str) -> str:
    """A simulated invoice: what a vendor prints on all of them, and what is this one's own."""
    own = " ".join("".join(draw.choice(list("BCDFGAEIOU"), 7)) for _ in range(25))
    return f"{vendor} {own} TOTAL {draw.integers(10_000):05d}.{draw.integers(100):02d}"


def test_how_often_copies_are_missed_and_strangers_taken_for_copies() -> None:
    """At a threshold of 0.6: misread by one letter in 100, against others of the same vendor."""
    draw = np.random.default_rng(7)
    vendor = " ".join("".join(draw.choice(list("BCDFGAEIOU"), 7)) for _ in range(8))
    texts = [letter(draw, vendor) for _ in range(200)]
    prints = [fingerprint(text) for text in texts]
    copies = [fingerprint(misread(text, 0.01, draw)) for text in texts]
    missed = np.mean([resemblance(a, b) < 0.6 for a, b in zip(prints, copies, strict=True)])
    taken = np.mean(
        [resemblance(a, b) >= 0.6 for at, a in enumerate(prints) for b in prints[at + 1 :]]
    )
    assert missed < 0.02
    assert taken < 0.001


def test_texts_without_anything_in_common_do_not_resemble() -> None:
    draw = np.random.default_rng(3)
    texts = ["".join(draw.choice(list("ABCDEFGHIJ"), 500)) for _ in range(60)]
    prints = [fingerprint(text) for text in texts]
    alike = [resemblance(a, b) for at, a in enumerate(prints) for b in prints[at + 1 :]]
    assert max(alike) < 0.1


def test_the_error_of_the_estimate_is_as_stated() -> None:
    draw = np.random.default_rng(2)
    errors = []
    for _ in range(150):
        base = "".join(draw.choice(list("ABCDEFGHIJKLMNOP"), 400))
        cut = int(draw.integers(50, 350))
        other = base[:cut] + "".join(draw.choice(list("ABCDEFGHIJKLMNOP"), 400 - cut))
        one, two = ({text[at : at + 5] for at in range(396)} for text in (base, other))
        true = len(one & two) / len(one | two)
        errors.append(resemblance(fingerprint(base), fingerprint(other)) - true)
    assert np.std(errors) < 0.0625 * 1.1
    assert abs(np.mean(errors)) < 0.02


@given(st.text(min_size=1, max_size=80))
def test_case_and_punctuation_do_not_count(text: str) -> None:
    plain = "".join(one for one in text.upper() if one.isascii() and one.isalnum())
    assert fingerprint(text) == fingerprint(plain) == fingerprint("- ".join(plain.lower()))


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    """It is kept in the lake: another one would make every old document look new."""
    assert fingerprint("Invoice 4711, total 12.50")[:16] == "80247a7c09d12d2f"


def test_a_text_of_any_length_is_bounded() -> None:
    draw = np.random.default_rng(4)
    text = "".join(draw.choice(list("ABCDEFGHIJ"), 20_000))
    assert fingerprint(text) == fingerprint(text + text[::-1] * 50)

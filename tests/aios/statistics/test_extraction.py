"""Readings against the truth, as SROIE's third task counts them."""

from __future__ import annotations

import polars as pl
import pytest

from aios.statistics.extraction import compare

pytestmark = pytest.mark.unit

FIELDS = ["company", "total", "number"]


def frame(*rows: tuple[str | None, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(FIELDS, pl.String), orient="row")


def same(_field: str, read: str | None, right: str) -> bool:
    return (read or "").lower() == right.lower()


@pytest.mark.parametrize(
    ("read", "truth", "score", "right"),
    [
        (("A", "1", "x"), ("A", "1", "y"), 1.0, True),  # the number is no key field
        (("a", "1", None), ("A", "1", "y"), 0.5, True),  # the same value, another text
        (("A", None, None), ("A", "1", None), 2 / 3, False),  # one of two; nothing wrong was read
        (("A", "2", None), ("A", "1", None), 0.5, False),
        (("A", "2", None), ("A", None, None), 1.0, True),  # without truth nothing is judged
        ((None, None, None), ("A", "1", None), 0.0, False),
        (("A", "1", None), (None, None, None), None, True),
    ],
)
def test_a_document_is_scored(read, truth, score, right) -> None:
    found = compare(frame(read), frame(truth), FIELDS, ["company", "total"], same)
    assert found["score"].item() == (None if score is None else pytest.approx(score))
    assert found["right"].item() is right


def test_a_field_without_truth_is_not_judged() -> None:
    found = compare(frame(("A", "1", "x")), frame(("A", None, None)), FIELDS, ["company"], same)
    assert found.select("company_right", "total_right", "number_same").row(0) == (True, None, None)

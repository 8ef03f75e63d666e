"""The trained extraction stands alone: on its seed, on each document, on what is printed."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from aios.documents.document import Document, Word
from aios_assets.automations.invoices import generator
from aios_assets.automations.invoices.extraction import recipes
from aios_assets.automations.invoices.extraction.fields import FIELDS, KEY_FIELDS
from model_registry.parts import in_memory

pytestmark = pytest.mark.unit

FEW, HELD_OUT = 24, 6
SMALL: dict[str, dict[str, Any]] = {"layout_network": {"epochs": 3}, "boosting": {}}
DOUBTFUL = 0.6


@pytest.fixture(scope="module")
def data() -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    arrived = [one for one in generator.arrivals(2025, 2) if one.invoice and not one.scanned]
    documents = [generator.document(one.uri).to_json() for one in arrived[: FEW + HELD_OUT]]
    truth = [generator.truth(one) for one in arrived[:FEW]]
    return (
        pl.DataFrame({"document": documents[:FEW]}),
        pl.DataFrame(truth, schema=dict.fromkeys(FIELDS, pl.String)),
        documents[FEW:],
    )


@pytest.fixture(scope="module", params=list(SMALL))
def recipe(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def read(recipe: str, data: Any) -> Any:
    return trained(recipe, data[0], data[1])


def trained(recipe: str, rows: pl.DataFrame, truth: pl.DataFrame) -> Any:
    parts = getattr(recipes, recipe)(rows, truth, seed=1, **SMALL[recipe])
    return recipes.extractor(in_memory(parts))


def test_a_document_is_read_the_same_whatever_was_read_before(read: Any, data: Any) -> None:
    forward = [read({"document": text}) for text in data[2]]
    backward = [read({"document": text}) for text in reversed(data[2])]
    assert forward == backward[::-1]


def test_key_fields_alone_are_learned_where_nothing_else_has_truth(recipe: str, data: Any) -> None:
    others = [field for field in FIELDS if field not in KEY_FIELDS]
    truth = data[1].with_columns(pl.lit(None, pl.String).alias(field) for field in others)
    found = trained(recipe, data[0], truth)({"document": data[2][0]})
    assert found["total"] is not None
    assert all(found[f"{field}_confidence"] <= 0.5 for field in others)


@pytest.mark.parametrize("pages", [(), ((0.0, 0.0),), ((100.0, 100.0),)])
def test_boxes_and_pages_without_extent_are_read_without_confidence(
    read: Any, pages: tuple[tuple[float, float], ...]
) -> None:
    nan, endless = float("nan"), float("inf")
    words = (
        Word("TOTAL", (nan, nan, nan, nan)),
        Word("1.00", (0, 0, endless, 1)),
        Word("A1", (9, 9, 1, 1)),
    )
    assert read({"document": Document("a", words, pages).to_json()})["confidence"] < DOUBTFUL


def test_an_endless_page_is_read(read: Any, data: Any) -> None:
    few = Document.from_json(data[2][0])
    rest = tuple(
        Word("TOTAL 1.00 01/02/2018 SDN BHD", (20, 5_000 + at, 300, 5_010 + at))
        for at in range(10_000)
    )
    longer = Document(few.id, few.words + rest, few.pages)
    found = read({"document": longer.to_json()})
    assert all(0.0 <= found[f"{field}_confidence"] <= 1.0 for field in FIELDS)

"""The page about a partition's documents: whole, escaped, the least sure first."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import polars as pl
import pytest

from aios.known import TYPES
from aios_assets.automations.invoices import generator, pages
from aios_assets.automations.invoices.reading import read
from tests.aios.test_steps import INVOICES

pytestmark = pytest.mark.unit

KINDS = {
    name: kind for step in INVOICES["steps"][:2] for name, kind in step["outputs"].items()
} | dict.fromkeys(["document_id", "name", "uri", "format"], "text")
SCHEMA = {name: TYPES[kind] for name, kind in KINDS.items()}
ARRIVED = [one for one in generator.arrivals(2025, 3) if one.invoice]
HOSTILE = "\"><script>alert('1')</script>&{title}"


def row(at: int = 0, **more: Any) -> dict[str, Any]:
    one = [one for one in ARRIVED if not one.scanned][at]
    plain = {"document_id": one.id, "name": f"{one.id}.words", "uri": one.uri, "format": "words"}
    plain["document"] = generator.document(one.uri).to_json()
    return dict.fromkeys(SCHEMA) | plain | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SCHEMA)


def blue(png: bytes) -> bool:
    """Whether the colour of the first field stands on a picture."""
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    colors = [color for _, color in image.getcolors(1 << 20) or []]
    return any(abs(r - 0x2F) < 12 and abs(b - 0xB5) < 12 for r, _, b in colors)


def test_the_page_is_whole_and_nothing_read_becomes_markup() -> None:
    evidence = {"total": {"words": [0, 10_000], "reason": HOSTILE}}
    hostile = {"name": HOSTILE, "company": HOSTILE, "total": HOSTILE}
    html, png = pages.page(
        frame(row(confidence=0.25, evidence=json.dumps(evidence), **hostile), row(1))
    )
    assert html.startswith("<!doctype html>")
    assert html.count("<script") == 0
    assert html.count("&lt;script&gt;") == 4
    assert not re.search(r'<[^>]*(src|href)=(?!"data:image/png;base64,)', html)
    assert png.startswith(b"\x89PNG")
    assert "The 2 least sure of 2 documents" in html


def test_the_least_sure_come_first_and_unread_ones_last() -> None:
    sure = [0.9, 0.1, None, 0.5]
    rows = [row(at, name=f"name-{at}", confidence=one) for at, one in enumerate(sure)]
    html, _ = pages.page(frame(*rows))
    assert re.findall(r"name-\d", html) == ["name-1", "name-3", "name-0", "name-2"]
    assert re.findall(r"<p>([^<]*)", html) == [
        *(f"confidence {one:.2f}" for one in (0.1, 0.5, 0.9)),
        "not read",
    ]


def test_only_so_many_are_shown_and_none_without_words() -> None:
    rows = [row(at, confidence=at / 40) for at in range(pages.SHOWN + 3)]
    html, _ = pages.page(frame(*rows, row(document=None)))
    assert html.count("<section>") == pages.SHOWN
    assert f"The {pages.SHOWN} least sure of {pages.SHOWN + 4} documents" in html


def test_what_was_read_is_marked_on_the_picture_of_the_least_sure() -> None:
    evidence = json.dumps({"company": {"words": [0], "reason": "it stands on top"}})
    sure = row(1, confidence=0.9)
    _, plain = pages.page(frame(row(confidence=0.2), sure))
    html, marked = pages.page(frame(row(confidence=0.2, evidence=evidence), sure))
    assert blue(marked)
    assert not blue(plain)
    assert "it stands on top" in html
    assert "nothing that fits is printed" in html


def test_a_scan_is_shown_as_it_was_scanned() -> None:
    one = next(one for one in ARRIVED if one.scanned)
    document = generator.document(one.uri).to_json()
    scan = row(uri=one.uri, format="png", document=document)
    assert pages.page(frame(scan))[1] != pages.page(frame(scan | {"format": "words"}))[1]


@pytest.mark.parametrize("rows", [[], [row(document=None)]], ids=["no document", "none read"])
def test_a_partition_without_words_has_a_page_too(rows: list[dict[str, Any]]) -> None:
    html, png = pages.page(frame(*rows))
    assert f"The 0 least sure of {len(rows)} documents" in html
    assert png.startswith(b"\x89PNG")


def test_a_page_can_be_drawn_of_what_reading_returns() -> None:
    given = row()
    found = read({name: given[name] for name in INVOICES["steps"][0]["inputs"]})
    assert found["document"] == given["document"]
    html, _ = pages.page(frame(given | found))
    assert given["name"] in html

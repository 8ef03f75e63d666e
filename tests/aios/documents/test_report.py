"""The page about documents is whole, escaped, and shows where each value stands."""

from __future__ import annotations

import io

import pytest

from aios.documents.document import Document, Word
from aios.documents.report import Field, picture, section, whole_page

pytestmark = pytest.mark.unit

DOCUMENT = Document("x", (Word("TOTAL 12.50", (100, 700, 300, 730)),), ((800.0, 1000.0),))
FIELD = Field("total", "<script>12.50</script>", 0.91, [0, 99], "ranked 0.9 & certain")


def pixels(png: bytes) -> tuple[tuple[int, int], set[tuple[int, ...]]]:
    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB")
    return image.size, {color for _, color in image.getcolors(1 << 20) or []}


def test_a_box_stands_around_the_value() -> None:
    size, colors = pixels(picture(DOCUMENT, [FIELD]))
    assert size == (620, 775)
    assert any(abs(r - 0x2F) < 12 and abs(b - 0xB5) < 12 for r, _, b in colors)
    _, plain = pixels(picture(DOCUMENT, []))
    assert not any(abs(r - 0x2F) < 12 and abs(b - 0xB5) < 12 for r, _, b in plain)


def test_the_page_is_whole_and_escaped() -> None:
    png = picture(DOCUMENT, [FIELD])
    html = whole_page("a & b", [section("<x>", 0.5, [FIELD], png), section("y", None, [], png)])
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert 'src="http' not in html
    assert html.count("data:image/png;base64,") == 2
    assert "not read" in html
    assert "color-scheme: light dark" in html

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


HOSTILE = "\"><img src=x onerror=alert(1)>'&{title}</td></html>"


def test_nothing_that_was_read_becomes_markup() -> None:
    from html.parser import HTMLParser

    seen: list[tuple[str, dict[str, str | None]]] = []
    said: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

        def handle_data(self, data: str) -> None:
            said.append(data)

    field = Field(HOSTILE, HOSTILE, 0.5, [], HOSTILE)
    Reader().feed(whole_page(HOSTILE, [section(HOSTILE, 0.5, [field], b"png")]))
    assert said.count(HOSTILE) == 6  # title and heading, section, name, value, reason
    images = [attributes for tag, attributes in seen if tag == "img"]
    assert [sorted(one) for one in images] == [["alt", "src"]]
    assert not any(name.startswith("on") for _, one in seen for name in one)


def test_a_field_that_was_not_found_says_none() -> None:
    missing = Field("due_date", None, 0.0, [], "nothing that fits is printed")
    html = section("x", 0.5, [missing, FIELD], b"png")
    assert html.count("<em>none</em>") == 1
    assert "nothing that fits is printed" in html
    assert "confidence 0.50" in html


def test_boxes_are_drawn_on_the_picture_of_the_page_where_there_is_one() -> None:
    from PIL import Image

    size, colors = pixels(picture(DOCUMENT, [FIELD], Image.new("L", (800, 1000), 90)))
    assert size == (620, 775)
    assert (90, 90, 90) in colors
    assert (255, 255, 255) not in colors
    assert any(abs(r - 0x2F) < 12 and abs(b - 0xB5) < 12 for r, _, b in colors)


@pytest.mark.parametrize(
    "document",
    [
        Document("x", (), ()),
        Document("x", (), ((0.0, 0.0),)),
        Document("x", (), ((15_000.0, 1.0),)),
        Document("x", (), ((1.0, 15_000.0),)),
        Document("x", (Word("a", (9.0, 9.0, 1.0, 1.0)),), ((80.0, 100.0),)),
        Document("x", (Word("a", (-1e9, -1e9, 1e9, 1e9)),), ((80.0, 100.0),)),
        Document("x", (Word("", (1.0, 1.0, 1.0, 1.0)),), ((80.0, 100.0),)),
        Document("x", (Word("two\nlines \u202e\0", (1.0, 1.0, 9.0, 9.0)),), ((80.0, 100.0),)),
    ],
)
def test_any_page_can_be_drawn_and_none_is_huge(document: Document) -> None:
    (width, height), _ = pixels(picture(document, [Field("total", "a", 0.5, [0, 7], "")]))
    assert (width, 1) <= (620, height) <= (620, 1860)

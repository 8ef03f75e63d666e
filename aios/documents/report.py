"""Pages on which people see what was read on documents: the picture, the boxes, the reasons."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aios.documents.document import Document

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 620  # pixels of a drawn page
_COLORS = (
    *("#2f6db5", "#c2571a", "#2e8b57", "#8e44ad", "#b8860b"),
    *("#c23b22", "#16808a", "#6b6b2a", "#a0306e"),
)


@dataclass(frozen=True)
class Field:
    """What was read for one field.

    Attributes:
        text: As printed; None where nothing was found.
        confidence: 0 to 1.
        words: Indices of the document's words that it stands on.
        reason: Why this value was taken.
    """

    name: str
    text: str | None
    confidence: float
    words: Sequence[int]
    reason: str


def picture(document: Document, fields: Sequence[Field], page: Image | None = None) -> bytes:
    """Draw a document's first page with a coloured box around each field, as PNG.

    Args:
        document: Its words are drawn where there is no picture of the page.
        fields: Whose boxes.
        page: The picture of the first page.
    """
    from PIL import Image, ImageDraw

    size = document.pages[0] if document.pages else (1.0, 1.0)
    scale = WIDTH / max(size[0], 1.0)
    height = max(min(round(size[1] * scale), 3 * WIDTH), 1)
    if page is None:
        image = Image.new("RGB", (WIDTH, height), "white")
        _write(document, ImageDraw.Draw(image), scale)
    else:
        image = page.convert("RGB").resize((WIDTH, height))
    pen = ImageDraw.Draw(image)
    for color, field in zip(_COLORS * 2, fields, strict=False):
        for at in field.words:
            word = document.words[at] if at < len(document.words) else None
            if word and word.page == 0:
                left, right = sorted(edge * scale for edge in word.box[::2])  # a sender's box
                top, bottom = sorted(edge * scale for edge in word.box[1::2])  # may be upside down
                pen.rectangle((left - 3, top - 3, right + 3, bottom + 3), outline=color, width=2)
    buffer = io.BytesIO()
    image.quantize(64).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _write(document: Document, pen: object, scale: float) -> None:
    from PIL import ImageFont

    for word in document.words:
        if word.page == 0:
            left, top, _, bottom = (edge * scale for edge in word.box)
            font = ImageFont.load_default(max(min((bottom - top) * 0.9, 40), 7))
            pen.text((left, top), word.text, fill="#333333", font=font)  # type: ignore[attr-defined]


def section(title: str, sure: float | None, fields: Sequence[Field], png: bytes) -> str:
    """Return one document as a part of a page: its picture beside the table of its fields."""
    rows = "".join(
        f'<tr><td><i style="background:{color}"></i>{html.escape(one.name)}'
        f"<td>{html.escape(one.text) if one.text is not None else '<em>none</em>'}"
        f"<td>{one.confidence:.2f}<td>{html.escape(one.reason)}</tr>"
        for color, one in zip(_COLORS * 2, fields, strict=False)
    )
    said = "not read" if sure is None else f"confidence {sure:.2f}"
    return (
        f'<section><img alt="page" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<div><h2>{html.escape(title)}</h2><p>{said}</p><div class=wide><table><thead><tr>"
        f"<th>field<th>value<th>confidence<th>why</tr></thead><tbody>{rows}</tbody></table></div>"
        "</div></section>"
    )


def whole_page(title: str, sections: Sequence[str]) -> str:
    """Return one self-contained HTML page."""
    return _PAGE.format(title=html.escape(title), sections="\n".join(sections))


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }}
section {{ display: grid; grid-template-columns: minmax(14rem, 24rem) 1fr; gap: 1.5rem;
  margin: 1.5rem 0; padding-top: 1.5rem; border-top: 1px solid #8884; }}
h2 {{ font-size: 1.1rem; margin: 0; }} p {{ margin: .2rem 0 .8rem; opacity: .75; }}
img {{ width: 100%; background: white; border-radius: 6px; border: 1px solid #8884; }}
table {{ border-collapse: collapse; width: 100%; font-size: .85rem; }}
th, td {{ text-align: left; padding: .3rem .5rem; border-bottom: 1px solid #8884;
  overflow-wrap: anywhere; vertical-align: top; }}
td:first-child {{ white-space: nowrap; }}
i {{ display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .5rem; }}
.wide {{ overflow-x: auto; }}
@media (max-width: 48rem) {{ section {{ grid-template-columns: 1fr; }} }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""

"""The page about a partition's documents: the least sure readings first, with boxes and reasons."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from aios.documents.document import Document
from aios.documents.images import pages_of
from aios.documents.intake import open_content
from aios.documents.limits import Limits
from aios.documents.report import Field, picture, section, whole_page

from . import generator
from .extraction.fields import FIELDS
from .reading import GENERATED

SHOWN = 12


def page(rows: pl.DataFrame) -> tuple[str, bytes]:
    """Return the page of a partition, and the picture of its least sure document.

    Args:
        rows: Documents with the outputs of reading and extraction.
    """
    read = rows.filter(pl.col("document").is_not_null())
    shown = read.sort("confidence", nulls_last=True).head(SHOWN).to_dicts()
    drawn = [(row, *_drawn(row)) for row in shown]
    sections = [
        section(row["name"] or row["document_id"], row["confidence"], fields, png)
        for row, fields, png in drawn
    ]
    title = f"The {len(shown)} least sure of {rows.height} documents"
    return whole_page(title, sections), drawn[0][2] if drawn else _nothing()


def _drawn(row: dict[str, Any]) -> tuple[list[Field], bytes]:
    document = Document.from_json(row["document"])
    evidence = json.loads(row["evidence"]) if row["evidence"] else {}
    fields = [
        Field(
            name,
            row[name],
            row[f"{name}_confidence"] or 0.0,
            evidence.get(name, {}).get("words", []),
            evidence.get(name, {}).get("reason", "nothing that fits is printed"),
        )
        for name in FIELDS
    ]
    return fields, picture(document, fields, _scan(row))


def _scan(row: dict[str, Any]) -> Any:
    """Return the picture of the first page, where there is one and no PDF needs opening."""
    if row["format"] not in ("jpeg", "png", "tiff"):
        return None
    if row["uri"].startswith(GENERATED):
        return generator.image(row["uri"])
    return pages_of(open_content(row["uri"]), Limits())[0]


def _nothing() -> bytes:
    return picture(Document("none", (), ((100.0, 40.0),)), [])

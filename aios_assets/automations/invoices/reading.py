"""The reading step: the words of a document with their places, given or recognised."""

from __future__ import annotations

import io
from typing import Any

from aios.documents.document import Document
from aios.documents.intake import line, open_content
from aios.documents.layout import describe
from aios.documents.ocr import read_document
from aios.settings import Settings

from . import generator

GENERATED = "generated:"


def read(row: dict[str, Any]) -> dict[str, Any]:
    """Read one document.

    Args:
        row: `document_id`, `uri` and `format`.

    Returns:
        `document` (JSON), `read_by` (given, text_layer or ocr), `words`, `ocr_confidence` (mean
        of the words'), and the page's layout as `aios.documents.layout` describes it.

    Raises:
        AiosError: It cannot be read; says why.
    """
    document, read_by = _document(row)
    sure = [word.confidence for word in document.words]
    return {
        "document": document.to_json(),
        "read_by": read_by,
        "words": float(len(sure)),
        "ocr_confidence": sum(sure) / len(sure) if sure else 0.0,
        **describe(document),
    }


def _document(row: dict[str, Any]) -> tuple[Document, str]:
    uri, kind = row["uri"], row["format"]
    generated = uri.startswith(GENERATED)
    if kind == "words":
        return (generator.document(uri) if generated else Document.from_lines(line(uri))), "given"
    content = _png(generator.image(uri)) if generated else open_content(uri)
    cache_in = Settings.from_env().home / "cache" / "ocr"
    return read_document(row["document_id"], content, kind, cache_in=cache_in)


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()

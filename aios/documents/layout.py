"""What a page looks like, in numbers that need no model: for noticing new layouts."""

from __future__ import annotations

import re

import numpy as np

from aios.documents.document import Document, Word

DESCRIPTORS = (
    *("page_aspect", "segments", "mean_segment_width", "left_share", "right_share"),
    *("top_density", "digit_share", "amount_right", "date_height", "total_height"),
)

_AMOUNT = re.compile(r"\d[\d., ]*[.,]\d{2}\b")
_DATE = re.compile(r"\b\d{1,4}[-/. ](\d{1,2}|[A-Za-z]{3,9})[-/. ]\d{2,4}\b")
_TOTAL = re.compile(r"\b(total|gesamt|summe|montant|jumlah|amount due)\b", re.IGNORECASE)


def describe(document: Document) -> dict[str, float | None]:
    """Return the layout of a document's first page; all null where it has no words.

    Returns:
        `page_aspect` height over width; `segments` number of text runs; as shares of the page's
        width `mean_segment_width` and `amount_right` (mean right edge of amounts); `left_share`
        and `right_share` of runs that begin in the left or end in the right fifth; `top_density`
        share of runs in the top quarter; `digit_share` of all characters; as shares of its height
        `date_height` of the first date and `total_height` of the last word for a total.
    """
    words = [word for word in document.words if word.page == 0 and np.isfinite(word.box).all()]
    if not words or not document.pages:
        return dict.fromkeys(DESCRIPTORS)
    width, height = (max(side, 1.0) for side in document.pages[0])
    boxes = np.array([word.box for word in words])
    text = "".join(word.text for word in words)
    amounts = [word.box[2] / width for word in words if _AMOUNT.search(word.text)]
    return {
        "page_aspect": height / width,
        "segments": float(len(words)),
        "mean_segment_width": float((boxes[:, 2] - boxes[:, 0]).mean() / width),
        "left_share": float((boxes[:, 0] < 0.2 * width).mean()),
        "right_share": float((boxes[:, 2] > 0.8 * width).mean()),
        "top_density": float((boxes[:, 1] < 0.25 * height).mean()),
        "digit_share": sum(one.isdigit() for one in text) / max(len(text), 1),
        "amount_right": float(np.mean(amounts)) if amounts else None,
        "date_height": _height(_first(words, _DATE), height),
        "total_height": _height(_first(words[::-1], _TOTAL), height),
    }


def _first(words: list[Word], pattern: re.Pattern[str]) -> Word | None:
    return next((word for word in words if pattern.search(word.text)), None)


def _height(word: Word | None, height: float) -> float | None:
    return None if word is None else (word.box[1] + word.box[3]) / 2 / height

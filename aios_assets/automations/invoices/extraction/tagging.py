"""What a tagger learns from: hashed text, layout, and which fields each segment belongs to."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
from rapidfuzz import fuzz

from .candidates import HEADER
from .fields import FIELDS
from .normalise import bare, parse_money
from .segments import Page

BUCKETS = 1 << 14
GRAMS = 40  # hashed n-grams of one text
LAYOUT = 12  # numbers that describe a segment's place and form


@lru_cache(maxsize=1 << 16)
def grams(text: str) -> tuple[int, ...]:
    """Return the buckets of a text's words and of its letters' runs of three; digits are alike."""
    shape = "".join("0" if one.isdigit() else one for one in text.upper())
    padded = f" {shape.strip()} "
    found = [f"w{word}" for word in padded.split()[:10]]
    found += [padded[at : at + 3] for at in range(min(len(padded) - 2, GRAMS))]
    return tuple(zlib.crc32(one.encode()) % BUCKETS for one in found[:GRAMS])


def layout(page: Page) -> np.ndarray:
    """Return place and form of each segment, shape (n, LAYOUT), all about 0 to 1."""
    n = len(page)
    if not n:
        return np.zeros((0, LAYOUT), dtype=np.float32)
    x0, y0, x1, y1 = page.boxes.T
    top, span = y0.min(), max(float(y1.max() - y0.min()), 1e-6)
    height = y1 - y0
    order = np.arange(n)
    text = page.texts
    length = np.array([len(one) for one in text])
    digits = np.array([sum(c.isdigit() for c in one) for one in text]) / np.maximum(length, 1)
    letters = np.array([sum(c.isalpha() for c in one) for one in text]) / np.maximum(length, 1)
    columns = [
        x0, x1, x1 - x0, np.abs((x0 + x1) / 2 - 0.5), (y0 - top) / span,
        np.minimum(height / max(float(np.median(height)), 1e-6), 4) / 4,
        np.minimum(order, 30) / 30, np.minimum(n - 1 - order, 30) / 30,
        np.minimum(length, 60) / 60, digits, letters, page.sure,
    ]  # fmt: skip
    return np.nan_to_num(np.stack(columns, axis=1)).astype(np.float32)


def targets(page: Page, right: dict[str, str | None]) -> np.ndarray:
    """Return which fields each segment belongs to, by the right values, shape (n, fields)."""
    found = np.zeros((len(page), len(FIELDS)), dtype=np.float32)
    for column, field in enumerate(FIELDS):
        value = right.get(field)
        if value:
            for at in _segments_of(page, field, value):
                found[at, column] = 1
    return found


def _segments_of(page: Page, field: str, value: str) -> list[int]:
    wanted = bare(value)
    if field in ("company", "address"):
        return _header_lines(page, wanted)
    if field in ("total", "tax"):
        amount = parse_money(value)
        return [
            at for at, text in enumerate(page.texts)
            if (wanted and value in text) or (amount and parse_money(text) == amount)
        ]  # fmt: skip
    return [at for at, text in enumerate(page.texts) if wanted and wanted in bare(text)]


def _header_lines(page: Page, wanted: str) -> list[int]:
    """Return the lines near the top that make up a text, misread letters and all."""
    found = _lines_in(page.texts[: HEADER + 4], wanted)
    return found or _lines_in(page.texts, wanted)


def _lines_in(texts: list[str], wanted: str) -> list[int]:
    return [
        at
        for at, line in enumerate(map(bare, texts))
        if len(line) >= 4
        and (line in wanted or wanted in line or fuzz.partial_ratio(line, wanted) >= 88)
        and len(line) <= 1.6 * len(wanted)
    ]

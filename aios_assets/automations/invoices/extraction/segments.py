"""A document as the extraction sees it: text runs in order, with their place and neighbours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aios.documents.document import Document, Word

FIRST, LAST = 300, 100  # segments that are looked at, from the front and the back
MOST_LETTERS = 160  # of one segment


@dataclass(frozen=True)
class Page:
    """The segments of a document.

    Attributes:
        texts: As printed, in the order of the source.
        boxes: Left, top, right, bottom as shares of the page, shape (n, 4); later pages below.
        sure: The reader's confidence, shape (n,).
        origin: Index of each segment among the document's words.
    """

    texts: list[str]
    boxes: np.ndarray
    sure: np.ndarray
    origin: list[int]

    @classmethod
    def of(cls, document: Document) -> Page:
        """Read a document's words; those without text or place are left out."""
        kept = [i for i, word in enumerate(document.words) if _placed(word)]
        if len(kept) > FIRST + LAST:
            kept = kept[:FIRST] + kept[-LAST:]
        words = [document.words[i] for i in kept]
        sizes = document.pages or ((1.0, 1.0),)
        boxes = np.zeros((len(words), 4))
        for row, word in enumerate(words):
            width, height = sizes[min(word.page, len(sizes) - 1)]
            scale = (max(width, 1.0), max(height, 1.0)) * 2
            boxes[row] = np.clip(np.divide(word.box, scale), 0, 1)
            boxes[row, [1, 3]] += word.page
        sure = np.array([word.confidence for word in words], dtype=float)
        return cls([word.text[:MOST_LETTERS] for word in words], boxes, sure, kept)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def upper(self) -> list[str]:
        """The texts in capitals."""
        return [text.upper() for text in self.texts]

    @cached_property
    def left(self) -> list[int]:
        """For each segment the nearest one to its left on the same row, or -1."""
        return self._neighbours()[0]

    @cached_property
    def row(self) -> list[list[int]]:
        """For each segment all those to its left on the same row."""
        if not len(self):
            return []
        same, x0 = self._same_row(), self.boxes[:, 0]
        return [np.flatnonzero(same[at] & (x0 < x0[at])).tolist() for at in range(len(self))]

    @cached_property
    def above(self) -> list[int]:
        """For each segment the nearest one above it that overlaps it sideways, or -1."""
        return self._neighbours()[1]

    def _same_row(self) -> np.ndarray:
        y0, y1 = self.boxes[:, 1], self.boxes[:, 3]
        middle, height = (y0 + y1) / 2, np.maximum(y1 - y0, 1e-6)
        apart = np.abs(middle[:, None] - middle[None])
        return apart < 0.6 * np.minimum(height[:, None], height)

    def _neighbours(self) -> tuple[list[int], list[int]]:
        if not len(self):
            return [], []
        x0, y0, x1, y1 = self.boxes.T
        middle, row = (y0 + y1) / 2, self._same_row()
        gap = x0[:, None] - x1[None]
        gap = np.where(row & (x0[None] < x0[:, None]), np.abs(gap), np.inf)
        np.fill_diagonal(gap, np.inf)
        overlap = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
        rise = middle[:, None] - middle[None]
        rise = np.where((overlap > 0) & ~row & (rise > 0), rise, np.inf)
        return _nearest(gap), _nearest(rise)


def _nearest(distance: np.ndarray) -> list[int]:
    best = distance.argmin(axis=1)
    found = np.isfinite(distance[np.arange(len(distance)), best])
    return [int(one) for one in np.where(found, best, -1)]


def _placed(word: Word) -> bool:
    return bool(re.search(r"\w", word.text)) and bool(np.isfinite(word.box).all())

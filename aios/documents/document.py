"""A document as the stages pass it on: words with their boxes, page by page."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A run of text on a page: a word, or a segment of a line where the source has those.

    Attributes:
        text: As printed.
        box: Left, top, right, bottom in pixels of the page; the origin is the upper left corner.
        confidence: How sure the reader was, 0 to 1; 1 where words were given.
        page: Index of the page, from 0.
    """

    text: str
    box: tuple[float, float, float, float]
    confidence: float = 1.0
    page: int = 0


@dataclass(frozen=True)
class Document:
    """Everything that can be read on a document.

    Attributes:
        id: Name of the document at its source.
        words: In the order of the source.
        pages: Width and height of each page, in pixels.
    """

    id: str
    words: tuple[Word, ...]
    pages: tuple[tuple[float, float], ...]

    @property
    def text(self) -> str:
        """All words, one a line."""
        return "\n".join(word.text for word in self.words)

    def to_json(self) -> str:
        """Return the document as compact JSON, for a column of the lake."""
        content = {
            "id": self.id,
            "pages": self.pages,
            "words": [(w.text, w.box, round(w.confidence, 4), w.page) for w in self.words],
        }
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Document:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        words = (Word(t, _box(box), c, page) for t, box, c, page in content["words"])
        return cls(content["id"], tuple(words), tuple((w, h) for w, h in content["pages"]))

    @classmethod
    def from_lines(cls, row: dict[str, Any]) -> Document:
        """Read a row of words and boxes: `id`, `words`, `bboxes` and `image_size`.

        Raises:
            KeyError: One of these is missing.
            OverflowError: A number is too large.
            ValueError: There are not as many boxes as words, a box is no box, a size is none, or
                a word cannot be encoded.
        """
        pairs = zip(row["words"], row["bboxes"], strict=True)
        words = tuple(Word(_text(text), _box(box)) for text, box in pairs)
        size = (float(row["image_size"]["width"]), float(row["image_size"]["height"]))
        numbers = (*size, *(edge for word in words for edge in word.box))
        if min(size) <= 0 or not all(map(math.isfinite, numbers)):
            raise ValueError("a page or a box without a size")
        return cls(str(row["id"]), words, (size,))


def _box(values: Any) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in values)
    return left, top, right, bottom


def _text(value: Any) -> str:
    """Return a word; half a surrogate pair is valid JSON, and no text."""
    text = str(value)
    text.encode()
    return text

"""How much of a document is looked at before it is set aside."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that keep time and memory small, whatever arrives.

    Attributes:
        bytes: Of a file, or of a line of a JSONL.
        pixels: Of one page, by the picture's header.
        side: Of one page, in pixels.
        pages: Of a document.
        words: Of a document.
        seconds: For what is done with a PDF in its own process.
        memory: In bytes, of that process.
    """

    bytes: int = 30_000_000
    pixels: int = 60_000_000
    side: int = 15_000
    pages: int = 30
    words: int = 6_000
    seconds: float = 8.0
    memory: int = 1_500_000_000

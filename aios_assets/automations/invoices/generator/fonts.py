"""The one font of the generated documents, and how wide a text is in it."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def font(size: int) -> Any:
    """Return the font that comes with Matplotlib, at a size in pixels."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", int(size * 0.8))


@cache
def width(text: str, size: int) -> float:
    """Return the width of a text in pixels."""
    return float(font(size).getlength(text))

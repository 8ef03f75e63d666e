"""Small plots as SVG: shares with their intervals, drawn by the templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios.statistics.shares import Share

LEFT, WIDTH, STEP = 150, 300, 26
"""Where bars begin, how wide a share of 1 is, and how far they are apart; in SVG units."""


def bars(shares: Mapping[str, Share]) -> list[dict[str, Any]]:
    """Return for each share where its bar and its interval are drawn."""
    return [
        {
            "name": name,
            "y": STEP * place,
            "width": round(WIDTH * (one.value or 0.0), 1),
            "low": round(LEFT + WIDTH * one.low, 1),
            "high": round(LEFT + WIDTH * one.high, 1),
            "said": f"{one.hits:,} of {one.n:,}",
        }
        for place, (name, one) in enumerate(shares.items())
    ]

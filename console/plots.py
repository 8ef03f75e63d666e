"""Small plots as SVG, drawn by the templates: shares with intervals, costs by threshold."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios.statistics.shares import Share

LEFT, WIDTH, STEP = 150, 300, 26
"""Where bars begin, how wide a share of 1 is, and how far they are apart; in SVG units."""

CURVE = (10, 550, 10, 150)
"""Where curves are drawn: left, right, top and bottom, in SVG units."""


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


def curves(tuning: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each threshold would cost: see `aios.review.tuner.Tuning`.

    A line breaks where values were not considered.
    """
    found = []
    for rule, present, proposed in tuning["thresholds"]:
        tried = [one for one in tuning["tried"] if one["rule"] == rule]
        costs = [one["cost"] for one in tried if one["cost"] is not None]
        if not costs:
            continue
        values = [one["value"] for one in tried]
        ends = min(*values, present), max(*values, present), min(costs), max(costs)
        parts = groupby(tried, lambda one: one["cost"] is not None)
        found.append(
            {
                "rule": rule,
                "lines": [
                    " ".join(_point(one, ends) for one in part) for known, part in parts if known
                ],
                "present": (present, _across(present, ends)),
                "proposed": (proposed, _across(proposed, ends)),
                "costs": (ends[2], ends[3]),
            }
        )
    return found


def _point(one: Mapping[str, Any], ends: tuple[float, ...]) -> str:
    *_, top, bottom = CURVE
    share = (one["cost"] - ends[2]) / ((ends[3] - ends[2]) or 1)
    return f"{_across(one['value'], ends)},{bottom - share * (bottom - top):.1f}"


def _across(value: float, ends: tuple[float, ...]) -> float:
    left, right, *_ = CURVE
    return round(left + (value - ends[0]) / ((ends[1] - ends[0]) or 1) * (right - left), 1)

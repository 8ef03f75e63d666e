"""Plots as inline SVG: they need no script, print sharp, and are text like the rest of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")

_WIDTH, _HEIGHT = 900, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 14, 34
_LABELS = 10


@dataclass(frozen=True)
class Point:
    """One partition's estimate with its interval; None where it could not be measured."""

    key: str
    value: float | None
    low: float | None
    high: float | None
    alarm: bool = False


def line(title: str, points: Sequence[Point], floor: float | None = None) -> str:
    """Draw estimates over partitions with their intervals, alarms marked, and a gate's floor."""
    known = [one for one in points if one.value is not None]
    if not known:
        return ""
    bounds = [x for one in known for x in (one.value, one.low, one.high) if x is not None]
    bounds += [floor] if floor is not None else []
    low, high = min(bounds), max(bounds)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 0.5
    low, high = low - margin, high + margin
    frame = _Frame([one.key for one in points], low, high)
    parts = frame.axes()
    if floor is not None:
        y = frame.y(floor)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="floor"/>'
            f'<text x="{_WIDTH - _RIGHT}" y="{y - 4:.1f}" text-anchor="end">gate\'s floor</text>'
        )
    previous: tuple[float, float] | None = None
    for at, one in enumerate(points):
        if one.value is None:
            previous = None
            continue
        x, y = frame.x(at), frame.y(one.value)
        if one.low is not None and one.high is not None:
            parts.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{frame.y(one.low):.1f}" '
                f'y2="{frame.y(one.high):.1f}" class="interval"/>'
            )
        if previous:
            parts.append(
                f'<line x1="{previous[0]:.1f}" y1="{previous[1]:.1f}" x2="{x:.1f}" y2="{y:.1f}" '
                'class="curve"/>'
            )
        kind = "alarm" if one.alarm else "point"
        said = escape(f"{one.key}: {one.value:.4g}" + (", alarm" if one.alarm else ""))
        size = 5 if one.alarm else 3
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" class="{kind}">'
            f"<title>{said}</title></circle>"
        )
        previous = (x, y)
    return _svg(title, parts)


def shares(title: str, keys: Sequence[str], names: Sequence[str], rows: dict[str, dict]) -> str:
    """Draw the shares of outcomes as stacked bars over partitions, with a legend.

    Args:
        title: For those who cannot see it.
        keys: Partitions, in order; one without rows stays blank.
        names: Outcomes, from the bottom up.
        rows: Partition -> outcome -> share.
    """
    if not any(rows.get(key) for key in keys):
        return ""
    frame = _Frame(keys, 0, 1, percent=True)
    parts = frame.axes()
    width = max(frame.step * 0.8, 1.0)
    for at, key in enumerate(keys):
        below = 0.0
        for name in names:
            share = rows.get(key, {}).get(name, 0.0)
            if share <= 0:
                continue
            top = frame.y(below + share)
            parts.append(
                f'<rect x="{frame.x(at) - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" '
                f'height="{frame.y(below) - top:.1f}" fill="{colour(names, name)}">'
                f"<title>{escape(f'{key}: {name} {share:.1%}')}</title></rect>"
            )
            below += share
    legend = "".join(
        f'<span><i style="background:{colour(names, name)}"></i>{escape(name)}</span>'
        for name in names
    )
    return _svg(title, parts) + f'<p class="legend">{legend}</p>'


def colour(names: Sequence[str], name: str) -> str:
    """Return the colour of one of a plot's names."""
    return COLOURS[list(names).index(name) % len(COLOURS)]


class _Frame:
    """Where partitions and values lie in a plot."""

    def __init__(self, keys: Sequence[str], low: float, high: float, percent: bool = False) -> None:
        self._keys, self._low, self._high, self._percent = keys, low, high, percent
        self.step = (_WIDTH - _LEFT - _RIGHT) / max(len(keys), 1)

    def x(self, at: int) -> float:
        return _LEFT + (at + 0.5) * self.step

    def y(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> list[str]:
        parts = []
        for tick in range(5):
            value = self._low + (self._high - self._low) * tick / 4
            y, text = self.y(value), f"{value:.0%}" if self._percent else f"{value:.3g}"
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                f'class="grid"/><text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}'
                "</text>"
            )
        every = -(-len(self._keys) // _LABELS)
        return parts + [
            f'<text x="{self.x(at):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">'
            f"{escape(self._keys[at])}</text>"
            for at in range(0, len(self._keys), every)
        ]


def _svg(title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )

"""The confidence sequence of a metric over a rollout, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aios_assets.lifecycle.plots import png_of

_BLUE, _ORANGE, _RED, _GREY = "#2f6db5", "#c77800", "#c23b22", "#6b7785"
_SHADES = {"shadow": "#eef1f4", "canary": "#fdf1dd", "paused": "#f6e3e0", "champion": "#e3f1e6"}
_WIDTH, _HEIGHT, _DPI = 7.6, 3.1, 96


@dataclass(frozen=True)
class Look:
    """What one report said of one metric.

    Attributes:
        key: The partition.
        stage: In words: `shadow`, `canary 25 %`.
        estimate: Mean harm so far; NaN without a row.
        low: Lower bound; -inf where there is none yet.
        high: Upper bound; inf where there is none yet.
        later: Estimate and bounds from the later start from which it is worst; None where it is
            worse from none.
    """

    key: str
    stage: str
    estimate: float
    low: float
    high: float
    later: tuple[float, float, float] | None = None


def sequence_plot(
    looks: Sequence[Look], *, margin: float, limit: float, title: str, unit: str
) -> bytes:
    """Draw the mean harm with its bounds at each look, beside the margin and the limit.

    The bounds over the whole rollout are drawn as a band: the line of the mean may lie anywhere in
    it. Where it was worse from a later start, that stands beside it. A look with too few rows for
    bounds is a hollow circle. Stages are shaded.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI)
    axes = figure.add_axes((0.09, 0.2, 0.68, 0.66))
    bottom, top = _range(looks, margin)
    _stages(axes, looks, top)
    axes.axhline(0, color=_GREY, linewidth=0.8)
    axes.axhline(margin, color=_RED, linewidth=1.2, linestyle="--", label=f"margin {margin:g}")
    if limit not in (0, margin):
        axes.axhline(limit, color=_RED, linewidth=0.8, linestyle=":", label=f"limit {limit:g}")
    _sequence(axes, looks, (bottom, top))
    _later_starts(axes, looks, (bottom, top))
    axes.set_ylim(bottom, top)
    axes.set_xlim(-0.5, max(len(looks), 4) - 0.5)
    step = max(math.ceil(len(looks) / 8), 1)
    ticks = range(0, len(looks), step)
    axes.set_xticks(ticks, [looks[i].key for i in ticks], fontsize=8, rotation=20, ha="right")
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel(unit, fontsize=8)
    axes.set_title(title, fontsize=10, loc="left", pad=14)
    axes.legend(
        fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2
    )
    return png_of(figure)


def _sequence(axes: Any, looks: Sequence[Look], span: tuple[float, float]) -> None:
    known = [(x, one) for x, one in enumerate(looks) if math.isfinite(one.estimate)]
    bounded = [(x, one) for x, one in known if math.isfinite(one.low) or math.isfinite(one.high)]
    if bounded:
        x = [place for place, _ in bounded]
        low, high = ([_within(v, span) for v in edge] for edge in _edges(bounded))
        axes.fill_between(x, low, high, color=_BLUE, alpha=0.18, linewidth=0)
        axes.vlines(x, low, high, color=_BLUE, linewidth=1.2, alpha=0.7)
        means = [_within(one.estimate, span) for _, one in bounded]
        axes.plot(x, means, "-o", color=_BLUE, markersize=4, linewidth=1.2, label="whole rollout")
    loose = [one for one in known if one not in bounded]
    if loose:
        # What lies outside the picture stands at its edge: a mean of a few rows may be anything.
        axes.plot(
            [x for x, _ in loose], [_within(one.estimate, span) for _, one in loose], "o",
            color=_BLUE, markerfacecolor="white", markersize=5, clip_on=False,
            label="no bounds yet",
        )  # fmt: skip


def _later_starts(axes: Any, looks: Sequence[Look], span: tuple[float, float]) -> None:
    found = [(x + 0.13, one.later) for x, one in enumerate(looks) if one.later]
    if not found:
        return
    x = [place for place, _ in found]
    mean, low, high = (
        [_within(v, span) for v in edge] for edge in zip(*(o for _, o in found), strict=True)
    )
    axes.vlines(x, low, high, color=_ORANGE, linewidth=1.2)
    axes.plot(x, mean, "o", color=_ORANGE, markersize=3.5, label="from a later start")


def _edges(bounded: Sequence[tuple[int, Look]]) -> tuple[list[float], list[float]]:
    return [one.low for _, one in bounded], [one.high for _, one in bounded]


def _within(value: float, span: tuple[float, float]) -> float:
    return min(max(value, span[0]), span[1])


def _stages(axes: Any, looks: Sequence[Look], top: float) -> None:
    begun = 0
    for position, one in enumerate(looks):
        ends = position + 1 == len(looks) or looks[position + 1].stage != one.stage
        if not ends:
            continue
        shade = _SHADES.get(one.stage.split()[0], "#ffffff")
        axes.axvspan(begun - 0.5, position + 0.5, color=shade, linewidth=0, zorder=0)
        axes.text(begun - 0.45, top, one.stage, fontsize=8, color=_GREY, va="bottom", ha="left")
        begun = position + 1


def _range(looks: Sequence[Look], margin: float) -> tuple[float, float]:
    """Return the span of the axis: all bounds that are, the margin, and a little room."""
    values = [0.0, margin]
    for one in looks:
        for _, low, high in filter(None, [(one.estimate, one.low, one.high), one.later]):
            values += [edge for edge in (low, high) if math.isfinite(edge)]
    low, high = max(min(values), -4 * margin), min(max(values), 4 * margin)
    room = 0.08 * (high - low)
    return low - room, high + room

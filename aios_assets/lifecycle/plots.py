"""Small plots as PNG bytes, for asset metadata and model cards."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from aios.statistics.drift import DriftVerdict
    from aios.statistics.metrics import Estimate
    from aios.statistics.selective import Bin, Curve

_BLUE, _RED, _GREY = "#2f6db5", "#c23b22", "#9aa5b1"


def metric_bars(metrics: "Mapping[str, Estimate]") -> bytes:
    """Draw each metric with its confidence interval."""
    known = {name: one for name, one in metrics.items() if one.value == one.value}
    figure, axes = _figure(height=0.35 * max(len(known), 2) + 0.6)
    for position, one in enumerate(known.values()):
        axes.plot([one.low, one.high], [position, position], color=_GREY, linewidth=3)
        axes.plot(one.value, position, "o", color=_BLUE)
    axes.set_yticks(range(len(known)), list(known))
    axes.invert_yaxis()
    return png_of(figure)


def history_line(
    keys: Sequence[str], values: Sequence[float], title: str, alarms: Sequence[str] = ()
) -> bytes:
    """Draw one value a partition, alarms in red."""
    figure, axes = _figure(height=2.0, left=0.1)
    axes.plot(range(len(keys)), values, "-o", color=_BLUE, markersize=3, linewidth=1)
    for position, key in enumerate(keys):
        if key in alarms:
            axes.axvline(position, color=_RED, linewidth=1)
    step = max(len(keys) // 6, 1)
    axes.set_xticks(range(0, len(keys), step), list(keys)[::step], rotation=20, fontsize=7)
    axes.set_title(title, fontsize=9, loc="left")
    return png_of(figure)


def drift_bars(verdict: "DriftVerdict", min_effect: float, most: int = 12) -> bytes:
    """Draw the distance of each column, drifted ones in red, beside the smallest that counts."""
    columns = verdict.columns[:most]
    figure, axes = _figure(height=0.22 * max(len(columns), 2) + 0.6)
    colors = [_RED if column.drifted else _GREY for column in columns]
    axes.barh(range(len(columns)), [column.distance for column in columns], color=colors)
    axes.axvline(min_effect, color=_BLUE, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(columns)), [column.column for column in columns], fontsize=7)
    axes.invert_yaxis()
    return png_of(figure)


def calibration_curve(bins: "Sequence[Bin]") -> bytes:
    """Draw how often rows were right against how sure the model was of them."""
    figure, axes = _figure(height=2.6, left=0.1)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    axes.plot([one.confidence for one in bins], [one.right for one in bins], "-o", color=_BLUE)
    axes.set_title("right, against confidence", fontsize=9, loc="left")
    return png_of(figure)


def coverage_curve(found: "Curve", max_wrong: float) -> bytes:
    """Draw the share that is wrong against the share that is acted on."""
    figure, axes = _figure(height=2.2, left=0.1)
    axes.step(found.coverage, found.wrong, color=_BLUE, where="post")
    axes.axhline(max_wrong, color=_RED, linewidth=1, linestyle="--")
    axes.set_title("wrong, against the share acted on", fontsize=9, loc="left")
    return png_of(figure)


def as_markdown(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """Return a picture as markdown metadata, which the UI shows in place."""
    return dg.MetadataValue.md(
        f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
    )


def _figure(height: float, left: float = 0.28) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    # Fixed margins: working them out takes longer than drawing.
    figure = Figure(figsize=(5.2, height), dpi=80)
    axes = figure.add_axes((left, 0.35 / height, 0.96 - left, 1 - 0.65 / height))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png_of(figure: Any) -> bytes:
    """Return a figure as PNG, without anything that depends on when it is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

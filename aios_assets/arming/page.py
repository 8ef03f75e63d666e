"""What an arming showed, as a page with its plot, and as rows of a table."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from aios_assets.arming.figures import Rate

if TYPE_CHECKING:
    from pathlib import Path

    from aios.lake import Lake

HEADER = ("fault", "in", "harm", "harmful", "gate", "drift", "rollout", "after", "by", "decided")


def rate_text(rate: dict[str, Any]) -> str:
    """Return a rate with its interval in words."""
    return Rate(**rate).text


def table(result: dict[str, Any]) -> list[list[str]]:
    """Return a row of text for each fault, then one for all of them; see `HEADER`.

    `harm` is the median of the version's loss beyond the champion's, as a share of that; `harmful`
    how many of the trials count. The rates are of these: failed by the gate, named by the drift
    verdict, ended by the rollout; the rollout's with the median delay, the metric that was worse
    most often, and the share of rows that they decided, in the mean and in the worst partition.
    """
    everything = {**result["all"], "kind": "all harmful", "feature": "", "harm": None}
    return [_row(one) for one in (*result["faults"], everything)]


def _row(one: dict[str, Any]) -> list[str]:
    first = next(iter(one["metrics"]), "-")
    return [
        one["kind"],
        one["feature"] or "-",
        _percent(one["harm"], signed=True),
        f"{one['harmful']} of {one['trials']}",
        rate_text(one["gate"]),
        rate_text(one["drift"]),
        rate_text(one["rollout"]),
        f"{_number(one['partitions'])} ({_number(one['rows'])} rows)" if one["rows"] else "-",
        first,
        f"{_percent(one['decided'])}, most {_percent(one['most_decided'])}"
        if one["harmful"]
        else "-",
    ]


def metrics_table(result: dict[str, Any]) -> list[list[str]]:
    """Return which share of the harmful versions each metric was worse for, by sort of fault.

    The first row names the metrics, the most telling first.
    """
    metrics = list(result["all"]["metrics"])
    kinds = {**result["kinds"], "all harmful": result["all"]}
    rows = [
        [
            kind,
            *(
                rate_text(one["metrics"][name]) if name in one["metrics"] else "-"
                for name in metrics
            ),
        ]
        for kind, one in kinds.items()
        if one["harmful"]
    ]
    return [["worse by", *metrics], *rows]


def sentences(result: dict[str, Any]) -> list[str]:
    """Return what an arming comes to, in words."""
    equal, past, every = result["equal"], result["history"], result["all"]
    drawn = "consecutive" if past["block"] == past["longest"] else f"blocks of {past['block']}"
    return [
        f"Equal versions: {rate_text(equal['false_rollback'])} of {result['trials']} were ended as "
        f"worse, {rate_text(equal['promoted'])} promoted in {_number(equal['partitions'])} "
        f"partitions, {rate_text(equal['undecided'])} came to no verdict; the gate refuses "
        f"{rate_text(equal['refused_by_gate'])}.",
        f"Harmful versions: {rate_text(result['detection'])} of {every['harmful']} were detected "
        f"by gate or rollout; {every['kept']} stayed champion, {every['undecided']} came to no "
        f"verdict.",
        f"Version {result['champion']}'s recipe {result['recipe']}, trained on "
        f"{past['fitted']:,} rows drawn again; windows of {past['longest']} partitions out of "
        f"{len(past['partitions'])} ({past['rows']:,} rows), {drawn}. All trials share them: "
        f"intervals are too narrow.",
    ]


def write_page(result: dict[str, Any], reports: Lake, name: str) -> Path:
    """Write the page among an automation's reports."""
    said = "".join(f"<p>{html.escape(one)}</p>" for one in (*sentences(result), _standing(result)))
    image = base64.b64encode(detection_plot(result)).decode()
    content = _PAGE.format(
        title=html.escape(f"{result['automation']} armed, {result['at']} UTC"),
        said=said,
        image=image,
        faults=_rows([list(HEADER), *table(result)]),
        metrics=_rows(metrics_table(result)),
    )
    return reports.write_bytes("arming", name, "html", content.encode())


def _rows(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in body]
    return "".join(f"<tr>{line}</tr>" for line in lines)


def _standing(result: dict[str, Any]) -> str:
    if result["targets"] is None:
        return "No targets are declared: nothing depends on these figures."
    if result["below_target"]:
        return f"It may not roll out without a person: {result['below_target']}."
    return "It meets its targets: it may roll out without a person."


def detection_plot(result: dict[str, Any]) -> bytes:
    """Draw the share of harmful versions that rollouts ended, by partitions that had passed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    curves = {name: (one["ended_after"], one["harmful"]) for name, one in result["kinds"].items()}
    lasted = max((after[-1] for after, _ in curves.values() if after), default=1)
    equal = result["equal"]["ended_after"]
    lasted = max([lasted, *equal])
    moments = np.arange(lasted + 1)
    for name, (after, n) in curves.items():
        if n:
            ended = np.searchsorted(after, moments, side="right") / n
            axes.step(moments, ended, where="post", label=f"{name} ({n})")
    ended = np.searchsorted(equal, moments, side="right") / result["trials"]
    axes.step(moments, ended, where="post", color="black", label=f"equal ({result['trials']})")
    axes.set(ylim=(-0.03, 1.03), xlabel="partitions in rollout")
    axes.set_title(
        "share of harmful versions, and of equal ones, that the rollout ended",
        fontsize=9,
        loc="left",
    )
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _percent(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.0%}" if signed else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; background: white; border-radius: 6px; }}
table {{ border-collapse: collapse; width: 100%; font-size: .82rem; margin-bottom: 1.5rem; }}
th, td {{ text-align: left; padding: .3rem .5rem; border-bottom: 1px solid #8884; }}
.wide {{ overflow-x: auto; }}
</style>
<h1>{title}</h1>{said}
<img alt="share of harmful versions ended, by partitions" src="data:image/png;base64,{image}">
<p>Figures are of the harmful versions, intervals of 95 %. A fault that lives in production alone
has no figure at the gate.</p>
<div class="wide"><table>{faults}</table><table>{metrics}</table></div></html>
"""

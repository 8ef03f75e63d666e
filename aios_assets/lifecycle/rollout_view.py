"""A rollout report for people: pictures, tables and sentences, in Dagster's UI and as a page."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from aios.automation import Automation
from aios.windows import Window
from aios_assets.lifecycle.common import markdown_table
from aios_assets.lifecycle.plots import as_markdown
from aios_assets.lifecycle.rollout_plots import Look, sequence_plot

Finding = dict[str, Any]
Looks = Mapping[str, Finding]

DRAWN = {
    "loss": "share of the champion's loss",
    "disagreement": "share of events",
}
"""The metrics whose sequence is drawn, one of labels and one that needs none, with their units."""

READING = (
    "Mean harm is the challenger's figure less the champion's on the same events: above 0 the "
    "challenger is worse. The bounds hold at every look at once. Worse: the lower bound is above "
    "the limit and the mean at least the margin. Not worse: the upper bound is below the margin."
)

WHOLE = "whole"
BOUNDS = ("estimate", "low", "high")

METRIC_HEAD = ["metric", "over", "verdict", "mean harm", "surely from", "to", "margin", "rows"]
METRIC_HEAD += ["missing", "why"]
SLICE_HEAD = ["slice", "value", "rows", "challenger", "champion", "difference"]


def metadata_of(
    automation: Automation, window: Window, found: Sequence[Finding], looks: Sequence[Looks]
) -> dict[str, Any]:
    """Return the metadata of the asset; with several versions each name says which."""
    if not found:
        return {"rollout": "none under way", "verdict": "none"}
    metadata: dict[str, Any] = {}
    for one, before in zip(found, looks, strict=True):
        of = f"version {one['version']}: " if len(found) > 1 else ""
        metadata[f"{of}rollout"] = stands(one)
        metadata[f"{of}verdict"] = verdict_of(one)
        metadata[f"{of}waits for"] = dg.MetadataValue.md(_bullets(waits(automation, one)))
        for name, picture in pictures(one, before).items():
            metadata[f"{of}{name}"] = as_markdown(picture, name)
        if one["metrics"]:
            metadata[f"{of}how to read it"] = READING
            metadata[f"{of}metrics"] = markdown_table(METRIC_HEAD, metric_rows(one))
        if one["slices"]:
            metadata[f"{of}loss by slice"] = markdown_table(SLICE_HEAD, slice_rows(one))
    return metadata


def stands(finding: Finding) -> str:
    """Say where a version stands, since when, and beside which champion."""
    beside = f" beside version {finding['champion']}" if finding["champion"] else ""
    since = datetime.fromisoformat(finding["since"])
    state = stage_name(finding["state"], finding["share"])
    if finding["state"] == "champion":
        beside = f", in place of version {finding['champion']}, which is still compared with it"
    return f"version {finding['version']}, {state} since {since:%Y-%m-%d}{beside}"


def stage_name(state: str, share: float) -> str:
    """Return a stage in words: `shadow`, `canary 25 %`."""
    return f"{state} {100 * share:g} %" if share and state != "champion" else state


def verdict_of(finding: Finding) -> str:
    """Return the verdict with what it rests on, in one line."""
    later = ", provisional: labels may still change it" if finding["provisional"] else ""
    return f"{finding['status']}{later} ({labels_in_words(finding)})"


def labels_in_words(finding: Finding) -> str:
    """Say how many of the labels have matured."""
    labels = finding["labels"]
    if not labels:
        return "no events yet"
    if not labels["measurable"]:
        return "too few labels so far to say how long they take"
    return f"labels {labels['matured']:.0%} matured"


def waits(automation: Automation, finding: Finding) -> list[str]:
    """Say what stands between a version and its next step, and when that should be there."""
    declared = automation.spec.rollout
    assert declared
    if finding["state"] == "champion":
        until = datetime.fromisoformat(finding["since"]) + declared.reopen
        return [f"Nothing. Late labels can take it back until {until:%Y-%m-%d}."]
    if finding["status"] == "worse":
        return ["Nothing. The next tick of the rollout sensor ends it."]
    if not finding["keys"]:
        return ["The first partition that champion and version both score."]
    said = [f"{one['metric']}: {one['what']}; {_expected(one)}." for one in finding["waits_for"]]
    if not said and not finding["partitions"]:
        said = [f"A partition in {stage_name(finding['state'], finding['share'])}."]
    if said:
        left = max(declared.patience - finding["partitions"], 0)
        said.append(f"Without it the rollout ends after {left} more partitions of this stage.")
    return said or ["Nothing. The next tick of the rollout sensor takes it a step further."]


def _expected(one: Mapping[str, Any]) -> str:
    if one["partitions"] is None:
        return "when cannot be said yet"
    if not one["at"]:
        return "with the next report"
    many = "partition" if one["partitions"] == 1 else "partitions"
    at = datetime.fromisoformat(one["at"])
    return f"expected after {one['partitions']} more {many}, {at:%Y-%m-%d}"


def metric_rows(finding: Finding) -> list[tuple[Any, ...]]:
    """Return the rows of the table of metrics, those that stop a rollout marked."""
    return [
        (
            f"{one['metric']}{' (critical)' if one['critical'] else ''}",
            one["scope"],
            one["status"] + (", provisional" if one["provisional"] else ""),
            *(_number(one[name]) for name in ("estimate", "low", "high", "margin")),
            f"{one['rows']:,}",
            f"{one['missing']:,}",
            _why(one),
        )
        for one in finding["metrics"]
    ]


def _why(one: Mapping[str, Any]) -> str:
    if one["status"] != "insufficient":
        return ""
    reason = str(one["reason"]).split(":")[0]
    return f"{reason}, {one['needed']:,} more rows needed" if one["needed"] else reason


def slice_rows(finding: Finding) -> list[tuple[Any, ...]]:
    """Return the rows of the table of slices."""
    return [
        (
            one["slice"],
            one["value"],
            f"{one['rows']:,}",
            *(_number(one[name]) for name in ("challenger", "champion", "difference")),
        )
        for one in finding["slices"]
    ]


def pictures(finding: Finding, looks: Looks) -> dict[str, bytes]:
    """Return the drawn sequences by title, of the metrics that are watched."""
    drawn = {}
    for metric, unit in DRAWN.items():
        newest = _whole(finding, metric)
        if newest is None:
            continue
        title = f"{metric}: challenger minus champion"
        if metric == "disagreement":
            title = "disagreement: other outcome than the champion's"
        points = [_look(key, one, metric) for key, one in looks.items()]
        drawn[f"{metric} over the rollout"] = sequence_plot(
            [one for one in points if one],
            margin=newest["margin"],
            limit=newest["limit"],
            title=title,
            unit=unit,
        )
    return drawn


def _look(key: str, finding: Finding, metric: str) -> Look | None:
    whole = _whole(finding, metric)
    if whole is None:
        return None
    worst = _worst_start(finding, metric)
    return Look(
        key,
        stage_name(finding["state"], finding["share"]),
        **{name: whole[name] for name in BOUNDS},
        later=(worst["estimate"], worst["low"], worst["high"]) if worst else None,
    )


def _whole(finding: Finding, metric: str) -> Mapping[str, Any] | None:
    found = (o for o in finding["metrics"] if (o["metric"], o["scope"]) == (metric, WHOLE))
    return next(found, None)


def _worst_start(finding: Finding, metric: str) -> Mapping[str, Any] | None:
    """Return the later start from which a metric is worst; None where it is worse from none."""
    later = [one for one in finding["metrics"] if one["metric"] == metric and one["scope"] != WHOLE]
    return max(later, key=lambda one: float(one["low"]), default=None)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "none"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def page_of(
    automation: Automation, window: Window, found: Sequence[Finding], looks: Sequence[Looks]
) -> str:
    """Return the same as one HTML page with its pictures inside."""
    parts = []
    for one, before in zip(found, looks, strict=True):
        parts += [
            f"<h2>{html.escape(stands(one))}</h2>",
            f"<p><strong>{html.escape(verdict_of(one))}</strong></p>",
            *(f"<p>{html.escape(line)}</p>" for line in one["reasons"]),
            "<h3>Waits for</h3>",
            *(f"<p>{html.escape(line)}</p>" for line in waits(automation, one)),
            *(_image(name, png) for name, png in pictures(one, before).items()),
            f"<p>{html.escape(READING)}</p>",
            _table("Metrics", METRIC_HEAD, metric_rows(one)),
            _table("Loss by slice", SLICE_HEAD, slice_rows(one)),
        ]
    title = f"{automation.name}: rollout at the end of {window.key}"
    return _PAGE.format(title=html.escape(title), body="\n".join(parts))


def _image(name: str, png: bytes) -> str:
    content = base64.b64encode(png).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{content}">'


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    header = _cells("th", head)
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return (
        f'<h3>{html.escape(title)}</h3><div class="wide"><table><thead><tr>{header}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cells(tag: str, values: Sequence[Any]) -> str:
    return "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; background: white; border-radius: 6px; margin: .5rem 0; display: block; }}
table {{ border-collapse: collapse; width: 100%; font-size: .85rem; }}
td:first-child {{ white-space: nowrap; }}
th, td {{ text-align: left; padding: .3rem .5rem; border-bottom: 1px solid #8884; }}
.wide {{ overflow-x: auto; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""

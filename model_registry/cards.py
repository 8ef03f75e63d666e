"""Model cards: what a version is for, what it was made from, how good it is, where its limits are.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from aios.statistics.metrics import Estimate
    from model_registry.gate import CandidateVerdict

GATE = "## Gate"
APPROVALS = "## Approvals"

SMALL_SLICE = 100
"""Rows below which the card warns of a slice's figures."""

MISSING_WORTH_SAYING = 0.01
"""Share of missing values from which the card names a feature."""


@dataclass(frozen=True)
class TrainingData:
    """What a version was trained and measured on.

    Attributes:
        rows: Training rows.
        held_out: Rows that it was measured on, later than the training rows.
        first: First event time.
        last: Last event time, of the held-out rows too.
        digest: Of the whole set.
        label_delay: In words, such as `30 days`.
        window: Which labelled rows were taken, in words.
    """

    rows: int
    held_out: int
    first: datetime
    last: datetime
    digest: str
    label_delay: str
    window: str


@dataclass(frozen=True)
class Card:
    """Everything that a model card says.

    Attributes:
        intended_use: The decision that the score is for, in words.
        label: The label's column.
        metrics: On the held-out rows.
        confidence: Level of the metrics' intervals.
        slices: From `aios.statistics.slices.by_slice`.
        gaps: From `aios.statistics.slices.fairness_gaps`; empty without slices.
        limits: From `limits`.
        verdict: The gate's; None when it was not asked.
        promotion: Who lets it decide: `manual` or `automatic`.
        metric: The one shown for slices; the first of `metrics` when not given.
    """

    automation: str
    candidate: str
    intended_use: str
    owners: Sequence[str]
    risk: str
    task: str
    label: str
    params: Mapping[str, object]
    data: TrainingData
    metrics: Mapping[str, Estimate]
    confidence: float
    slices: pl.DataFrame
    gaps: pl.DataFrame
    limits: Sequence[str]
    verdict: CandidateVerdict | None
    promotion: str
    metric: str | None = None


def limits(
    features: pl.DataFrame, slices: pl.DataFrame, *, drifted: Sequence[str] | None = None
) -> list[str]:
    """What the training data says about where a model should not be relied on.

    Args:
        features: The training rows' feature columns.
        slices: From `aios.statistics.slices.by_slice`.
        drifted: Features found to have drifted when it was trained; None when not measured.
    """
    said = ["Says nothing about values outside those it was trained on: " + _ranges(features)]
    missing = {
        name: features[name].null_count() / features.height
        for name in features.columns
        if features.height
    }
    gaps = [
        f"`{name}` {share:.0%}"
        for name, share in sorted(missing.items(), key=lambda item: -item[1])
        if share >= MISSING_WORTH_SAYING
    ]
    if gaps:
        said.append(f"Missing in the training rows: {', '.join(gaps)}.")
    small = slices.filter(pl.col("n") < SMALL_SLICE).unique(["slice", "value"], maintain_order=True)
    if small.height:
        names = ", ".join(f"{r['slice']} = {r['value']} ({r['n']})" for r in small.to_dicts())
        said.append(f"Too few held-out rows to judge these slices: {names}.")
    if drifted is None:
        said.append("Drift was not measured when it was trained.")
    elif drifted:
        names = ", ".join(f"`{name}`" for name in drifted)
        said.append(f"Its inputs were drifting when it was trained: {names}.")
    else:
        said.append("No drift of its inputs was found when it was trained.")
    return said


def model_card(card: Card) -> str:
    """The card as Markdown, without anything that depends on when it is written."""
    sections = [
        f"# {card.automation}: {card.candidate}",
        _table(
            ["", ""],
            [
                ["Intended use", card.intended_use],
                ["Task", f"{card.task} of `{card.label}`"],
                ["Risk class", card.risk],
                ["Owners", ", ".join(card.owners)],
                ["Parameters", _params(card.params)],
            ],
        ),
        "## Data",
        _table(["", ""], _data_rows(card.data)),
        "## Performance",
        f"On the {card.data.held_out:,} held-out rows, with {card.confidence:.0%} intervals.",
        _table(["metric", "value", "interval"], [_metric(*item) for item in card.metrics.items()]),
        "## Slices",
        _slices(card.slices, card.metric or next(iter(card.metrics), "")),
        "## Fairness",
        _fairness(card.gaps),
        "## Limits",
        "\n".join(f"- {limit}" for limit in card.limits),
        GATE,
        _gate(card.verdict),
        APPROVALS,
        _promotion(card.promotion),
    ]
    return "\n\n".join(sections) + "\n"


def with_verdict(text: str, verdict: CandidateVerdict, *, limit: int) -> str:
    """The card with a gate's verdict in the place of the former one."""
    head, _, approvals = _parts(text)
    return _fitted(head, _gate(verdict), approvals, limit)


def with_approvals(text: str, approvals: Sequence[str], *, limit: int) -> str:
    """A card of at most `limit` characters whose last section lists the approvals.

    Args:
        text: The card, with or without approvals.
        approvals: One sentence each, oldest first.
        limit: See `shorten`. When the approvals alone are too long, the oldest go.
    """
    head, gate, _ = _parts(text)
    kept = list(approvals)
    while len(kept) > 1 and len(gate) + sum(len(line) + 3 for line in kept) > limit // 2:
        kept = kept[1:]
    return _fitted(head, gate, "\n".join(f"- {approval}" for approval in kept), limit)


def shorten(text: str, limit: int) -> str:
    """The card in at most `limit` characters: what comes before the gate is cut, and says so."""
    return text if len(text) <= limit else _fitted(*_parts(text), limit)


_CUT = "\n\n*The card continues in `card.md` among the run's artefacts.*"


def _parts(text: str) -> tuple[str, str, str]:
    """What comes before the gate's section, that section, and the approvals."""
    rest, _, approvals = text.partition(f"\n{APPROVALS}\n")
    head, _, gate = rest.partition(f"\n{GATE}\n")
    return head.rstrip(), gate.strip(), approvals.strip()


def _fitted(head: str, gate: str, approvals: str, limit: int) -> str:
    sections = [(GATE, gate), (APPROVALS, approvals)]
    tail = "".join(f"\n\n{title}\n\n{content}" for title, content in sections if content) + "\n"
    if not head.endswith(_CUT) and len(head) + len(tail) <= limit:
        return head + tail
    head, room = head.removesuffix(_CUT), limit - len(tail) - len(_CUT)
    if len(head) > room:
        head = head[: max(room, 0)].rsplit("\n", 1)[0].rstrip()
    return (head + _CUT + tail)[:limit]


def _ranges(features: pl.DataFrame) -> str:
    said = []
    for name in features.columns:
        column = features[name].drop_nulls()
        if column.is_empty():
            said.append(f"`{name}` never present")
        elif column.dtype.is_numeric():
            said.append(f"`{name}` {_figure(column.min())} to {_figure(column.max())}")
        else:
            said.append(f"`{name}` {column.n_unique()} values")
    return "; ".join(said) + "."


def _data_rows(data: TrainingData) -> list[list[str]]:
    return [
        ["Training rows", f"{data.rows:,}"],
        ["Held-out rows", f"{data.held_out:,}, later than the training rows"],
        ["Event time", f"{data.first:%Y-%m-%d} to {data.last:%Y-%m-%d}"],
        ["Window", data.window],
        ["Label delay", data.label_delay],
        ["Digest", f"`{data.digest}`"],
    ]


def _metric(name: str, found: Estimate) -> list[str]:
    return [name, _figure(found.value), _interval(found.low, found.high)]


def _slices(slices: pl.DataFrame, metric: str) -> str:
    shown = slices.filter(pl.col("metric") == metric)
    if shown.is_empty():
        return "No slices are declared for this automation."
    rows = [
        [
            f"{row['slice']} = {row['value']}",
            f"{row['n']:,}",
            _figure(row["estimate"]),
            _interval(row["low"], row["high"]),
        ]
        for row in shown.to_dicts()
    ]
    return _table(["slice", "rows", metric, "interval"], rows)


def _fairness(gaps: pl.DataFrame) -> str:
    if gaps.is_empty():
        return "No groups are declared to compare."
    said = []
    for row in gaps.to_dicts():
        rate = row["rate"].replace("_", " ")
        if row["highest"] is None or not math.isfinite(row["gap"]):
            said.append(f"- {row['slice']}: too few rows to compare the {rate} of groups.")
            continue
        few = ", ".join(row["left_out"])
        said.append(
            f"- {row['slice']}: the {rate} differs by {row['gap']:.3f}, from "
            f"{row['lowest_rate']:.3f} ({row['lowest']}) to {row['highest_rate']:.3f} "
            f"({row['highest']})." + (f" Left out for too few rows: {few}." if few else "")
        )
    return "\n".join(said)


def _gate(verdict: CandidateVerdict | None) -> str:
    if verdict is None:
        return "It has not been to the gate."
    return f"**{verdict.status}**\n\n" + "\n".join(f"- {reason}" for reason in verdict.reasons)


def _promotion(promotion: str) -> str:
    if promotion == "automatic":
        return "None yet. As the best candidate to pass the gate it is promoted without a person."
    return "None yet. It decides nothing before a person promotes it (`aios promote`)."


def _params(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in params.items()) or "defaults"


def _figure(value: object) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _interval(low: float, high: float) -> str:
    return f"{_figure(low)} to {_figure(high)}" if math.isfinite(low + high) else "n/a"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        safe = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        return f"| {' | '.join(safe)} |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows)])

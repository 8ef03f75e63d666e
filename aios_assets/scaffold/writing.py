"""What the templates are filled with: the table's findings as YAML, Python and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import yaml

from aios.windows import Cadence, window_at
from aios_assets.scaffold.columns import Column, Kind, calendar, slices, why_unusable
from aios_assets.scaffold.table import Table, Task

# Two partitions, at most four weeks.
COOLDOWNS: dict[Cadence, str] = {"daily": "2d", "weekly": "14d", "monthly": "28d"}


def template_values(
    name: str,
    source: str,
    table: Table,
    columns: list[Column],
    features: Mapping[str, Column],
    task: Task,
    cadence: Cadence,
    delay: str,
) -> dict[str, str]:
    """Return the value of every placeholder of the templates.

    Args:
        name: Of the automation.
        source: Path of the table from the automation's folder.
        table: The table.
        columns: Its columns that stand in the contract.
        features: Those that become features, by the names of the features.
        task: What to learn.
        cadence: How long a partition is.
        delay: How long after the event its outcome is known, as it was given.
    """
    rows, parts = table.frame.height, calendar(table)
    min_rows = _first_training(table, task)
    classification = task == "classification"
    kinds = {one: "category" if c.kind == "category" else "number" for one, c in features.items()}
    kinds |= dict.fromkeys(parts, "number")
    purpose = f"Predict {table.target} of each row of {table.data.name}."
    return {
        "name": name,
        "description": _quoted(purpose),
        "purpose": _plain(purpose),
        "owner": _quoted(f"team:{name}"),
        "task": task,
        "table": _quoted(source),
        "start": str(window_at(cadence, table.first).start.date()),
        "end": str(window_at(cadence, table.last).end.date()),
        "first": f"{table.first:%Y-%m-%d}",
        "last": f"{table.last:%Y-%m-%d}",
        "rows": f"{rows:,}",
        "id": _quoted(table.id),
        "entity": _quoted(table.entity),
        "time": _quoted(table.time),
        "target": _quoted(table.target),
        "cadence": cadence,
        "delay": delay,
        "slices": ", ".join(map(_quoted, slices(columns))),
        "columns": _contract(table, columns),
        "features": "\n".join(f"        {_quoted(one)}: {kind}" for one, kind in kinds.items()),
        # One candidate: to choose among several by a small holdout costs more than it brings.
        "candidate": "blend" if classification else "blend_regression",
        "min_rows": str(min_rows),
        "gate_rows": str(max(20, min(100, min_rows // 4))),
        "drift_rows": str(min(200, max(20, rows // 20))),
        "ignore": "event_weekday" if cadence == "daily" and "event_weekday" in parts else "",
        "cooldown": COOLDOWNS[cadence],
        "metric": "roc_auc" if classification else "r2",
        "floor": "0.55" if classification else "0.0",
        "floor_means": "0.5 is chance" if classification else "as good as the rows' own mean",
        "threshold": "0.5" if classification else f"{table.labels.quantile(0.9):.4g}",
        "id_literal": _literal(table.id),
        "numbers": _mapping(features, "number"),
        "categories": _mapping(features, "category"),
        "days": _mapping(features, "days"),
        "calendar": "".join(
            f'\n        pl.col("event_time").dt.{part}().cast(pl.Float64).alias("{one}"),'
            for one, part in parts.items()
        ),
        "time_name": _plain(table.time),
        "target_name": _plain(table.target),
        "facts": _facts(table, features, parts, task),
        "left_out": _left_out(table, columns),
    }


def _first_training(table: Table, task: Task) -> int:
    """Rows for the first training: what the table can give.

    The gate sees the newest quarter. Where a class is rare, training waits until that quarter is
    likely to hold some fifteen of it.
    """
    labels = table.labels.drop_nulls()
    wanted = 400.0
    if task == "classification":
        share = float(labels.mean())  # type: ignore[arg-type]
        wanted = max(wanted, 60 / min(share, 1 - share))
    return int(min(wanted, labels.len() // 2))


def _contract(table: Table, columns: list[Column]) -> str:
    """The columns of the contract, with what each held as a comment.

    A column is required when the table leaves no doubt: it was never empty, and by the rule of
    three (none in n rows: at most 3/n) all such columns together cost at most 5 % of later rows.
    """
    filled = [one.name for one in columns if not one.values.null_count()]
    required = {table.id, table.time}
    if 3 * len(filled) / table.frame.height <= 0.05:
        required.update(filled)
    lines = []
    for one in columns:
        rules = f"type: {one.type}"
        rules += ", required: true" if one.name in required else ""
        counts = one.type == "integer" and cast("int", one.values.min()) >= 0
        rules += ", min: 0" if counts and one.name not in {table.id, table.entity} else ""
        lines.append(f"      {_quoted(one.name)}: {{{rules}}}  # {_held(one)}")
    return "\n".join(lines)


def _held(column: Column) -> str:
    present = column.values.drop_nulls()
    if present.is_empty():
        return "always empty"
    low, high = cast("Any", present.min()), cast("Any", present.max())
    if column.type in ("integer", "number"):
        held = f"{low:g} to {high:g}"
    elif column.type == "boolean":
        held = f"{cast('float', present.mean()):.1%} true"
    elif column.type == "time":
        held = f"{low:%Y-%m-%d} to {high:%Y-%m-%d}"
    else:
        common = present.value_counts(sort=True)["value"].to_list()
        shown = _plain(", ".join(value[:30] for value in sorted(common[:4])))
        held = f"{len(common)} values: {shown}{', ...' if len(common) > 4 else ''}"
    empty = 1 - present.len() / column.values.len()
    return f"{held}, {empty:.2%} empty" if empty else held


def _facts(
    table: Table, features: Mapping[str, Column], parts: Mapping[str, str], task: Task
) -> str:
    labels = table.labels.drop_nulls()
    low, high, mean = (cast("float", one) for one in (labels.min(), labels.max(), labels.mean()))
    outcome = (
        f"{mean:.1%} yes" if task == "classification" else f"{low:g} to {high:g}, mean {mean:g}"
    )
    if unknown := table.labels.null_count():
        outcome += f"; {unknown:,} rows without one are not yet labelled"
    lines = [
        f"- {table.frame.height:,} rows from {table.first} to {table.last}",
        f"- {task} of `{_plain(table.target)}`: {outcome}",
        " and ".join([f"- {len(features)} columns as features", *(f"`{one}`" for one in parts)]),
    ]
    lines += [
        f"- `{_plain(column.name)}` is feature `{name}`"
        for name, column in features.items()
        if name != column.name
    ]
    if damaged := table.times.null_count():
        lines.append(f"- {damaged} rows without a readable time go to quarantine")
    return "\n".join(lines)


def _left_out(table: Table, columns: list[Column]) -> str:
    reasons = {name: why_unusable(table, name) for name in table.frame.columns}
    reasons |= {one.name: one.why_not for one in columns}
    lines = [
        f"- `{_plain(name)}` {reason}"
        for name, reason in reasons.items()
        if reason and name != table.target
    ]
    return "\n".join(lines) or "- none"


def _mapping(features: Mapping[str, Column], kind: Kind) -> str:
    """A dictionary as Python source, feature -> column, one entry a line."""
    lines = [
        f"    {_literal(one)}: {_literal(c.name)},\n"
        for one, c in features.items()
        if c.kind == kind
    ]
    return "{\n" + "".join(lines) + "}" if lines else "{}"


def _quoted(text: str) -> str:
    """A text as a YAML scalar that reads back as this text, also inside braces."""
    style = None if text.isprintable() else '"'  # the other styles break lines instead of \\n
    dumped = yaml.safe_dump([text], default_flow_style=True, default_style=style, width=10**9)
    return dumped.rstrip("\n").removeprefix("[").removesuffix("]")


def _literal(text: str) -> str:
    """A text as Python source; what JSON writes, Python reads as the same text."""
    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    """A text on one line, with nothing that a YAML comment or Markdown would not bear."""
    return "".join(c if c.isprintable() else " " for c in text).replace("`", "'").strip()

"""What the tuner rests on, and the proposals that it leaves for a person to look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from aios.errors import AiosError
from aios.review.reviewed import outcomes_by_people, read
from aios.review.tuner import Tuning, tune

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database
    from aios.lake import Lake

LABEL, VERDICT = "label", "verdict"
"""Where a truth is from."""


def tuned(automation: Automation, lake: Lake, database: Database, home: Path) -> Tuning:
    """Look for better thresholds of an automation's policy, and write what came of it.

    The folder of the automation stays as it is: a person looks at the files, takes the new policy
    over, and proposes it as any other change.

    Args:
        automation: Whose policy.
        lake: Its lake.
        database: Where its verdicts are.
        home: Below it, `proposals/NAME/policy-vN.yaml`, `.json` and `.md` are written.

    Raises:
        AiosError: Costs are not declared.
    """
    costs, review = automation.spec.costs, automation.spec.review
    if costs is None:
        raise AiosError(
            "it declares no costs, by which thresholds could be compared",
            where=automation.name,
            fix="Declare 'costs' in its defs.yaml.",
        )
    text = (automation.folder / automation.spec.policy).read_text()
    decided = history(automation, lake, outcomes_by_people(read(database, automation, lake)))
    approving, capacity = (review.approving, review.capacity) if review else (["approve"], 1.0)
    tuning = tune(text, automation.policy, decided, costs, approving=approving, capacity=capacity)
    folder = proposals_of(home, automation.name)
    name = f"policy-v{automation.policy.version + 1}"
    _write(folder, name, tuning)
    return tuning


@dataclass(frozen=True)
class Left:
    """What a tuning left behind.

    Attributes:
        report: Markdown.
        found: `Tuning.as_dict`.
        policy: The policy file that it proposes, if it does.
    """

    report: str
    found: dict[str, Any]
    policy: str | None


def newest(home: Path, name: str) -> Left | None:
    """Return what the tuner left behind last for an automation; None where it never looked."""
    reports = sorted(proposals_of(home, name).glob("policy-v*.md"), key=_modified)
    if not reports:
        return None
    report, policy = reports[-1], reports[-1].with_suffix(".yaml")
    found = json.loads(report.with_suffix(".json").read_bytes())
    return Left(report.read_text(), found, policy.read_text() if policy.exists() else None)


def proposals_of(home: Path, name: str) -> Path:
    """Return the folder of an automation's proposals."""
    return home / "proposals" / name


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def history(automation: Automation, lake: Lake, people: pl.DataFrame) -> pl.DataFrame:
    """Return all decisions that are old enough for a label, with what is known of their truth.

    Args:
        automation: Whose.
        lake: Its lake.
        people: See `aios.review.reviewed.outcomes_by_people`.

    Returns:
        The policy's inputs, `score`, `partition`, `label` (of the event, else what the outcome
        that people decided says about it, else null) and `source`.
    """
    identity = automation.spec.id
    inputs = [name for name in automation.policy.inputs if name != "score"]
    frames = []
    for key in lake.partitions("decisions"):
        made = lake.read("decisions", key, [identity, "revision", "known_at", "score"])
        known = lake.read("features", key, [identity, "revision", *inputs])
        rows = made.join(
            known, on=[identity, "revision"], how="left", validate="1:1", maintain_order="left"
        )
        frames.append(rows.with_columns(pl.lit(key).alias("partition")))
    if not frames:
        raise AiosError(
            "nothing was decided yet",
            where=automation.name,
            fix=f"Run it first: aios rehearse {automation.name}",
        )
    rows = pl.concat(frames, how="vertical_relaxed").sort("revision", maintain_order=True)
    rows = rows.unique(identity, keep="last", maintain_order=True)
    truth = _truth(automation, lake, rows.select(identity), people)
    rows = rows.join(truth, on=identity, how="left", maintain_order="left")
    if horizon := _horizon(automation, lake):
        rows = rows.filter(pl.col("known_at") + automation.spec.label.delay <= horizon)
    return rows.select(*inputs, "score", "partition", "label", "source")


def _truth(
    automation: Automation, lake: Lake, ids: pl.DataFrame, people: pl.DataFrame
) -> pl.DataFrame:
    """Return id, `label` and `source` of the events whose truth is known; labels go first."""
    identity, review = automation.spec.id, automation.spec.review
    kinds = {"label": pl.Float64, "source": pl.String}
    frames = []
    if (labels := lake.read_all("labels")) is not None:
        frames.append(labels.with_columns(pl.lit(LABEL).alias("source")).select(identity, *kinds))
    if review and review.labels and people.height:
        said = pl.col("outcome").replace_strict(review.labels, default=None)
        given = (
            people.filter(~pl.col("rehearsed"))
            .select(
                pl.col("event"),
                said.cast(pl.Float64).alias("label"),
                pl.lit(VERDICT).alias("source"),
            )
            .drop_nulls("label")
        )
        named = ids.with_columns(pl.col(identity).cast(pl.String).alias("event"))
        # Before the labels: of several truths about an event the last counts.
        frames.insert(0, named.join(given, on="event", how="inner").select(identity, *kinds))
    empty = ids.clear().with_columns(pl.lit(None, kind).alias(name) for name, kind in kinds.items())
    found = pl.concat([empty, *frames], how="vertical_relaxed")
    return found.unique(identity, keep="last", maintain_order=True)


def _horizon(automation: Automation, lake: Lake) -> datetime | None:
    """Return until when labels were collected; None where there are none at all."""
    keys = lake.partitions("labels")
    return automation.window(keys[-1]).end if keys else None


def shown(tuning: Tuning) -> str:
    """Return a tuning as a Markdown page."""
    lines = [f"**{tuning.status}**: {tuning.why}", ""]
    said = ", ".join(f"{n:,} by {source}" for source, n in sorted(tuning.truth.items()))
    lines += [
        f"Rests on {tuning.rows:,} decisions of {tuning.partitions} partitions; the truth is "
        f"known of {sum(tuning.truth.values()):,} ({said or 'none'}).",
        "",
        *("| rule | present | proposed |", "|---|---|---|"),
        *(f"| {rule} | {old:g} | {new:g} |" for rule, old, new in tuning.thresholds),
    ]
    if tuning.tried:
        lines += ["", "| rule | threshold | expected cost per decision |", "|---|---|---|"]
        lines += [
            f"| {one.rule} | {one.value:g} | {one.why or format(one.cost, '.4g')} |"
            for one in tuning.tried
        ]
    return "\n".join(lines) + "\n"


def _write(folder: Path, name: str, tuning: Tuning) -> None:
    from aios.lake import Lake

    lake = Lake(folder.parent)
    lake.write_json(folder.name, name, tuning.as_dict())
    lake.write_bytes(folder.name, name, "md", shown(tuning).encode())
    if tuning.policy:
        lake.write_bytes(folder.name, name, "yaml", tuning.policy.encode())
    else:
        (folder / f"{name}.yaml").unlink(missing_ok=True)

"""What another policy would have decided, from the stored scores and features, and at what cost."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl

from aios.automation import Automation, load_automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.policy import Policy, load_policy
from aios.settings import Settings
from aios.windows import window_of
from aios_assets.replay.difference import blocks

APPROVE, REVIEW = "approve", "review"


@dataclass(frozen=True)
class Outcome:
    """What became of the decisions with one outcome, under one policy.

    Attributes:
        decisions: How many there are.
        matured: How many of them have a label by now.
        positives: Sum of these labels: events with the label 1, in a classification.
    """

    decisions: int
    matured: int
    positives: float

    @property
    def rate(self) -> float | None:
        """Mean label of the matured ones: the rate of positives, in a classification."""
        return self.positives / self.matured if self.matured else None


@dataclass(frozen=True)
class WhatIf:
    """Two policies over the same decisions.

    Attributes:
        automation: Whose.
        partitions: The window's.
        policies: Hashes of the policies that decided.
        policy: Hash of the other one.
        decisions: In the window.
        changed: How many would have differed.
        matrix: Number of decisions by stored and by other outcome.
        before: What became of each outcome, as decided.
        after: What would have become of it.
        cost_of_review: Of one, as declared; None where nothing is declared.
        output: Where the changed decisions were written, if anywhere.
    """

    automation: str
    partitions: list[str]
    policies: list[str]
    policy: str
    decisions: int
    changed: int
    matrix: dict[tuple[str, str], int]
    before: dict[str, Outcome]
    after: dict[str, Outcome]
    cost_of_review: float | None
    output: str | None

    @property
    def wrongly_approved(self) -> tuple[float, float]:
        """Positives among the approved and matured ones, before and after."""
        nothing = Outcome(0, 0, 0.0)
        one, other = (side.get(APPROVE, nothing) for side in (self.before, self.after))
        return one.positives, other.positives

    @property
    def review_costs(self) -> tuple[float, float] | None:
        """Reviews times their declared cost, before and after."""
        if self.cost_of_review is None:
            return None
        nothing = Outcome(0, 0, 0.0)
        one, other = (side.get(REVIEW, nothing) for side in (self.before, self.after))
        return one.decisions * self.cost_of_review, other.decisions * self.cost_of_review

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        matrix = [
            {"before": before, "after": after, "decisions": n}
            for (before, after), n in sorted(self.matrix.items())
        ]
        sides = {
            name: {key: asdict(one) | {"rate": one.rate} for key, one in side.items()}
            for name, side in (("before", self.before), ("after", self.after))
        }
        costs = {"review_costs": self.review_costs, "wrongly_approved": self.wrongly_approved}
        return {**asdict(self), "matrix": matrix, **sides, **costs}

    def as_text(self) -> str:
        """Return it in lines for people."""
        share = self.changed / self.decisions if self.decisions else 0.0
        lines = [
            f"{self.automation}, {self.partitions[0]} to {self.partitions[-1]}: policy "
            f"{self.policy} instead of {', '.join(self.policies)} changes {self.changed:,} of "
            f"{self.decisions:,} decisions ({share:.1%})"
        ]
        lines += [
            f"  {before} -> {after}: {n:,}"
            for (before, after), n in sorted(self.matrix.items())
            if before != after
        ]
        for outcome in sorted({*self.before, *self.after}):
            sides = (_side(side.get(outcome)) for side in (self.before, self.after))
            lines.append(f"  {outcome}: {' -> '.join(sides)}")
        one, other = self.wrongly_approved
        lines.append(f"  wrongly approved, of those with a label: {one:g} -> {other:g}")
        if self.review_costs:
            lines.append("  reviews cost: {:,.2f} -> {:,.2f}".format(*self.review_costs))
        if self.output:
            lines.append(f"  the changed decisions: {self.output}")
        return "\n".join(lines)


def _side(one: Outcome | None) -> str:
    if one is None:
        return "none"
    rate = "no label yet" if one.rate is None else f"mean label {one.rate:.2%} of {one.matured:,}"
    return f"{one.decisions:,} ({rate})"


def what_if(
    automation: str,
    policy_file: Path,
    settings: Settings,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    output: Path | None = None,
) -> WhatIf:
    """Let another policy decide what is stored. Changes nothing but `output`.

    Args:
        automation: Whose decisions.
        policy_file: The other policy.
        settings: Where state lives.
        start: Partitions that begin here or later; from the first one by default.
        end: Partitions that begin before this; to the last one by default.
        output: Where to write the decisions that would differ: a CSV or Parquet file.

    Raises:
        AiosError: The policy is wrong or names a column that is not stored, or nothing was
            decided in the window.
    """
    owner = load_automation(automation, settings)
    policy = load_policy(policy_file)
    policy.check_columns({*owner.spec.columns, *owner.spec.feature_columns, "score"})
    lake = Lake(settings.home / "lake" / automation)
    keys = _keys(owner, lake, start, end)
    labels = _labels(owner, lake)
    seen: Counter[tuple[str, str, bool]] = Counter()
    positives: Counter[tuple[str, str]] = Counter()
    hashes: set[str] = set()
    with _writing(output) if output else nullcontext(None) as write:
        for key in keys:
            for frame in _decide_again(owner, lake, key, policy):
                hashes.update(frame["policy_hash"].unique())
                joined = frame.join(labels, on=owner.spec.id, how="left", maintain_order="left")
                counts = joined.group_by("before", "after", pl.col("label").is_not_null()).agg(
                    pl.len(), pl.col("label").sum().alias("positives")
                )
                for before, after, matured, n, total in counts.iter_rows():
                    seen[before, after, matured] += n
                    positives[before, after] += total
                if write:
                    write(joined.filter(pl.col("before") != pl.col("after")))
    matrix: Counter[tuple[str, str]] = Counter()
    for (before, after, _), n in seen.items():
        matrix[before, after] += n
    return WhatIf(
        automation,
        keys,
        sorted(hashes),
        policy.hash,
        matrix.total(),
        sum(n for (before, after), n in matrix.items() if before != after),
        dict(matrix),
        _outcomes(seen, positives, 0),
        _outcomes(seen, positives, 1),
        owner.spec.costs.review if owner.spec.costs else None,
        str(output) if output else None,
    )


def _outcomes(
    seen: Counter[tuple[str, str, bool]], positives: Counter[tuple[str, str]], side: Literal[0, 1]
) -> dict[str, Outcome]:
    found = {}
    for outcome in sorted({pair[side] for pair in seen}):
        mine = {pair: n for pair, n in seen.items() if pair[side] == outcome}
        total = sum(n for pair, n in positives.items() if pair[side] == outcome)
        matured = sum(n for pair, n in mine.items() if pair[2])
        found[outcome] = Outcome(sum(mine.values()), matured, float(total))
    return found


def _keys(
    automation: Automation, lake: Lake, start: datetime | None, end: datetime | None
) -> list[str]:
    have = lake.partitions("decisions")
    windows = [window_of(automation.spec.cadence, key) for key in have]
    keys = [
        w.key for w in windows if (not start or w.start >= start) and (not end or w.start < end)
    ]
    if not keys:
        span = f"There are decisions from {have[0]} to {have[-1]}." if have else "Run it first."
        raise AiosError("nothing was decided in this window", where=automation.name, fix=span)
    return keys


def _labels(automation: Automation, lake: Lake) -> pl.DataFrame:
    """Return the latest label of each event: id and `label`."""
    identity = automation.spec.id
    labels = lake.read_all("labels", columns=[identity, "label"])
    if labels is None:
        (first, *_) = lake.partitions("decisions")
        dtype = pl.read_parquet_schema(lake.path("decisions", first))[identity]
        return pl.DataFrame(schema={identity: dtype, "label": pl.Float64})
    return labels.unique(identity, keep="last", maintain_order=True)


def _decide_again(
    automation: Automation, lake: Lake, key: str, policy: Policy
) -> Iterator[pl.DataFrame]:
    """Yield each decision of a partition as it is and as it would be.

    Columns: id, `revision`, `partition`, `before`, `rule_before`, `after`, `rule_after`, `score`,
    `policy_hash`.
    """
    identity = [automation.spec.id, "revision"]
    sources = _sources(automation, lake, key, policy)
    streams = [blocks(lake, name, key, [*identity, *columns]) for name, columns in sources.items()]
    names = [*identity, "outcome", "rule", "score", "policy_hash"]
    for decided in blocks(lake, "decisions", key, names):
        given = []
        for stream, (name, columns) in zip(streams, sources.items(), strict=True):
            frame = next(stream, decided.clear())
            if not frame.select(identity).equals(decided.select(identity)):
                raise AiosError(
                    f"its rows are not those of the decisions of {key}",
                    where=str(lake.path(name, key)),
                    fix=f"See what changed with a replay of partition {key}.",
                )
            given += frame.select(columns).get_columns()
        verdicts = policy.decide(pl.DataFrame(given))
        yield decided.select(
            *identity,
            pl.lit(key).alias("partition"),
            pl.col("outcome").alias("before"),
            pl.col("rule").alias("rule_before"),
            verdicts["outcome"].alias("after"),
            verdicts["rule"].alias("rule_after"),
            "score",
            "policy_hash",
        )


def _sources(automation: Automation, lake: Lake, key: str, policy: Policy) -> dict[str, list[str]]:
    """Return which stored dataset of a partition has which inputs of the policy."""
    datasets = ["features", "events", *(step.name for step in automation.spec.steps)]
    held = {
        name: set(pl.read_parquet_schema(lake.path(name, key)))
        for name in datasets
        if lake.has(name, key)
    }
    found: dict[str, list[str]] = {"predictions": ["score"]}
    for column in policy.inputs:
        if column == "score":
            continue
        name = next((name for name, columns in held.items() if column in columns), None)
        if name is None:
            raise AiosError(
                f"the policy uses {column}, which was not stored for partition {key}",
                where=automation.name,
                fix="Choose a later window, or a column that was there: "
                + ", ".join(sorted(set().union(*held.values()))),
            )
        found.setdefault(name, []).append(column)
    return found


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[pl.DataFrame], None]]:
    """Yield `write(frame)` for a CSV or Parquet file that appears when it is whole."""
    if path.suffix not in (".csv", ".parquet"):
        raise AiosError("not a table", where=str(path), fix="Name a .csv or a .parquet file.")
    with TemporaryDirectory(dir=path.parent, prefix=".aios-") as aside:
        parts = Lake(Path(aside))
        with parts.writer("changed", "all") as write:
            yield write
        whole = parts.path("changed", "all")
        if path.suffix == ".csv":
            whole = whole.with_suffix(".csv")
            pl.scan_parquet(parts.path("changed", "all"), glob=False).sink_csv(whole)
        os.replace(whole, path)

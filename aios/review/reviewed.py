"""The cases and verdicts of an automation as frames, and what people finally decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from aios.identity.actors import DESK
from aios.identity.tables import micros
from aios.review.tables import CASES, VERDICTS

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database
    from aios.lake import Lake

OVERRIDDEN = {
    "decision": pl.String,
    "proposal": pl.String,
    "rule": pl.String,
    "model_version": pl.Int64,
}
"""What is known of a decision that was overridden without a case; `proposal` is its outcome."""

_TYPES: dict[str, Any] = {"String": pl.String, "Text": pl.String, "Integer": pl.Int64}
_TYPES |= {"BigInteger": pl.Int64, "Float": pl.Float64, "Boolean": pl.Boolean}
_TYPES["JSON"] = pl.List(pl.String)


@dataclass(frozen=True)
class Reviewed:
    """What was reviewed of an automation. Times are `Datetime("us")`, UTC.

    Attributes:
        cases: As in the table; `slices` is a list of `name=value`.
        verdicts: As in the table.
        overridden: `OVERRIDDEN`: decisions that nobody had reviewed, and somebody overrode.
    """

    cases: pl.DataFrame
    verdicts: pl.DataFrame
    overridden: pl.DataFrame

    def within(self, partitions: Collection[str]) -> Reviewed:
        """Return what is of decisions of some partitions."""
        theirs = pl.col("partition").is_in(partitions)
        return replace(self, cases=self.cases.filter(theirs), verdicts=self.verdicts.filter(theirs))

    @property
    def standing(self) -> pl.DataFrame:
        """Verdicts by people that were not taken back, with what is known of their cases."""
        kept = pl.col("undone_at").is_null() & (pl.col("reviewer") != str(DESK))
        known = ["id", "rule", "model_version", "slices", "proposal", "double", "answer"]
        rows = self.verdicts.filter(kept).sort("leaf", "id")
        return rows.join(
            self.cases.select(known),
            left_on="case",
            right_on="id",
            how="left",
            maintain_order="left",
        )


def read(
    database: Database, automation: Automation, lake: Lake, since: datetime | None = None
) -> Reviewed:
    """Return an automation's cases and verdicts.

    Args:
        database: Where they are.
        automation: Whose.
        lake: Where its decisions are.
        since: Leave out cases that were closed and verdicts that were given before; UTC-naive.
    """
    start = micros(since) if since else 0
    mine = CASES.c.automation == automation.name
    recent = sa.or_(CASES.c.closed_at.is_(None), CASES.c.closed_at >= start)
    given = sa.select(VERDICTS).where(VERDICTS.c.automation == automation.name)
    of_them = sa.select(CASES.c.id).where(mine, recent)
    without = sa.and_(VERDICTS.c.case.is_(None), VERDICTS.c.at >= start)
    with database.reading() as connection:
        cases = connection.execute(sa.select(CASES).where(mine, recent)).all()
        verdicts = connection.execute(
            given.where(sa.or_(without, VERDICTS.c.case.in_(of_them)))
        ).all()
    found = reviewed(cases, verdicts)
    alone = found.standing.filter(pl.col("case").is_null(), pl.col("in_effect"))
    return Reviewed(found.cases, found.verdicts, _overridden(automation, lake, alone))


def reviewed(
    cases: Sequence[Sequence[Any]],
    verdicts: Sequence[Sequence[Any]],
    overridden: pl.DataFrame | None = None,
) -> Reviewed:
    """Return rows of the tables, in the order of their columns, as frames."""
    known = pl.DataFrame(schema=OVERRIDDEN) if overridden is None else overridden
    return Reviewed(_frame(CASES, cases), _frame(VERDICTS, verdicts), known)


def _frame(table: sa.Table, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    schema = {column.name: _TYPES[type(column.type).__name__] for column in table.columns}
    # By column: several times as fast as by row.
    columns = zip(
        schema.items(), zip(*rows, strict=True) if rows else [()] * len(schema), strict=True
    )
    frame = pl.DataFrame([_column(name, kind, values) for (name, kind), values in columns])
    times = [name for name in schema if name.endswith("_at") or name == "at"]
    return frame.with_columns(pl.col(name).cast(pl.Datetime("us")) for name in times)


def _column(name: str, kind: Any, values: Sequence[Any]) -> pl.Series:
    if name == "slices":
        values = [[f"{key}={value}" for key, value in sorted(one.items())] for one in values]
    return pl.Series(name, values, kind)


def _overridden(automation: Automation, lake: Lake, verdicts: pl.DataFrame) -> pl.DataFrame:
    frames = [pl.DataFrame(schema=OVERRIDDEN)]
    columns = [automation.spec.id, "revision", "outcome", "rule", "model_version"]
    for (partition,), rows in verdicts.group_by("partition"):
        if not lake.has("decisions", str(partition)):
            continue
        name = pl.format(
            "{}/{}/{}@{}",
            *(pl.lit(automation.name), pl.lit(partition)),
            *(pl.col(automation.spec.id), pl.col("revision")),
        )
        made = lake.read("decisions", str(partition), columns).with_columns(name.alias("decision"))
        found = made.rename({"outcome": "proposal"}).join(rows, on="decision", how="semi")
        frames.append(found.select(pl.col(one).cast(kind) for one, kind in OVERRIDDEN.items()))
    return pl.concat(frames)


def outcomes_by_people(reviewed: Reviewed) -> pl.DataFrame:
    """Return what people finally decided, one row a decision, by time.

    Columns: `decision`, `event` (its id as text), `partition`, `rule`, `model_version`,
    `proposal` (of the case; of a decision without one, its outcome; null where not known),
    `outcome`, `at` (of the verdict in effect), `final_at`, `automatic` (it had no case),
    `overridden` (the outcome is not the proposal), `rehearsed`, `slices`.
    """
    last = (
        reviewed.standing.filter(pl.col("in_effect"), pl.col("answer").is_null())
        .unique("decision", keep="last", maintain_order=True)
        .join(reviewed.overridden, on="decision", how="left", maintain_order="left")
    )
    known = [pl.coalesce(name, f"{name}_right").alias(name) for name in ("rule", "model_version")]
    proposal = pl.coalesce("proposal", "proposal_right").alias("proposal")
    return last.with_columns(*known, proposal, pl.col("case").is_null().alias("automatic")).select(
        *("decision", "event", "partition", "rule", "model_version", "proposal", "outcome"),
        *("at", "final_at", "automatic"),
        (pl.col("outcome").ne_missing(pl.col("proposal"))).alias("overridden"),
        *("rehearsed", "slices"),
    )

"""What follows from decisions: actions at other systems, and cases for people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from aios.halts import RULE
from aios.known import known_events

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from aios.automation import Automation
    from aios.lake import Lake

REVIEW = "review"
"""The outcome that a person is to decide."""


@dataclass(frozen=True)
class Followed:
    """What a partition's decisions led to: how many actions and cases are new."""

    actions: int = 0
    withdrawn: int = 0
    cases: int = 0


def decided_rows(
    automation: Automation, lake: Lake, partition: str, decisions: Collection[str] | None = None
) -> pl.DataFrame:
    """Return the decided rows of a partition with all that was known when they were decided.

    Args:
        automation: Whose.
        lake: Its lake.
        partition: Which.
        decisions: Ids of the wanted ones; all by default.

    Returns:
        In the order of the events: their columns, the steps' outputs, the features (which take
        the place of a column of the same name), those of `decisions`, `partition`, and
        `decision`, the id.

    Raises:
        AiosError: A part of it was not made.
    """
    identity = automation.spec.id
    decided = lake.read("decisions", partition)
    name = f"{automation.name}/{partition}/"
    id_ = pl.format(name + "{}@{}", pl.col(identity), pl.col("revision")).alias("decision")
    decided = decided.with_columns(id_, pl.lit(partition).alias("partition"))
    if decisions is not None:
        decided = decided.filter(pl.col("decision").is_in(list(decisions)))
    features = list(automation.spec.feature_columns)
    parts = [
        known_events(automation, lake, partition),
        lake.read("features", partition, [identity, "revision", *features]),
    ]
    rows = decided.select(identity, "revision")
    for part in [*parts, decided]:
        new = [one for one in part.columns if one not in (identity, "revision")]
        rows = rows.drop(new, strict=False).join(
            part, on=[identity, "revision"], how="left", maintain_order="left"
        )
    return rows


def follow(
    connection: Connection,
    automation: Automation,
    lake: Lake,
    partition: str,
    *,
    now: datetime,
    rehearsed: bool,
) -> Followed:
    """Let a partition's decisions have their consequences, and no others.

    In the transaction that records them. Doing it again changes nothing; where a decision is
    another one than before, what it caused is withdrawn. What people decided stays as it is. A
    rehearsal plans its actions, and sends none; the first decisions in earnest end it.
    """
    spec = automation.spec
    if not spec.actions and not spec.review:
        return Followed()
    from aios.identity.tables import micros

    if not rehearsed:
        forget_rehearsed(connection, automation)
    rows = decided_rows(automation, lake, partition)
    cases = 0
    if spec.review:
        from aios.review.cases import decided_by_people, open_cases
        from aios.review.seeds import seed

        theirs = decided_by_people(connection, automation.name, partition)
        rows = rows.filter(~pl.col("decision").is_in(list(theirs)))
        waiting = rows.filter(pl.col("outcome") == REVIEW)
        at = micros(now)
        cases = open_cases(connection, automation, partition, waiting, now=at, rehearsed=rehearsed)
        cases += seed(
            connection, automation, lake, partition,
            waiting=waiting.height, now=at, rehearsed=rehearsed,
        )  # fmt: skip
    if not spec.actions:
        return Followed(cases=cases)
    from aios.actions.outbox import apply
    from aios.actions.plan import plan

    # To decide again under a halt is no reason to undo what was done before it.
    rows = rows.filter(pl.col("rule") != RULE)
    acting = rows.filter(pl.col("outcome").is_in(list(spec.actions.effects)))
    planned = [
        one for row in acting.iter_rows(named=True) for one in plan(automation, row["outcome"], row)
    ]
    effects = apply(
        connection, automation, rows["decision"], planned, now=micros(now), dry=rehearsed
    )
    return Followed(effects.enqueued, effects.cancelled + effects.undone, cases)


def forget_rehearsed(connection: Connection, automation: Automation) -> None:
    """Remove the cases and planned actions that a rehearsal left; the record keeps all."""
    import sqlalchemy as sa

    from aios.actions.tables import ACTIONS
    from aios.review.tables import CASES, VERDICTS

    mine = CASES.c.automation == automation.name
    cases = sa.select(CASES.c.id).where(mine, CASES.c.rehearsed)
    connection.execute(VERDICTS.delete().where(VERDICTS.c.case.in_(cases)))
    connection.execute(CASES.delete().where(mine, CASES.c.rehearsed))
    if automation.spec.actions and not automation.spec.actions.dry_run:
        planned = [ACTIONS.c.automation == automation.name, ACTIONS.c.state == "dry_run"]
        connection.execute(ACTIONS.delete().where(*planned))

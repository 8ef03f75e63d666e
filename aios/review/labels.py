"""Labels: what the final verdicts of people say about the outcome of events."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from aios.identity.tables import micros, moment_of
from aios.known import TYPES
from aios.review.tables import VERDICTS

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database


def verdict_labels(
    database: Database, automation: Automation, start: datetime, end: datetime
) -> pl.DataFrame:
    """Return the labels that became known in a span of time, in order of that.

    From verdicts and overrides of people, once they cannot be undone any more, by what
    `review.labels` declares for their outcome. Not from time-outs, seeded cases or rehearsals. Of
    several verdicts on one event the last counts.

    Args:
        database: Where the verdicts are.
        automation: Whose.
        start: From when, UTC-naive.
        end: Until before when; not after now, for what is not final yet may still be undone.

    Returns:
        The id column in the lake's type, `label` (Float64), `known_at` and `source`
        (`review person:ann`).
    """
    spec = automation.spec
    declared = spec.review.labels if spec.review else {}
    query = (
        sa.select(
            VERDICTS.c.event.label(spec.id),
            VERDICTS.c.outcome,
            VERDICTS.c.final_at,
            VERDICTS.c.reviewer,
        )
        .where(
            VERDICTS.c.automation == automation.name,
            VERDICTS.c.in_effect,
            VERDICTS.c.undone_at.is_(None),
            ~VERDICTS.c.rehearsed,
            VERDICTS.c.reviewer.like("person:%"),
            VERDICTS.c.final_at >= micros(start),
            VERDICTS.c.final_at < micros(end),
        )
        .order_by(VERDICTS.c.final_at, VERDICTS.c.leaf, VERDICTS.c.id)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    last = {row[0]: row for row in rows}
    known = [
        (event, declared[outcome], moment_of(final_at), f"review {reviewer}")
        for event, outcome, final_at, reviewer in last.values()
        if outcome in declared
    ]
    schema: dict[str, Any] = {
        spec.id: pl.String,
        "label": pl.Float64,
        "known_at": pl.Datetime("us"),
        "source": pl.String,
    }
    labels = pl.DataFrame(known, schema=schema, orient="row").sort("known_at", maintain_order=True)
    return labels.with_columns(pl.col(spec.id).cast(TYPES[spec.columns[spec.id]]))

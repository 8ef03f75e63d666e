"""What people decided of a period's decisions, how well, and when they stopped the automation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from aios.identity.actors import DESK
from aios.review.measures import measure
from aios.review.reviewed import read
from aios_assets.evidence.scope import Folder, Scope

if TYPE_CHECKING:
    from aios_assets.evidence.leaves import Leaves

NAME = "reviews.json"
_BY = ["reviewer", "verdict", "outcome"]

# How one person fares is for those they work with. Cost is with the actions.
_LEFT_OUT = {"reviewers", "cost", "cost_per_decision"}


def write_reviews(
    scope: Scope, folder: Folder, leaves: Leaves, counts: pl.DataFrame, sent: int
) -> tuple[dict[str, Any], set[int]]:
    """Write what people decided of the period's decisions, whenever they did.

    Args:
        scope: What the pack is about.
        folder: Where it grows.
        leaves: Those of the record; waiting cases are as old as they are at the newest of them.
        counts: From `oversight.count_decisions`.
        sent: How many of these decisions went to review.

    Returns:
        What was written, and the places of the leaves of these verdicts.
    """
    automation, review = scope.automation, scope.automation.spec.review
    reviewed = read(scope.platform.log.database, automation, scope.lake()).within(scope.keys)
    measures = measure(
        reviewed,
        counts.with_columns(pl.col("model_version").cast(pl.Int64)),
        leaves.newest,
        approving=review.approving if review else [],
    ).as_dict()
    measures["overrides"].pop("reviewer")
    given = reviewed.verdicts
    by_people = given.filter(pl.col("reviewer") != str(DESK))
    found = {
        "verdicts": by_people.height,
        "timed_out": given.height - by_people.height,
        "undone": given.height - given["undone_at"].null_count(),
        "rehearsed": int(given["rehearsed"].sum()),
        "by_reviewer": given.group_by(_BY).len("verdicts").sort(_BY, nulls_last=True).to_dicts(),
        "measures": {name: one for name, one in measures.items() if name not in _LEFT_OUT},
        "halts": [one.shown() for one in leaves.of("halt", "release")],
    }
    if not by_people.height:
        why = f"{sent:,} decisions went to review, and nobody gave a verdict yet."
        why = why if review else "The automation declares no review."
        folder.lack("verdicts of people", why, NAME)
    folder.write_json(NAME, found)
    theirs = set(given["leaf"])
    undone = [one for one in leaves.all if one.kind == "verdict_undone"]
    return found, theirs | {one.index for one in undone if theirs & {*one.body["verdicts"]}}

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
    scope: Scope, folder: Folder, leaves: Leaves, counts: pl.DataFrame
) -> tuple[dict[str, Any], set[int]]:
    """Write what people decided of the period's decisions, whenever they did.

    Args:
        scope: What the pack is about.
        folder: Where it grows.
        leaves: Those of the record; waiting cases are as old as they are at the newest of them.
        counts: From `oversight.count_decisions`.

    Returns:
        What was written, and the places of the leaves of these verdicts.
    """
    automation, review = scope.automation, scope.automation.spec.review
    keys = [window.key for window in scope.windows]
    reviewed = read(scope.platform.log.database, automation, scope.lake()).within(keys)
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
        folder.lack("verdicts of people", _why_none(scope, counts), NAME)
    folder.write_json(NAME, found)
    theirs = set(given["leaf"])
    undone = [one for one in leaves.all if one.kind == "verdict_undone"]
    return found, theirs | {one.index for one in undone if theirs & {*one.body["verdicts"]}}


def _why_none(scope: Scope, counts: pl.DataFrame) -> str:
    if scope.automation.spec.review is None:
        return "The automation declares no review."
    sent = int(counts.filter(pl.col("outcome") == "review")["rows"].sum())
    return f"{sent:,} decisions went to review, and nobody gave a verdict yet."

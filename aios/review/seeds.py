"""Seeded cases: reviewed decisions whose right outcome is known by now, with a wrong proposal.

Who approves what is proposed without looking gets them wrong. They are decisions that had gone to
review, so nothing about them looks unlike the queue. Their truth is a label that the source told
before the partition began; what a person said about them would only show that people agree.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import TYPE_CHECKING

import polars as pl

from aios.consequences import REVIEW, decided_rows
from aios.errors import AiosError
from aios.review.cases import Known, open_seeded
from aios.review.tables import salt_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.automation import Automation
    from aios.lake import Lake
    from aios.review.declared import Review

SPARE = 10
"""How many times the wanted decisions to choose from, the newest first."""


def seed(
    connection: Connection,
    automation: Automation,
    lake: Lake,
    partition: str,
    *,
    waiting: int,
    now: int,
    rehearsed: bool,
) -> int:
    """Mix the declared share of known-answer cases into a partition's queue.

    In somebody's transaction; again, it changes nothing.

    Args:
        connection: Of who writes.
        automation: Whose; it declares `review`.
        lake: Its lake.
        partition: The partition whose cases were opened.
        waiting: How many these are.
        now: Microseconds since 1970.
        rehearsed: As of the other cases.

    Returns:
        How many cases are new.
    """
    salt = salt_of(connection)
    count = seeds_among(waiting, _review(automation).seeded, salt, partition)
    rows = seeded_rows(automation, lake, partition, count, salt)
    known = {row["decision"]: Known(row["answer"], row["proposal"]) for row in rows.to_dicts()}
    return open_seeded(
        connection, automation, rows.drop("answer", "proposal"), known, now=now, rehearsed=rehearsed
    )


def seeds_among(waiting: int, share: float, salt: bytes, partition: str) -> int:
    """Return how many cases to seed: on average the share of all, also where few wait."""
    return math.floor(waiting * share / (1 - share) + _place(salt, partition))


def answers(review: Review) -> dict[float, tuple[str, str]]:
    """Return for each label the right outcome and a wrong one to propose.

    From `labels` inverted: the first outcome, in the order of `outcomes`, that says this label,
    and the first that says another one. Empty where all declared outcomes say the same.
    """
    said = [(name, review.labels[name]) for name in review.outcomes if name in review.labels]
    found = {}
    for right, label in said:
        wrong = next((name for name, other in said if other != label), None)
        if wrong and label not in found:
            found[label] = (right, wrong)
    return found


def seeded_rows(
    automation: Automation, lake: Lake, partition: str, count: int, salt: bytes = b""
) -> pl.DataFrame:
    """Return decided rows of earlier partitions to be seeded, the same ones at each call.

    Labels take turns, so that errors of both kinds are seeded where there are such decisions.

    Args:
        automation: Whose; it declares `review`.
        lake: Its lake.
        partition: The partition whose queue they are mixed into.
        count: How many at most.
        salt: Keeps others from telling which are taken.

    Returns:
        As `aios.consequences.decided_rows`, with `answer` and `proposal`.
    """
    right = answers(_review(automation))
    found = _known(automation, lake, partition, list(right), count) if count and right else None
    if found is None or found.is_empty():
        return pl.DataFrame(
            schema=dict.fromkeys(["partition", "decision", "answer", "proposal"], pl.String)
        )
    places = [_place(salt, f"{partition}/{one}") for one in found["decision"]]
    taken = (
        found.with_columns(pl.Series("place", places))
        .with_columns(pl.col("place").rank("ordinal").over("label").alias("turn"))
        .sort("turn", "place")
        .head(count)
    )
    label = pl.col("label")
    taken = taken.select(
        "partition",
        "decision",
        label.replace_strict({key: one for key, (one, _) in right.items()}).alias("answer"),
        label.replace_strict({key: one for key, (_, one) in right.items()}).alias("proposal"),
    )
    frames = [
        decided_rows(automation, lake, str(key), rows["decision"].to_list())
        for (key,), rows in taken.group_by("partition", maintain_order=True)
    ]
    rows = pl.concat(frames, how="diagonal_relaxed")
    return taken.join(rows.drop("partition"), on="decision", how="inner", maintain_order="left")


def _known(
    automation: Automation, lake: Lake, partition: str, labels: list[float], count: int
) -> pl.DataFrame | None:
    """Return decisions that went to review before a partition, and whose label was known then."""
    identity = automation.spec.id
    told = [lake.read("labels", key) for key in lake.partitions("labels") if key < partition]
    if not told:
        return None
    truth = pl.concat(told).unique(identity, keep="last", maintain_order=True)
    truth = truth.filter(pl.col("label").is_in(labels)).select(identity, "label")
    found: list[pl.DataFrame] = []
    for key in reversed([key for key in lake.partitions("decisions") if key < partition]):
        made = lake.read("decisions", key, [identity, "revision", "outcome"])
        decision = pl.format(
            "{}/{}/{}@{}",
            *(pl.lit(automation.name), pl.lit(key), pl.col(identity), pl.col("revision")),
        )
        found.append(
            made.filter(pl.col("outcome") == REVIEW)
            .join(truth, on=identity, how="inner", maintain_order="left")
            .select(identity, "label", pl.lit(key).alias("partition"), decision.alias("decision"))
        )
        if sum(one.height for one in found) >= SPARE * count:
            break
    # Of an event that was decided again, the newest decision.
    return pl.concat(found).unique(identity, keep="first", maintain_order=True) if found else None


def _place(salt: bytes, text: str) -> float:
    digest = blake2b(f"seed/{text}".encode(), key=salt, digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def _review(automation: Automation) -> Review:
    if automation.spec.review is None:
        raise AiosError(
            "it declares no review",
            where=automation.name,
            fix="Declare 'review' in its defs.yaml.",
        )
    return automation.spec.review

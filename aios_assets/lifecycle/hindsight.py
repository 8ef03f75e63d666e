"""Hindsight: what a version in rollout would have decided between its training and its rollout.

The events of the partition that had just ended had no outcome yet when the version was trained, so
that they tell as much about it as those after them, and sooner.
"""

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios_assets.lifecycle.assignment import Assignment
from aios_assets.lifecycle.predictions import Tolerant
from aios_assets.lifecycle.shadow import decide_both
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion
    from model_registry.stages import Move


def dataset_of(version: int) -> str:
    """Return the name of the dataset of a version; its columns are those of `shadow`."""
    return f"hindsight/v{version}"


def look_back(automation: Automation, platform: Platform, entered: "Move") -> None:
    """Store what a version would have decided of what it was not trained on before its rollout.

    Those are the events without an outcome at the end of its training data, of the partitions from
    that end to the beginning of its rollout. Partitions that are stored are left as they are.

    Args:
        automation: Whose version.
        platform: Where everything is.
        entered: The version's move into shadow.
    """
    from model_registry.formats import load

    lake = platform.lake(automation.name)
    version = platform.registry.get(automation.name, entered.version)
    keys = _partitions(automation, lake, version.trained_until, entered.at)
    missing = [key for key in keys if not lake.has(dataset_of(version.number), key)]
    if not missing or entered.champion is None:
        return
    try:
        scorer = load(platform.registry, version)
    except AiosError:
        return  # What does not load is measured as such by the partitions to come.
    for key in missing:
        frame = _of_partition(automation, lake, key, version, entered.champion, Tolerant(0, scorer))
        lake.write(dataset_of(version.number), key, frame)


def _partitions(automation: Automation, lake: Lake, first: datetime, last: datetime) -> list[str]:
    return [
        key for key in lake.partitions("predictions") if first <= automation.window(key).end <= last
    ]


def _of_partition(
    automation: Automation,
    lake: Lake,
    key: str,
    version: "ModelVersion",
    champion: int,
    scorer: Tolerant,
) -> pl.DataFrame:
    identity = automation.spec.id
    learned = [
        lake.read("labels", one).filter(pl.col("known_at") <= version.trained_until)
        for one in lake.partitions("labels")
    ]
    features = lake.read("features", key)
    own = f"score_v{version.number}"
    given = lake.read("predictions", key)
    # A champion beside whom a rollout was under way has a column of its own.
    score = f"score_v{champion}"
    if score not in given.columns:
        by_champion = pl.when(pl.col("model_version") == champion).then("score")
        given = given.with_columns(by_champion.alias(score))
    given = given.with_columns(pl.Series(own, scorer.score(features), dtype=pl.Float64))
    open_rows = ~given[identity].is_in(pl.concat(learned)[identity].implode())
    open_rows &= given[score].is_not_null()
    assignment = Assignment(champion, version.number)
    return decide_both(
        automation, given.filter(open_rows), features.filter(open_rows), [score, own], assignment
    )

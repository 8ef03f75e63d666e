"""Past decisions like one: the nearest rows by their features, and what became of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from aios.review.tables import VERDICTS

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.database import Database
    from aios.lake import Lake

SHOWN = 5
_PARTITIONS = 6
_ROWS = 20_000
_KEPT = 8
_known: OrderedDict[tuple[Any, ...], pl.DataFrame] = OrderedDict()


@dataclass(frozen=True)
class Similar:
    """A past decision.

    Attributes:
        decision: Its id.
        event_time: When the event happened, UTC-naive.
        outcome: What was decided first.
        by_people: What people decided in the end; None where they did not.
        label: What came of it; None where nobody knows yet.
        distance: In standard deviations of a feature, averaged over the features.
    """

    decision: str
    event_time: Any
    outcome: str
    by_people: str | None
    label: float | None
    distance: float


def similar(
    automation: Automation, lake: Lake, database: Database, row: Mapping[str, Any]
) -> list[Similar]:
    """Return the past decisions nearest to a decided row, the nearest first.

    Of the newest partitions up to its own; other revisions of the same event left out.
    """
    identity = automation.spec.id
    past = _past(automation, lake, row["partition"])
    past = past.filter(pl.col(identity) != row[identity])
    if past.is_empty():
        return []
    distances = _distances(automation, past, row)
    nearest = np.argsort(distances, kind="stable")[:SHOWN]
    found = past[nearest.tolist()].rows(named=True)
    decided = _by_people(database, [one["decision"] for one in found])
    return [
        Similar(
            one["decision"], one["event_time"], one["outcome"], decided.get(one["decision"]),
            one["label"], float(distance),
        )
        for one, distance in zip(found, distances[nearest], strict=True)
    ]  # fmt: skip


def _past(automation: Automation, lake: Lake, partition: str) -> pl.DataFrame:
    keys = [key for key in lake.partitions("decisions") if key <= partition][-_PARTITIONS:]
    labelled = lake.partitions("labels")
    signature = (str(lake.root), tuple(keys), _changed(lake, "decisions", keys),
                 _changed(lake, "labels", labelled))  # fmt: skip
    if signature in _known:
        return _known[signature]
    identity, names = automation.spec.id, list(automation.spec.feature_columns)
    frames = []
    for key in keys:
        decided = lake.read("decisions", key, [identity, "revision", "event_time", "outcome"])
        features = lake.read("features", key, [identity, "revision", *names])
        if decided.height != features.height:
            continue  # a run is under way: its features are newer than its decisions
        name = pl.format(f"{automation.name}/{key}/{{}}@{{}}", identity, "revision")
        frames.append(
            decided.with_columns(name.alias("decision")).join(
                features.drop("event_time", strict=False), on=[identity, "revision"]
            )
        )
    past = pl.concat(frames).tail(_ROWS) if frames else pl.DataFrame(schema={identity: pl.String})
    past = past.join(_labels(lake, identity, labelled, past.schema), on=identity, how="left")
    _known[signature] = past
    while len(_known) > _KEPT:
        _known.popitem(last=False)
    return past


def _labels(lake: Lake, identity: str, keys: list[str], schema: Mapping[str, Any]) -> pl.DataFrame:
    frames = [pl.DataFrame(schema={identity: schema[identity], "label": pl.Float64})]
    for key in keys:
        read = lake.read("labels", key, [identity, "label"])
        frames.append(read.with_columns(pl.col("label").cast(pl.Float64)))
    return pl.concat(frames).unique(identity, keep="last", maintain_order=True)


def _changed(lake: Lake, dataset: str, keys: list[str]) -> tuple[int, ...]:
    return tuple(lake.path(dataset, key).stat().st_mtime_ns for key in keys)


def _distances(automation: Automation, past: pl.DataFrame, row: Mapping[str, Any]) -> np.ndarray:
    """Return the mean distance over the features, shape (rows,); a missing value is far."""
    total = np.zeros(past.height)
    columns = automation.spec.feature_columns
    for name, kind in columns.items():
        if kind == "number":
            total += _far(past[name].cast(pl.Float64).to_numpy(), row[name])
        else:
            total += _other(past[name], row[name])
    mean: np.ndarray = total / max(len(columns), 1)
    return mean


def _far(values: np.ndarray, own: Any) -> np.ndarray:
    known: np.ndarray = np.isfinite(values)
    if own is None or own != own:
        return known.astype(float)
    spread = float(values[known].std()) if known.any() else 0.0
    away = np.minimum(np.abs(values - own) / (spread or 1.0), 5.0)
    return np.where(known, away, 1.0)


def _other(values: pl.Series, own: Any) -> np.ndarray:
    same = values.is_null() if own is None else (values == own).fill_null(False)
    return (~same).cast(pl.Float64).to_numpy()


def _by_people(database: Database, decisions: list[str]) -> dict[str, str]:
    wanted = [VERDICTS.c.decision.in_(decisions), VERDICTS.c.in_effect]
    query = sa.select(VERDICTS.c.decision, VERDICTS.c.outcome)
    query = query.where(*wanted, VERDICTS.c.undone_at.is_(None))
    with database.reading() as connection:
        return {row.decision: row.outcome for row in connection.execute(query)}

"""What mattered to a score: how far each feature moves it away from that of a usual value.

Each feature is replaced in turn by its median or most frequent value in the partitions that the
version was trained on (occlusion, Zeiler and Fergus 2014, with a baseline value instead of a grey
patch). Features that act only together are each shown with what they move alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from aios.errors import AiosError
from aios.windows import window_of

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios_assets.resources import Platform
    from model_registry.registry import ModelVersion

SHOWN = 8
"""Features at most."""

_PARTITIONS = 6
_KEPT = 16
_usual: OrderedDict[tuple[str, str, int], dict[str, Any]] = OrderedDict()


@dataclass(frozen=True)
class Mattered:
    """A feature that moved a score.

    Attributes:
        name: Of the feature.
        value: What it was.
        usual: Its median or most frequent value in training.
        effect: The score less the score with the usual value.
    """

    name: str
    value: Any
    usual: Any
    effect: float


def mattered(automation: Automation, platform: Platform, row: Mapping[str, Any]) -> list[Mattered]:
    """Return the features that moved the score of a decided row most, the largest first.

    Raises:
        AiosError: The row has no score, or the version that gave it does not load.
    """
    from model_registry import standby
    from model_registry.formats import FrameScorer

    if row.get("model_version") is None:
        raise AiosError("no model scored it", fix="Look at the rule that sent it here.")
    version = platform.registry.get(automation.name, int(row["model_version"]))
    scorer = standby.load(platform.registry, version)
    if not isinstance(scorer, FrameScorer):
        raise AiosError("its model has no features", fix="Look at the outputs of the step.")
    names = list(scorer.columns)
    usual = _usual_values(automation, platform, version, names)
    own = _typed(automation, {name: row.get(name) for name in names})
    other = _typed(automation, usual)
    replaced = [own.with_columns(other[name]) for name in names]
    scores = scorer.score(pl.concat([own, *replaced]))
    effects = scores[0] - scores[1:]
    order = np.argsort(-np.abs(effects), kind="stable")[:SHOWN]
    return [
        Mattered(names[i], row.get(names[i]), usual[names[i]], float(effects[i]))
        for i in order
        if abs(effects[i]) > 1e-9
    ]


def _usual_values(
    automation: Automation, platform: Platform, version: ModelVersion, names: list[str]
) -> dict[str, Any]:
    """Return the median or most frequent value of features before a version's training ended."""
    key = (str(platform.settings.home), automation.name, version.number)
    if key in _usual:
        return _usual[key]
    lake, cadence = platform.lake(automation.name), automation.spec.cadence
    known = [
        one
        for one in lake.partitions("features")
        if window_of(cadence, one).end <= version.trained_until
    ][-_PARTITIONS:]
    if not known:
        raise AiosError("the features it was trained on are gone", fix="Look at its model card.")
    frame = pl.concat([lake.read("features", one, names) for one in known])
    found = {name: _usual_of(frame[name]) for name in names}
    _usual[key] = found
    while len(_usual) > _KEPT:
        _usual.popitem(last=False)
    return found


def _usual_of(values: pl.Series) -> Any:
    known = values.drop_nulls()
    if known.dtype.is_float():
        known = known.drop_nans()
    if known.is_empty():
        return None
    if known.dtype.is_numeric():
        return known.median()
    return known.mode().sort()[0]


def _typed(automation: Automation, values: Mapping[str, Any]) -> pl.DataFrame:
    kinds = automation.spec.feature_columns
    types = {"number": pl.Float64, "category": pl.String}
    return pl.DataFrame(
        {name: pl.Series([value], dtype=types[kinds[name]]) for name, value in values.items()}
    )

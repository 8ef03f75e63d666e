"""Predictions: every event scored once, in chunks or whole, by versions that are named."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aios import lake as lake_module
from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.predictions import score_window
from tests.conftest import make_automation

pytestmark = pytest.mark.unit


class Ratio:
    """Scores a row by its amount alone; null stays missing."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.calls: list[int] = []

    def score(self, frame: pl.DataFrame) -> np.ndarray:
        self.calls.append(frame.height)
        return (frame["amount"] / self.scale).to_numpy()


def features(rows: int) -> pl.DataFrame:
    numbers = np.arange(rows)
    return pl.DataFrame(
        {
            "loan_id": numbers,
            "customer": [f"c{n % 3}" for n in numbers],
            "event_time": [datetime(2024, 1, 1)] * rows,
            "known_at": [datetime(2024, 1, 2)] * rows,
            "revision": np.zeros(rows, dtype=np.int32),
            "amount": [None if n % 5 == 4 else float(n) for n in numbers],
            "log_amount": numbers * 0.5,
            "region": ["north"] * rows,
            "loans_28d": numbers * 1.0,
            "feature_digest": numbers.astype(np.uint64),
        },
        schema_overrides={
            "event_time": pl.Datetime("us"),
            "known_at": pl.Datetime("us"),
            "amount": pl.Float64,
            "customer": pl.String,
            "region": pl.String,
        },
    )


@pytest.fixture
def case(tmp_path: Path) -> tuple[Automation, Lake, Window]:
    ours, platform = make_automation(tmp_path)
    return ours, platform.lake("loans"), ours.windows()[0]


def test_the_champion_scores_and_challengers_stand_beside_it(case: Any) -> None:
    ours, lake, window = case
    lake.write("features", window.key, features(10))
    scored = score_window(ours, lake, window, (3, Ratio(10)), [(4, Ratio(20)), (5, Ratio(40))])
    predictions = lake.read("predictions", window.key)
    assert predictions.columns == [
        "loan_id", "customer", "event_time", "known_at", "revision", "score", "model_version",
        "score_v4", "score_v5", "feature_digest",
    ]  # fmt: skip
    assert predictions["model_version"].unique().to_list() == [3]
    assert predictions["score"].to_list()[:5] == pytest.approx([0.0, 0.1, 0.2, 0.3, None])
    assert predictions["score_v4"][1] == 0.05
    assert predictions["feature_digest"].equals(features(10)["feature_digest"])
    assert scored.assignment.champion == 3
    assert (scored.challengers, scored.rows, scored.missing) == ((4, 5), 10, 2)


def test_without_a_champion_every_score_is_missing(case: Any) -> None:
    ours, lake, window = case
    lake.write("features", window.key, features(4))
    scored = score_window(ours, lake, window, None, [(1, Ratio(10))])
    predictions = lake.read("predictions", window.key)
    assert predictions["score"].null_count() == predictions["model_version"].null_count() == 4
    assert predictions.schema["score"] == pl.Float64
    assert predictions.schema["model_version"] == pl.Int32
    assert predictions["score_v1"][1] == 0.1
    assert (scored.assignment.champion, scored.missing) == (None, 4)


def test_many_chunks_give_what_one_gives(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, lake, window = case
    versions = (3, Ratio(10)), [(4, Ratio(20))]
    lake.write("features", window.key, features(23))
    whole = score_window(ours, lake, window, *versions)
    expected = lake.read("predictions", window.key)
    monkeypatch.setattr(lake_module, "CHUNK", 5)
    lake.write("features", window.key, features(23))
    champion = Ratio(10)
    assert score_window(ours, lake, window, (3, champion), versions[1]) == whole
    assert champion.calls == [5, 5, 5, 5, 3]
    assert lake.read("predictions", window.key).equals(expected)


def test_no_events_give_no_predictions(case: Any) -> None:
    ours, lake, window = case
    lake.write("features", window.key, features(0))
    assert score_window(ours, lake, window, (1, Ratio(10)), []).rows == 0
    assert lake.rows("predictions", window.key) == 0


def test_a_scorer_that_fails_half_way_leaves_the_last_good_predictions(
    case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Ratio):
        def score(self, frame: pl.DataFrame) -> np.ndarray:
            if self.calls:
                raise AiosError("the artefact is damaged", where="loans version 2")
            return super().score(frame)

    ours, lake, window = case
    monkeypatch.setattr(lake_module, "CHUNK", 5)
    lake.write("features", window.key, features(12))
    score_window(ours, lake, window, (1, Ratio(10)), [])
    before = lake.path("predictions", window.key).read_bytes()
    with pytest.raises(AiosError, match="damaged"):
        score_window(ours, lake, window, (2, Failing(10)), [])
    assert lake.path("predictions", window.key).read_bytes() == before


def test_features_must_be_there_first(case: Any) -> None:
    ours, lake, window = case
    with pytest.raises(AiosError, match="'features' has not been made"):
        score_window(ours, lake, window, (1, Ratio(10)), [])

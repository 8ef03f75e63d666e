"""Canary and shadow: who decides which event, and what the other would have decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from aios.errors import AiosError
from aios.rollouts import places
from aios_assets.lifecycle.assignment import Assignment, keep, kept
from aios_assets.lifecycle.predictions import score_window
from aios_assets.lifecycle.rollout_evidence import Rows, series_of
from aios_assets.lifecycle.shadow import shadow_window
from tests.aios_assets.test_predictions import Ratio, features
from tests.conftest import make_automation

pytestmark = pytest.mark.unit


class Broken(Ratio):
    def score(self, frame: pl.DataFrame) -> np.ndarray:
        raise AiosError("the artefact is damaged", where="loans version 4")


@pytest.fixture
def case(tmp_path: Any) -> Any:
    ours, platform = make_automation(tmp_path, rollout={"unit": "id"})
    return ours, platform.lake("loans"), ours.windows()[0]


def scored(case: Any, challenger: Any, share: float, rows: int = 40) -> Any:
    ours, lake, window = case
    lake.write("features", window.key, features(rows))
    assignment = Assignment(3, 4, share, "loans/4", "loan_id")
    keep(lake, window, assignment)
    found = score_window(ours, lake, window, (3, Ratio(100)), [(4, challenger)], assignment)
    return found, lake.read("predictions", window.key)


class TestCanary:
    def test_its_share_is_decided_by_the_challenger_and_scored_by_both(self, case: Any) -> None:
        found, rows = scored(case, Ratio(50), 0.4)
        chosen = places(range(40), "loans/4") < 0.4
        can_score = np.arange(40) % 5 != 4
        by_challenger = (rows["model_version"] == 4).to_numpy()
        assert (by_challenger == (chosen & can_score)).all()
        assert 0 < found.canary == by_challenger.sum()
        expected = np.where(by_challenger, rows["score_v4"], rows["score_v3"])
        assert rows["score"].equals(pl.Series("score", expected, nan_to_null=True))
        assert rows["score_v3"].is_not_nan().sum() == rows["score_v4"].is_not_nan().sum() == 32

    def test_in_shadow_the_champion_decides_everything(self, case: Any) -> None:
        found, rows = scored(case, Ratio(50), 0.0)
        assert found.canary == 0
        assert rows["model_version"].unique().to_list() == [3]
        assert "score_v4" in rows.columns

    def test_where_the_challenger_fails_the_champion_goes_on(self, case: Any) -> None:
        found, rows = scored(case, Broken(1), 0.9)
        assert rows["model_version"].unique().to_list() == [3]
        assert rows["score_v4"].is_nan().all()
        assert "damaged" in found.lost[0]

    def test_who_decided_is_kept(self, case: Any) -> None:
        _, lake, window = case
        keep(lake, window, Assignment(3, 4, 0.25, "loans/4", "loan_id"))
        assert kept(lake, window.key) == Assignment(3, 4, 0.25, "loans/4", "loan_id")
        assert kept(lake, "2030-01-01") is None


class TestShadow:
    def test_both_decide_each_event_by_the_same_policy(self, case: Any) -> None:
        ours, lake, window = case
        scored(case, Ratio(50), 0.4)
        pairs = shadow_window(ours, lake, window)
        rows = lake.read("shadow", window.key)
        assert rows.height == 40 == sum(pairs.values())
        given = lake.read("features", window.key).select("amount")
        for who, number in (("champion", 3), ("challenger", 4)):
            scores = lake.read("predictions", window.key)[f"score_v{number}"].fill_nan(None)
            outcome = ours.policy.decide(given.with_columns(scores.alias("score")))["outcome"]
            assert rows[f"{who}_outcome"].to_list() == outcome.to_list()
        decided = lake.read("predictions", window.key)["model_version"] == 4
        assert rows["canary"].to_list() == decided.to_list()
        assert rows.filter(pl.col("challenger_score").is_null())["challenger_outcome"].unique(
        ).to_list() == ["review"]  # fmt: skip

    def test_nobody_in_rollout_leaves_it_empty(self, case: Any) -> None:
        ours, lake, window = case
        lake.write("features", window.key, features(6))
        for assignment in (Assignment(3), Assignment(None)):
            keep(lake, window, assignment)
            champion = (3, Ratio(10)) if assignment.champion else None
            score_window(ours, lake, window, champion, [], assignment)
            assert shadow_window(ours, lake, window) == {}
            assert lake.rows("shadow", window.key) == 0


END = datetime(2024, 3, 1)


def paired(n: int = 400, *, labelled: int = 400, worse: float = 0.0) -> pl.DataFrame:
    """Rows whose champion scores 0.3 and whose challenger `worse` off from the label."""
    random = np.random.default_rng(3)
    label = (random.random(n) < 0.3).astype(float)
    began = [datetime(2024, 1, 1) + timedelta(weeks=4 * i // n) for i in range(n)]
    score = np.clip(np.abs(label - 0.3 - worse), 0, 1)
    learned = [END - timedelta(days=n - i) if i < labelled else None for i in range(n)]
    return pl.DataFrame(
        {
            "loan_id": np.arange(n),
            "own_score": score,
            "own_outcome": np.where(score > 0.5, "block", "approve"),
            "other_score": np.abs(label - 0.3),
            "other_outcome": np.where(label > 0.5, "block", "approve"),
            "event_time": began,
            "known_at": began,
            "began": began,
            "label": [one if i < labelled else None for i, one in enumerate(label)],
            "label_known_at": learned,
        }
    )


class TestEvidence:
    def series(self, case: Any, frame: pl.DataFrame, starts: Any = ()) -> Any:
        return {
            (one.metric, one.scope): one
            for one in series_of(case[0], Rows(frame), None, list(starts), END)[0]
        }

    def test_loss_is_the_share_of_the_champions_by_which_the_version_is_worse(
        self, case: Any
    ) -> None:
        frame = paired(worse=0.2)
        loss = self.series(case, frame)["loss", "whole"]
        own, other = ((frame[f"{who}_score"] - frame["label"]) ** 2 for who in ("own", "other"))
        assert loss.harm.mean() == pytest.approx(own.mean() / other.mean() - 1)
        assert loss.critical
        assert loss.matured == 0  # no history of delays: nothing has matured for sure

    def test_rows_without_an_outcome_count_for_no_loss(self, case: Any) -> None:
        found = self.series(case, paired(labelled=150))
        assert len(found["loss", "whole"].harm) == 150
        assert len(found["disagreement", "whole"].harm) == 400

    def test_labels_are_judged_in_the_order_in_which_they_were_learned(self, case: Any) -> None:
        frame = paired(worse=0.2)
        mixed = frame.sample(fraction=1, shuffle=True, seed=1)
        one, other = (self.series(case, rows)["loss", "whole"].harm for rows in (frame, mixed))
        assert (one == other).all()

    def test_later_starts_see_only_what_came_later(self, case: Any) -> None:
        start = datetime(2024, 1, 15)
        found = self.series(case, paired(), [start])
        assert len(found["disagreement", "since 2024-01-15"].harm) == 200
        assert not found["loss", "since 2024-01-15"].critical

    def test_no_more_than_the_error_rate_is_ever_spent(self, case: Any) -> None:
        starts = [datetime(2024, 1, 1) + timedelta(days=i) for i in range(40)]
        found = series_of(case[0], Rows(paired()), None, starts, END)[0]
        assert sum(one.weight for one in found) <= 1

    def test_a_version_without_scores_shows_errors_and_no_loss(self, case: Any) -> None:
        frame = paired().with_columns(own_score=pl.lit(None, dtype=pl.Float64))
        found = self.series(case, frame)
        assert found["errors", "whole"].harm.mean() == 1
        assert np.isnan(found["loss", "whole"].harm).all()
        assert found["loss", "whole"].due == 400

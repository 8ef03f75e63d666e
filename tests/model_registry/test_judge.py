"""The verdict on a challenger: its rules, its level over looks and metrics, its reasons."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from aios.errors import AiosError
from model_registry.judge import Series, Verdict, judge

pytestmark = pytest.mark.unit


def draws(mean: float, rows: int = 1000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, rows)


def of(*series: Series, **options: Any) -> Verdict:
    return judge(series, **{"error_rate": 0.05, "min_rows": 100, "matured": 0.8, **options})


WORSE = Series("brier", draws(0.5), 0.2)
EQUAL = Series("log_loss", draws(0), 0.2)
BETTER = Series("mae", draws(-0.5), 0.2)
UNCLEAR = Series("cost", draws(0.15), 0.2)
FEW = Series("latency", draws(0, 60), 0.2)


@pytest.mark.parametrize(
    ("series", "status"),
    [(WORSE, "worse"), (EQUAL, "not worse"), (BETTER, "better"), (UNCLEAR, "insufficient")],
)
def test_one_metric_decides_by_its_bounds(series: Series, status: str) -> None:
    verdict = of(series)
    (one,) = verdict.metrics
    assert verdict.status == one.status == status
    assert one.low < one.estimate < one.high
    assert one.rows == 1000
    assert one.reason.startswith(status if status != "insufficient" else "not settled")
    assert verdict.reasons[0].startswith(f"{series.metric} (whole): ")


def test_a_harm_that_is_sure_but_below_the_margin_is_not_worse() -> None:
    (one,) = of(Series("brier", draws(0.1, 20_000), 0.2)).metrics
    assert one.low > 0
    assert one.status == "not worse"


def test_a_harm_above_its_margin_is_worse_only_where_it_is_sure() -> None:
    (one,) = of(Series("brier", draws(0.1, 110), 0.05)).metrics
    assert one.estimate > one.margin
    assert one.status == "insufficient"


def test_a_disagreement_is_worse_only_above_its_limit() -> None:
    differ = np.random.default_rng(1).random(2000)
    for share, status in ((0.2, "not worse"), (0.32, "insufficient"), (0.45, "worse")):
        series = Series("disagreement", 1.0 * (differ < share), 0.3, limit=0.3)
        assert of(series).status == status
        assert (of(series).metrics[0].estimate > 0.3) == (share > 0.3)
    # A shift to the other side is no merit.
    assert of(Series("score_shift", draws(-0.5), 0.3, limit=0.3)).status == "not worse"
    assert of(Series("disagreement", np.zeros(2000), 0.3, limit=0.3)).status == "not worse"


def test_any_worse_metric_wins_also_one_that_is_not_critical() -> None:
    side = Series("cost", draws(0.5), 0.2, critical=False)
    verdict = of(BETTER, FEW, side)
    assert verdict.status == "worse"
    assert [reason.split()[0] for reason in verdict.reasons] == ["cost"]


def test_a_critical_metric_without_a_verdict_stops_and_another_does_not() -> None:
    assert of(BETTER, FEW).status == "insufficient"
    side = Series("latency", draws(0, 60), 0.2, critical=False)
    assert of(BETTER, side).status == "better"
    assert of(EQUAL, side).status == "not worse"
    assert of(EQUAL, BETTER).status == "better"


def test_without_a_critical_metric_nothing_passes() -> None:
    assert of().status == "insufficient"
    verdict = of(Series("cost", draws(-0.5), 0.2, critical=False))
    assert verdict.status == "insufficient"
    assert verdict.reasons == ("no critical metric was given",)


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        (Series("brier", np.full(500, np.nan), 0.2), "500 of 500 rows due are missing"),
        (Series("brier", np.array([]), 0.2), "0 of at least 100 rows"),
        (Series("brier", draws(-1), 0.2, error="division by zero"), "division by zero"),
        (Series("brier", draws(-1), 0.2, due=1100), "100 of 1,100 rows due are missing"),
        (Series("brier", draws(0, 1000).cumsum(), 0.2), "depend on each other too much"),
    ],
)
def test_what_cannot_be_measured_never_passes(series: Series, reason: str) -> None:
    verdict = of(series)
    assert verdict.status == "insufficient"
    assert reason in verdict.reasons[0]


def test_a_few_missing_rows_and_rows_not_yet_due_do_not_matter() -> None:
    harm = draws(-0.5)
    harm[:40] = np.nan
    assert of(Series("brier", harm, 0.2)).status == "better"
    harm[40:400] = np.nan
    assert of(Series("brier", harm, 0.2)).status == "insufficient"
    verdict = of(Series("brier", harm, 0.2, due=610))
    assert (verdict.status, verdict.metrics[0].missing) == ("better", 10)


def test_models_that_agree_pass_once_there_are_enough_rows() -> None:
    for rows, status in ((99, "insufficient"), (150, "insufficient"), (1000, "not worse")):
        assert of(Series("brier", np.zeros(rows), 0.01)).status == status


def test_labels_that_have_not_matured_make_a_verdict_provisional() -> None:
    young = Series("brier", draws(-0.5), 0.2, matured=0.5)
    assert of(young).provisional
    assert not of(young, matured=0.5).provisional
    aside = Series("cost", draws(0), 0.2, critical=False, matured=0.5)
    assert not of(EQUAL, aside).provisional
    # One worse metric on mature labels is enough to be final.
    assert not of(WORSE, Series("auc", draws(0.5), 0.2, matured=0.5)).provisional


def test_the_error_rate_is_shared_by_weight() -> None:
    alone = of(EQUAL).metrics[0]
    heavy, light = of(
        Series("a", EQUAL.harm, 0.2, weight=9), Series("b", EQUAL.harm, 0.2, weight=1)
    ).metrics
    assert light.low < heavy.low < alone.low
    # Promotion needs every metric: its bound is not split.
    assert light.high == heavy.high == alone.high
    # Weights below 1 in sum leave the rest to later series.
    later = of(Series("a", EQUAL.harm, 0.2, weight=0.1)).metrics[0]
    assert later.low == pytest.approx(light.low)


def test_equal_models_are_hardly_ever_called_worse_by_ten_metrics_over_many_looks() -> None:
    generator, ended, rollouts = np.random.default_rng(3), 0, 40
    for _ in range(rollouts):
        harm = generator.normal(size=(600, 10))
        for row in range(1, 600):
            harm[row] = 0.5 * harm[row - 1] + 0.75**0.5 * harm[row]
        ended += any(
            of(*(Series(str(i), harm[:n, i], 1e-12) for i in range(10))).status == "worse"
            for n in range(100, 601, 100)
        )
    assert ended / rollouts <= 0.05 + 3 * (0.05 * 0.95 / rollouts) ** 0.5


def test_needed_tells_how_many_rows_a_verdict_is_away() -> None:
    assert of(WORSE).metrics[0].needed == 0
    assert of(FEW).metrics[0].needed == 40
    assert of(Series("brier", np.full(500, np.nan), 0.2)).metrics[0].needed is None
    unclear = of(UNCLEAR).metrics[0]
    assert unclear.needed
    assert 100 < unclear.needed < 100_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": 0.0},
        {"margin": math.nan},
        {"weight": 0.0},
        {"limit": -0.1},
        {"limit": 0.3},
        {"matured": 1.2},
    ],
)
def test_numbers_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    given: dict[str, Any] = {"metric": "brier", "harm": draws(0), "margin": 0.2, **wrong}
    with pytest.raises(AiosError, match=next(iter(wrong))):
        Series(**given)

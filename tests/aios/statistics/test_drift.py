"""The drift verdict: level and power by simulation, invariants, and odd columns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.statistics.drift import drift_verdict
from aios.statistics.profile import GRID, Profile

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def table(
    generator: np.random.Generator, n: int, *, correlation: float = 0.0, shift: float = 0.0
) -> pl.DataFrame:
    """20 columns: continuous, discrete, with gaps, and text with common and with rare values."""
    common = generator.normal(size=n)
    columns: dict[str, np.ndarray] = {}
    for index in range(20):
        own = generator.normal(size=n)
        value = correlation**0.5 * common + (1 - correlation) ** 0.5 * own
        if index == 0:
            value = value + shift
        kind = index % 4
        if kind == 1:
            value = np.array(list("abcdefgh"))[np.minimum(7, np.abs(2 * value).astype(int))]
        elif kind == 2:
            value = np.where(np.abs(value) > 2, np.nan, value)
        elif kind == 3:
            value = np.round(np.exp(1.5 * value)).astype(int).astype(str)
        columns[f"c{index}"] = value
    return pl.DataFrame(columns)


def false_alarms(rows: int, correlation: float, rate: float, repetitions: int) -> float:
    """Share of batches without drift that are reported, by significance alone."""
    generator = np.random.default_rng(rows)
    reported = 0
    for index in range(repetitions):
        if index % 20 == 0:
            reference = Profile.of(table(generator, 2000, correlation=correlation))
        verdict = drift_verdict(
            reference,
            table(generator, rows, correlation=correlation),
            false_alarm_rate=rate,
            min_effect=0.0,
            min_rows=50,
        )
        reported += verdict.status == "drift"
    return reported / repetitions


@pytest.mark.parametrize("rows", [50, 200, 1000])
@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_false_alarms_stay_at_the_stated_rate(rows: int, correlation: float) -> None:
    # Three standard errors of 100 batches at a rate of 0.05 are 0.065.
    assert false_alarms(rows, correlation, 0.05, 100) <= 0.115


@pytest.mark.loop
@pytest.mark.parametrize("rows", [50, 200, 1000])
@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_false_alarms_stay_at_the_stated_rate_in_many_batches(
    rows: int, correlation: float
) -> None:
    assert false_alarms(rows, correlation, 0.05, 400) <= 0.083


def test_mean_shift_of_half_a_standard_deviation_is_found_and_named() -> None:
    generator = np.random.default_rng(3)
    reference = Profile.of(table(generator, 2000))
    falsely = 0
    for _ in range(40):
        verdict = drift_verdict(reference, table(generator, 500, shift=0.5))
        assert "c0" in verdict.drifted
        falsely += len(verdict.drifted) - 1
    assert falsely <= 3


def test_significant_but_tiny_shift_of_a_large_batch_is_stable() -> None:
    generator = np.random.default_rng(4)
    reference = Profile.of(table(generator, 100_000))
    verdict = drift_verdict(reference, table(generator, 100_000, shift=0.1))
    assert verdict.columns[0].column == "c0"
    assert verdict.columns[0].adjusted < 1e-6
    assert verdict.status == "stable"


def test_distance_from_a_profile_is_the_distance_to_all_rows() -> None:
    from scipy.stats import ks_2samp

    generator = np.random.default_rng(5)
    reference, current = generator.normal(size=50_000), generator.normal(0.3, 1.2, size=7_000)
    (found,) = drift_verdict(
        Profile.of(pl.DataFrame({"x": reference})), pl.DataFrame({"x": current})
    ).columns
    assert found.distance == pytest.approx(ks_2samp(reference, current).statistic, abs=1 / GRID)
    discrete = np.round(reference, 1), np.round(current, 1)
    (found,) = drift_verdict(
        Profile.of(pl.DataFrame({"x": discrete[0]})), pl.DataFrame({"x": discrete[1]})
    ).columns
    assert found.distance == pytest.approx(ks_2samp(*discrete).statistic, abs=1e-12)


def test_p_values_agree_with_the_reference_implementations() -> None:
    from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

    generator = np.random.default_rng(6)
    one, two = generator.normal(size=2000), generator.normal(0.15, 1, size=300)
    left, right = generator.choice(4, size=2000), generator.choice(4, 300, p=[0.3, 0.3, 0.2, 0.2])
    gaps = [np.where(np.arange(n) < k, np.nan, 1.0) for n, k in ((2000, 10), (300, 7))]
    reference = pl.DataFrame({"number": one, "text": left.astype(str), "gaps": gaps[0]})
    current = pl.DataFrame({"number": two, "text": right.astype(str), "gaps": gaps[1]})
    found = {c.column: c for c in drift_verdict(Profile.of(reference), current).columns}
    assert found["number"].p_value == pytest.approx(ks_2samp(one, two).pvalue, rel=0.1)
    counts = [np.bincount(left), np.bincount(right)]
    assert found["text"].p_value == pytest.approx(chi2_contingency(counts).pvalue)
    tail = fisher_exact([[7, 293], [10, 1990]], alternative="greater").pvalue
    assert found["gaps"].p_value == pytest.approx(2 * 2 * tail)
    assert found["gaps"].measure == "null_share"


def test_more_missing_values_are_drift_of_a_number_and_of_a_text() -> None:
    generator = np.random.default_rng(7)
    number = generator.normal(size=1000)
    text = generator.choice(["a", "b"], size=1000)
    missing = generator.random(1000) < 0.3
    reference = Profile.of(pl.DataFrame({"number": number, "text": text}))
    current = pl.DataFrame({"number": number, "text": text}).select(
        pl.when(~pl.Series(missing)).then(pl.all())
    )
    assert set(drift_verdict(reference, current).drifted) == {"number", "text"}
    nan = current.with_columns(pl.col("number").fill_null(float("nan")))
    assert drift_verdict(reference, nan) == drift_verdict(reference, current)


def test_unseen_category_is_drift_even_in_a_small_batch() -> None:
    reference = Profile.of(pl.DataFrame({"region": ["north", "south"] * 5000}))
    current = pl.DataFrame({"region": ["north", "south"] * 80 + ["west"] * 40})
    assert drift_verdict(reference, current).status == "drift"


def test_identifiers_that_never_repeat_are_not_drift() -> None:
    for size in (500, 5000):
        reference = pl.DataFrame({"id": [f"a{index}" for index in range(size)]})
        current = pl.DataFrame({"id": [f"b{index}" for index in range(400)]})
        assert drift_verdict(Profile.of(reference), current).status == "stable"


def test_times_booleans_and_categoricals_are_compared() -> None:
    def frame(n: int, late: int) -> pl.DataFrame:
        start = datetime(2024, 1, 1) + timedelta(days=late)
        return pl.DataFrame(
            {
                "time": [start + timedelta(hours=index % 500) for index in range(n)],
                "flag": [index % 2 == 0 for index in range(n)],
                "grade": pl.Series([["low", "high"][index % 2] for index in range(n)]).cast(
                    pl.Categorical
                ),
            }
        )

    verdict = drift_verdict(Profile.of(frame(2000, 0)), frame(500, 30))
    assert verdict.drifted == ("time",)


@pytest.mark.parametrize(
    ("reference", "current", "status"),
    [
        ([None] * 300, [None] * 300, "stable"),
        ([1.0] * 300, [1.0] * 300, "stable"),
        ([1.0] * 300, [2.0] * 300, "drift"),
        ([2.0] * 300, [1.0] * 300, "drift"),
        ([1.0] * 300, [None] * 300, "drift"),
        ([None] * 300, [1.0] * 300, "drift"),
        (["a"] * 300, ["a"] * 300, "stable"),
        (["a"] * 300, [None] * 300, "drift"),
        (["a"] * 300, ["b"] * 300, "drift"),
        ([1.0, float("inf")] * 150, [1.0, float("nan")] * 150, "stable"),
        ([1.0] * 300, [1.0] * 199, "insufficient"),
        ([1.0] * 199, [2.0] * 300, "insufficient"),
    ],
)
def test_odd_columns_get_a_verdict(reference: list, current: list, status: str) -> None:
    verdict = drift_verdict(
        Profile.of(pl.DataFrame({"x": reference}, strict=False)),
        pl.DataFrame({"x": current}, strict=False),
    )
    assert verdict.status == status
    assert verdict.drifted == (("x",) if status == "drift" else ())


def test_empty_frames_are_insufficient() -> None:
    full = table(np.random.default_rng(1), 300)
    empty = full.clear()
    for reference, current in ((full, empty), (empty, full), (empty, empty)):
        verdict = drift_verdict(Profile.of(reference), current)
        assert (verdict.status, verdict.drifted) == ("insufficient", ())
    none = drift_verdict(Profile.of(full, []), full)
    assert (none.status, none.columns) == ("stable", ())


def test_absent_changed_and_nested_columns_are_named() -> None:
    reference = Profile.of(pl.DataFrame({"x": [1.0] * 300, "y": ["a"] * 300}))
    with pytest.raises(AiosError, match="no column 'y'"):
        drift_verdict(reference, pl.DataFrame({"x": [1.0] * 300}))
    with pytest.raises(AiosError, match="no column 'z'"):
        drift_verdict(reference, pl.DataFrame({"z": [1.0]}), columns=["z"])
    with pytest.raises(AiosError, match="'x' is String"):
        drift_verdict(reference, pl.DataFrame({"x": ["a"] * 300, "y": ["a"] * 300}))
    with pytest.raises(AiosError, match="List"):
        Profile.of(pl.DataFrame({"x": [[1.0]]}))


def test_profile_is_stored_whole_small_and_with_equal_bytes(tmp_path: Path) -> None:
    generator = np.random.default_rng(8)
    frame = table(generator, 20_000).with_columns(
        pl.Series("naïve", [f"{index}\x00é" for index in range(20_000)])
    )
    profile = Profile.of(frame)
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    profile.write(one)
    Profile.of(frame).write(two)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]
    current = frame.sample(500, seed=1).with_columns(pl.col("c0") + 1)
    assert drift_verdict(Profile.read(one), current) == drift_verdict(profile, current)
    assert one.stat().st_size < 20 * 100_000


def test_damaged_profile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "profile.npz"
    Profile.of(pl.DataFrame({"x": [1.0, 2.0]})).write(path)
    path.write_bytes(path.read_bytes()[:-40])
    for damaged in (path, tmp_path / "absent.npz"):
        with pytest.raises(AiosError, match="build it again"):
            Profile.read(damaged)


values = st.one_of(st.none(), st.floats(width=32), st.integers(-3, 3).map(float))
texts = st.one_of(st.none(), st.sampled_from("abc"), st.text(max_size=3))
frames = st.integers(1, 80).flatmap(
    lambda n: st.builds(
        lambda x, y: pl.DataFrame(
            {"x": x, "y": y}, schema={"x": pl.Float64, "y": pl.String}, strict=False
        ),
        st.lists(values, min_size=n, max_size=n),
        st.lists(texts, min_size=n, max_size=n),
    )
)


@settings(max_examples=50, deadline=None)
@given(frames)
def test_a_frame_has_not_drifted_from_itself(frame: pl.DataFrame) -> None:
    verdict = drift_verdict(Profile.of(frame), frame, min_rows=1, min_effect=0.0)
    assert verdict.status == "stable"
    assert all(column.distance == pytest.approx(0, abs=1e-12) for column in verdict.columns)


@settings(max_examples=50, deadline=None)
@given(frames, frames, st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(
    reference: pl.DataFrame, current: pl.DataFrame, seed: int
) -> None:
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=seed) for frame in (reference, current)]
    straight = drift_verdict(Profile.of(reference), current, min_rows=1)
    mixed = drift_verdict(Profile.of(shuffled[0]), shuffled[1], min_rows=1)
    assert (straight.status, straight.drifted) == (mixed.status, mixed.drifted)
    for one, two in zip(straight.columns, mixed.columns, strict=True):
        assert (one.distance, one.p_value) == pytest.approx((two.distance, two.p_value))
        assert 0 <= one.distance <= 1 + 1e-12
        assert 0 <= one.p_value <= 1

"""Labels: every outcome is stored once, in the partition in which it was learned."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from aios_assets.lifecycle.labels import build_labels, collect_labels
from tests.conftest import loans, make_automation

pytestmark = pytest.mark.unit


def test_outcomes_are_stored_in_the_partition_in_which_they_were_learned(tmp_path: Path) -> None:
    table = loans(100)
    ours, platform = make_automation(tmp_path, table=table)
    lake = platform.lake("loans")
    windows = ours.windows()
    for window in windows:
        collect_labels(ours, platform, window)
    labels = lake.read_all("labels")
    assert labels is not None
    learned = table.filter(pl.col("applied_at") + pl.duration(days=7) < windows[-1].end)
    truth = learned.select("loan_id", pl.col("defaulted").cast(pl.Float64))
    assert labels.select("loan_id", "label").sort("loan_id").rows() == truth.sort("loan_id").rows()
    assert lake.rows("labels", windows[0].key) == 0
    for window in windows:
        known = lake.read("labels", window.key)["known_at"]
        assert known.is_between(window.start, window.end, closed="left").all()


def test_collecting_again_leaves_the_same_bytes(tmp_path: Path) -> None:
    ours, platform = make_automation(tmp_path)
    lake, window = platform.lake("loans"), ours.windows()[3]
    collect_labels(ours, platform, window)
    before = lake.path("labels", window.key).read_bytes()
    collect_labels(ours, platform, window)
    assert lake.path("labels", window.key).read_bytes() == before


@pytest.mark.parametrize(("label", "passed"), [(None, True), (0, False)])
def test_labels_of_one_class_only_are_reported(
    tmp_path: Path, label: int | None, passed: bool
) -> None:
    table = loans(200)
    if label is not None:
        table = table.with_columns(defaulted=pl.lit(label))
    ours, platform = make_automation(tmp_path, table=table)
    result = dg.materialize(
        [build_labels(ours)], partition_key="2024-01-15", resources={"platform": platform}
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("both_classes", passed)

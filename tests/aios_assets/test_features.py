"""Features: a partition's own view equals the whole history's, and joins as a plain oracle does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aios.automation import Automation
from aios.digest import row_digests
from aios.errors import AiosError
from aios_assets.lifecycle.events import ingest
from aios_assets.lifecycle.features import compute_view, join_features, make_features
from aios_assets.resources import Platform
from tests.conftest import FEATURES, loans, make_automation

pytestmark = pytest.mark.loop

WEEKS = 8


def ingested(directory: Path, **overrides: Any) -> tuple[Automation, Platform]:
    ours, platform = make_automation(directory, **overrides)
    for window in ours.windows()[:WEEKS]:
        ingest(ours, platform.lake("loans"), window)
    return ours, platform


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Automation, Platform, pl.DataFrame]:
    ours, platform = ingested(tmp_path_factory.mktemp("features"), table=loans(400))
    frames = [make_features(ours, platform, window) for window in ours.windows()[:WEEKS]]
    return ours, platform, pl.concat(frames)


def test_every_event_has_one_feature_row_in_the_same_order(made: Any) -> None:
    _ours, platform, features = made
    events = platform.lake("loans").read_all("events")
    names = ["loan_id", "customer", "event_time", "known_at", "revision"]
    assert features.select(names).equals(events.select(names))
    assert features.columns == [
        *names,
        "amount",
        "log_amount",
        "region",
        "loans_28d",
        "feature_digest",
    ]
    assert features.schema["loans_28d"] == pl.Float64


def test_the_joined_rows_are_what_was_known_of_each_event(made: Any) -> None:
    _, platform, features = made
    events = (
        platform.lake("loans")
        .read_all("events")
        .select("loan_id", "customer", "known_at", "amount")
    )
    for event, row in zip(
        events.iter_rows(named=True), features.iter_rows(named=True), strict=True
    ):
        same = events.filter(
            (pl.col("customer") == event["customer"])
            & (pl.col("known_at") <= event["known_at"])
            & (pl.col("known_at") > event["known_at"] - timedelta(days=28))
        )
        assert row["loans_28d"] == same.height
        assert row["amount"] == event["amount"]


def test_a_partition_with_its_lookback_equals_the_whole_history(made: Any) -> None:
    ours, platform, _ = made
    lake = platform.lake("loans")
    history = ours.spec.features[1]
    whole = ours.function(history.function)(lake.read_all("events"))
    parts = lake.read_all("views/history")
    order = ["customer", "known_at"]
    expected = whole.select(*order, pl.col("loans_28d").cast(pl.Float64)).sort(order)
    assert parts.select(*order, "loans_28d").sort(order).equals(expected)


def test_too_short_a_lookback_would_be_seen(made: Any) -> None:
    ours, platform, _ = made
    lake = platform.lake("loans")
    view = ours.spec.features[1]
    window = ours.windows()[WEEKS - 1]
    right = lake.read("views/history", window.key)
    wrong = compute_view(ours, lake, view.model_copy(update={"lookback": timedelta(0)}), window)
    lake.write("views/history", window.key, right)
    assert wrong["loans_28d"].sum() < right["loans_28d"].sum()


def test_running_a_partition_again_leaves_the_same_bytes(made: Any) -> None:
    ours, platform, _ = made
    lake = platform.lake("loans")
    window = ours.windows()[3]
    names = ["features", "views/application", "views/history"]
    before = [lake.path(name, window.key).read_bytes() for name in names]
    make_features(ours, platform, window)
    assert [lake.path(name, window.key).read_bytes() for name in names] == before


def test_features_joined_later_have_the_digest_of_their_time(made: Any) -> None:
    ours, platform, features = made
    rows = features.select("loan_id", "customer", "known_at").sample(
        fraction=1, shuffle=True, seed=1
    )
    again = join_features(ours, platform, rows)
    assert again.select("loan_id").equals(rows.select("loan_id"))
    pairs = again.join(features, on="loan_id", suffix="_then")
    assert pairs.height == features.height
    assert (pairs["feature_digest"] == pairs["feature_digest_then"]).all()
    columns = list(ours.spec.feature_columns)
    assert row_digests(again.select(columns)).equals(again["feature_digest"], check_names=False)


def test_an_empty_partition_has_no_features(tmp_path: Path) -> None:
    table = loans(40, weeks=2)
    ours, platform = ingested(tmp_path, table=table)
    for window in ours.windows()[:3]:
        features = make_features(ours, platform, window)
    assert features.height == 0
    assert platform.lake("loans").rows("features", window.key) == 0


def test_events_must_be_there_first(tmp_path: Path) -> None:
    ours, platform = make_automation(tmp_path)
    with pytest.raises(AiosError, match="partition 2024-01-01 of 'events' has not been made"):
        make_features(ours, platform, ours.windows()[0])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('.log().alias("log_amount")', '.log().alias("logs")', "returned no column log_amount"),
        ('        "event_time",\n', "", "returned no column event_time"),
        ('        "loan_id",\n', "", "returned no column loan_id"),
        ("return events.select(", "return events.nothing(", "failed: AttributeError"),
        ('(pl.col("amount") + 1)', '(pl.col("sum") + 1)', "failed: ColumnNotFoundError"),
        (
            '        "amount",\n',
            '        pl.lit("much").alias("amount"),\n',
            "of another type than declared",
        ),
        ("return events.select(", "return 7\n    events.select(", "returned int, not a polars"),
    ],
)
def test_a_wrong_feature_function_is_named_and_leaves_nothing(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in FEATURES
    ours, platform = make_automation(tmp_path, features=FEATURES.replace(old, new, 1))
    window, lake = ours.windows()[0], platform.lake("loans")
    ingest(ours, lake, window)
    with pytest.raises(AiosError, match=f"(?s){says}") as error:
        make_features(ours, platform, window)
    assert error.value.where == f"{ours.folder / 'features.py'}, features:application"
    assert lake.partitions("features") == lake.partitions("views/application") == []

"""The rollout report: what is drawn and said of a version's way, and when more is expected."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aios.automation import Automation
from aios.lake import Lake
from aios.rollouts import Rollout
from aios.statistics.maturity import DelayCurve
from aios.windows import Window
from aios_assets.lifecycle.rollout_outlook import Seen, labels_of, waits_for
from aios_assets.lifecycle.rollout_plots import Look, sequence_plot
from aios_assets.lifecycle.rollout_report import looks_before
from aios_assets.lifecycle.rollout_slices import MOST_VALUES, loss_by_slice
from aios_assets.lifecycle.rollout_view import metadata_of, page_of, stands, waits
from aios_assets.report import rollout_text
from model_registry.judge import MetricVerdict
from tests.conftest import make_automation

pytestmark = pytest.mark.unit

WEEK = Window(datetime(2024, 2, 5), datetime(2024, 2, 12))
LATER = [WEEK.end + timedelta(weeks=n) for n in range(1, 5)]
AFTER_TEN_DAYS = DelayCurve.of(np.full(1000, 10.0), np.full(200, 3.0))

LOSS = MetricVerdict(
    "loss", "whole", "insufficient", True, 0.01, -math.inf, math.inf, 0.1, 0.0, 20, 0, 1, 0, True,
    "20 of at least 100 rows", 80,
)  # fmt: skip
ERRORS = replace(LOSS, metric="errors", rows=100, provisional=False)


def events(weeks: int, each: int = 50) -> pl.DataFrame:
    """Events that became known in the middle of the last weeks; older than ten days: labelled."""
    known = [WEEK.end - timedelta(days=3.5 + 7 * (n // each)) for n in range(weeks * each)]
    label = [1.0 if (WEEK.end - at).days >= 10 else None for at in known]
    began = [WEEK.start - timedelta(weeks=n // each) for n in range(weeks * each)]
    return pl.DataFrame({"known_at": known, "label": label, "began": began})


def seen(weeks: int, curve: DelayCurve | None = AFTER_TEN_DAYS) -> Seen:
    return Seen.of(events(weeks), curve)


def expected(
    metrics: list[MetricVerdict], basis: Seen, *, last: bool = False, **declared: Any
) -> list[dict[str, Any]]:
    plain = [asdict(one) for one in metrics]
    return waits_for(Rollout(**declared), plain, basis, WEEK, "weekly", last=last)


# When more is expected


@pytest.mark.parametrize(
    ("needed", "partitions"),
    # 50 events a week, each labelled ten days after it: one week's labels are still to come.
    [(1, 1), (50, 1), (51, 2), (100, 2), (150, 3)],
)
def test_labels_are_expected_when_their_events_have_the_age(needed: int, partitions: int) -> None:
    (one,) = expected([replace(LOSS, needed=needed)], seen(3))
    assert one["partitions"] == partitions
    assert one["at"] == LATER[partitions - 1].isoformat()
    assert one["rows"] == needed


def test_rows_that_need_no_label_are_expected_at_the_rate_so_far() -> None:
    (one,) = expected([replace(ERRORS, needed=75)], seen(2))
    assert (one["partitions"], one["at"]) == (2, LATER[1].isoformat())


@pytest.mark.parametrize(
    ("metric", "basis"),
    [
        (replace(LOSS, needed=None), None),
        (replace(ERRORS, needed=None), None),
        (replace(ERRORS, needed=10**9), None),
        (LOSS, seen(3, curve=None)),
    ],
)
def test_what_cannot_be_foretold_has_no_moment(metric: MetricVerdict, basis: Seen | None) -> None:
    (one,) = expected([metric], basis or seen(3))
    assert one["partitions"] is None
    assert one["at"] is None


def test_only_what_holds_a_version_up_is_waited_for() -> None:
    settled = replace(LOSS, status="not worse", needed=0)
    harmless = replace(ERRORS, critical=False)
    assert expected([settled, harmless], seen(3)) == []


def test_the_last_step_waits_for_the_declared_share_of_labels() -> None:
    settled = replace(LOSS, status="not worse", needed=0)
    # Of n weeks the last one and a half are too young: (n - 1) / n at the middle of each.
    (one,) = expected([settled], seen(2), last=True, matured=0.8)
    assert one["partitions"] == 3
    assert "80% of the labels" in one["what"]
    assert labels_of(seen(2), WEEK.end) == {
        "events": 100, "known": 50, "matured": 0.5, "measurable": True,
    }  # fmt: skip


def test_without_a_curve_no_label_counts_as_matured() -> None:
    found = labels_of(seen(2, curve=None), WEEK.end)
    assert (found["matured"], found["measurable"]) == (0.0, False)


# By slice


@pytest.fixture
def case(tmp_path: Path) -> tuple[Automation, Lake]:
    ours, platform = make_automation(tmp_path, rollout={})
    return ours, platform.lake("loans")


def test_loss_by_slice_compares_both_on_the_same_labelled_rows(case: Any) -> None:
    ours, lake = case
    at = datetime(2024, 1, 2)
    rows = [  # id, region, label, own, other
        (1, "north", 1.0, 0.9, 0.5),
        (2, "north", 0.0, 0.1, 0.5),
        (3, "south", 1.0, 0.5, 1.0),
        (4, None, 0.0, 0.0, 0.0),
        (5, "south", None, 0.5, 0.5),
        (6, "south", 1.0, None, 0.5),
    ]
    names = ["loan_id", "region", "label", "own_score", "other_score"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(known_at=pl.lit(at))
    lake.write("events", "2024-01-01", frame.select("loan_id", "known_at", "region"))
    found = loss_by_slice(ours, lake, frame.drop("region"), ["2024-01-01"])
    assert [(one["value"], one["rows"]) for one in found] == [
        ("north", 2), ("(missing)", 1), ("south", 1),
    ]  # fmt: skip
    assert found[0]["difference"] == pytest.approx(0.01 - 0.25)
    assert found[2]["difference"] == pytest.approx(0.25)


def test_a_slice_of_many_values_shows_the_largest(case: Any) -> None:
    ours, lake = case
    numbers = list(range(300))
    region = [f"r{int(n**0.5):02}" for n in numbers]
    frame = pl.DataFrame({"loan_id": numbers, "region": region}).with_columns(
        known_at=datetime(2024, 1, 2), label=0.0, own_score=0.5, other_score=0.5
    )
    lake.write("events", "2024-01-01", frame.select("loan_id", "known_at", "region"))
    found = loss_by_slice(ours, lake, frame.drop("region"), ["2024-01-01"])
    assert len(found) == MOST_VALUES
    assert found[0]["value"] == "r16"


def test_nothing_is_shown_by_slice_without_labels(case: Any) -> None:
    ours, lake = case
    frame = pl.DataFrame({"loan_id": [1], "label": [None], "own_score": [0.5], "other_score": [1]})
    assert loss_by_slice(ours, lake, frame, []) == []


# The pictures and the text


def finding(**changes: Any) -> dict[str, Any]:
    metrics = [
        asdict(replace(LOSS, **changes.pop("loss", {}))),
        asdict(replace(ERRORS, metric="disagreement", critical=False, limit=0.1)),
    ]
    return {
        "version": 5, "champion": 3, "leaf": 20, "begun": 20, "state": "shadow", "share": 0.0,
        "since": "2024-02-05T00:00:00", "partitions": 1, "keys": [WEEK.key],
        "labels": labels_of(seen(2), WEEK.end), "slices": [], "level": {},
        "waits_for": expected([LOSS], seen(2)), "status": "insufficient", "provisional": True,
        "reasons": ["loss (whole): 20 of at least 100 rows"], "metrics": metrics, **changes,
    }  # fmt: skip


def test_a_picture_is_the_same_bytes_each_time_and_takes_what_has_no_bounds() -> None:
    looks = [
        Look("2024-01-01", "shadow", math.nan, -math.inf, math.inf),
        Look("2024-01-08", "shadow", 50.0, -math.inf, math.inf),
        Look("2024-01-15", "canary 25 %", 0.02, -0.1, math.inf, later=(0.3, -math.inf, 0.5)),
        Look("2024-01-22", "canary 25 %", 0.02, -0.1, 0.2, later=(0.3, 0.1, 0.5)),
    ]
    drawn = [
        sequence_plot(looks, margin=0.1, limit=0.0, title="loss", unit="share") for _ in range(2)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(b"\x89PNG")


def test_the_metadata_shows_the_sequence_the_metrics_and_what_is_missing(case: Any) -> None:
    ours, _ = case
    one = finding()
    metadata = metadata_of(ours, WEEK, [one], [{WEEK.key: one}])
    assert metadata["rollout"] == "version 5, shadow since 2024-02-05 beside version 3"
    assert metadata["verdict"] == (
        "insufficient, provisional: labels may still change it (labels 50% matured)"
    )
    assert "80 more rows" in metadata["waits for"].md_str
    assert "2024-02-26" in metadata["waits for"].md_str
    for name in ("loss over the rollout", "disagreement over the rollout"):
        assert metadata[name].md_str.startswith(f"![{name}](data:image/png;base64,")
    table = metadata["metrics"].md_str
    assert "| loss (critical) | whole | insufficient, provisional | 0.01 | none | none |" in table


def test_two_versions_are_told_apart(case: Any) -> None:
    ours, _ = case
    one, other = finding(), finding(version=4, state="champion", share=1.0)
    metadata = metadata_of(ours, WEEK, [one, other], [{WEEK.key: one}, {WEEK.key: other}])
    assert metadata["version 5: rollout"] != metadata["version 4: rollout"]
    assert "take it back until 2024-04-05" in metadata["version 4: waits for"].md_str


def test_without_a_rollout_the_metadata_says_so(case: Any) -> None:
    ours, _ = case
    assert metadata_of(ours, WEEK, [], []) == {"rollout": "none under way", "verdict": "none"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "worse"}, "ends it"),
        ({"status": "not worse", "waits_for": []}, "a step further"),
        ({"status": "not worse", "waits_for": [], "partitions": 0}, "A partition in shadow"),
        ({"keys": []}, "first partition that champion and version both score"),
        ({"waits_for": expected([LOSS], seen(2))}, "ends after 11 more partitions"),
        ({"waits_for": expected([LOSS], seen(2, curve=None))}, "when cannot be said yet"),
    ],
)
def test_it_says_what_a_version_waits_for(case: Any, changes: dict[str, Any], says: str) -> None:
    ours, _ = case
    assert says in " ".join(waits(ours, finding(**changes)))


def test_the_page_holds_the_same_and_escapes_what_others_wrote(case: Any) -> None:
    ours, _ = case
    slices = [
        {
            "slice": "region", "value": "<script>", "rows": 3, "challenger": 0.1, "champion": 0.2,
            "difference": -0.1,
        }
    ]  # fmt: skip
    one = finding(slices=slices)
    page = page_of(ours, WEEK, [one], [{WEEK.key: one}])
    assert stands(one) in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert page.count("data:image/png;base64,") == 2


def test_only_looks_at_the_same_run_of_a_version_are_drawn(case: Any) -> None:
    _, lake = case
    write: Callable[[str, dict[str, Any]], Any] = lambda key, one: lake.write_json(  # noqa: E731
        "rollout", key, {"partition": key, "findings": [one]}
    )
    write("2024-01-01", finding(leaf=7, begun=7))
    write("2024-01-08", finding(version=4))
    write("2024-01-15", finding(leaf=20))
    write("2024-01-22", finding(leaf=31))
    write("2024-01-29", finding(leaf=31))
    assert list(looks_before(lake, finding(), "2024-01-22")) == ["2024-01-15", "2024-01-22"]


def test_the_summary_of_a_rehearsal_tells_the_way_of_a_version() -> None:
    moves = [
        {"state": "shadow", "share": 0.0, "at": datetime(2024, 5, 1)},
        {"state": "canary", "share": 0.25, "at": datetime(2024, 6, 1)},
        {"state": "rolled_back", "share": 0.0, "at": datetime(2024, 7, 1)},
    ]
    assert (
        rollout_text(moves) == "shadow 2024-05-01, canary 25 % 2024-06-01, rolled back 2024-07-01"
    )

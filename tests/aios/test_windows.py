"""Windows tile time, and their keys are those of Dagster's partitions."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from typing import get_args

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.windows import Cadence, Window, window_at, window_of, windows_between

pytestmark = pytest.mark.unit

CADENCES = st.sampled_from(get_args(Cadence))
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2150, 1, 1))
SPANS = st.timedeltas(timedelta(0), timedelta(days=400))


@given(CADENCES, MOMENTS, SPANS)
def test_windows_cover_a_span_without_gap_or_overlap(
    cadence: Cadence, start: datetime, span: timedelta
) -> None:
    windows = windows_between(cadence, start, start + span)
    for before, after in itertools.pairwise(windows):
        assert before.end == after.start
    if span:
        assert windows[0].start <= start < windows[0].end
        assert windows[-1].start < start + span <= windows[-1].end
    else:
        assert [window for window in windows if window.start >= start] == []


@given(CADENCES, MOMENTS)
def test_a_moment_lies_in_its_window_and_the_key_leads_back(
    cadence: Cadence, moment: datetime
) -> None:
    window = window_at(cadence, moment)
    assert window.start <= moment < window.end
    assert window_of(cadence, window.key) == window
    assert window_at(cadence, window.end - timedelta(microseconds=1)) == window


@given(CADENCES, MOMENTS, SPANS)
def test_keys_and_spans_are_those_of_dagster(
    cadence: Cadence, start: datetime, span: timedelta
) -> None:
    windows = windows_between(cadence, start, start + span)[:60]
    if not windows:
        return
    dates = {
        "start_date": windows[0].start.strftime("%Y-%m-%d"),
        "end_date": windows[-1].end.strftime("%Y-%m-%d"),
    }
    partitions = {
        "daily": lambda: dg.DailyPartitionsDefinition(**dates),
        "weekly": lambda: dg.WeeklyPartitionsDefinition(**dates, day_offset=1),
        "monthly": lambda: dg.MonthlyPartitionsDefinition(**dates),
    }[cadence]()
    later = windows[-1].end + timedelta(days=365)
    assert partitions.get_partition_keys(later) == [window.key for window in windows]
    theirs = partitions.time_window_for_partition_key(windows[-1].key)
    ours = windows[-1]
    assert theirs.start.replace(tzinfo=None) == ours.start
    assert theirs.end.replace(tzinfo=None) == ours.end


def test_windows_by_hand() -> None:
    moment = datetime(2024, 2, 29, 23, 59)
    assert window_at("daily", moment) == Window(datetime(2024, 2, 29), datetime(2024, 3, 1))
    assert window_at("weekly", moment) == Window(datetime(2024, 2, 26), datetime(2024, 3, 4))
    assert window_at("monthly", moment) == Window(datetime(2024, 2, 1), datetime(2024, 3, 1))
    december = window_at("monthly", datetime(2023, 12, 31))
    assert december.end == datetime(2024, 1, 1)


@pytest.mark.parametrize(
    ("cadence", "key", "says"),
    [
        ("weekly", "2024-01-03", "2024-01-01"),
        ("monthly", "2024-01-02", "2024-01-01"),
        ("daily", "tomorrow", "is not a date"),
        ("daily", "2024-02-30", "is not a date"),
        ("daily", "20240201", "2024-02-01"),
    ],
)
def test_a_key_that_names_no_window_is_refused(cadence: Cadence, key: str, says: str) -> None:
    with pytest.raises(AiosError, match=says) as error:
        window_of(cadence, key)
    assert "YYYY-MM-DD" in error.value.fix

"""Jobs run again, in ranges, and by hand."""

from __future__ import annotations

import pytest
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
)

from aios import clock
from tests.loops.conftest import NAME, QUIET, copy_loop, end_of, enter, key

pytestmark = pytest.mark.loop


def test_a_partition_run_again_leaves_the_same_bytes(loop):
    before = loop.files()
    loop.run("batch", 6)
    assert loop.files() == before


def test_a_retrain_run_again_makes_no_second_version(loop):
    stages = [(v.number, v.stage, v.metrics) for v in loop.versions()]
    champions, files = loop.champions(), loop.files()
    loop.run("retrain", 5)
    assert [(v.number, v.stage, v.metrics) for v in loop.versions()] == stages
    assert loop.champions() == champions
    assert loop.files() == files


def test_a_range_in_one_run_leaves_what_single_runs_leave(loop, prepared, tmp_path, monkeypatch):
    job = loop.repository.get_job(f"{NAME}_batch")
    with clock.at(end_of(10)):
        result = job.execute_in_process(
            instance=loop.instance,
            tags={
                ASSET_PARTITION_RANGE_START_TAG: key(8),
                ASSET_PARTITION_RANGE_END_TAG: key(10),
            },
            run_config=QUIET,
        )
    assert result.success
    made = {one.partition for one in result.asset_materializations_for_node(f"{NAME}__decisions")}
    assert made == {key(8), key(9), key(10)}

    single = copy_loop(prepared, tmp_path / "single")
    enter(single, monkeypatch)
    for week in (8, 9, 10):
        single.run("batch", week)
    assert loop.files() == single.files()


def test_a_step_that_fails_stops_what_depends_on_it_only(loop):
    loop.lake.path("predictions", key(3)).write_bytes(b"not Parquet")
    result = loop.execute("batch", 8)
    failed = {event.step_key for event in result.all_events if event.is_step_failure}
    assert failed == {f"{NAME}__performance"}
    assert loop.lake.has("decisions", key(8))
    assert loop.lake.has("drift", key(8), "json")

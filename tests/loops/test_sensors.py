"""Sensors and the schedule, on a real instance, across restarts."""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg
import polars as pl
import pytest

from aios import clock
from aios.alarms import alarms
from model_registry.approvals import ask
from model_registry.champion import CHAMPION_ALIAS, alias_mismatch
from tests.loops.conftest import NAME, end_of, key

pytestmark = pytest.mark.loop


def tick(loop, name, cursor=None):
    """Evaluate a sensor as the daemon does, with the cursor of its last tick."""
    sensor = loop.repository.get_sensor_def(name)
    with dg.build_sensor_context(
        instance=loop.instance,
        repository_def=loop.repository,
        resources=loop.repository.get_top_level_resources(),
        cursor=cursor,
    ) as context:
        return sensor.evaluate_tick(context)


class TestNewData:
    def test_each_partition_once_and_in_order_across_restarts(self, loop):
        cursor, asked = None, []
        for week in (8, 9, 10):
            loop.restart()
            found = tick(loop, f"{NAME}_new_data_sensor", cursor)
            (request,) = found.run_requests
            # Killed before its cursor was kept, it asks again under the key that Dagster knows.
            (again,) = tick(loop, f"{NAME}_new_data_sensor", cursor).run_requests
            assert again.run_key == request.run_key
            assert request.partition_key == key(week)
            asked.append(request.run_key)
            cursor = found.cursor
            assert not tick(loop, f"{NAME}_new_data_sensor", cursor).run_requests
            loop.run("batch", week)
        assert len(set(asked)) == 3

    def test_nothing_is_skipped_when_a_partition_fails(self, loop):
        loop.change_table(lambda table: table.rename({"amount": "sum"}))
        found = tick(loop, f"{NAME}_new_data_sensor")
        with pytest.raises(Exception, match="lacks column amount"):
            loop.run("batch", 8)
        held = tick(loop, f"{NAME}_new_data_sensor", found.cursor)
        assert not held.run_requests
        assert key(8) in held.skip_message
        assert "mend the cause" in held.skip_message
        loop.change_table(lambda table: table.rename({"sum": "amount"}))
        loop.run("batch", 8)
        (request,) = tick(loop, f"{NAME}_new_data_sensor", held.cursor).run_requests
        assert request.partition_key == key(9)

    def test_mended_code_tries_the_failed_partition_again(self, loop):
        found = tick(loop, f"{NAME}_new_data_sensor")
        loop.redeclare(description="Mended.")
        (request,) = tick(loop, f"{NAME}_new_data_sensor", found.cursor).run_requests
        assert request.partition_key == key(8)
        assert request.run_key != found.run_requests[0].run_key

    def test_it_waits_for_the_source(self, loop):
        loop.change_table(
            lambda table: table.filter(pl.col("applied_at") < f"{end_of(7):%Y-%m-%d %H:%M:%S}")
        )
        waiting = tick(loop, f"{NAME}_new_data_sensor")
        assert not waiting.run_requests
        assert "every complete partition has its decisions" in waiting.skip_message

    def test_a_source_that_cannot_be_read_fails_the_tick_and_keeps_the_cursor(self, loop):
        loop.change_table(lambda table: table.drop("applied_at"))
        with pytest.raises(dg.Failure, match="column 'applied_at' is missing"):
            tick(loop, f"{NAME}_new_data_sensor", "kept")


def measure(loop, week, *, drift="stable", performance="steady"):
    """Write what the monitors of a week would have measured."""
    champion = loop.champions()[-1][0]
    loop.lake.write_json("drift", key(week), {"status": drift, "champion": champion})
    loop.lake.write_json("performance", key(week), {"status": performance})


class TestRetrain:
    def test_drift_counts_when_it_is_confirmed_and_then_rests(self, loop):
        loop.redeclare(retrain={"triggers": ["drift"], "cooldown": "14d"})
        # The automation retrained after week 5 and rests two weeks.
        for week in (7, 8, 9, 10, 11, 12, 13):
            measure(loop, week, drift="drift" if week not in (7, 9) else "stable")
        found = tick(loop, f"{NAME}_retrain_sensor")
        # Weeks 8 and 9 differ; 10 and 11 agree; two weeks later 12 and 13 do.
        assert [one.partition_key for one in found.run_requests] == [key(11), key(13)]
        assert all("consecutive" in one.tags["aios/reason"] for one in found.run_requests)
        assert not tick(loop, f"{NAME}_retrain_sensor", found.cursor).run_requests

    @pytest.mark.parametrize(
        ("trigger", "measured", "says"),
        [
            ("performance", {"performance": "worse"}, "performance is worse"),
            ("labels", {}, "labels"),
        ],
    )
    def test_worse_performance_or_growth_fires_once(self, loop, trigger, measured, says):
        loop.run("batch", 8)
        loop.redeclare(retrain={"triggers": [trigger], "cooldown": "14d"})
        measure(loop, 8, **measured)
        found = tick(loop, f"{NAME}_retrain_sensor")
        (request,) = [one for one in found.run_requests if one.partition_key == key(8)]
        assert says in request.tags["aios/reason"]
        assert request.run_key.startswith(key(8))
        measure(loop, 9, **measured)  # within the cool-down
        later = tick(loop, f"{NAME}_retrain_sensor", found.cursor)
        assert not later.run_requests
        assert later.cursor != found.cursor

    def test_a_replayed_cursor_gives_the_same_keys_and_skips_nothing(self, loop):
        loop.redeclare(retrain={"triggers": ["performance"], "cooldown": "7d"})
        cursor, step_by_step = None, []
        for week in (8, 9, 10):
            measure(loop, week, performance="worse")
            loop.restart()
            found = tick(loop, f"{NAME}_retrain_sensor", cursor)
            step_by_step += [one.run_key for one in found.run_requests]
            cursor = found.cursor
        at_once = tick(loop, f"{NAME}_retrain_sensor")
        assert [one.run_key for one in at_once.run_requests] == step_by_step
        assert [run_key[:10] for run_key in step_by_step[-3:]] == [key(8), key(9), key(10)]
        assert at_once.cursor == cursor

    def test_a_retrain_that_was_done_is_not_asked_for_again(self, loop):
        found = tick(loop, f"{NAME}_retrain_sensor")
        assert not found.run_requests
        assert f"looked up to {key(7)}" in found.skip_message


class TestRegistry:
    def edit(self, loop, number):
        """Move the alias with MLflow's own client."""
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=loop.registry.uri, registry_uri=loop.registry.uri)
        client.set_registered_model_alias(NAME, CHAMPION_ALIAS, str(number))

    def kinds(self, loop, first):
        return [(one.kind, one.actor) for one in loop.registry.log.entries(first=first)]

    def test_an_alias_moved_by_hand_is_put_back_within_a_tick(self, loop):
        assert "agrees" in tick(loop, "registry_sensor").skip_message
        assert not alarms(loop.settings.home)
        first, second = (version for version, *_ in loop.champions())
        champions = loop.champions()
        for edits in (1, 2):
            size = loop.registry.log.size()
            self.edit(loop, first)
            said = tick(loop, "registry_sensor").skip_message
            assert f"is version {first}, the history says version {second}: restored" in said
            assert alias_mismatch(loop.registry, NAME) is None
            assert self.kinds(loop, size) == [("alias_restored", "sensor:registry")]
            assert "agrees" in tick(loop, "registry_sensor").skip_message
            found = alarms(loop.settings.home, NAME)
            assert [alarm["kind"] for alarm in found] == ["alias"] * edits
            assert f"version {first}" in found[-1]["message"]
        assert loop.champions() == champions
        loop.run("batch", 8)
        assert loop.decided_by(8) == {second}

    def test_it_is_promoted_where_that_is_declared(self, loop):
        loop.redeclare(aliases="adopt")
        size, before = loop.registry.log.size(), loop.champions()
        self.edit(loop, 4)
        with clock.at(end_of(7) + timedelta(hours=1)):
            said = tick(loop, "registry_sensor").skip_message
        assert "adopted" in said
        (alarm,) = alarms(loop.settings.home, NAME)
        assert "version 4" in alarm["message"]
        assert self.kinds(loop, size) == [
            ("promotion", "sensor:registry"),
            ("alias_adopted", "sensor:registry"),
        ]
        assert loop.champions()[:-1] == before
        assert loop.champions()[-1][0] == 4
        assert "agrees" in tick(loop, "registry_sensor").skip_message
        loop.run("batch", 8)
        assert loop.decided_by(8) == {4}

    def test_on_high_risk_it_is_never_promoted(self, loop):
        loop.redeclare(aliases="adopt", risk="high")
        size, before = loop.registry.log.size(), loop.champions()
        self.edit(loop, 4)
        said = tick(loop, "registry_sensor").skip_message
        assert "restored" in said
        assert "high_risk_adopts" in said
        assert loop.champions() == before
        assert self.kinds(loop, size) == [
            ("denied", "sensor:registry"),
            ("alias_restored", "sensor:registry"),
        ]
        (alarm,) = alarms(loop.settings.home, NAME)
        assert "high_risk_adopts" in alarm["message"]

    def test_a_version_that_was_deleted_is_told_and_stops_no_sensor(self, loop):
        ask(loop.registry.log, NAME, 4, 3, "person:alice", reason="better")
        loop.registry.client.delete_model_version(NAME, "3")
        for sensor in ("registry_sensor", "approvals_sensor"):
            assert "version 3 does not exist" in tick(loop, sensor).skip_message


class TestFailure:
    def test_a_failed_run_raises_one_alarm_that_says_what_to_do(self, loop):
        loop.change_table(lambda table: table.rename({"amount": "sum"}))
        result = loop.execute("batch", 8)
        failed = [
            event
            for event in result.all_events
            if event.event_type == dg.DagsterEventType.RUN_FAILURE
        ]
        for _ in range(2):
            context = dg.build_run_status_sensor_context(
                sensor_name="failure_sensor",
                dagster_event=failed[0],
                dagster_instance=loop.instance,
                dagster_run=result.dagster_run,
                resources={"platform": loop.platform},
            ).for_run_failure()
            loop.repository.get_sensor_def("failure_sensor")(context)
        (alarm,) = alarms(loop.settings.home, NAME)
        assert alarm["kind"] == "run failed"
        assert alarm["key"] == result.run_id
        for words in ("events", "lacks column amount", "What to do: Restore the column"):
            assert words in alarm["message"]


class TestSchedule:
    def evaluate(self, loop, moment):
        schedule = loop.repository.get_schedule_def(f"{NAME}_schedule")
        with dg.build_schedule_context(
            instance=loop.instance,
            scheduled_execution_time=moment,
            repository_def=loop.repository,
        ) as context:
            return schedule.evaluate_tick(context)

    @pytest.mark.parametrize("late", [timedelta(hours=2), timedelta(days=6)])
    def test_it_runs_the_last_complete_partition(self, loop, late):
        found = self.evaluate(loop, end_of(8) + late)
        (request,) = found.run_requests
        assert request.partition_key == key(8)
        assert request.run_key == f"{key(8)}-{loop.automation.code_version}"

    @pytest.mark.parametrize("moment", [datetime(2024, 1, 1, 2), datetime(2024, 6, 3, 2)])
    def test_it_rests_outside_the_automations_time(self, loop, moment):
        found = self.evaluate(loop, moment)
        assert not found.run_requests
        assert "outside the automation's time" in found.skip_message

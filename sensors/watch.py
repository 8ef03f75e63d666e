"""Sensors that raise alarms: failed runs, and aliases edited behind the registry's back."""

import json
from collections.abc import Sequence

import dagster as dg

from aios import clock
from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.errors import AiosError
from aios_assets.resources import Platform
from jobs.failures import failure_message


@dg.run_failure_sensor(
    name="failure_sensor",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Raises an alarm for every failed run: which step failed and what to do.",
)
def failure_sensor(
    context: dg.RunFailureSensorContext, platform: dg.ResourceParam[Platform]
) -> None:
    """Record the failed steps of a run as an alarm."""
    run = context.dagster_run
    failures = context.get_step_failure_events()
    messages = [failure_message(event) for event in failures] or [
        context.failure_event.message or "the run failed"
    ]
    automation = run.tags.get("aios/automation", run.job_name)
    home = platform.settings.home
    raise_alarm(home, automation, "run failed", run.run_id, " | ".join(messages))


def build_registry_sensor(automations: Sequence[Automation]) -> dg.SensorDefinition:
    """Build the sensor that compares MLflow's aliases with the champions' history."""

    @dg.sensor(
        name="registry_sensor",
        minimum_interval_seconds=120,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Raises an alarm when an alias in MLflow differs from the champion's history: "
        "someone edited it by hand. Decisions follow the history, not the alias.",
        required_resource_keys={"platform"},
    )
    def registry_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from model_registry.champion import alias_mismatch

        platform, found = context.resources.platform, []
        seen = json.loads(context.cursor or "[]")
        for automation in automations:
            try:
                mismatch = alias_mismatch(platform.registry, automation.name)
            except AiosError as error:
                mismatch = str(error)
            if mismatch:
                found.append(mismatch)
            if mismatch and mismatch not in seen:
                # The moment is in the key: the same edit, restored and repeated, is a new alarm.
                key = f"{clock.now().isoformat()} {mismatch}"
                raise_alarm(platform.settings.home, automation.name, "alias", key, mismatch)
        context.update_cursor(json.dumps(found))
        return dg.SkipReason("; ".join(found) or "every alias agrees with its history")

    return registry_sensor

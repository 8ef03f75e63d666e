"""Sensors that watch: failed runs, aliases edited behind the ledger's back, and approvals."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from aios import clock
from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.errors import AiosError
from aios.learner import learners
from aios_assets.resources import Platform
from jobs.failures import failure_message

if TYPE_CHECKING:
    from model_registry.authority import Authority


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
    """Build the sensor that brings MLflow's aliases and the ledger of champions together."""

    @dg.sensor(
        name="registry_sensor",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="When an alias in MLflow was edited by hand: restores it, or adopts the edit, "
        "as the automation's `aliases` says; records it and raises an alarm. Decisions follow the "
        "ledger, not the alias.",
        required_resource_keys={"platform"},
    )
    def registry_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from model_registry.reconciliation import reconcile

        said = []
        for name, authority in _authorities(context.resources.platform, automations):
            try:
                found = reconcile(authority)
            except AiosError as error:
                said.append(f"{name}: {error}")
                continue
            if found:
                message = f"{found.mismatch}: {found.done}. {found.why}".rstrip()
                said.append(message)
                # The moment is in the key: the same edit, repeated, is a new alarm.
                key = f"{clock.wall().isoformat()} {message}"
                raise_alarm(context.resources.platform.settings.home, name, "alias", key, message)
        return dg.SkipReason("; ".join(said) or "every alias agrees with the ledger")

    return registry_sensor


def build_approvals_sensor(automations: Sequence[Automation]) -> dg.SensorDefinition:
    """Build the sensor that carries out what was approved."""

    @dg.sensor(
        name="approvals_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Promotes what another person approved, as the act of who asked for it; closes "
        "requests that have expired or were overtaken by another champion.",
        required_resource_keys={"platform"},
    )
    def approvals_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        said = []
        for name, authority in _authorities(context.resources.platform, automations):
            try:
                said += authority.carry_out()
            except AiosError as error:
                said.append(f"{name}: {error}")
        return dg.SkipReason("; ".join(said) or "nothing was approved or has expired")

    return approvals_sensor


def _authorities(
    platform: Platform, automations: Sequence[Automation]
) -> "Iterator[tuple[str, Authority]]":
    from model_registry.authority import Authority

    for automation in automations:
        for learner in learners(automation):
            yield learner.name, Authority(platform.registry, platform.access, learner)

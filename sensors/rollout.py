"""The sensor that takes versions through their rollouts, and back."""

from contextlib import suppress
from typing import TYPE_CHECKING

import dagster as dg

from aios import clock
from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.errors import AiosError
from aios.identity.actors import REHEARSAL, ROLLOUT
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from datetime import datetime

    from model_registry.conduct import Conductor


def conductor_of(automation: Automation, platform: Platform) -> "Conductor":
    """Return who conducts an automation's rollouts."""
    from model_registry.authority import Authority
    from model_registry.conduct import Conductor

    authority = Authority(platform.registry, platform.access, automation)
    return Conductor(authority, lambda: blocked(automation, platform))


def blocked(automation: Automation, platform: Platform) -> str | None:
    """Return why no version may be given decisions now; None where nothing is against it.

    A rollback drill that failed, or gates below the declared targets. A rehearsal decides nothing.
    """
    from model_registry import armed, standby

    if clock.rehearsing():
        return None
    if failed := standby.blocked(platform.lake(automation.name)):
        return failed
    declared = automation.spec.rollout
    if declared is None or declared.targets is None:
        return None
    return armed.below_target(
        platform.log, automation.name, declared.targets, code_version=automation.code_version
    )


def tick(automation: Automation, platform: Platform, at: "datetime") -> list[str]:
    """Do what the newest report calls for; say what was done."""
    from model_registry.findings import newest

    keep_warm(automation, platform)
    name, actor = automation.name, REHEARSAL if clock.rehearsing() else ROLLOUT
    found = newest(platform.log, platform.lake(name), name)
    said = conductor_of(automation, platform).tick(found, actor, at=at)
    for one in said:
        if "rolled back" in one or "rejected" in one:
            raise_alarm(platform.settings.home, name, "rollout", one, one)
    return said


def keep_warm(automation: Automation, platform: Platform) -> None:
    """Load who a rollback returns to, so that it need not be loaded when it is wanted."""
    from model_registry import standby
    from model_registry.champion import previous

    before = previous(platform.registry, automation.name)
    if before:
        with suppress(AiosError):  # The drill says what is wrong with it.
            standby.load(platform.registry, before)


def build_rollout_sensor(automation: Automation) -> dg.SensorDefinition:
    """Build the sensor that acts on the newest rollout report."""

    @dg.sensor(
        name=f"{automation.name}_rollout_sensor",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes the version in rollout a step further, or ends its rollout, as the "
        "newest report calls for; rolls a champion back that late labels turned against.",
        required_resource_keys={"platform"},
    )
    def rollout_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        platform = context.resources.platform
        said = tick(automation, platform, clock.now())
        return dg.SkipReason("; ".join(said) or "no report calls for a move")

    return rollout_sensor

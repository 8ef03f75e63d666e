"""The sensor that drains the outbox where no worker does."""

from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa

from aios import clock
from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.identity.tables import micros
from aios_assets.resources import Platform
from jobs.actions import actions_job_name

if TYPE_CHECKING:
    from aios.database import Database

PATIENCE = timedelta(minutes=1)
"""How long a due action may wait for a worker before a run is started for it."""

_RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def waiting(database: "Database", automation: str) -> int:
    """Return how many actions have been due for longer than a worker would let them."""
    from aios.actions.tables import ACTIONS

    late = micros(clock.wall() - PATIENCE)
    due = sa.select(sa.func.count()).where(
        ACTIONS.c.automation == automation,
        ACTIONS.c.state.in_(["pending", "unsure", "sending"]),
        ACTIONS.c.due_at < late,
    )
    with database.reading() as connection:
        return connection.execute(due).scalar_one()


def _raise_alarms(platform: Platform, automation: str) -> None:
    """Raise an alarm for each cause of open incidents, once a day."""
    from aios.actions.incidents import causes

    for one in causes(platform.log.database, automation):
        said = f"{one.count} times {one.type} at {one.receiver}: {one.cause}"
        key = f"{clock.wall():%Y-%m-%d} {one.receiver} {one.type} {one.cause}"
        raise_alarm(platform.settings.home, automation, "incident", key, said)


def build_actions_sensor(automation: Automation) -> dg.SensorDefinition:
    """Build the sensor that starts a run for actions that nobody sends."""
    job = actions_job_name(automation.name)

    @dg.sensor(
        name=f"{job}_sensor",
        job_name=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a run that sends what is due, where no worker has done so for a "
        "minute, and once a day to look; raises an alarm for each cause of incidents.",
        required_resource_keys={"platform"},
    )
    def actions_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        platform = context.resources.platform
        _raise_alarms(platform, automation.name)
        late, today = waiting(platform.log.database, automation.name), f"{clock.wall():%Y-%m-%d}"
        if not late and context.cursor == today:
            return dg.SensorResult(skip_reason="nothing is due that a worker has not sent")
        running = dg.RunsFilter(job_name=job, statuses=_RUNNING)
        if context.instance.get_runs(running, limit=1):
            return dg.SensorResult(skip_reason=f"{late} actions are due; a run sends them")
        return dg.SensorResult(run_requests=[dg.RunRequest()], cursor=today)

    return actions_sensor

"""The sensor that closes cases nobody decided in time, and turns verdicts into labels."""

from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa

from aios import clock
from aios.automation import Automation
from aios.identity.tables import micros
from aios_assets.resources import Platform
from jobs.actions import reviews_job_name

if TYPE_CHECKING:
    from aios.database import Database
    from aios.review.desk import Desk


def desk_of(automation: Automation, platform: Platform) -> "Desk":
    """Return the desk at which an automation's cases are decided."""
    from aios.review.desk import Desk

    return Desk(
        platform.log, platform.access, {automation.name: automation}, platform.settings.home
    )


def newest_verdict(database: "Database", automation: str) -> int:
    """Return when the newest verdict became final, in microseconds since 1970; 0 without any."""
    from aios.review.tables import VERDICTS

    newest = sa.select(sa.func.max(VERDICTS.c.final_at)).where(
        VERDICTS.c.automation == automation,
        VERDICTS.c.undone_at.is_(None),
        VERDICTS.c.final_at <= micros(clock.wall()),
    )
    with database.reading() as connection:
        return connection.execute(newest).scalar() or 0


def build_reviews_sensor(automation: Automation) -> dg.SensorDefinition:
    """Build the sensor that watches an automation's reviews."""
    job = reviews_job_name(automation.name)

    @dg.sensor(
        name=f"{job}_sensor",
        job_name=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Decides the safe outcome where nobody decided in time, and starts a run that "
        "keeps new verdicts as labels and measures the reviewing, at least once a day.",
        required_resource_keys={"platform"},
    )
    def reviews_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        platform = context.resources.platform
        late = desk_of(automation, platform).time_out()
        # Once a day also without one: cases grow old by themselves.
        newest = f"{newest_verdict(platform.log.database, automation.name)}-{clock.wall():%Y%m%d}"
        said = f"{late} cases were decided for want of a verdict" if late else ""
        if newest == context.cursor:
            return dg.SensorResult(skip_reason=said or "no new verdict is final")
        request = dg.RunRequest(run_key=newest)
        return dg.SensorResult(run_requests=[request], cursor=newest)

    return reviews_sensor

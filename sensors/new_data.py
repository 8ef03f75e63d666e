"""The sensor that runs each complete partition of the source once, in order of time."""

import dagster as dg

from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.sources import latest_event
from aios.windows import Window
from jobs.batch import batch_job_name


def next_window(automation: Automation, lake: Lake) -> Window | None:
    """Return the earliest complete window with data that has no decisions yet."""
    latest = latest_event(automation)
    if latest is None:
        return None
    done = set(lake.partitions("decisions"))
    waiting = [w for w in automation.windows() if w.key not in done and w.start <= latest]
    return waiting[0] if waiting else None


def build_new_data_sensor(automation: Automation) -> dg.SensorDefinition:
    """Build the sensor for new data in the source."""

    @dg.sensor(
        name=f"{automation.name}_new_data_sensor",
        job_name=batch_job_name(automation.name),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Runs the earliest complete partition that has no decisions. A partition that "
        "fails holds back the later ones until it is mended; nothing is skipped.",
        required_resource_keys={"platform"},
    )
    def new_data_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        lake = context.resources.platform.lake(automation.name)
        try:
            window = next_window(automation, lake)
        except AiosError as error:
            raise dg.Failure(description=str(error)) from error
        if window is None:
            return dg.SensorResult(skip_reason="every complete partition has its decisions")
        key = f"{window.key}-{automation.code_version}"
        if context.cursor == key:
            return dg.SensorResult(
                skip_reason=f"{window.key} was requested and has no decisions yet; if its run "
                "failed, mend the cause and run it again"
            )
        request = dg.RunRequest(run_key=key, partition_key=window.key)
        return dg.SensorResult(run_requests=[request], cursor=key)

    return new_data_sensor

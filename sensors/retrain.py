"""The sensor that starts a retrain when a measurement calls for it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from aios.automation import Automation
from aios.lake import Lake
from aios.learner import Learner
from aios.retraining import Facts, retrain_reason
from jobs.retrain import retrain_job_name


@dataclass(frozen=True)
class Cursor:
    """How far the sensor has looked, and the last partition it asked a retrain for."""

    seen: str = ""
    requested: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Read a cursor; an empty one has seen nothing."""
        return cls(**json.loads(text)) if text else cls()

    def text(self) -> str:
        """Return the cursor as Dagster stores it."""
        return json.dumps(vars(self), sort_keys=True)


@dataclass(frozen=True)
class Due:
    """A retrain that is due as of the end of a partition, and why."""

    partition: str
    reason: str


def due_retrains(learner: Learner, lake: Lake, cursor: Cursor) -> tuple[list[Due], Cursor]:
    """Look at every partition measured since the cursor, in order, and say what is due."""
    measured = set(lake.partitions("drift", "json")) & set(lake.partitions("performance", "json"))
    due = []
    for key in sorted(measured):
        if key <= cursor.seen:
            continue
        cursor = Cursor(key, cursor.requested)
        reason = retrain_reason(learner.spec, facts_at(learner, lake, key, cursor.requested))
        if reason:
            due.append(Due(key, reason))
            cursor = Cursor(key, key)
    return due, cursor


def facts_at(learner: Learner, lake: Lake, key: str, requested: str) -> Facts:
    """Collect what was known at the end of a partition; later partitions do not count."""
    tries = [one for one in lake.partitions("training_set") if one < key]
    last_try = max([*tries, requested])
    verdicts = [
        lake.read_json("drift", one) for one in _until(lake.partitions("drift", "json"), key)
    ]
    champion = verdicts[-1].get("champion")
    labels = _until(lake.partitions("labels"), key)
    return Facts(
        at=learner.window(key).end,
        labels=sum(lake.rows("labels", one) for one in labels),
        trained_on=sum(lake.rows("labels", one) for one in labels if last_try and one <= last_try),
        last_try=learner.window(last_try).end if last_try else None,
        drift=[one["status"] for one in verdicts if one.get("champion") == champion],
        performance=lake.read_json("performance", key)["status"],
        has_champion=champion is not None,
    )


def _until(keys: Sequence[str], last: str) -> list[str]:
    return [key for key in keys if key <= last]


def _rehearsed(lake: Lake, learner: Learner) -> str | None:
    """Return where a rehearsal left off: a new sensor does not ask for its retrains again."""
    if not lake.has("rehearsal", "state", "json"):
        return None
    cursors: dict[str, str] = lake.read_json("rehearsal", "state")["cursors"]
    return cursors.get(learner.name)


def build_retrain_sensor(automation: Automation, learner: Learner) -> dg.SensorDefinition:
    """Build the sensor that asks for a retrain on confirmed drift, worse performance or growth."""

    @dg.sensor(
        name=f"{retrain_job_name(learner.name)}_sensor",
        job_name=retrain_job_name(learner.name),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a retrain when drift is confirmed, realised performance is worse than "
        "at the gate, or labels have grown; rests for the cool-down after each.",
        required_resource_keys={"platform"},
    )
    def retrain_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        platform = context.resources.platform
        start = context.cursor or _rehearsed(platform.lake(automation.name), learner)
        due, cursor = due_retrains(learner, platform.lake(learner.name), Cursor.parse(start))
        # The code version is in the key, so that a failed retrain runs again once it is mended.
        requests = [
            dg.RunRequest(
                run_key=f"{one.partition}-{automation.code_version}",
                partition_key=one.partition,
                tags={"aios/reason": one.reason},
            )
            for one in due
        ]
        skipped = None if requests else f"nothing is due; looked up to {cursor.seen or 'nothing'}"
        return dg.SensorResult(run_requests=requests, skip_reason=skipped, cursor=cursor.text())

    return retrain_sensor

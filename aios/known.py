"""What is known of events: their own columns and what the steps made of them."""

from typing import Any

import polars as pl

from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.steps import Step
from aios.windows import Window, window_at

TYPES: dict[str, Any] = {
    **dict.fromkeys(["text", "category", "json"], pl.String),
    **{"integer": pl.Int64, "number": pl.Float64, "boolean": pl.Boolean},
    "time": pl.Datetime("us"),
}


def last_before(automation: Automation, step: str | None = None) -> str:
    """Return the asset that must have run before a step, or before the features."""
    names = ["events", *(one.name for one in automation.spec.steps)]
    return names[names.index(step) - 1] if step else names[-1]


def known_events(
    automation: Automation,
    lake: Lake,
    key: str,
    *,
    before: str | None = None,
    through: str | None = None,
    json: bool = False,
) -> pl.DataFrame:
    """Return a partition's events with the outputs of the steps, in the order of the events.

    Args:
        automation: Whose.
        lake: Its lake.
        key: The partition.
        before: Take only the steps before this one.
        through: Take only the steps up to this one.
        json: Whether `json` outputs are wanted too.

    Raises:
        AiosError: A step has not run, or ran on other events.
    """
    frames = [lake.read("events", key)]
    for step in automation.spec.steps:
        if step.name == before:
            break
        outputs = list(step.outputs if json else step.columns)
        model = [f"{step.name}_version"] if step.model else []
        rows = lake.read(step.name, key, [automation.spec.id, "revision", *outputs, *model])
        identity = rows.select(automation.spec.id, "revision")
        if not identity.equals(frames[0].select(identity.columns)):
            raise AiosError(
                f"step '{step.name}' ran on other events than there are now",
                where=f"{automation.name} {key}",
                fix=f"Materialize {automation.name}/{step.name} for {key} again.",
            )
        frames.append(rows.drop(identity.columns))
        if step.name == through:
            break
    return pl.concat(frames, how="horizontal")


def known_before(automation: Automation, lake: Lake, step: Step, window: Window) -> pl.DataFrame:
    """Return what a step may look back at when a window begins.

    Columns: its inputs and outputs that are no `json`, and `known_at`.
    """
    kinds = automation.spec.columns | {"known_at": "time"}
    wanted = dict.fromkeys([*(n for n in step.inputs if n in kinds), "known_at", *step.columns])
    schema = {name: TYPES[kinds[name]] for name in wanted}
    since = window_at(automation.spec.cadence, window.start - step.lookback).key
    frames = [pl.DataFrame(schema=schema)]
    for key in lake.partitions(step.name):
        if since <= key < window.key:
            outputs = lake.read(step.name, key, list(step.columns))
            inputs = known_events(automation, lake, key, before=step.name)
            rows = pl.concat([inputs, outputs], how="horizontal")
            frames.append(rows.select(pl.col(name).cast(schema[name]) for name in wanted))
    return pl.concat(frames)

"""A rehearsal: the automation run over its own history, in time order, through the real jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from aios import clock
from aios.automation import (
    Automation,
    Binding,
    declared_binding,
    load_automation,
    write_binding,
)
from aios.consequences import follow, forget_rehearsed
from aios.database import open_database
from aios.errors import AiosError
from aios.identity.directory import Directory
from aios.lake import Lake
from aios.learner import Learner, learners
from aios.settings import Settings
from aios.sources import bind
from aios.windows import Window, windows_between
from aios_assets.instance import open_instance, run_job
from aios_assets.resources import Platform
from jobs.batch import batch_job_name, batch_nouns
from jobs.retrain import retrain_job_name, retrain_nouns
from sensors.retrain import Cursor, due_retrains
from sensors.rollout import tick

if TYPE_CHECKING:
    import dagster as dg

_TAG = "aios/rehearsal"
Progress = Callable[[int, int, str], None]


@dataclass
class State:
    """How far a rehearsal has come; written after each partition.

    Attributes:
        binding: The data it runs on.
        done: The partitions behind it.
        cursors: By learner, how far its measurements have been looked at.
        retrains: By learner and partition, why it was retrained.
    """

    binding: str
    done: list[str]
    cursors: dict[str, str]
    retrains: dict[str, dict[str, str]]

    def write(self, lake: Lake) -> None:
        """Store the state, so that a killed rehearsal goes on where it was."""
        lake.write_json("rehearsal", "state", vars(self))

    @classmethod
    def read(cls, lake: Lake) -> State | None:
        """Return the state of an earlier rehearsal, if there was one."""
        if not lake.has("rehearsal", "state", "json"):
            return None
        return cls(**lake.read_json("rehearsal", "state"))


def rehearse(
    name: str,
    settings: Settings,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    data: Path | None = None,
    fresh: bool = False,
    progress: Progress,
) -> tuple[Automation, list[Window], State]:
    """Run an automation over its history, or what is left of it.

    Each partition is scored by the champion of its time, labels mature as of its end, the retrain
    sensor's own rule decides on retrains, and the gate on champions.

    Args:
        name: The automation.
        settings: Where state lives.
        start: First moment to rehearse; the history's beginning by default.
        end: Last moment, not included; the history's end by default.
        data: Another file than the declared source.
        fresh: Forget everything this automation has done so far.
        progress: Called with partitions done, partitions in all, and what is being done.

    Raises:
        AiosError: Wrong data, a failing stage (naming the partition; run again to resume), or
            state of other data without `fresh`.
    """
    automation = load_automation(name, settings)
    _refuse_beside_people(automation, settings)
    lake = Lake(settings.home / "lake" / name)
    progress(0, 1, "opening")
    instance = open_instance(settings)
    if fresh:
        _forget(automation, settings, instance)
        automation = automation.bound_to(declared_binding(automation.spec))
    automation = _bind(automation, lake, data)
    state = State.read(lake) or State(str(automation.binding), [], {}, {})
    windows = _span(automation, start, end)
    jobs = _jobs(automation, settings)
    _close_killed_runs(instance, name)
    for position, window in enumerate(windows):
        if window.key in state.done:
            continue

        def say(what: str, position: int = position) -> None:
            progress(position, len(windows), what)

        with clock.at(window.end):
            say(f"{window.key} scoring and deciding")
            last = position == len(windows) - 1
            _run_batch(instance, jobs[batch_job_name(name)], automation, window, last)
            if automation.spec.rollout:
                tick(automation, Platform(settings), window.end)
            for learner in learners(automation):
                _retrain_where_due(instance, jobs, automation, learner, settings, state, say)
        state.done.append(window.key)
        state.write(lake)
    _await_people(automation, settings, windows[-1])
    progress(len(windows), len(windows), "done")
    return automation, windows, state


def _await_people(automation: Automation, settings: Settings, window: Window) -> None:
    """Open the cases of the last partition, which is a rehearsal's today, and plan its actions."""
    platform = Platform(settings)
    lake = platform.lake(automation.name)
    with platform.log.transaction() as transaction:
        forget_rehearsed(transaction.connection, automation)
        follow(
            transaction.connection, automation, lake, window.key, now=clock.wall(), rehearsed=True
        )


def _refuse_beside_people(automation: Automation, settings: Settings) -> None:
    """A rehearsal needs no second person to promote, so it must not be a way around one."""
    directory = Directory(open_database(settings.record))
    if automation.spec.risk == "high" and directory.has_people():
        raise AiosError(
            "a high-risk automation is not rehearsed where people are registered",
            where=str(settings.home),
            fix="Rehearse in a home of its own: AIOS_HOME=rehearsal aios rehearse "
            f"{automation.name}",
        )


def _retrain_where_due(
    instance: dg.DagsterInstance,
    jobs: dict[str, dg.JobDefinition],
    automation: Automation,
    learner: Learner,
    settings: Settings,
    state: State,
    say: Callable[[str], None],
) -> None:
    lake = Lake(settings.home / "lake" / learner.name)
    due, cursor = due_retrains(learner, lake, Cursor.parse(state.cursors.get(learner.name)))
    retrains = state.retrains.setdefault(learner.name, {})
    for one in due:
        say(f"{one.partition} retraining {learner.name}: {one.reason}")
        tags = {_TAG: automation.name, "aios/reason": one.reason}
        try:
            run_job(instance, jobs[retrain_job_name(learner.name)], one.partition, tags=tags)
            retrains[one.partition] = one.reason
        except AiosError as error:
            # A retrain that fails leaves the champion deciding, as it would live.
            retrains[one.partition] = f"{one.reason}; failed: {error.what}"
    state.cursors[learner.name] = cursor.text()


def _bind(automation: Automation, lake: Lake, data: Path | None) -> Automation:
    binding = bind(automation, data)
    state = State.read(lake)
    if state and state.binding != str(binding):
        raise AiosError(
            f"{automation.name} has already run on other data",
            where=str(lake.root),
            fix="Add --fresh to forget it and start again on this data.",
        )
    if data:
        write_binding(lake, binding)
    return automation.bound_to(binding)


def _span(automation: Automation, start: datetime | None, end: datetime | None) -> list[Window]:
    binding: Binding = automation.binding
    first = max(start or binding.start, binding.start)
    last = min(end or binding.end or clock.now(), binding.end or clock.now())
    windows = windows_between(automation.spec.cadence, first, last)
    complete = [window for window in windows if window.end <= clock.now()]
    if not complete:
        raise AiosError(
            f"no complete partition between {first:%Y-%m-%d} and {last:%Y-%m-%d}",
            where=automation.name,
            fix=f"The history runs from {binding.start:%Y-%m-%d} to "
            f"{binding.end or clock.now():%Y-%m-%d}.",
        )
    return complete


def _jobs(automation: Automation, settings: Settings) -> dict[str, dg.JobDefinition]:
    from aios_assets.definitions import build_definitions

    repository = build_definitions(settings).get_repository_def()
    names = [batch_job_name(automation.name)]
    names += [retrain_job_name(learner.name) for learner in learners(automation)]
    return {name: repository.get_job(name) for name in names}


def _run_batch(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    automation: Automation,
    window: Window,
    last: bool,
) -> None:
    """Run a partition; pages are drawn where there is something to see."""
    nouns = [one.asset("drift_report") for one in learners(automation)]
    ops = {f"{automation.name}__{noun}": {"config": {"page": "drifted"}} for noun in nouns}
    for step in automation.spec.steps:
        config = {"pages": "draw" if last else "skip"}
        ops[f"{automation.name}__{step.name}"] = {"config": config}
    run_job(instance, job, window.key, tags={_TAG: automation.name}, ops=ops)


def _close_killed_runs(instance: dg.DagsterInstance, name: str) -> None:
    import dagster as dg

    status = dg.DagsterRunStatus
    unfinished = [status.NOT_STARTED, status.STARTING, status.STARTED]
    for run in instance.get_runs(dg.RunsFilter(tags={_TAG: name}, statuses=unfinished)):
        instance.report_run_failed(run, "The rehearsal was killed during this run.")


def _forget(automation: Automation, settings: Settings, instance: dg.DagsterInstance) -> None:
    import dagster as dg

    from model_registry.removal import forget

    platform = Platform(settings)
    platform.store.forget(automation.name)
    with platform.log.database.writing() as connection:
        forget_rehearsed(connection, automation)
    nouns = [*batch_nouns(automation), "online_features"]
    for learner in learners(automation):
        forget(platform.registry, learner.name)
        nouns += retrain_nouns(learner)
        platform.lake(learner.name).clear()
        platform.reports(learner.name).clear()
    keys = [dg.AssetKey([automation.name, noun]) for noun in nouns]
    instance.wipe_assets([key for key in keys if instance.has_asset_key(key)])

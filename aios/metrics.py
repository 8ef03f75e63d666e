"""Figures for Prometheus, read from state: a run that crashed still shows, and who asks is free.

No process counts anything. Tables and files are asked when somebody scrapes, so that the figures
are the same from every process and survive them all. Labels have bounded values: names of the
declaration, states, kinds; never an id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from aios import clock
from aios.alarms import alarms
from aios.automation import automation_folders
from aios.database import open_database
from aios.declaration import load_spec
from aios.errors import AiosError
from aios.figures import Figure, Found, figures
from aios.identity.tables import micros
from aios.lake import Lake
from aios.windows import window_of

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from aios.settings import Settings
    from aios.spec import Spec

FAMILIES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "aios_state_readable": ("gauge", "1 where the database could be read.", ()),
    "aios_automation_readable": (
        *("gauge", "1 where the declaration could be read."),
        ("automation",),
    ),
    "aios_actions": (
        *("gauge", "Actions by state."),
        ("automation", "receiver", "state"),
    ),
    "aios_action_oldest_due_seconds": (
        *("gauge", "How long the oldest action that could be sent has been due."),
        ("automation", "receiver"),
    ),
    "aios_action_lease_age_seconds": (
        *("gauge", "Since when the oldest call is under way whose receipt is missing."),
        ("automation", "receiver"),
    ),
    "aios_action_calls_total": (
        *("counter", "Calls of receivers, those that asked what became of one too."),
        ("automation", "receiver"),
    ),
    "aios_action_retries_total": (
        *("counter", "Calls that took from the budget of retries."),
        ("automation", "receiver"),
    ),
    "aios_action_incidents": (
        *("gauge", "Actions that wait for a person to mend them."),
        ("automation", "receiver"),
    ),
    "aios_action_latency_seconds": (
        *("gauge", "From the decision to the receipt, of the newest actions that were done."),
        ("automation", "receiver", "quantile"),
    ),
    "aios_action_cost_total": (
        *("counter", "Declared cost of the actions done, in the currency of the declaration."),
        ("automation",),
    ),
    "aios_cost_per_action": ("gauge", "Declared cost of an action done.", ("automation",)),
    "aios_receiver_breaker": (
        *("gauge", "1 for the position the breaker is in."),
        ("automation", "receiver", "position"),
    ),
    "aios_receiver_failures": (
        *("gauge", "Failed calls in a row."),
        ("automation", "receiver"),
    ),
    "aios_review_cases": (
        *("gauge", "Cases by state, seeded ones not counted."),
        ("automation", "state"),
    ),
    "aios_review_overdue": ("gauge", "Cases that wait past their time.", ("automation",)),
    "aios_review_oldest_seconds": (
        *("gauge", "How long the oldest case has been waiting."),
        ("automation",),
    ),
    "aios_review_latency_seconds": (
        *("gauge", "From opening to closing, of the newest closed cases."),
        ("automation", "quantile"),
    ),
    "aios_review_verdicts_total": (
        *("counter", "Verdicts that stand."),
        ("automation", "verdict"),
    ),
    "aios_human_intervention_ratio": (
        *("gauge", "Share of the last partition's decisions that a person has to do with."),
        ("automation",),
    ),
    "aios_decisions": ("gauge", "Decisions of the last partition.", ("automation",)),
    "aios_last_partition_end_timestamp_seconds": (
        *("gauge", "End of the last partition with decisions."),
        ("automation",),
    ),
    "aios_last_decided_timestamp_seconds": (
        *("gauge", "When the newest decisions were written."),
        ("automation",),
    ),
    "aios_halted": ("gauge", "1 where decisions go to people by a halt.", ("automation",)),
    "aios_alarms": ("gauge", "Alarms raised.", ("automation", "kind")),
}
"""Every figure: its kind, what it is, and its labels."""


def exposition(settings: Settings, now: Callable[[], datetime] = clock.wall) -> bytes:
    """Return all figures in the text format of Prometheus.

    What cannot be read is left out, and `aios_state_readable` or `aios_automation_readable` is 0.
    """
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class State(Collector):
        def collect(self) -> Iterable[Metric]:
            return _metrics(_found(settings, micros(now())))

    registry = CollectorRegistry(auto_describe=False)
    registry.register(State())
    return generate_latest(registry)


def _metrics(found: Found) -> list[Metric]:
    from prometheus_client.metrics_core import Metric

    metrics = {}
    for name, (kind, meaning, _) in FAMILIES.items():
        metrics[name] = Metric(name.removesuffix("_total"), meaning, kind)
    for name, values, value in found:
        labels = dict(zip(FAMILIES[name][2], values, strict=True))
        metrics[name].add_sample(name, labels, value)
    return [one for one in metrics.values() if one.samples]


def _found(settings: Settings, now: int) -> Found:
    specs = {}
    for folder in automation_folders(settings):
        specs[folder.name] = _spec(folder)
        yield "aios_automation_readable", (folder.name,), float(specs[folder.name] is not None)
    decided = {}
    for name, spec in specs.items():
        lake = Lake(settings.home / "lake" / name)
        if spec and (keys := lake.partitions("decisions")):
            decided[name] = (keys[-1], lake.rows("decisions", keys[-1]))
            yield from _partition(name, spec, lake, *decided[name])
    yield from _alarms(settings.home)
    rows: list[Figure] = []
    try:
        with open_database(settings.record).reading() as connection:
            rows += figures(connection, specs, decided, now)
    except AiosError:
        rows.clear()
    yield "aios_state_readable", (), float(bool(rows))
    yield from rows


def _spec(folder: Path) -> Spec | None:
    try:
        return _spec_at(folder, (folder / "defs.yaml").stat().st_mtime_ns)
    except (AiosError, OSError):
        return None


@lru_cache(maxsize=128)
def _spec_at(folder: Path, changed: int) -> Spec:
    return load_spec(folder)


def _partition(name: str, spec: Spec, lake: Lake, key: str, rows: int) -> Found:
    yield "aios_decisions", (name,), float(rows)
    end = micros(window_of(spec.cadence, key).end) / 1e6
    yield "aios_last_partition_end_timestamp_seconds", (name,), end
    written = lake.path("decisions", key).stat().st_mtime
    yield "aios_last_decided_timestamp_seconds", (name,), written


def _alarms(home: Path) -> Found:
    counts = Counter((one["automation"], one["kind"]) for one in alarms(home))
    for labels, count in sorted(counts.items()):
        yield "aios_alarms", labels, float(count)

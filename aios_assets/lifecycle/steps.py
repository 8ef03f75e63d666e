"""Steps: what is done with each event before its features, one event at a time."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import polars as pl

from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.known import TYPES, known_before, known_events, last_before
from aios.lake import Lake
from aios.learner import ModelStep
from aios.step_runs import BLOCK, Function, Outcome, run_apart, run_here, run_one
from aios.steps import Step
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    mean_of,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.lifecycle.plots import as_markdown
from aios_assets.links import page
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion


class StepConfig(dg.Config):
    """Whether the pages of single documents are drawn, where a step has them."""

    pages: Literal["draw", "skip"] = "draw"


@dataclass(frozen=True)
class Ran:
    """What a step did with one partition.

    Attributes:
        version: The model version that it ran, where it is a model and had a champion.
        statuses: Events by status: "done", "fallback", "failed", "no_champion".
        problems: Events by problem.
        seconds: For each event, in order.
    """

    window: Window
    version: int | None
    statuses: Counter[str]
    problems: Counter[str]
    seconds: list[float]


def run_step(automation: Automation, platform: Platform, step: Step, window: Window) -> Ran:
    """Run a step over the events of a window and store its outputs.

    Columns: id, `known_at`, `revision`, the outputs, `<step>_status`, `<step>_problem`, and for a
    model `<step>_version`, which is null where no champion was in force.
    """
    lake, spec = platform.lake(automation.name), automation.spec
    events = known_events(automation, lake, window.key, before=step.name, json=True)
    version, outcomes = _outcomes(automation, platform, step, window, events)
    ran = Ran(window, version, Counter(), Counter(), [])
    blocks = events.select(spec.id, "known_at", "revision").iter_slices(BLOCK)
    with lake.writer(step.name, window.key) as write:
        if events.is_empty():
            write(_frame(step, events.select(spec.id, "known_at", "revision"), [], version))
        for rows in blocks:
            block = list(islice(outcomes, rows.height))
            ran.statuses.update(one.status for one in block)
            ran.problems.update(one.problem for one in block if one.problem)
            ran.seconds.extend(one.seconds for one in block)
            write(_frame(step, rows, block, version))
    lake.write_json("timing", f"{step.name}-{window.key}", {"seconds": ran.seconds})
    return ran


def _frame(
    step: Step, rows: pl.DataFrame, outcomes: list[Outcome], version: int | None
) -> pl.DataFrame:
    columns = [
        pl.Series(name, [one.outputs[name] for one in outcomes], dtype=TYPES[kind])
        for name, kind in step.outputs.items()
    ]
    columns += [
        pl.Series(f"{step.name}_status", [one.status for one in outcomes], dtype=pl.String),
        pl.Series(f"{step.name}_problem", [one.problem for one in outcomes], dtype=pl.String),
    ]
    if step.model:
        columns.append(pl.Series(f"{step.name}_version", [version] * rows.height, dtype=pl.Int32))
    return rows.with_columns(columns)


def _outcomes(
    automation: Automation, platform: Platform, step: Step, window: Window, events: pl.DataFrame
) -> tuple[int | None, Iterator[Outcome]]:
    rows = events.select(step.inputs).iter_rows(named=True)
    if step.function and step.lookback:
        return None, _remembering(automation, platform, step, window, events)
    if step.function and step.timeout:
        return None, run_apart(step, automation.folder, rows)
    if step.function:
        return None, run_here(step, automation.function(step.function), rows)
    learner = ModelStep(automation, step)
    champion = _champion(platform, learner, window)
    if champion is None:
        nothing = Outcome(dict.fromkeys(step.outputs), "no_champion", None, 0.0)
        return None, (nothing for _ in rows)
    return champion[0], run_here(step, champion[1], rows)


def _champion(
    platform: Platform, learner: ModelStep, window: Window
) -> "tuple[int, Function] | None":
    """Return who runs a window: the champion in force at its end, or who ran it before.

    Where the champion does not load, the one before it runs.
    """
    from model_registry.champion import champion_at, standing_in
    from model_registry.loading import load_or_before

    registry, lake = platform.registry, platform.lake(learner.automation.name)
    champion = champion_at(registry, learner.name, window.end)
    if champion is None:
        return None
    if ran_by := _ran_by(lake, learner, window):
        version = registry.get(learner.name, ran_by)
        return ran_by, load_extractor(platform, learner, version)
    deciding, function, lost = load_or_before(
        registry,
        standing_in(registry, learner.name, champion),
        lambda _, one: load_extractor(platform, learner, one),
    )
    for why in lost:
        raise_alarm(platform.settings.home, learner.name, "model", why, why)
    return deciding.number, function


def _ran_by(lake: Lake, learner: ModelStep, window: Window) -> int | None:
    if not lake.has(learner.step.name, window.key):
        return None
    column = f"{learner.step.name}_version"
    number = lake.read(learner.step.name, window.key, [column])[column].max()
    return None if number is None else int(number)  # type: ignore[arg-type]


def load_extractor(platform: Platform, learner: ModelStep, version: "ModelVersion") -> Function:
    """Load a version's parts and put them together as the step's function."""
    from model_registry.parts import load

    make = learner.automation.function(learner.spec.load)
    function: Function = make(load(platform.registry, version))
    return function


def _remembering(
    automation: Automation, platform: Platform, step: Step, window: Window, events: pl.DataFrame
) -> Iterator[Outcome]:
    """Run a step that looks at what was known before each event, of this partition too."""
    assert step.function
    function = automation.function(step.function)
    past = known_before(automation, platform.lake(automation.name), step, window)
    kept = [name for name in step.inputs if name in past.columns]
    for row in events.select(*dict.fromkeys([*step.inputs, "known_at"])).iter_rows(named=True):
        seen = past.filter(pl.col("known_at") >= row["known_at"] - step.lookback)
        outcome = run_one(
            step, partial(function, past=seen), {name: row[name] for name in step.inputs}
        )
        yield outcome
        known = {name: row[name] for name in kept} | {"known_at": row["known_at"]}
        known |= {name: outcome.outputs[name] for name in step.columns}
        past = past.vstack(pl.DataFrame([known], schema=past.schema))


def build_step(automation: Automation, step: Step) -> dg.AssetsDefinition:
    """Build the asset of one step."""
    what = f"model `{automation.name}.{step.name}`" if step.model else f"`{step.function}`"
    limit = step.timeout.total_seconds() if step.timeout else 0
    rules = [
        f"at most {limit:g} s for each event" if limit else "",
        f"up to {step.retries} more tries" if step.retries else "",
        f"then {step.fallback}" if step.fallback else "",
    ]
    said = ", ".join(rule for rule in rules if rule)
    options = asset_options(automation, step.name, kinds={"mlflow" if step.model else "python"})
    options["tags"] = {**options["tags"], "aios/step": step.kind}

    @dg.asset(
        **options,
        deps=[[automation.name, last_before(automation, step.name)]],
        description=f"Step ({step.kind}): {what}, event by event{f'; {said}' if said else ''}. "
        "A failure concerns its event alone.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(automation, step.name, "done", "The step was done for every event.")
        ],
    )
    def asset(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform], config: StepConfig
    ) -> dg.MaterializeResult:
        begun = time.perf_counter()
        with stage(step.name):
            parts = [
                run_step(automation, platform, step, window)
                for window in windows_of(context, automation)
            ]
            elapsed = time.perf_counter() - begun
            metadata = _metadata(automation, platform, step, parts, elapsed)
            if step.page and config.pages == "draw":
                metadata |= _pages(automation, platform, step, parts[-1].window.key)
        statuses = sum((part.statuses for part in parts), Counter())
        problems = sum((part.problems for part in parts), Counter())
        shown = "; ".join(f"{text} ({n})" for text, n in problems.most_common(5))
        done = statuses.total() == statuses["done"]
        checked = check_result("done", done, problems=shown or "none", **dict[str, Any](statuses))
        return dg.MaterializeResult(metadata=metadata, check_results=[checked])

    return asset


def _pages(automation: Automation, platform: Platform, step: Step, key: str) -> dict[str, Any]:
    """Draw the step's own page about a partition; link to it, with its picture."""
    assert step.page
    lake = platform.lake(automation.name)
    rows = known_events(automation, lake, key, through=step.name, json=True)
    html, picture = automation.function(step.page)(rows)
    reports = platform.reports(automation.name)
    reports.write_bytes(step.name, key, "html", html.encode())
    return {"page": page(reports, step.name, key), "picture": as_markdown(picture, step.name)}


def _metadata(
    automation: Automation, platform: Platform, step: Step, parts: list[Ran], elapsed: float
) -> dict[str, Any]:
    frame = platform.lake(automation.name).read(step.name, parts[-1].window.key)
    seconds = pl.Series([one for part in parts for one in part.seconds], dtype=pl.Float64)
    rows = [
        (name, kind, frame[name].null_count() / max(frame.height, 1),
         mean_of(frame[name]) if kind in ("number", "integer") else "")
        for name, kind in step.columns.items()
    ]  # fmt: skip
    costs = automation.spec.costs
    metadata = {
        **row_metadata(frame, len(seconds)),
        "outputs": markdown_table(["output", "type", "share missing", "mean"], rows),
        "seconds_p50": seconds.quantile(0.5) or 0.0,
        "seconds_p95": seconds.quantile(0.95) or 0.0,
        "seconds_elapsed": elapsed,
    }
    if costs and len(seconds):
        metadata["cost_per_event"] = mean_of(seconds) / 3600 * costs.compute_hour
    if step.model:
        version = parts[-1].version
        metadata["champion"] = f"version {version}" if version else "none in force"
    return metadata

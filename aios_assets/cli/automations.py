"""Commands about automations: make one, rehearse it, run it, look at it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from aios.settings import Settings
from aios_assets.cli.shell import Json, Name, app, clear_errors, console, errors, home, write_json

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.windows import Window


@app.command()
def new(
    name: Name,
    data: Annotated[Path, typer.Option(help="A CSV or Parquet table.")],
    entity: Annotated[str, typer.Option(help="Column that the event is about.")],
    time: Annotated[str, typer.Option(help="Column of the event's time.")],
    target: Annotated[str, typer.Option(help="Column to predict.")],
    task: Annotated[
        Literal["classification", "regression"] | None, typer.Option(help="Inferred if not given.")
    ] = None,
    cadence: Annotated[Literal["daily", "weekly", "monthly"], typer.Option()] = "weekly",
    label_delay: Annotated[str, typer.Option(help="When labels are learned: 7d, 12h.")] = "0d",
    id: Annotated[str | None, typer.Option(help="Column of the event's id, if not ENTITY.")] = None,
) -> None:
    """Write a ready automation folder for any table."""
    from aios_assets.scaffold import scaffold

    with clear_errors():
        folder = scaffold(
            name, data=data, entity=entity, time=time, target=target, task=task,
            cadence=cadence, label_delay=label_delay, id=id,
            automations=Settings.from_env().automations,
        )  # fmt: skip
    console.print(f"Wrote {folder}\nNext: aios rehearse {name}", highlight=False)


@app.command()
def rehearse(
    name: Name,
    from_: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day.")
    ] = None,
    to: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day after the last.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Another file than the declared source.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget this automation's past.")] = False,
    predictions: Annotated[
        Path | None, typer.Option(help="Write one Parquet row for each event here.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Replay an automation's history through the real jobs; run again to resume."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    settings = home()
    with clear_errors():
        bar = Progress(
            TextColumn("[bold]{task.fields[name]}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.description}"), console=console,
        )  # fmt: skip
        with bar:
            task = bar.add_task("starting", total=1, name=name)

            def show(done: int, total: int, what: str) -> None:
                bar.update(task, completed=done, total=total, description=what)

            show(0, 1, "loading")
            from aios.automation import load_automation
            from aios.identity.guard import guard_of
            from aios_assets.rehearsal import rehearse as run

            guard_of(settings).check("run", load_automation(name, settings).resource)
            automation, windows, state = run(
                name, settings, start=from_, end=to, data=data, fresh=fresh, progress=show
            )
        from aios.lake import Lake
        from aios_assets.report import build_report, predictions_frame, write_page

        report = build_report(automation, windows, state, settings)
        page = write_page(report, settings.home / "reports" / name / "rehearsal.html")
        if predictions:
            lake = Lake(settings.home / "lake" / name)
            frame = predictions_frame(automation, lake, windows).drop("partition")
            frame.write_parquet(predictions)
    write_json(json_file, report)
    from aios_assets.summary import rehearsal_table

    console.print(rehearsal_table(report))
    waiting = _waiting(name, settings)
    said = f"{waiting:,} cases of the last partition wait for people: aios console\n"
    console.print(
        f"Page: {page}\n{said if waiting else ''}"
        f"Next: aios status; aios models {name}; make dev",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _waiting(name: str, settings: Settings) -> int:
    """Return how many of an automation's cases wait."""
    from aios import clock
    from aios.database import open_database
    from aios.review.queue import queue

    return queue(open_database(settings.record), now=clock.wall(), automation=name, limit=1).total


@app.command()
def run(
    name: Name,
    partition: Annotated[str, typer.Option(help="First day of the partition, YYYY-MM-DD.")],
    model: Annotated[
        int | None,
        typer.Option(min=1, help="Score with this version, not the champion of that time."),
    ] = None,
) -> None:
    """Run one partition of an automation: events to decisions and reports."""
    from aios.automation import load_automation
    from aios_assets.definitions import build_definitions
    from aios_assets.instance import open_instance, run_job
    from jobs.batch import batch_job_name

    settings = home()
    with clear_errors(), console.status(f"{name} {partition}"):
        from aios.identity.guard import guard_of

        automation = load_automation(name, settings)
        window = automation.window(partition)
        guard_of(settings).check("run", automation.resource)
        instance = open_instance(settings)
        job = build_definitions(settings).get_repository_def().get_job(batch_job_name(name))
        version = {f"{name}__predictions": {"config": {"version": model}}}
        run_job(instance, job, partition, tags={}, ops=version if model else {})
        used = _who_decided(automation, settings, window)
    console.print(
        f"{name} {partition}: decided and measured. {used}\nSee: aios status",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _who_decided(automation: Automation, settings: Settings, window: Window) -> str:
    """Say which version was in force at a partition's end, and which one scored it."""
    from aios_assets.lifecycle.assignment import Assignment, kept
    from aios_assets.resources import Platform
    from model_registry.champion import champion_at

    platform = Platform(settings)
    champion = champion_at(platform.registry, automation.name, window.end)
    used = kept(platform.lake(automation.name), window.key) or Assignment(None)
    in_force = f"version {champion.number}" if champion else "no version"
    if used.named:
        return (
            f"{in_force.capitalize()} was in force; version {used.champion} scored it, asked for "
            "by name. Run it without --model to return to who was in force."
        )
    if champion and used.champion != champion.number:
        return f"{in_force.capitalize()} was in force; version {used.champion} stood in for it."
    beside = ""
    if used.share:
        beside = f", version {used.challenger} for {100 * used.share:g} % of it"
    return f"{in_force.capitalize()} was in force and scored it{beside}."


@app.command()
def status(json_file: Json = None) -> None:
    """Show every automation: its models, its data, what waits for people, and its alarms."""
    from aios_assets.status import all_status

    with clear_errors():
        found = all_status(home())
    table = Table(
        "automation", "last partition", "champion", "rollout", "drift", "performance",
        "quarantined", "alarms",
    )  # fmt: skip
    for one in found:
        cells = (str(one[str(column.header)]).replace("; ", "\n") for column in table.columns)
        table.add_row(*cells)
    console.print(table)
    for one in found:
        if one["halted"] not in ("no", "none"):
            console.print(f"[red]{one['automation']} is halted[/red] {one['halted']}")
        if one["reviews"] != "none":
            said = f"{one['automation']}: cases {one['reviews']}; actions {one['actions']}"
            console.print(said, highlight=False)
        if one["error"]:
            errors.print(f"[red]{one['automation']}[/red] {one['error']}", highlight=False)
        for alarm in one["recent alarms"]:
            console.print(
                f"[yellow]{one['automation']}[/yellow] {alarm['at']} {alarm['kind']}: "
                f"{alarm['message']}",
                highlight=False,
            )
    write_json(json_file, found)


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Of Dagster's webserver.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Of the MLflow UI.")] = 5000,
    console_port: Annotated[int, typer.Option(help="Of the console.")] = 3001,
) -> None:
    """Start Dagster's webserver and daemon, the MLflow UI, the console and a worker."""
    from aios_assets.servers import serve

    with clear_errors():
        serve(
            home(), port=port, mlflow_port=mlflow_port, console_port=console_port,
            say=console.print,
        )  # fmt: skip

"""The `aios` command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from aios.errors import AiosError
from aios.settings import Settings, configure_libraries

if TYPE_CHECKING:
    from model_registry.registry import Registry

app = typer.Typer(
    help="Automations declared in one folder, run for their whole life as Dagster assets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
console = Console()
errors = Console(stderr=True)

Name = Annotated[str, typer.Argument(help="The automation's name.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="An automation, or one of its model steps: invoices.extraction."
    ),
]
Json = Annotated[Path | None, typer.Option("--json", help="Also write the result here as JSON.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]


@contextmanager
def _clear_errors() -> Iterator[None]:
    try:
        yield
    except AiosError as error:
        errors.print(f"[red]error[/red] {error}", highlight=False, markup=True, soft_wrap=True)
        raise typer.Exit(1) from error


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

    with _clear_errors():
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

    settings = _settings()
    with _clear_errors():
        bar = Progress(
            TextColumn("[bold]{task.fields[name]}"), BarColumn(), MofNCompleteColumn(),
            TimeElapsedColumn(), TextColumn("{task.description}"), console=console,
        )  # fmt: skip
        with bar:
            task = bar.add_task("starting", total=1, name=name)

            def show(done: int, total: int, what: str) -> None:
                bar.update(task, completed=done, total=total, description=what)

            show(0, 1, "loading")
            from aios_assets.rehearsal import rehearse as run

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
    _write_json(json_file, report)
    from aios_assets.summary import rehearsal_table

    console.print(rehearsal_table(report))
    console.print(f"Page: {page}\nNext: aios status; aios models {name}; make dev",
                  highlight=False, soft_wrap=True)  # fmt: skip


@app.command()
def run(
    name: Name,
    partition: Annotated[str, typer.Option(help="First day of the partition, YYYY-MM-DD.")],
) -> None:
    """Run one partition of an automation: events to decisions and reports."""
    from aios.automation import load_automation
    from aios_assets.definitions import build_definitions
    from aios_assets.instance import open_instance, run_job
    from jobs.batch import batch_job_name

    settings = _settings()
    with _clear_errors(), console.status(f"{name} {partition}"):
        load_automation(name, settings).window(partition)
        instance = open_instance(settings)
        job = build_definitions(settings).get_repository_def().get_job(batch_job_name(name))
        run_job(instance, job, partition, tags={})
    console.print(f"{name} {partition}: decided and measured. See: aios status", highlight=False)


@app.command()
def models(name: Model, json_file: Json = None) -> None:
    """List an automation's model versions."""
    with _clear_errors():
        from model_registry.champion import champion

        registry = _registry(name)
        deciding = champion(registry, name)
        versions = registry.versions(name)
    table = Table("version", "candidate", "stage", "trained until", "metrics")
    for one in versions:
        shown = {k: v for k, v in one.metrics.items() if not k.endswith(("_low", "_high", "_n"))}
        mark = " *" if deciding and one.number == deciding.number else ""
        table.add_row(
            f"{one.number}{mark}", one.candidate, one.stage, f"{one.trained_until:%Y-%m-%d}",
            ", ".join(f"{k} {v:.3f}" for k, v in shown.items()),
        )  # fmt: skip
    console.print(table)
    _write_json(json_file, [vars(one) for one in versions])


@app.command()
def promote(
    name: Model,
    version: Annotated[int, typer.Argument(help="The version that is to decide.")],
    reason: Reason = "promoted by hand",
) -> None:
    """Let a gated version decide from now on."""
    from aios import clock

    with _clear_errors():
        from model_registry.champion import promote as change

        now = change(_registry(name), name, version, at=clock.now(), by=_user(), reason=reason)
    console.print(f"{now.label} decides now.", highlight=False)


@app.command()
def rollback(
    name: Model,
    to: Annotated[int | None, typer.Option(help="An earlier champion; the previous one.")] = None,
    reason: Reason = "rolled back by hand",
) -> None:
    """Let an earlier champion decide again; refused if it does not load."""
    from aios import clock

    with _clear_errors():
        from model_registry.champion import rollback as change

        now = change(_registry(name), name, to=to, at=clock.now(), by=_user(), reason=reason)
    console.print(f"{now.label} decides again.", highlight=False)


@app.command()
def history(name: Model, json_file: Json = None) -> None:
    """Show who made which version champion, when and why."""
    with _clear_errors():
        from model_registry.champion import history as changes_of

        changes = changes_of(_registry(name), name)
    table = Table("from", "version", "before", "kind", "by", "why")
    for one in changes:
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M}", str(one.version), str(one.previous or "none"), one.kind,
            one.by, one.reason,
        )  # fmt: skip
    console.print(table)
    _write_json(json_file, [vars(one) for one in changes])


@app.command()
def status(json_file: Json = None) -> None:
    """Show every automation: last partition, champion, rollout, drift, quarantine, alarms."""
    from aios_assets.status import all_status

    with _clear_errors():
        found = all_status(_settings())
    table = Table(
        "automation", "last partition", "champion", "rollout", "drift", "performance",
        "quarantined", "alarms",
    )  # fmt: skip
    for one in found:
        table.add_row(*(str(one[column.header]) for column in table.columns))  # type: ignore[index]
    console.print(table)
    for one in found:
        if one["error"]:
            errors.print(f"[red]{one['automation']}[/red] {one['error']}", highlight=False)
        for alarm in one["recent alarms"]:
            console.print(
                f"[yellow]{one['automation']}[/yellow] {alarm['at']} {alarm['kind']}: "
                f"{alarm['message']}",
                highlight=False,
            )
    _write_json(json_file, found)


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Of Dagster's webserver.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Of the MLflow UI.")] = 5000,
    reports_port: Annotated[int, typer.Option(help="Of the pages for people.")] = 3001,
) -> None:
    """Start Dagster's webserver and daemon, the MLflow UI and the reports on this state."""
    from aios_assets.servers import serve

    with _clear_errors():
        serve(
            _settings(), port=port, mlflow_port=mlflow_port, reports_port=reports_port,
            say=console.print,
        )  # fmt: skip


invoices = typer.Typer(help="Invoices and receipts outside of partitions.", no_args_is_help=True)
app.add_typer(invoices, name="invoices")


@invoices.command("extract")
def extract_invoices(
    input_: Annotated[
        str,
        typer.Argument(metavar="INPUT", help="A file, a folder, or a JSONL of words and boxes."),
    ],
    output: Annotated[Path, typer.Option(help="The JSONL to write, one line for each document.")],
) -> None:
    """Read company, date, address and total with the champion; train nothing."""
    from aios_assets.extract import extract

    with _clear_errors(), console.status("loading") as status:
        found = extract(
            "invoices", input_, output, _settings(),
            lambda done, total: status.update(f"{done} of {total} documents"),
        )  # fmt: skip
    console.print(f"{found['read']} of {found['documents']} documents read: {output}",
                  highlight=False, soft_wrap=True)  # fmt: skip


def _settings() -> Settings:
    configure_libraries()
    settings = Settings.from_env()
    settings.home.mkdir(parents=True, exist_ok=True)
    return settings


def _registry(name: str) -> Registry:
    from aios.automation import load_automation
    from aios.learner import learners
    from model_registry.registry import Registry

    settings = _settings()
    automation = load_automation(name.partition(".")[0], settings)
    known = [learner.name for learner in learners(automation)]
    if name not in known:
        raise AiosError(
            f"'{name}' has no model of its own",
            where=automation.name,
            fix=f"Give one of: {', '.join(known)}.",
        )
    return Registry(settings.mlflow_uri, settings.artifacts)


def _user() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "local user"


def _write_json(path: Path | None, value: Any) -> None:
    if path:
        path.write_text(json.dumps(value, indent=1, default=str, sort_keys=True))


if __name__ == "__main__":
    app()

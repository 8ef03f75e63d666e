"""The command that measures what gates and rollouts catch."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aios_assets.cli.shell import (
    Json,
    Name,
    actor,
    app,
    clear_errors,
    console,
    errors,
    home,
    write_json,
)


@app.command()
def arm(
    name: Name,
    trials: Annotated[
        int, typer.Option(min=1, help="Rollouts of equal versions; a tenth of that of each fault.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    json_file: Json = None,
) -> None:
    """Roll out equal and broken versions over the automation's own past; exit code 1 below target.

    Measures how often an equal version is ended as worse, and how often and how soon the gate, the
    drift verdict and the rollout catch each fault. Touches no version and no decision.
    """
    with clear_errors():
        from aios.automation import load_automation
        from aios_assets.arming.arm import arm as run
        from aios_assets.arming.page import HEADER, sentences, table
        from aios_assets.resources import Platform

        settings, who = home(), actor()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=errors, transient=True) as bar:
            task = bar.add_task("reading history", total=None)

            def progress(what: str, done: int, total: int) -> None:
                bar.update(task, description=what, completed=done, total=total)

            result = run(
                load_automation(name, settings),
                Platform(settings),
                who,
                trials=trials,
                seed=seed,
                progress=progress,
            )
    write_json(json_file, result)
    shown = Table(*HEADER)
    for row in table(result):
        shown.add_row(*row)
    console.print(shown)
    for one in sentences(result):
        console.print(one, highlight=False)
    console.print(f"Page: {result['page']}", highlight=False, soft_wrap=True)
    if result["below_target"]:
        errors.print(
            f"{name} may not roll out without a person: {result['below_target']}.",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(1)

"""The command that rehearses a rollback."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from aios_assets.cli.shell import (
    Json,
    Model,
    app,
    clear_errors,
    console,
    errors,
    home,
    learner_of,
    write_json,
)


@app.command()
def drill(
    name: Model,
    rounds: Annotated[int, typer.Option(min=2, help="How often; the first finds no memory.")] = 20,
    json_file: Json = None,
) -> None:
    """Rehearse and time the rollback without touching who decides; exit code 1 if it fails."""
    with clear_errors():
        from aios_assets.lifecycle.drill import run_drill, table
        from aios_assets.resources import Platform

        found = run_drill(learner_of(name), Platform(home()), rounds)
    write_json(json_file, found.as_json())
    if not found.ok:
        errors.print("[red]the drill failed[/red], rollouts are blocked:", highlight=False)
        for one in found.problems:
            errors.print(f"  {one}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)
    if found.rounds:
        shown = Table("stage", "p50 ms", "p95 ms", "max ms")
        for row in table(found):
            shown.add_row(*row)
        console.print(shown)
        cold = 1000 * sum(found.rounds[0].values())
        console.print(
            f"{len(found.rounds)} rounds; the first, with nothing in memory: {cold:.0f} ms",
            highlight=False,
        )
    console.print(f"{name}: {found.said}.", highlight=False)

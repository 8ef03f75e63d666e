"""What all commands share: the application, its terminal, arguments, errors, and who is at work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from aios.errors import AiosError
from aios.settings import Settings, configure_libraries

if TYPE_CHECKING:
    from aios.identity.actors import Actor
    from aios.learner import Learner
    from aios.record.log import Log
    from model_registry.authority import Authority
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
Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@contextmanager
def clear_errors() -> Iterator[None]:
    """End the command with what is wrong, where, and what to do."""
    try:
        yield
    except AiosError as error:
        errors.print("[red]error[/red]", end=" ")
        errors.print(str(error), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def home() -> Settings:
    """Return the settings, with the folder of all state made."""
    configure_libraries()
    settings = Settings.from_env()
    settings.home.mkdir(parents=True, exist_ok=True)
    return settings


def learner_of(name: str) -> Learner:
    """Return what learns under a name.

    Raises:
        AiosError: Nothing does; says what does.
    """
    from aios.automation import load_automation
    from aios.learner import learners

    automation = load_automation(name.partition(".")[0], home())
    known = {learner.name: learner for learner in learners(automation)}
    if name not in known:
        raise AiosError(
            f"'{name}' has no model of its own",
            where=automation.name,
            fix=f"Give one of: {', '.join(known)}.",
        )
    return known[name]


def registry_of(name: str) -> Registry:
    """Return the registry, where something learns under that name."""
    from model_registry.registry import open_registry

    learner_of(name)
    return open_registry(home())


def authority_of(name: str) -> Authority:
    """Return who may change the champion of a model."""
    from aios.identity.access import Access
    from model_registry.authority import Authority
    from model_registry.registry import open_registry

    settings = home()
    return Authority(open_registry(settings), Access.load(settings.access), learner_of(name))


def actor() -> Actor:
    """Return who is at work."""
    from aios.identity.session import current_actor

    return current_actor(home())


def log() -> Log:
    """Return the record."""
    from aios.record.log import open_log

    return open_log(home())


def write_json(path: Path | None, value: Any) -> None:
    """Write a result where `--json` says."""
    if not path:
        return
    with clear_errors():
        try:
            path.write_text(json.dumps(value, indent=1, default=str, sort_keys=True))
        except OSError as error:
            raise AiosError(
                f"the result cannot be written: {error.strerror}",
                where=str(path),
                fix="Give --json a file in a folder that exists.",
            ) from error

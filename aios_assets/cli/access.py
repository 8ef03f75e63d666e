"""Commands about access: who there is, what they may do, and their tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aios_assets.cli.shell import Json, actor, app, clear_errors, console, home, log, write_json

if TYPE_CHECKING:
    from aios.identity.actors import Actor
    from aios.identity.guard import Administration

Who = Annotated[str, typer.Argument(metavar="ACTOR", help="Such as person:alice.")]
Roles = Annotated[list[str], typer.Option("--role", help="A role; may be given several times.")]

actors = typer.Typer(help="People and services, their roles and tokens.", no_args_is_help=True)
app.add_typer(actors, name="actors")


@actors.command("list")
def list_actors(json_file: Json = None) -> None:
    """List who is registered, and who is at work here."""
    with clear_errors():
        from aios.identity.directory import Directory

        found = Directory(log().database).actors()
        here = actor()
    table = Table("actor", "roles", "since", "disabled")
    for one in found:
        disabled = f"{one.disabled_at:%Y-%m-%d}" if one.disabled_at else ""
        roles = ", ".join(sorted(one.actor.roles))
        table.add_row(str(one.actor), roles, f"{one.created_at:%Y-%m-%d}", disabled)
    console.print(table)
    console.print(f"At work here: {here}", highlight=False)
    write_json(json_file, [vars(one) for one in found])


@actors.command("add")
def add_actor(actor_: Who, role: Roles) -> None:
    """Register a person or a service; the first person ends the local user's rights."""
    with clear_errors():
        from aios.identity.actors import LOCAL, Actor

        named, administration = Actor.parse(actor_), _administration()
        administration.add(Actor(named.name, named.kind, frozenset(role)))  # type: ignore[arg-type]
        console.print(f"{named} is registered.", highlight=False)
        # The first person ends the local user's rights, who could not issue this any more.
        if administration.guard.actor == LOCAL and named.kind == "person":
            _print_token(administration, named, days=90)


@actors.command("roles")
def change_roles(actor_: Who, role: Roles) -> None:
    """Give an actor these roles and no others."""
    with clear_errors():
        from aios.identity.actors import Actor

        changed = _administration().change_roles(Actor.parse(actor_), role)  # type: ignore[arg-type]
    console.print(f"{changed}: {', '.join(sorted(changed.roles))}", highlight=False)


@actors.command("disable")
def disable_actor(actor_: Who) -> None:
    """Shut an actor out, with all their tokens."""
    with clear_errors():
        from aios.identity.actors import Actor

        _administration().disable(Actor.parse(actor_))
    console.print(f"{actor_} is disabled.", highlight=False)


@actors.command("enable")
def enable_actor(actor_: Who) -> None:
    """Let a disabled actor in again; they need a new token."""
    with clear_errors():
        from aios.identity.actors import Actor

        _administration().enable(Actor.parse(actor_))
    console.print(f"{actor_} is enabled.", highlight=False)


@actors.command("token")
def issue_token(
    actor_: Who,
    days: Annotated[int, typer.Option(help="For how long it is valid.", min=1, max=3650)] = 90,
) -> None:
    """Print a new token, once; only its digest is kept."""
    with clear_errors():
        from aios.identity.actors import Actor

        _print_token(_administration(), Actor.parse(actor_), days)


@actors.command("revoke")
def revoke_token(token: Annotated[str, typer.Argument(help="Its id, see 'tokens'.")]) -> None:
    """Make a token useless."""
    with clear_errors():
        _administration().revoke_token(token)
    console.print(f"{token} is revoked.", highlight=False)


@actors.command("tokens")
def list_tokens(json_file: Json = None) -> None:
    """List tokens by their ids: whose, until when, last used."""
    with clear_errors():
        from aios.identity.directory import Directory

        found = Directory(log().database).tokens()
    table = Table("token", "of", "expires", "last used", "revoked")
    for one in found:
        times = (one.expires_at, one.last_used_at, one.revoked_at)
        table.add_row(one.id, str(one.actor), *(f"{t:%Y-%m-%d %H:%M}" if t else "" for t in times))
    console.print(table)
    write_json(json_file, [vars(one) for one in found])


def _print_token(administration: Administration, who: Actor, days: int) -> None:
    issued = administration.issue_token(who, log().now() + timedelta(days=days))
    console.print(f"AIOS_TOKEN={issued.text}", highlight=False, soft_wrap=True)


def _administration() -> Administration:
    from aios.identity.guard import Administration, guard_of

    return Administration(guard_of(home()))

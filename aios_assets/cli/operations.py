"""Commands of those who run automations: halts, actions, incidents, recalls, the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from aios.errors import AiosError
from aios_assets.cli.shell import (
    Json,
    Name,
    Reason,
    app,
    clear_errors,
    console,
    home,
    write_json,
)

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.identity.guard import Guard

Some = Annotated[str | None, typer.Argument(help="The automation's name; all of them without it.")]


@app.command()
def halt(name: Some = None, reason: Reason = "halted by hand") -> None:
    """Send all decisions to people and hold back actions, at once, until released."""
    from aios import halts

    with clear_errors():
        guard, automation = _guard(), _automation(name)
        halts.halt(guard, automation.resource if automation else None, reason)
    console.print(f"{name or 'Everything'} is halted: people decide. End it: aios release", 
                  highlight=False)  # fmt: skip


@app.command()
def release(name: Some = None, reason: Reason = "released by hand") -> None:
    """End a halt; what went to review stays there."""
    from aios import halts

    with clear_errors():
        guard, automation = _guard(), _automation(name)
        halts.release(guard, automation.resource if automation else None, reason)
    console.print(f"{name or 'Everything'} decides again.", highlight=False)


@app.command()
def recall(
    name: Name,
    partition: Annotated[str, typer.Option(help="First day of the partition, YYYY-MM-DD.")],
    reason: Reason = "recalled by hand",
) -> None:
    """Undo what a partition's decisions caused, the last effect first."""
    from aios.actions.recall import recall as recall_actions

    with clear_errors():
        guard, automation = _guard(), _automation(name)
        assert automation
        automation.window(partition)
        done = recall_actions(guard, automation, partition=partition, reason=reason)
    console.print(
        f"{name} {partition}: {done.cancelled:,} actions cancelled before they were sent, "
        f"{done.undone:,} to be undone. See: aios actions {name}",
        highlight=False,
    )  # fmt: skip


def _guard() -> Guard:
    from aios.identity.guard import guard_of

    return guard_of(home())


def _automation(name: str | None) -> Automation | None:
    from aios.automation import load_automation

    return load_automation(name, home()) if name else None


@app.command()
def worker(
    once: Annotated[bool, typer.Option("--once", help="End when nothing is due.")] = False,
) -> None:
    """Send actions as they become due, undo what was recalled, close cases that are overdue."""
    with clear_errors():
        from aios_assets.worker import work

        work(home(), once=once, say=lambda text: console.print(text, highlight=False))


@app.command(name="console")
def serve_console(
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port.")] = 3001,
) -> None:
    """Serve the console: cases, rollouts, decisions, actions, health, the kill switch."""
    with clear_errors():
        from console.app import serve

        serve(home(), host, port)


@app.command()
def actions(name: Name, json_file: Json = None) -> None:
    """Show an automation's receivers: breaker, budget, and actions by state."""
    with clear_errors():
        from aios.actions.overview import overview
        from aios.database import open_database

        automation = _automation(name)
        assert automation
        found = overview(open_database(home().record), automation)
    table = Table("receiver", "breaker", "retries left", "actions")
    for receiver, one in found["receivers"].items():
        states = found["states"].get(receiver, {})
        table.add_row(
            receiver, one["breaker"], f"{one['left']} of {one['budget']}",
            ", ".join(f"{count:,} {state}" for state, count in states.items()) or "none",
        )  # fmt: skip
    console.print(table if found["receivers"] else f"{name} declares no actions.")
    if found["halted"]:
        console.print(f"[red]{name} is halted[/red]: only what undoes is sent.")
    if found["oldest_due"]:
        console.print(f"{found['due']:,} are due, the oldest for {found['oldest_due']:.0f} s.")
    write_json(json_file, found)


@app.command()
def incidents(
    name: Name,
    cause: Annotated[str | None, typer.Option(help="Settle all of this cause.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Send them again.")] = False,
    done: Annotated[bool, typer.Option("--done", help="They were done after all.")] = False,
    not_done: Annotated[
        bool, typer.Option("--not-done", help="They were not done; alone: and shall not be.")
    ] = False,
    reason: Reason = "settled by hand",
    json_file: Json = None,
) -> None:
    """List the actions that only a person can settle, by cause; settle a cause."""
    with clear_errors():
        from aios.actions import incidents as mending

        automation = _automation(name)
        assert automation
        if cause is not None:
            settled = _settle(automation, cause, retry, done, not_done, reason)
            console.print(f"{settled:,} incidents settled.", highlight=False)
        found = mending.causes(_guard().log.database, name)
    table = Table("receiver", "action", "cause", "incidents", "oldest", "outcome unknown")
    for one in found:
        unknown = "yes" if one.unknown else ""
        table.add_row(one.receiver, one.type, one.cause, f"{one.count:,}",
                      f"{one.oldest:%Y-%m-%d %H:%M}", unknown)  # fmt: skip
    console.print(table if found else "No incident is open.")
    write_json(json_file, [vars(one) for one in found])


def _settle(
    automation: Automation, cause: str, retry: bool, done: bool, not_done: bool, reason: str
) -> int:
    from aios.actions import incidents as mending

    guard, which = _guard(), mending.Which(cause=cause)
    if done and not (retry or not_done):
        return mending.resolve(guard, automation, which, done=True, reason=reason)
    if retry and not done:
        return mending.retry(guard, automation, which, not_done=not_done, reason=reason)
    if not_done and not done:
        return mending.resolve(guard, automation, which, done=False, reason=reason)
    raise AiosError(
        "what shall become of them?",
        where=cause,
        fix="Give one of --retry, --done and --not-done; with --retry, --not-done says of those of "
        "unknown outcome that they were not done.",
    )

"""Commands about models: who decides, who approved it, and the way back."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from aios_assets.cli.shell import (
    Json,
    Model,
    Name,
    Reason,
    actor,
    app,
    authority_of,
    clear_errors,
    console,
    home,
    log,
    registry_of,
    write_json,
)


@app.command()
def models(name: Model, json_file: Json = None) -> None:
    """List an automation's model versions."""
    with clear_errors():
        from model_registry.champion import champion

        registry = registry_of(name)
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
    write_json(json_file, [vars(one) for one in versions])


@app.command()
def promote(
    name: Model,
    version: Annotated[int, typer.Argument(help="The version that is to decide.")],
    reason: Reason = "promoted by hand",
    over: Annotated[
        int | None,
        typer.Option(help="The champion that you saw, 0 for none: refused if it is another now."),
    ] = None,
) -> None:
    """Let a gated version decide from now on, or ask for the approval that it needs."""
    from aios import clock

    with clear_errors():
        from aios.identity.access import Denied
        from model_registry.authority import needs_approval

        authority, who = authority_of(name), actor()
        try:
            now = authority.promote(version, who, at=clock.now(), reason=reason, expected=over)
        except Denied as denied:
            if not needs_approval(denied):
                raise
            asked = authority.request(version, who, reason=reason, expected=over)
            console.print(
                f"{denied.what}\nAsked for it: request {asked.number}, open until "
                f"{asked.expires:%Y-%m-%d %H:%M} UTC. Another person: aios approve {name} "
                f"{asked.number}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
            return
    console.print(f"{now.label} decides now.", highlight=False)


@app.command()
def approvals(json_file: Json = None) -> None:
    """List every request for an approval, and how it stands."""
    with clear_errors():
        from model_registry.approvals import requests

        found = requests(log())
    for one in found:
        by = f" by {one.verdict_by}: {one.verdict_reason}" if one.verdict_by else ""
        console.print(
            f"[bold]{one.number} {one.state}[/bold]{by}\n    {one.automation} version "
            f"{one.version} over {one.champion or 'none'}, asked for by {one.by} ({one.reason}), "
            f"until {one.expires:%Y-%m-%d %H:%M} UTC",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if not found:
        console.print("Nobody has asked for an approval.")
    write_json(json_file, [vars(one) for one in found])


@app.command()
def approve(
    name: Model,
    request: Annotated[int, typer.Argument(help="Its number, see 'aios approvals'.")],
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead.")] = False,
    reason: Reason = "looked at by hand",
) -> None:
    """Approve or refuse what another person asked for; a sensor then carries it out."""
    with clear_errors():
        decided = authority_of(name).decide(request, actor(), approve=not refuse, reason=reason)
    console.print(
        f"Request {request}, {name} version {decided.version}: {decided.state}.", highlight=False
    )


@app.command()
def policy(
    name: Name,
    propose: Annotated[
        bool, typer.Option("--propose", help="Ask another person to accept the folder's policy.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Let the proposed policy of another person decide.")
    ] = False,
    reason: Reason = "changed by hand",
) -> None:
    """Tell whether the folder's policy may decide; propose or accept it."""
    with clear_errors():
        from aios.automation import load_automation
        from aios.identity.access import Access
        from aios.record.changes import Changes

        settings = home()
        automation = load_automation(name, settings)
        changes = Changes(log(), automation.resource, automation.policy.hash)
        access = Access.load(settings.access)
        if propose:
            changes.propose(actor(), access, reason)
        if accept:
            changes.accept(actor(), access)
        now, asked = changes.accepted(), changes.proposed()
    if now:
        said = f"may decide, since {now.recorded_at:%Y-%m-%d %H:%M} UTC, by {now.actor}"
    elif asked:
        said = f"waits for another person than {asked.actor}: aios policy {name} --accept"
    else:
        said = "has not decided yet"
    which = f"policy {changes.policy}, risk {automation.spec.risk}"
    console.print(f"{name}, {which}: {said}.", highlight=False, soft_wrap=True)


@app.command()
def rollback(
    name: Model,
    to: Annotated[int | None, typer.Option(help="An earlier champion; the previous one.")] = None,
    reason: Reason = "rolled back by hand",
) -> None:
    """Let an earlier champion decide again; refused if it does not load."""
    from aios import clock

    with clear_errors():
        now = authority_of(name).rollback(actor(), to=to, at=clock.now(), reason=reason)
    console.print(f"{now.label} decides again.", highlight=False)


@app.command()
def history(name: Model, json_file: Json = None) -> None:
    """Show who made which version champion, when and why."""
    with clear_errors():
        from model_registry.champion import history as changes_of

        changes = changes_of(registry_of(name), name)
    table = Table("from", "version", "before", "kind", "by", "why")
    for one in changes:
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M}", str(one.version), str(one.previous or "none"), one.kind,
            one.by, one.reason,
        )  # fmt: skip
    console.print(table)
    write_json(json_file, [vars(one) for one in changes])

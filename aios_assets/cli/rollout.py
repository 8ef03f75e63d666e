"""The command about rollouts: where a version stands on its way, why, and what it waits for."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from aios.errors import AiosError
from aios_assets.cli.shell import (
    Json,
    Name,
    Reason,
    actor,
    app,
    clear_errors,
    console,
    home,
    write_json,
)

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios_assets.resources import Platform
    from model_registry.conduct import Conductor
    from model_registry.stages import To


@app.command()
def rollout(
    name: Name,
    start: Annotated[
        int | None, typer.Option(help="Let this version go into shadow, or wait for its turn.")
    ] = None,
    advance: Annotated[
        bool, typer.Option("--advance", help="Take the version under way a step further now.")
    ] = False,
    pause: Annotated[
        bool, typer.Option("--pause", help="Let the champion decide all until it is resumed.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Let the paused version go on where it was.")
    ] = False,
    end: Annotated[
        bool, typer.Option("--end", help="Take the version under way out for good.")
    ] = False,
    reason: Reason = "by hand",
    json_file: Json = None,
) -> None:
    """Show where an automation's rollout stands and why; start, move, pause or end it."""
    chosen = {
        "--start": start is not None,
        "--advance": advance,
        "--pause": pause,
        "--resume": resume,
        "--end": end,
    }
    with clear_errors():
        asked = [option for option, given in chosen.items() if given]
        if len(asked) > 1:
            raise AiosError(
                f"{' and '.join(asked)} at once", where=name, fix="Give one of them at a time."
            )
        from aios.automation import load_automation
        from aios_assets.resources import Platform
        from sensors.rollout import conductor_of

        settings = home()
        automation, platform = load_automation(name, settings), Platform(settings)
        conductor = conductor_of(automation, platform)
        _refuse_undeclared(automation, conductor)
        if asked:
            said = _act(conductor, asked[0], start, reason)
            console.print(f"{name}: {said}.", highlight=False, soft_wrap=True)
        standing = _standing(automation, platform, conductor)
    if not asked:
        _show(automation, standing)
    write_json(json_file, _plain(standing))


def _refuse_undeclared(automation: Automation, conductor: Conductor) -> None:
    """Say at once that nothing rolls out where no rollout is declared."""
    if automation.spec.rollout is None:
        conductor.declared  # noqa: B018


def _act(conductor: Conductor, option: str, start: int | None, reason: str) -> str:
    from aios import clock

    who, at = actor(), clock.now()
    match option:
        case "--start":
            assert start is not None
            made = conductor.start(start, who, at=at, reason=reason)
            return f"version {start} {'waits' if made.state == 'queued' else 'is in ' + made.state}"
        case "--advance":
            return conductor.advance(_next(conductor), who, at=at, reason=reason)
        case "--pause":
            made = conductor.pause(who, at=at, reason=reason)
            return f"version {made.version} is paused: the champion decides all"
        case "--resume":
            return conductor.resume(who, at=at, reason=reason)
        case _:
            made = conductor.end(who, at=at, reason=reason)
            return f"version {made.version} is {made.state.replace('_', ' ')}"


def _next(conductor: Conductor) -> To:
    from model_registry.findings import step_after
    from model_registry.stages import under_way

    here = under_way(conductor.moves())
    if here is None:
        raise AiosError(
            "no version is under way",
            where=conductor.authority.learner.name,
            fix="Start one with --start VERSION; 'aios models' lists those that passed the gate.",
        )
    return step_after(conductor.declared, here)


def _standing(automation: Automation, platform: Platform, conductor: Conductor) -> dict[str, Any]:
    """Collect where the rollout stands; moments as datetimes, moves as they are recorded."""
    from model_registry.approvals import requests
    from model_registry.champion import champion
    from model_registry.findings import DATASET, newest, next_move
    from model_registry.stages import queued, under_way, watched

    name, lake, known = automation.name, platform.lake(automation.name), conductor.moves()
    keys = lake.partitions(DATASET, "json")
    findings = lake.read_json(DATASET, keys[-1])["findings"] if keys else []
    judged = {one.leaf: one for one in newest(platform.log, lake, name)}
    here, deciding = under_way(known), champion(platform.registry, name)
    reopened = watched(
        known, conductor.declared.reopen, automation.window(keys[-1]).end if keys else datetime.min
    )
    found = judged.get(here.leaf) if here else None
    return {
        "automation": name,
        "champion": deciding.number if deciding else None,
        "under way": here and vars(here),
        "reopened": reopened and vars(reopened),
        "waiting": queued(known),
        "report": keys[-1] if keys else None,
        "findings": findings,
        "next": _step(next_move(conductor.declared, here, found) if here and found else None),
        "in the way": conductor.blocked() if here else None,
        "requests": [
            vars(one) for one in requests(platform.log, name) if one.state in ("open", "approved")
        ],
        "moves": [vars(one) for one in known],
    }


def _step(to: To | None) -> str:
    if not to:
        return "stays where it is"
    share = f" of {100 * to.share:g} %" if to.state == "canary" else ""
    return f"{to.state.replace('_', ' ')}{share}"


def _show(automation: Automation, standing: dict[str, Any]) -> None:
    here, findings = standing["under way"], {one["version"]: one for one in standing["findings"]}
    decides = standing["champion"]
    _say(f"champion: {f'version {decides}' if decides else 'none'}")
    if not here:
        _say("no version is under way")
    for move in (here, standing["reopened"]):
        if move:
            _show_version(automation, move, findings.get(move["version"]), standing["report"])
    if here and here["version"] in findings:
        _say(f"[bold]next tick[/bold]: {standing['next']}")
    if standing["in the way"]:
        _say(f"[red]in the way[/red]: {standing['in the way']}")
    for one in standing["requests"]:
        _say(
            f"[yellow]approval[/yellow]: request {one['number']} ({one['step']} of version "
            f"{one['version']}) is {one['state']}, until {one['expires']:%Y-%m-%d %H:%M} UTC"
        )
    if standing["waiting"]:
        when = "for its end" if here else "for the next tick"
        _say(f"waiting {when}: {', '.join(f'version {one}' for one in standing['waiting'])}")
    console.print(_moves(standing["moves"]))


def _say(text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)


def _show_version(
    automation: Automation, move: dict[str, Any], finding: dict[str, Any] | None, report: str
) -> None:
    from aios_assets.lifecycle.rollout_view import (
        METRIC_HEAD,
        metric_rows,
        stage_name,
        verdict_of,
        waits,
    )

    stage = stage_name(move["state"], move["share"])
    beside = f", beside version {move['champion']}" if move["champion"] else ""
    _say(f"\n[bold]version {move['version']}, {stage} since {move['at']:%Y-%m-%d}{beside}[/bold]")
    if finding is None:
        _say("not judged yet")
        return
    moved_since = finding["leaf"] != move["leaf"]
    before = f", about {stage_name(finding['state'], finding['share'])}" if moved_since else ""
    _say(f"report {report}{before}: {verdict_of(finding)}")
    for one in finding["reasons"]:
        _say(f"  {one}")
    for one in [] if moved_since else waits(automation, finding):
        _say(f"[bold]waits for[/bold]: {one}")
    if moved_since:
        _say("[bold]waits for[/bold]: The report of the first partition since then.")
    table = Table(*METRIC_HEAD)
    for row in metric_rows(finding):
        table.add_row(*row)
    if finding["metrics"]:
        console.print(table)


def _moves(moves: list[dict[str, Any]]) -> Table:
    from aios_assets.lifecycle.rollout_view import stage_name

    table = Table("move", "why", show_lines=True)
    for one in moves:
        beside = f"version {one['champion']}" if one["champion"] else "none"
        table.add_row(
            f"{one['at']:%Y-%m-%d}  [bold]version {one['version']}[/bold]\n"
            f"{stage_name(one['state'], one['share']).replace('_', ' ')}, champion {beside}\n"
            f"{one['by']}",
            one["reason"],
        )
    return table


def _plain(value: Any) -> Any:
    """Return the same without numbers that JSON does not know: a bound that is none is null."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

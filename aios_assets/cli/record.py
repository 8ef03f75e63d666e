"""Commands about the record: what was done, proven, made again, and asked otherwise."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aios.errors import AiosError
from aios_assets.cli.shell import (
    Json,
    Name,
    Reason,
    actor,
    app,
    clear_errors,
    console,
    errors,
    home,
    log,
    write_json,
)

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.settings import Settings

DAYS = ["%Y-%m-%d"]
From = Annotated[datetime | None, typer.Option("--from", formats=DAYS, help="First day.")]
To = Annotated[datetime | None, typer.Option("--to", formats=DAYS, help="Day after the last.")]
Decision = Annotated[
    str, typer.Argument(metavar="DECISION_ID", help="NAME/PARTITION/EVENT, or a part that is one.")
]

record = typer.Typer(help="The record of who did what, on what evidence.", no_args_is_help=True)
app.add_typer(record, name="record")


@record.command("show")
def show_record(
    name: Annotated[str | None, typer.Argument(help="Only this automation or model.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only these acts: promotion, denied.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=DAYS, help="Recorded from.")] = None,
    last: Annotated[int, typer.Option(help="So many at most, the newest.", min=1)] = 50,
    key: Annotated[bool, typer.Option("--key", help="Print the public keys instead.")] = False,
    json_file: Json = None,
) -> None:
    """Show what was recorded, newest last."""
    with clear_errors():
        opened = log()
        if key:
            for one in opened.public_keys():
                console.print(str(one), highlight=False, soft_wrap=True)
            return
        found = list(opened.entries(kind=kind, automation=name, since=since))[-last:]
    for entry in found:
        whose = f" {entry.automation}" if entry.automation else ""
        console.print(
            f"[bold]{entry.index}[/bold] {entry.recorded_at:%Y-%m-%d %H:%M:%S} "
            f"[bold]{entry.kind}{whose}[/bold] by {entry.actor}",
            highlight=False,
        )
        said = ", ".join(f"{name}: {value}" for name, value in entry.body.items())
        console.print(f"    {said}", highlight=False, markup=False, soft_wrap=True, style="dim")
    write_json(json_file, [entry.content for entry in found])


@record.command("prove")
def prove_record(
    decision_id: Decision,
    output: Annotated[Path | None, typer.Option(help="Write the proof here.")] = None,
) -> None:
    """Prove one decision to an outsider: its row, its leaf, and the signed checkpoint."""
    with clear_errors():
        from aios.lake import Lake
        from aios.record.batches import prove_decision
        from aios_assets.replay.ids import locate

        settings = home()
        one = locate(decision_id, settings)
        lake = Lake(settings.home / "lake" / one.automation)
        proof = prove_decision(log(), lake, one.automation, one.partition, one.row)
    if output:
        output.write_text(json.dumps(proof, indent=1))
        console.print(f"{one}: {output}", highlight=False, soft_wrap=True)
    else:
        console.print_json(data=proof)


@record.command("verify")
def verify_record(
    proof: Annotated[Path | None, typer.Option(help="Only this proof of 'prove'.")] = None,
    public_key: Annotated[
        str | None, typer.Option(help="The key to trust, as 'record show --key' printed it.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Recompute the whole record and every file of decisions against the signed checkpoints."""
    with clear_errors():
        if proof:
            _verify_proof(proof, public_key)
            return
        from aios.record.batches import check_files
        from model_registry import approvals, ledger, rollout

        opened, settings = log(), home()
        with console.status("verifying"):
            found = opened.verify()
            found.problems += check_files(opened, settings.home / "lake")
            found.problems += [
                *ledger.check(opened),
                *rollout.check(opened),
                *approvals.check(opened),
            ]
    write_json(json_file, vars(found))
    for problem in found.problems:
        errors.print(f"[red]problem[/red] {problem}", highlight=False, soft_wrap=True)
    console.print(
        f"{found.size} leaves, root {found.root}, {found.checkpoints} checkpoints, "
        f"{len(found.problems)} problems.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    if found.problems:
        raise typer.Exit(1)


def _verify_proof(path: Path, public_key: str | None) -> None:
    from aios.record.batches import verify_proof
    from aios.record.signing import PublicKey

    try:
        proof = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise AiosError(
            f"the proof cannot be read: {error}", where=str(path), fix="Make it again."
        ) from error
    verify_proof(proof, [PublicKey.parse(public_key)] if public_key else log().public_keys())
    console.print(f"proven: {proof['decision']['row']}", highlight=False, soft_wrap=True)


@record.command("rotate-key")
def rotate_key(reason: Reason = "rotated by hand") -> None:
    """Sign with a new key from now on; the old one vouches for it."""
    with clear_errors():
        from aios.identity.guard import guard_of
        from aios.identity.resources import Platform
        from aios.record.rotation import rotate

        guard_of(home()).check("rotate_key", Platform())
        new = rotate(log(), str(actor()), reason)
    console.print(f"{new}\nGive this line to all who verify.", highlight=False, soft_wrap=True)


@record.command("erase")
def erase(
    subject: Annotated[str, typer.Argument(help="The person, as the payloads name them.")],
    reason: Reason = "asked for by the person",
) -> None:
    """Make a person's payloads unreadable for ever; the log stays verifiable."""
    with clear_errors():
        from aios.identity.guard import guard_of
        from aios.identity.resources import Platform
        from aios.record.payloads import Payloads

        guard_of(home()).check("erase", Platform())
        erased = Payloads(log()).erase(subject, str(actor()), reason)
        if not erased:
            raise AiosError(
                "nothing is kept about this person, or nothing any more",
                where=subject,
                fix="Compare the name with the one that the payloads were recorded under, letter "
                "by letter.",
            )
    console.print(f"{erased} payloads are unreadable now.", highlight=False)


@record.command("payload")
def read_payload(digest: Annotated[str, typer.Argument(help="As a leaf names it.")]) -> None:
    """Read what was recorded about a person, where the rules allow it."""
    with clear_errors():
        from aios.identity.guard import guard_of
        from aios.identity.resources import Platform
        from aios.record.payloads import Payloads

        guard_of(home()).check("read_payload", Platform())
        content = Payloads(log()).read(digest)
    console.print_json(data=content)


@record.command("expire")
def expire_payloads() -> None:
    """Delete the payloads whose time is over; the log itself is kept for ever."""
    with clear_errors():
        from aios.identity.guard import guard_of
        from aios.identity.resources import Platform
        from aios.record.payloads import Payloads

        guard_of(home()).check("erase", Platform())
        deleted = Payloads(log()).expire(str(actor()))
    console.print(f"{deleted} payloads deleted.", highlight=False)


@app.command()
def replay(
    decision_id: Annotated[str | None, typer.Argument(metavar="DECISION_ID")] = None,
    automation: Annotated[str | None, typer.Option(help="Whose decisions.")] = None,
    partition: Annotated[str | None, typer.Option(help="One partition; all of them.")] = None,
    sample: Annotated[int | None, typer.Option(help="So many decisions, drawn evenly.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the draw.")] = None,
    json_file: Json = None,
) -> None:
    """Make decisions again from what is stored, and compare them bit by bit."""
    with clear_errors(), console.status("loading") as status:
        from aios_assets.replay.replay import replay as run

        found = run(
            automation, home(), decision_id=decision_id, partition=partition, sample=sample,
            seed=seed, progress=lambda done, total, what: status.update(f"{done}/{total} {what}"),
        )  # fmt: skip
    _print(found)
    write_json(json_file, found.as_dict())
    if not found.holds:
        raise typer.Exit(1)


@app.command()
def why(decision_id: Decision, json_file: Json = None) -> None:
    """Say why: event, features, score, rules, model, who promoted it, and the outcome so far."""
    with clear_errors():
        from dataclasses import asdict

        from aios_assets.replay.why import why as explain

        found = explain(decision_id, home(), log())
    _print(found)
    write_json(json_file, asdict(found))


@app.command("what-if")
def what_if(
    name: Name,
    policy: Annotated[Path, typer.Option(help="The other policy.")],
    start: From = None,
    end: To = None,
    output: Annotated[
        Path | None, typer.Option(help="Write the decisions that differ, CSV or Parquet.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Let another policy decide what is stored: what would differ, and what it would cost."""
    with clear_errors(), console.status("deciding again"):
        from aios_assets.replay.what_if import what_if as run

        found = run(name, policy, home(), start=start, end=end, output=output)
    _print(found)
    write_json(json_file, found.as_dict())


class _Evidence(typer.core.TyperGroup):
    """A first word that is no command is an automation's name, whose pack is made."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["make", *args])


evidence = typer.Typer(
    cls=_Evidence,
    help="Evidence packs: 'aios evidence NAME OUT' makes one.",
    no_args_is_help=True,
)
app.add_typer(evidence, name="evidence")


@evidence.command("make")
def make_evidence(
    name: Name,
    out: Annotated[Path, typer.Argument(help="The folder to make.")],
    start: From = None,
    end: To = None,
) -> None:
    """Write all that is known of an automation in a period, with proofs, for others to check."""
    with clear_errors(), console.status("collecting"):
        from aios.automation import load_automation
        from aios.identity.guard import guard_of
        from aios_assets.evidence.pack import build_pack
        from aios_assets.resources import Platform

        settings = home()
        automation = load_automation(name, settings)
        guard_of(settings).check("export_evidence", automation.resource)
        period = start or automation.binding.start, end or _decided_until(automation, settings)
        pack = build_pack(automation, Platform(settings), *period, out)
    for one in pack.manifest["missing"]:
        said = f"[yellow]missing[/yellow] {one['what']}: {one['why']}"
        console.print(said, highlight=False, soft_wrap=True)
    console.print(f"{pack.folder / 'index.html'}\nTo check it: aios evidence verify "
                  f"{pack.folder} --key KEYFILE", highlight=False, soft_wrap=True)  # fmt: skip


@evidence.command("verify")
def verify_evidence(
    pack: Annotated[Path, typer.Argument(help="The pack's folder.")],
    key: Annotated[
        str, typer.Option(help="The public key, or a file of it, got by another way than the pack.")
    ],
    json_file: Json = None,
) -> None:
    """Check a pack with nothing but itself and the public key."""
    with clear_errors():
        from aios.evidence.verification import verify_pack

        found = verify_pack(pack, Path(key).read_text() if Path(key).is_file() else key)
    write_json(json_file, found.as_dict())
    for problem in found.problems:
        errors.print(f"[red]problem[/red] {problem}", highlight=False, soft_wrap=True)
    console.print("verified" if found.ok else f"{len(found.problems)} problems", highlight=False)
    if not found.ok:
        raise typer.Exit(1)


def _decided_until(automation: Automation, settings: Settings) -> datetime:
    """Return the end of the last partition that was decided."""
    from aios.lake import Lake

    decided = Lake(settings.home / "lake" / automation.name).partitions("decisions")
    return automation.window(decided[-1]).end if decided else automation.binding.start


def _print(found: Any) -> None:
    console.print(found.as_text(), highlight=False, markup=False, soft_wrap=True)

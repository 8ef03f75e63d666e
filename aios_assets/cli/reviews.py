"""Commands about reviewing: how it goes, and which thresholds would cost less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    log,
    write_json,
)

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.review.tuner import Tuning


@app.command()
def reviews(name: Name, json_file: Json = None) -> None:
    """Show how an automation's reviewing goes: cases, changes, agreement, times, cost."""
    with clear_errors():
        from aios_assets.lifecycle.reviews import figures, measure_reviews
        from aios_assets.resources import Platform

        automation = _reviewed(name)
        found = measure_reviews(automation, Platform(home()))
    table = Table(show_header=False)
    for what, value in figures(found):
        table.add_row(what, value)
    console.print(table)
    for reviewer, signs in found.reviewers.items():
        for noted in signs.noted:
            console.print(f"[yellow]{reviewer}[/yellow] {noted}", highlight=False)
    write_json(json_file, found.as_dict())


@app.command()
def tune(
    name: Name,
    propose: Annotated[
        bool, typer.Option("--propose", help="Ask another person to accept what it found.")
    ] = False,
    reason: Reason = "costs less, by its own past",
    json_file: Json = None,
) -> None:
    """Look for thresholds of the policy that would have cost less; changes nothing."""
    with clear_errors():
        from rich.markdown import Markdown

        from aios.review.proposals import shown, tuned
        from aios_assets.resources import Platform

        automation, platform = _reviewed(name), Platform(home())
        found = tuned(automation, platform.lake(name), log().database, home().home)
        console.print(Markdown(shown(found)))
        write_json(json_file, found.as_dict())
        if propose:
            _propose(automation, found, reason)


def _propose(automation: Automation, found: Tuning, reason: str) -> None:
    import yaml

    from aios.identity.access import Access
    from aios.policy import Policy
    from aios.record.changes import Changes
    from aios.review.proposals import proposals_of

    if found.policy is None:
        raise AiosError("there is nothing to propose", where=automation.name, fix=found.why)
    policy = Policy.model_validate(yaml.safe_load(found.policy))
    access = Access.load(home().access)
    Changes(log(), automation.resource, policy.hash).propose(actor(), access, reason)
    folder = proposals_of(home().home, automation.name)
    console.print(
        f"Policy {policy.hash} is proposed. Copy {folder}/policy-v{policy.version}.yaml over "
        f"{automation.folder / automation.spec.policy}; another person then accepts it: "
        f"aios policy {automation.name} --accept",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _reviewed(name: str) -> Automation:
    from aios.automation import load_automation

    automation = load_automation(name, home())
    if not automation.spec.review:
        raise AiosError("it declares no review", where=name, fix="See docs/declaration.md.")
    return automation

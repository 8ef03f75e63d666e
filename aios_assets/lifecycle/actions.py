"""Actions: what decisions caused at other systems, sent and accounted for."""

from typing import Any

import dagster as dg

from aios.automation import Automation
from aios_assets.lifecycle.common import (
    DAILY,
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    stage,
)
from aios_assets.links import console_page
from aios_assets.resources import Platform

LATE = 3600.0
"""Seconds that a due action may wait before somebody should look."""

ASKED = 20
"""Confirmed actions of which each receiver is asked whether it knows them."""


def send_due(automation: Automation, platform: Platform) -> tuple[int, dict[str, str]]:
    """Send what is due; return how many actions were handled, and what kept others back."""
    from aios.actions.worker import Worker

    worker = Worker(platform.log, platform.access, [automation], name="dagster")
    try:
        return worker.drain(), dict(worker.problems)
    finally:
        worker.close()


def build_actions(automation: Automation) -> dg.AssetsDefinition:
    """Build the `actions` asset of an automation that acts."""
    noun = "actions"
    options = asset_options(automation, noun, kinds={"sql"})
    options.pop("partitions_def")
    declared = automation.spec.actions
    assert declared
    effects = "; ".join(
        f"{outcome}: {', '.join(one.type for one in on)}"
        for outcome, on in declared.effects.items()
    )

    @dg.asset(
        **options,
        freshness_policy=DAILY,
        deps=[[automation.name, "decisions"]],
        description=f"The outbox: what decisions cause at other systems ({effects}), each exactly "
        "once. A run sends what is due; `aios worker` does so all the time.",
        check_specs=[
            check_spec(automation, noun, "no_incident", "No action waits for a person."),
            check_spec(
                automation, noun, "in_time", f"Nothing has been due for over {LATE / 60:g} min."
            ),
            check_spec(
                automation,
                noun,
                "receivers_agree",
                f"Receivers know the last {ASKED} actions that they confirmed.",
            ),
        ],
    )
    def actions(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        from aios.actions.overview import overview
        from aios.actions.verification import unknown_to_receivers

        with stage(noun):
            handled, problems = send_due(automation, platform)
            database = platform.log.database
            found = overview(database, automation)
            unknown = unknown_to_receivers(database, automation, ASKED)
        kept = "; ".join(f"{lane}: {why}" for lane, why in problems.items()) or "nothing"
        return dg.MaterializeResult(
            metadata={"handled now": handled, "kept back by": kept, **_metadata(automation, found)},
            check_results=_checks(found, unknown),
        )

    return actions


def _checks(found: dict[str, Any], unknown: list[str]) -> list[dg.AssetCheckResult]:
    late, open_ = found["oldest_due"] or 0.0, sum(one["count"] for one in found["incidents"])
    return [
        check_result("no_incident", not open_, error=True, open=open_),
        check_result("in_time", late <= LATE, oldest_minutes=round(late / 60, 1)),
        check_result(
            "receivers_agree", not unknown, error=True, unknown=", ".join(unknown) or "none"
        ),
    ]


def _metadata(automation: Automation, found: dict[str, Any]) -> dict[str, Any]:
    states = [
        [receiver, state, count]
        for receiver, counts in found["states"].items()
        for state, count in counts.items()
    ]
    receivers = [
        [name, one["breaker"], one["failures"], f"{one['left']} of {one['budget']}"]
        for name, one in found["receivers"].items()
    ]
    incidents = [
        [one["receiver"], one["type"], one["cause"], one["count"]] for one in found["incidents"]
    ]
    return {
        "actions": markdown_table(["receiver", "state", "actions"], states),
        "receivers": markdown_table(["receiver", "breaker", "failures", "retries left"], receivers),
        "incidents": markdown_table(["receiver", "action", "cause", "open"], incidents),
        "halted": found["halted"],
        "dry run": found["dry_run"],
        "console": console_page(f"actions/{automation.name}"),
    }

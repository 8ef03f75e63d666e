"""What a rehearsal showed, as a table for the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from aios_assets.report import metric_text, moment, rollout_text


def rehearsal_table(report: dict[str, Any]) -> Table:
    """Return the figures of `aios_assets.report.build_report` as a table of two columns."""
    table = Table(
        title=f"{report['automation']} rehearsed", show_header=False, title_justify="left"
    )
    span = f"{moment(report['from'])} to {moment(report['to'])}"
    table.add_row("partitions", f"{len(report['partitions'])}, {span}")
    table.add_row("events", f"{report['events']:,}")
    table.add_row("quarantined", f"{report['quarantined']:,}")
    for outcome, rows in report["decisions"].items():
        table.add_row(f"decided: {outcome}", f"{rows:,}")
    table.add_row("without a champion", f"{report['unscored']:,} events, all to review")
    for name, one in report["automatic"].items():
        table.add_row(f"wrong among {name}", f"{one['wrong']} of {one['known']} with an outcome")
    for name, step in report["steps"].items():
        table.add_row(f"step {name}", _counts(step["statuses"]))
        for problem, rows in step["problems"].items():
            table.add_row("", f"{rows:,} events: {problem}")
    for name, one in report["model_steps"].items():
        _learning_rows(table, one, f"{name}: ")
        _reading_rows(table, name, one)
    _learning_rows(table, report, "")
    for version, moves in report["rollouts"].items():
        table.add_row(f"rollout of version {version}", rollout_text(moves))
    for metric, one in report["overall"].items():
        table.add_row(metric, metric_text(one))
    for metric, one in report["overall_from_fourth"].items():
        if metric in ("roc_auc", "mae"):
            table.add_row(f"{metric}, 4th partition on", metric_text(one))
    return table


def _learning_rows(table: Table, one: dict[str, Any], of: str) -> None:
    models = one["models"]
    table.add_row(
        f"{of}model versions",
        f"{models['trained']} trained, {models['gated']} passed the gate, "
        f"{models['promoted']} promoted",
    )
    champion = f"version {models['champion']}" if models["champion"] else "none"
    table.add_row(f"{of}champion", champion)
    for key, why in one["retrains"].items():
        table.add_row(f"{of}retrained {key}", why)
    table.add_row(f"{of}drift alarms", ", ".join(one["drift_alarms"]) or "none")
    table.add_row(f"{of}performance alarms", ", ".join(one["performance_alarms"]) or "none")


def _reading_rows(table: Table, name: str, one: dict[str, Any]) -> None:
    for metric, value in one["overall"].items():
        table.add_row(f"{name}: {metric}", metric_text(value))
    automatic = one["straight_through"]
    table.add_row(
        f"{name}: straight-through",
        f"{automatic['share']:.0%} of {automatic['n']:,} with {automatic['wrong']:.1%} wrong",
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{rows:,} {status.replace('_', ' ')}" for status, rows in counts.items())

"""Figures: read from state whatever crashed, with bounded labels, and shown on the dashboard."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from aios.actions.tables import ACTIONS, RECEIVERS
from aios.alarms import raise_alarm
from aios.database import open_database
from aios.figures import PATIENCE
from aios.halts import HALTS
from aios.identity.tables import micros
from aios.lake import Lake
from aios.metrics import FAMILIES, exposition
from aios.review.tables import CASES, VERDICTS
from aios.settings import Settings
from tests.aios.review.lakes import COSTS, REVIEW, fill, week
from tests.aios.review.rows import OPENED, case, verdict
from tests.conftest import make_automation, settings_in
from tests.servers import Postgres

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parent.parent.parent / "docs"
NOW = OPENED + timedelta(hours=2)
ACTS: dict[str, Any] = {
    "receivers": {"insurer": {"kind": "http", "address": "http://127.0.0.1:1"}},
    "effects": {
        "approve": [
            {"type": "pay", "receiver": "insurer", "body": "features:application", "cost": 0.5},
            {"type": "tell", "receiver": "insurer", "body": "features:application", "cost": 0.1},
        ]
    },
}
Figures = dict[tuple[str, tuple[str, ...]], float]


def figures(settings: Settings, after: timedelta = timedelta(0)) -> Figures:
    """What is exposed, by name and values of the labels, as Prometheus reads it."""
    text = exposition(settings, lambda: NOW + after).decode()
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert set(sample.labels) == set(FAMILIES[sample.name][2])
            values = tuple(sample.labels[name] for name in FAMILIES[sample.name][2])
            found[sample.name, values] = sample.value
    return found


def action(number: int, **other: Any) -> dict[str, Any]:
    """An action that was done ten seconds after its decision."""
    at = micros(OPENED)
    row = {
        "key": f"{number:064x}",
        "automation": "loans",
        "partition": week(3),
        "decision": f"loans/{week(3)}/{number}@0",
        "outcome": "approve",
        "step": 0,
        "type": "pay",
        "receiver": "insurer",
        "to": "/payments",
        "payload": '{"iban": "secret"}',
        "state": "done",
        "recalled": False,
        "created_at": at,
        "due_at": at,
        "expires_at": at + 10**12,
        "attempts": 0,
        "calls": 1,
        "lease": None,
        "intent_at": None,
        "ended_at": at + 10_000_000,
    }
    return row | other


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A crashed platform: nothing runs, its tables and files are there."""
    automation, _ = make_automation(tmp_path, review=REVIEW, costs=COSTS, actions=ACTS)
    settings = settings_in(tmp_path)
    fill(automation, Lake(settings.home / "lake" / "loans"))
    raise_alarm(settings.home, "loans", "drift", "2024", "it drifts")
    put_rows(settings.record)
    return settings


def put_rows(record: str) -> None:
    """What was in the tables when it crashed."""
    begun = micros(NOW) - 90_000_000
    waiting = {"ended_at": None, "calls": 0}
    done = [action(i, ended_at=micros(OPENED) + i * 1_000_000) for i in range(1, 101)]
    acts = [
        *done,
        action(200, type="tell", calls=3, ended_at=micros(OPENED)),
        action(201, state="pending", **waiting),
        action(202, state="sending", **waiting | {"calls": 2}, lease="w1", intent_at=begun),
        action(203, state="incident", **waiting),
    ]
    late = case(1, automation="loans", partition=week(3), state="open", outcome=None,
                closed_at=None, due_at=micros(OPENED))  # fmt: skip
    cases = [
        late,
        case(2, automation="loans", partition=week(3)),
        case(3, automation="loans", partition=week(3), answer="block"),
    ]
    given = [verdict(cases[1], "ann", "approve"), verdict(cases[1], "ben", "block", undone_at=1)]
    breaker = {"automation": "loans", "receiver": "insurer", "breaker": "open", "failures": 5,
               "trips": 1, "open_until": 0, "tokens": 1, "tokens_at": 0, "repeats": 3}  # fmt: skip
    with open_database(record).writing() as connection:
        connection.execute(ACTIONS.insert(), acts)
        connection.execute(CASES.insert(), cases)
        connection.execute(VERDICTS.insert(), given)
        connection.execute(RECEIVERS.insert(), [breaker])


def test_a_crashed_platform_still_shows_its_actions(settings: Settings) -> None:
    found = figures(settings)
    at = ("loans", "insurer")
    assert found["aios_actions", (*at, "done")] == 101
    assert found["aios_actions", (*at, "pending")] == 1
    assert found["aios_action_incidents", at] == 1
    assert found["aios_action_oldest_due_seconds", at] == 7200
    assert found["aios_action_lease_age_seconds", at] == 90
    assert found["aios_action_calls_total", at] == 100 + 3 + 2
    assert found["aios_action_retries_total", at] == 3
    assert found["aios_action_latency_seconds", (*at, "0.5")] == 50
    assert found["aios_action_latency_seconds", (*at, "0.99")] == pytest.approx(99, abs=0.1)
    assert found["aios_receiver_breaker", (*at, "open")] == 1
    assert found["aios_receiver_breaker", (*at, "closed")] == 0
    assert found["aios_action_cost_total", ("loans",)] == pytest.approx(50.1)
    assert found["aios_cost_per_action", ("loans",)] == pytest.approx(50.1 / 101)


def test_shows_reviews_without_telling_which_are_seeded(settings: Settings) -> None:
    found = figures(settings)
    assert found["aios_review_cases", ("loans", "open")] == 1
    assert found["aios_review_cases", ("loans", "closed")] == 1
    assert found["aios_review_overdue", ("loans",)] == 1
    assert found["aios_review_oldest_seconds", ("loans",)] == 7200
    assert found["aios_review_latency_seconds", ("loans", "0.95")] == 3600
    assert found["aios_review_verdicts_total", ("loans", "approve")] == 1
    assert ("aios_review_verdicts_total", ("loans", "change")) not in found
    assert found["aios_decisions", ("loans",)] == 50
    assert found["aios_human_intervention_ratio", ("loans",)] == 2 / 50


def test_shows_partitions_alarms_and_halts(settings: Settings) -> None:
    found = figures(settings)
    assert found["aios_last_partition_end_timestamp_seconds", ("loans",)] == 1706486400  # 29 Jan
    assert found["aios_last_decided_timestamp_seconds", ("loans",)] > 1.7e9
    assert found["aios_alarms", ("loans", "drift")] == 1
    assert found["aios_halted", ("loans",)] == 0
    row = {"scope": "*", "since": 0, "by": "person:ann", "reason": "flood"}
    with open_database(settings.record).writing() as connection:
        connection.execute(HALTS.insert().values(row))
    assert figures(settings)["aios_halted", ("loans",)] == 1


def test_looks_at_every_action_once_a_minute(settings: Settings) -> None:
    def calls(after: timedelta) -> float:
        return figures(settings, after)["aios_action_calls_total", ("loans", "insurer")]

    before = calls(timedelta(0))
    with open_database(settings.record).writing() as connection:
        connection.execute(ACTIONS.insert(), [action(300)])
    assert calls(timedelta(seconds=30)) == before
    assert calls(timedelta(microseconds=PATIENCE)) == before + 1


def test_no_label_holds_an_id_and_no_value_a_payload(settings: Settings) -> None:
    text = exposition(settings).decode()
    assert "secret" not in text
    assert "person:" not in text
    assert f"{200:064x}" not in text
    assert {name for _, _, labels in FAMILIES.values() for name in labels} == {
        *("automation", "receiver", "state", "quantile", "position", "verdict", "kind"),
    }


def test_what_cannot_be_read_is_said_and_the_rest_is_shown(settings: Settings) -> None:
    (settings.automations / "loans" / "defs.yaml").write_text("type: [")
    open_database(settings.record).engine.dispose()
    path = Path(settings.record.removeprefix("sqlite:///"))
    for one in path.parent.glob(f"{path.name}-*"):
        one.unlink()
    path.write_bytes(b"no database" * 1000)
    open_database.cache_clear()
    found = figures(settings)
    assert found["aios_state_readable", ()] == 0
    assert found["aios_automation_readable", ("loans",)] == 0
    assert found["aios_alarms", ("loans", "drift")] == 1


def test_postgres_shows_the_same(settings: Settings, postgres: Postgres) -> None:
    shared = replace(settings, record=postgres.create("metrics"))
    put_rows(shared.record)
    assert figures(shared) == figures(settings)
    open_database(shared.record).engine.dispose()


def test_an_empty_platform_has_figures_too(tmp_path: Path) -> None:
    assert figures(settings_in(tmp_path))["aios_state_readable", ()] == 1


# The dashboard


def expressions() -> list[str]:
    board = json.loads((DOCS / "grafana.json").read_text())
    return [one["expr"] for panel in board["panels"] for one in panel.get("targets", [])]


def test_the_dashboard_asks_for_exported_figures_only_and_for_all_of_them() -> None:
    asked = {name for one in expressions() for name in re.findall(r"\baios_\w+", one)}
    assert asked == set(FAMILIES)


def test_the_dashboard_uses_the_labels_that_a_figure_has() -> None:
    for expression in expressions():
        for name, inside in re.findall(r"\b(aios_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)\s*=", inside)) <= set(FAMILIES[name][2]), expression


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    board = json.loads((DOCS / "grafana.json").read_text())
    assert board["schemaVersion"] >= 41
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["datasource"]["uid"] == "${source}" for panel in board["panels"]
               if panel["type"] != "row")  # fmt: skip


def test_the_page_of_signals_names_every_figure() -> None:
    page = (DOCS / "signals.md").read_text()
    assert [name for name in FAMILIES if f"`{name}`" not in page] == []


def test_no_figure_is_left_without_a_case_that_shows_it(settings: Settings) -> None:
    assert {name for name, _ in figures(settings)} == set(FAMILIES)

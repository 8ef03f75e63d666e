"""What the other pages show and do: decisions, actions, measures, health, reports, metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from aios.actions.tables import ACTIONS
from aios.halts import halts
from aios.identity.tables import micros
from console.review import picture_of
from tests.aios.review.world import KEY, World, loan
from tests.conftest import make_automation
from tests.console.conftest import Console
from tests.console.web import refusals

pytestmark = pytest.mark.unit


def as_incidents(world: World, cause: str = "refused: no such account") -> list[str]:
    """Let every payment be an incident; return their keys."""
    with world.log.database.writing() as connection:
        found = {"state": "incident", "cause": cause, "problem": "no such account 12",
                 "ended_at": micros(world.clock())}  # fmt: skip
        connection.execute(ACTIONS.update().where(ACTIONS.c.type == "pay").values(found))
    return [row.key for row in world.rows(ACTIONS, ACTIONS.c.type == "pay")]


def test_incidents_are_mended_by_cause(console: Console) -> None:
    world = console.world
    world.decide([loan(n, outcome="approve", rule="small_and_safe") for n in range(3)])
    as_incidents(world)
    olga = console.as_("olga")
    page = olga.get("/actions/loans").text
    assert "refused: no such account" in page
    assert "3 of pay at bank" in page
    cause = {"cause": "refused: no such account", "receiver": "bank", "type": "pay"}
    done = olga.send("/actions/loans/mend", {**cause, "what": "retry", "reason": "account opened"})
    assert done.status_code == 303
    assert {row.state for row in world.rows(ACTIONS, ACTIONS.c.type == "pay")} <= {
        "pending", "waiting",
    }  # fmt: skip
    assert "3 incidents are sent again." in olga.get("/actions/loans").text
    assert len(world.leaves("incident_mended")) == 1


def test_an_incident_is_repaired_by_who_may_read_and_mend_it(
    console: Console, build: Callable[..., Console]
) -> None:
    world = console.world
    world.decide([loan(1, outcome="approve", rule="small_and_safe")])
    (key,) = as_incidents(world)
    olga, udo = console.as_("olga"), console.as_("udo")
    assert olga.get(f"/actions/loans/{key}").status_code == 403, "an operator reads no payload"
    assert "30000.0" in udo.get(f"/actions/loans/{key}").text
    order = {"key": key, "reason": "wrong amount", "payload": '{"loan": 1, "amount": 5}'}
    assert udo.send("/actions/loans/repair", order).status_code == 403
    bad = olga.send("/actions/loans/repair", {**order, "payload": "{nope"})
    assert bad.status_code == 409
    assert olga.send("/actions/loans/repair", order).status_code == 303
    (row,) = world.rows(ACTIONS, ACTIONS.c.key == key)
    assert json.loads(row.payload) == {"loan": 1, "amount": 5}


def test_a_partition_is_recalled(console: Console) -> None:
    world = console.world
    world.decide([loan(n, outcome="approve", rule="small_and_safe") for n in range(3)])
    olga = console.as_("olga")
    assert f"<option>{KEY}</option>" in olga.get("/actions/loans").text
    order = {"partition": KEY, "reason": "wrong prices"}
    assert olga.send("/actions/loans/recall", order).status_code == 303
    assert {row.state for row in world.rows(ACTIONS)} == {"cancelled"}
    assert "6 actions are cancelled" in olga.get("/actions/loans").text


def test_a_decision_is_overridden(console: Console) -> None:
    world = console.world
    world.decide([loan(1, outcome="approve", rule="small_and_safe")])
    ann = console.as_("ann")
    decision = f"loans/{KEY}/1@0"
    order = {"decision": decision, "outcome": "block", "reason": "wrong_data"}
    assert ann.send("/decisions/override", order).status_code == 303
    assert world.effects(1)["pay"] == "cancelled"
    assert world.effects(1)["refuse"] == "pending"


def test_what_followed_from_a_decision_is_shown(console: Console) -> None:
    console.world.decide([loan(1)])
    ann = console.as_("ann")
    case = ann.send("/queue/next").headers["location"]
    ann.send(f"{case}/verdict", {"verdict": "approve"})
    page = console.as_("udo").get("/decisions", params={"find": f"loans/{KEY}/1"}).text
    assert "by person:ann (agreed)" in page
    assert re.search(r"pay at bank <span[^>]*>pending", page)


def test_a_case_shows_its_document_with_what_was_read(tmp_path: Path) -> None:
    step = {"name": "reading", "kind": "query", "function": "steps:read", "page": "steps:page",
            "inputs": ["loan_id"], "outputs": {"text": "json"}}  # fmt: skip
    code = (
        "def read(row):\n    return {'text': '1'}\n\n"
        "def page(rows):\n    assert rows.height == 1\n"
        "    return '', b'PNG' + rows['text'][0].encode()\n"
    )
    automation, platform = make_automation(tmp_path, steps=[step], files={"steps.py": code})
    lake = platform.lake("loans")
    ids = pl.DataFrame({"loan_id": [1, 2], "revision": [0, 0]})
    lake.write("events", KEY, ids)
    lake.write("reading", KEY, ids.with_columns(text=pl.Series(["one", "two"])))
    facts = {"loan_id": 2, "revision": 0, "partition": KEY}
    assert picture_of(automation, lake, facts, "reading") == b"PNGtwo"
    assert picture_of(automation, lake, facts, "nothing") is None


def test_a_halt_holds_until_it_is_released(console: Console) -> None:
    ann, olga = console.as_("ann"), console.as_("olga")
    assert ann.send("/switch/halt", {"scope": "loans", "reason": "strange"}).status_code == 303
    page = olga.get("/queue").text
    assert "strange" in page
    assert "Release" not in ann.get("/switch").text
    again = olga.send("/switch/halt", {"scope": "loans", "reason": "me too"})
    assert again.status_code == 409
    assert "halted already, by person:ann" in again.text
    assert olga.send("/switch/release", {"scope": "loans", "reason": "fine"}).status_code == 303
    assert halts(console.house.log.database) == []
    assert olga.send("/switch/halt", {"scope": "none", "reason": "x y z"}).status_code == 409


def test_measures_are_shown_as_figures_and_bars(console: Console) -> None:
    console.world.decide([loan(n) for n in range(6)])
    ann = console.as_("ann")
    for _ in range(3):
        case = ann.send("/queue/next").headers["location"]
        ann.send(f"{case}/verdict", {"verdict": "approve"})
    page = ann.get("/measures/loans").text
    assert "straight through" in page
    assert re.search(r'<rect class="bar"', page)
    assert "person:ann" in page


def test_a_broken_automation_does_not_take_the_console_with_it(console: Console) -> None:
    folder = console.world.settings.automations / "broken"
    folder.mkdir()
    (folder / "defs.yaml").write_text("type: nothing")
    olga = console.as_("olga")
    for path in ("/queue", "/health", "/actions", "/rollouts", "/policies", "/measures", "/switch"):
        assert olga.get(path).status_code == 200, path
    assert "broken" in olga.get("/health").text
    assert olga.get("/rollouts/broken").status_code == 404


def test_metrics_are_for_who_has_their_token(
    console: Console, build: Callable[..., Console]
) -> None:
    assert console.browser().get("/metrics").status_code == 404, "off by default"
    made = build(metrics="s3cret")
    web = made.browser()
    assert web.get("/metrics").status_code == 401
    assert web.get("/metrics", headers={"authorization": "Bearer wrong"}).status_code == 401
    found = web.get("/metrics", headers={"authorization": "Bearer s3cret"})
    assert found.status_code == 200
    assert "# TYPE aios_" in found.text
    assert refusals(made.house)[-1] == ("nobody", "/metrics", "not signed in")


def test_reports_are_listed_newest_first(console: Console) -> None:
    folder = console.world.settings.home / "reports" / "loans" / "drift"
    folder.mkdir(parents=True)
    for key in ("2024-01-01", "2024-02-01"):
        (folder / f"{key}.html").write_text("x")
    page = console.as_("mia").get("/reports").text
    assert page.index("2024-02-01.html") < page.index("2024-01-01.html")

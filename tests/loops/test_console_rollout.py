"""A rollout by hand in the console: the same moves, rules and record as `aios rollout`."""

from __future__ import annotations

import pytest

from console.app import create_app
from console.options import Options
from model_registry.champion import champion
from sensors.rollout import conductor_of
from tests.console.web import Web, refusals, register
from tests.loops.conftest import NAME, Loop
from tests.loops.test_cli_rollout import ROLLOUT

pytestmark = pytest.mark.loop

PLACE = f"/rollouts/{NAME}"


def test_a_version_goes_its_way_by_hand(loop: Loop) -> None:
    loop.redeclare(rollout=ROLLOUT)
    app = create_app(loop.settings, Options())
    tokens = {
        name: register(app.state.house, name, [role])  # type: ignore[list-item]
        for name, role in (("olga", "operator"), ("mia", "ml_engineer"), ("ann", "reviewer"))
    }
    mia, ann = Web(app), Web(app)
    mia.sign_in(tokens["mia"])
    ann.sign_in(tokens["ann"])
    present = champion(loop.registry, NAME)
    assert present

    def moves() -> list[str]:
        known = conductor_of(loop.automation, loop.platform).moves()
        return [one.state for one in known if one.version == 4]

    def step(what: str, version: int = 4) -> int:
        order = {"what": what, "version": version, "reason": "by hand"}
        return mia.send(f"{PLACE}/step", order).status_code

    start = {"version": 4, "champion": present.number, "reason": "looks good offline"}
    assert ann.send(f"{PLACE}/start", start).status_code == 403
    assert moves() == []
    assert "Start its rollout" not in ann.get(PLACE).text
    assert mia.send(f"{PLACE}/start", start).status_code == 303
    page = mia.get(PLACE).text
    assert "Version 4 is in shadow." in page
    assert "not judged yet" in page
    assert step("pause") == 303
    assert "Resume" in mia.get(PLACE).text
    assert step("resume") == 303
    assert step("end", version=3) == 409, "another version than the one that was seen"
    assert step("end") == 303
    assert moves() == ["shadow", "paused", "shadow", "rejected"]

    # Of two who press at once, the second must not go one further back.
    back = {"champion": present.number, "reason": "payments look odd"}
    assert mia.send(f"{PLACE}/rollback", back).status_code == 303
    earlier = champion(loop.registry, NAME)
    assert earlier
    assert earlier.number < present.number
    assert mia.send(f"{PLACE}/rollback", back).status_code == 409
    assert champion(loop.registry, NAME) == earlier
    assert refusals(app.state.house)[-1] == ("person:mia", f"{PLACE}/rollback", "out of date")
    assert [one.actor for one in loop.registry.log.entries(kind="denied")] == ["person:ann"]
    mia.close()
    ann.close()


def test_a_model_card_is_a_page_and_runs_no_script(loop: Loop) -> None:
    app = create_app(loop.settings, Options())
    aud = Web(app)
    aud.sign_in(register(app.state.house, "olga", ["operator", "auditor"]))
    card = aud.get(f"{PLACE}/cards/3").text
    assert "Intended use" in card
    assert "<table>" in card
    assert aud.get(f"{PLACE}/cards/99").status_code == 404
    text = "<script>alert(1)</script> [x](javascript:alert(2))"
    loop.registry.client.update_model_version(NAME, "3", description=text)
    card = aud.get(f"{PLACE}/cards/3").text
    assert "&lt;script&gt;" in card
    assert "<script>alert" not in card
    assert 'href="javascript:' not in card
    aud.close()

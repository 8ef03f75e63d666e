"""A policy in the console: what changes, who asks, who lets it decide, what the tuner found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from aios.archive import keep
from aios.errors import AiosError
from aios.record.changes import POLICY as CHANGED
from aios.record.changes import Changes
from console.house import House
from tests.conftest import POLICY
from tests.console.conftest import Console
from tests.console.web import Web, register

pytestmark = [
    pytest.mark.unit,
    pytest.mark.parametrize("world", ["sqlite", "postgres"], indirect=True),
]

BEFORE, AFTER = "score >= 0.7", "score >= 0.6"
SEEN = re.compile(r'name="seen" value="([0-9a-f]+)"')


def changes(house: House) -> Changes:
    automation = house.automation("loans")
    return Changes(house.log, automation.resource, automation.policy.hash)


def seen(web: Web) -> str:
    found = SEEN.search(web.get("/policies/loans").text)
    assert found
    return found[1]


def text(when: str) -> str:
    rules = [{**POLICY["rules"][0], "when": when}, *POLICY["rules"][1:]]
    return yaml.safe_dump({**POLICY, "version": 2, "rules": rules}, sort_keys=False)


@pytest.fixture
def folder(console: Console) -> Path:
    """The folder of a high-risk automation whose policy decided, and was changed since."""
    folder = console.world.automation.folder
    declared = yaml.safe_load((folder / "defs.yaml").read_text())
    declared["attributes"]["risk"] = "high"
    (folder / "defs.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))
    automation = console.house.automation("loans")
    changes(console.house).note_policy("service:scheduler", rehearsing=True)
    keep(automation, console.world.lake, "2024-02-19")
    (folder / "policy.yaml").write_text(text(AFTER))
    return folder


def test_a_changed_policy_decides_when_another_person_let_it(
    console: Console, folder: Path
) -> None:
    mia, eve = console.as_("mia"), console.as_("eve")
    page = mia.get("/policies/loans").text
    assert re.search(rf'class="removed">-.*{BEFORE.replace(">", "&gt;")}', page)
    assert re.search(rf'class="added">\+.*{AFTER.replace(">", "&gt;")}', page)
    with pytest.raises(AiosError, match="nobody has accepted it"):
        changes(console.house).note_policy("service:scheduler", rehearsing=False)

    order = {"seen": seen(mia), "reason": "fewer frauds"}
    assert mia.send("/policies/loans/propose", order).status_code == 303
    assert "fewer frauds" in eve.get("/policies/loans").text
    assert "Let it decide" not in mia.get("/policies/loans").text
    assert mia.send("/policies/loans/accept", order).status_code == 403
    assert eve.send("/policies/loans/accept", {"seen": seen(eve)}).status_code == 303

    changes(console.house).note_policy("service:scheduler", rehearsing=False)
    leaf = console.house.log.last(CHANGED, "loans")
    assert leaf is not None
    assert (leaf.actor, leaf.body["accepted_by"]) == ("person:mia", ["person:eve"])
    assert "It decides since" in eve.get("/policies/loans").text


def test_who_asked_for_a_policy_does_not_let_it_decide(console: Console, folder: Path) -> None:
    both = register(console.house, "pam", ["ml_engineer", "approver"])
    pam = console.browser()
    pam.sign_in(both)
    order = {"seen": seen(pam), "reason": "fewer frauds"}
    assert pam.send("/policies/loans/propose", order).status_code == 303
    assert "Let it decide" not in pam.get("/policies/loans").text
    assert pam.send("/policies/loans/accept", order).status_code == 403
    assert changes(console.house).accepted() is None


def test_only_the_policy_that_was_seen_is_accepted(console: Console, folder: Path) -> None:
    mia, eve = console.as_("mia"), console.as_("eve")
    mia.send("/policies/loans/propose", {"seen": seen(mia), "reason": "fewer frauds"})
    looked_at = seen(eve)
    (folder / "policy.yaml").write_text(text("score >= 0.999"))

    late = eve.send("/policies/loans/accept", {"seen": looked_at})

    assert late.status_code == 409
    assert "another policy by now" in late.text
    assert changes(console.house).accepted() is None


@pytest.mark.parametrize("name", ["ann", "olga", "udo"])
def test_others_neither_ask_nor_accept(console: Console, folder: Path, name: str) -> None:
    web, order = console.as_(name), {"seen": seen(console.as_("mia")), "reason": "why not"}
    page = web.get("/policies/loans").text
    assert "Ask for it" not in page
    for act in ("propose", "accept"):
        assert web.send(f"/policies/loans/{act}", order).status_code in (403, 409)
    assert console.house.log.last("policy_proposed", "loans") is None


def test_what_the_tuner_found_is_shown(console: Console) -> None:
    automation, home = console.world.automation, console.world.settings.home
    left = home / "proposals" / automation.name
    left.mkdir(parents=True)
    tried = [{"rule": "risky", "value": x / 10, "cost": cost, "why": ""}
             for x, cost in enumerate([9, 8, None, 7, 8])]  # fmt: skip
    found = {
        "status": "proposed",
        "why": "2 less per decision",
        "thresholds": [["risky", 0.7, 0.6]],
        "tried": tried,
    }
    (left / "policy-v2.json").write_text(json.dumps(found))
    (left / "policy-v2.md").write_text("**propose**: saves 2 of 12 <script>x</script>\n")
    present = (automation.folder / "policy.yaml").read_text()
    (left / "policy-v2.yaml").write_text(present.replace(BEFORE, AFTER))

    page = console.as_("ann").get("/policies/loans").text

    assert len(re.findall("<polyline", page)) == 2, "a line breaks where nothing is known"
    assert "2 less per decision" in page
    assert "0.7 at present, 0.6 as found" in page
    assert "<strong>propose</strong>: saves 2 of 12 &lt;script&gt;" in page
    assert re.search(rf'class="added">\+.*{AFTER.replace(">", "&gt;")}', page)

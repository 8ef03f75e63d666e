"""The queue and its cases: what a reviewer sees, does, and takes back."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from tests.aios.review.world import loan
from tests.console.conftest import Console

pytestmark = [
    pytest.mark.unit,
    pytest.mark.parametrize("world", ["sqlite", "postgres"], indirect=True),
]


def test_a_case_is_taken_decided_and_taken_back(console: Console) -> None:
    console.world.decide([loan(1), loan(2, amount=60_000.0)])
    ann = console.as_("ann")
    listed = ann.get("/queue").text
    assert listed.index("loans 2") < listed.index("loans 1"), "the one due first comes first"

    taken = ann.send("/queue/next")
    page = ann.get(taken.headers["location"]).text
    assert "Proposed" in page
    assert "Pay at bank" in page, "what approving will do"
    assert "60,000" in page

    case = taken.headers["location"]
    done = ann.send(f"{case}/verdict", {"verdict": "approve"})
    assert done.status_code == 303
    page = ann.get(case).text
    assert "Your verdict: approve." in page
    assert console.world.effects(2) == {"pay": "pending", "tell": "waiting"}

    undo = re.search(r'action="(/verdicts/\w+/undo)"', page)
    assert undo
    assert ann.send(undo[1]).status_code == 303
    assert console.world.effects(2) == {"pay": "cancelled", "tell": "cancelled"}
    assert "open again" in ann.get(case).text


def test_five_reviewers_never_hold_the_same_case(console: Console) -> None:
    console.world.decide([loan(number) for number in range(5)])
    ann, bob = console.as_("ann"), console.as_("bob")
    places = [one.send("/queue/next").headers["location"] for one in (ann, bob, ann, bob, ann)]
    assert len(set(places)) == 5
    taken = bob.send(f"{places[0]}/verdict", {"verdict": "approve"})
    assert taken.status_code == 409
    assert "holds it until" in taken.text


def test_a_hidden_case_shows_no_proposal_and_no_score(console: Console) -> None:
    folder = console.world.settings.automations / "loans" / "defs.yaml"
    text = folder.read_text().replace("hidden: 0.0", "hidden: 0.5")
    folder.write_text(text)
    console.world.declare(hidden=1.0)
    console.world.decide([loan(1, score=0.4567)])
    ann = console.as_("ann")
    case = ann.send("/queue/next").headers["location"]
    for path in ("/queue", case, f"{case}/mattered", f"{case}/similar"):
        assert "0.4567" not in ann.get(path).text, path
    assert "Proposed" not in ann.get(case).text
    assert 'value="approve" class="go"' not in ann.get(case).text
    # Nor by way of the search, as long as it waits.
    decision = console.world.cases()[0].decision
    assert "0.4567" not in ann.get("/decisions", params={"find": decision}).text
    done = ann.send(f"{case}/verdict", {"verdict": "change", "outcome": "block",
                                        "reason": "wrong_data"})  # fmt: skip
    assert done.status_code == 303
    assert console.world.effects(1) == {"refuse": "pending"}


def test_many_of_one_cause_are_decided_together(console: Console) -> None:
    console.world.decide([loan(number) for number in range(8)] + [loan(9, rule="odd")])
    ann = console.as_("ann")
    cause = next(case.cause for case in console.world.cases() if case.rule == "unclear")
    form = {"automation": "loans", "cause": cause, "verdict": "reject", "reason": "agreed",
            "limit": "5"}  # fmt: skip
    assert ann.send("/queue/batch", form).status_code == 303
    assert "5 cases are decided" in ann.get("/queue").text
    assert len(console.world.cases()) == 4


def test_similar_past_decisions_are_shown_with_what_came_of_them(console: Console) -> None:
    console.world.decide(
        [loan(n, amount=1000.0 * n, outcome="block", rule="risky") for n in range(1, 30)],
        key="2024-02-19",
    )
    console.world.decide([loan(100, amount=15_000.0)])
    ann = console.as_("ann")
    case = ann.send("/queue/next").headers["location"]
    page = ann.get(f"{case}/similar").text
    found = re.findall(r"loans/2024-02-19/(\d+)@0", page)
    assert found[0] == "15"
    assert set(found) == {"13", "14", "15", "16", "17"}


def test_the_lease_is_shown_and_ends(console: Console) -> None:
    console.world.decide([loan(1)])
    ann, bob = console.as_("ann"), console.as_("bob")
    case = ann.send("/queue/next").headers["location"]
    assert 'data-until="900.0"' in ann.get(case).text
    assert bob.send(f"{case}/take").status_code == 409
    console.world.clock.forward(timedelta(minutes=16))
    assert bob.send(f"{case}/take").status_code == 303
    late = ann.send(f"{case}/verdict", {"verdict": "approve"})
    assert late.status_code == 409
    assert ann.send(f"{case}/put-back").status_code == 409
    assert bob.send(f"{case}/put-back").status_code == 303


def test_cases_are_not_for_everybody(console: Console) -> None:
    console.world.decide([loan(1, customer="c-secret")])
    case = f"/cases/{console.world.cases()[0].id}"
    olga, udo = console.as_("olga"), console.as_("udo")
    assert "loans 1" not in olga.get("/queue").text
    denied = olga.get(case)
    assert denied.status_code == 403
    assert "c-secret" not in denied.text
    assert "c-secret" in udo.get(case).text
    assert udo.send(f"{case}/take").status_code == 403
    assert [one.actor for one in console.world.leaves("denied")] == ["person:olga", "person:udo"]

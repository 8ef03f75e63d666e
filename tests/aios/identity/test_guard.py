"""The guard: what is denied goes on record, and access changes only with its leaf in the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from aios.errors import AiosError
from aios.identity.access import Access, Denied
from aios.identity.actors import LOCAL, Actor, NotSignedIn
from aios.identity.directory import Directory
from aios.identity.guard import Administration, Guard, guard_of
from aios.identity.resources import Context
from aios.record.log import Log, open_log
from aios.settings import Settings
from tests.aios.identity.cast import (
    ACCESS,
    ALICE,
    ANN,
    BOB,
    CLAIMS,
    DAN,
    HIGH,
    LOW,
    OLGA,
    PLATFORM,
    TICKETS,
)

pytestmark = pytest.mark.unit

LATER = datetime(2100, 1, 1)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.embedded(tmp_path, tmp_path)


@pytest.fixture
def log(settings: Settings) -> Iterator[Log]:
    log = open_log(settings)
    yield log
    log.database.engine.dispose()


@pytest.fixture
def office(log: Log) -> Administration:
    """The office of the local user, who let Olga in."""
    office = Administration(Guard(LOCAL, ACCESS, log))
    office.add(OLGA)
    return Administration(Guard(OLGA, ACCESS, log))


def test_what_is_allowed_passes_with_its_rule_and_leaves_no_leaf(log: Log) -> None:
    assert Guard(ALICE, ACCESS, log).check("promote", TICKETS) == ("engineer_promotes",)
    assert log.size() == 0


@pytest.mark.parametrize(
    ("actor", "resource", "automation", "rules"),
    [
        (ALICE, CLAIMS, "claims", ["four_eyes"]),
        (ANN, TICKETS, "tickets", []),
        (LOCAL, PLATFORM, None, []),
    ],
)
def test_denial_is_recorded(log: Log, actor: Actor, resource, automation, rules) -> None:
    with pytest.raises(Denied):
        Guard(actor, ACCESS, log).check("promote", resource)
    (entry,) = log.entries()
    assert (entry.kind, entry.automation, entry.actor) == ("denied", automation, str(actor))
    assert entry.body == {
        "action": "promote",
        "resource": str(resource),
        "rules": rules,
        "access_digest": ACCESS.digest,
    }


def test_context_counts(log: Log) -> None:
    guard = Guard(DAN, ACCESS, log)
    assert guard.check("change_policy", HIGH, Context(approved_by=[ANN]))
    with pytest.raises(Denied):
        guard.check("change_policy", HIGH)


def test_changes_of_access_are_made_and_recorded(office: Administration, log: Log) -> None:
    office.add(BOB)
    token = office.issue_token(BOB, LATER)
    assert office.change_roles(BOB, {"auditor", "reviewer"}).roles == {"auditor", "reviewer"}
    office.revoke_token(token.id)
    office.disable(BOB)
    office.enable(BOB)
    said = [(entry.actor, entry.body) for entry in log.entries(kind="access_changed")]
    changes = [(actor, body["change"], body["subject"]) for actor, body in said]
    assert changes == [
        ("person:local", "add", "person:olga"),
        ("person:olga", "add", "person:bob"),
        ("person:olga", "issue_token", "person:bob"),
        ("person:olga", "roles", "person:bob"),
        ("person:olga", "revoke_token", "person:bob"),
        ("person:olga", "disable", "person:bob"),
        ("person:olga", "enable", "person:bob"),
    ]
    bodies = [body for _, body in said]
    assert all(body["rules"] == ["operator_manages"] for body in bodies)
    assert all(body["access_digest"] == ACCESS.digest for body in bodies)
    assert bodies[1]["roles"] == ["approver"]
    assert bodies[2]["token"] == bodies[4]["token"] == token.id
    assert bodies[2]["expires"] == "2100-01-01T00:00:00"
    assert bodies[3]["roles"] == ["auditor", "reviewer"]
    assert not any(token.text.split("_", 2)[2].encode() in e.leaf for e in log.entries())
    assert log.verify().problems == []


def test_refused_change_leaves_neither_change_nor_leaf(office: Administration, log: Log) -> None:
    before = log.size()
    with pytest.raises(AiosError, match="registered already"):
        office.add(OLGA)
    with pytest.raises(AiosError, match="nobody could let others in"):
        office.disable(OLGA)
    with pytest.raises(AiosError, match="not registered"):
        office.issue_token(BOB, LATER)
    assert log.size() == before
    assert Directory(log.database).find(OLGA).disabled_at is None


def test_change_that_cannot_be_recorded_is_not_made(
    office: Administration, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("aios.record.transaction.insert", full)
    with pytest.raises(AiosError, match="No space left"):
        office.add(BOB)
    monkeypatch.undo()
    assert [str(one.actor) for one in Directory(log.database).actors()] == ["person:olga"]


def test_only_the_rules_let_somebody_in(office: Administration, log: Log) -> None:
    office.add(BOB)
    for act in (
        lambda: Administration(Guard(BOB, ACCESS, log)).change_roles(BOB, {"operator"}),
        lambda: Administration(Guard(BOB, ACCESS, log)).issue_token(OLGA, LATER),
        lambda: office.change_roles(OLGA, {"operator", "auditor"}),
    ):
        with pytest.raises(Denied):
            act()
    assert Directory(log.database).find(BOB).actor.roles == BOB.roles
    assert Directory(log.database).find(OLGA).actor.roles == OLGA.roles
    assert [entry.kind for entry in log.entries()][-3:] == ["denied"] * 3


def test_everybody_revokes_their_own_token(office: Administration, log: Log) -> None:
    office.add(BOB)
    own, other = office.issue_token(BOB, LATER), office.issue_token(OLGA, LATER)
    bob = Administration(Guard(BOB, ACCESS, log))
    bob.revoke_token(own.id)
    with pytest.raises(Denied):
        bob.revoke_token(other.id)
    with pytest.raises(AiosError, match="no token"):
        bob.revoke_token("0" * 16)
    revoked = {token.id: token.revoked_at is not None for token in Directory(log.database).tokens()}
    assert revoked == {own.id: True, other.id: False}


def test_guard_of_a_process_is_its_actors(
    settings: Settings, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIOS_TOKEN", raising=False)
    local = guard_of(settings)
    assert local.actor == LOCAL
    Administration(local).add(OLGA)
    token = Administration(local).issue_token(OLGA, LATER)
    with pytest.raises(NotSignedIn):
        guard_of(settings)
    monkeypatch.setenv("AIOS_TOKEN", token.text)
    assert guard_of(settings).actor.roles == OLGA.roles
    assert guard_of(settings, ALICE).actor == ALICE


def test_no_guard_without_rules(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="no folder of access rules"):
        guard_of(replace(settings, access=tmp_path / "gone"))
    assert Access.load(settings.access).digest == ACCESS.digest
    assert Guard(LOCAL, ACCESS, open_log(settings)).check("run", LOW)

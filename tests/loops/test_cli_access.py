"""The commands about approvals, the record and access: one wrong input each changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aios import clock
from aios.database import open_database
from aios.identity.actors import Actor
from aios.identity.directory import Directory
from aios.record.leaves import Act
from aios.record.log import Log, open_log
from aios.record.payloads import Payloads
from aios.settings import Settings
from aios_assets.cli import app
from model_registry.approvals import ask, give_verdict, requests
from tests.aios.record.fresh import close, fresh_log
from tests.loops.conftest import NAME, Loop
from tests.model_registry.claims import ALICE, ANN, OLGA, people

SUBJECT = "Wilhelmine Quastenberg"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def sign_in(log: Log, patch: pytest.MonkeyPatch, actor: Actor) -> None:
    token = Directory(log.database).issue_token(actor, clock.wall() + timedelta(days=1))
    patch.setenv("AIOS_TOKEN", token.text)


def state_of(log: Log) -> tuple[Any, ...]:
    """What wrong input must not change: all but the record of denials and when a token was used."""
    directory = Directory(log.database)
    keys = {one.name: one.read_bytes() for one in log.keyring.folder.glob("*.key")}
    done = [entry.index for entry in log.entries() if entry.kind != "denied"]
    tokens = [(one.id, one.revoked_at) for one in directory.tokens()]
    return done, keys, directory.actors(), tokens, requests(log)


def assert_refused(log: Log, arguments: tuple[object, ...], *words: str) -> Result:
    """The command ends with 1 and says what, where and what to do, and nothing was changed."""
    before = state_of(log)
    result = call(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    for word in (*words, "What to do"):
        assert word in result.stderr
    assert state_of(log) == before
    return result


@pytest.fixture
def log(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The record of a home with people, a payload and a checkpoint; Olga is signed in."""
    folder = Path(settings.record.removeprefix("sqlite:///")).parent
    close(fresh_log(folder))
    open_database.cache_clear()
    opened = open_log(settings)
    people(opened)
    Payloads(opened).record(Act("override", NAME, "person:rev", {}), SUBJECT, {"n": 1}, "case")
    opened.checkpoint()
    sign_in(opened, monkeypatch, OLGA)
    yield opened
    close(opened)


@pytest.mark.unit
class TestActors:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("add", "zoe", "--role", "approver"), ["'zoe' is no actor", "KIND:NAME"]),
            (("add", "person:zoe", "--role", "king"), ["no such role: king", "approver"]),
            (("add", "person:alice", "--role", "approver"), ["person:alice is registered already"]),
            (("add", "sensor:zoe", "--role", "approver"), ["sensor:zoe cannot be registered"]),
            (("add", "service:gate", "--role", "approver"), ["is the platform's own"]),
            (("roles", "person:zoe", "--role", "approver"), ["person:zoe is not registered"]),
            (("roles", "person:olga", "--role", "auditor"), ["own_roles"]),
            (("disable", "person:zoe"), ["person:zoe is not registered"]),
            (("disable", "person:olga"), ["nobody could let others in"]),
            (("enable", "person:zoe"), ["person:zoe is not registered"]),
            (("token", "person:zoe"), ["person:zoe is not registered"]),
            (("revoke", "0123456789abcdef"), ["there is no token 0123456789abcdef"]),
        ],
    )
    def test_wrong_input(self, log: Log, arguments: tuple[object, ...], words: list[str]) -> None:
        assert_refused(log, ("actors", *arguments), *words)

    @pytest.mark.parametrize("days", [-1, 0, 99_999_999])
    def test_a_token_for_no_time_or_for_ever(self, log: Log, days: int) -> None:
        before = state_of(log)
        result = call("actors", "token", "person:ann", "--days", days)
        assert result.exit_code == 2
        assert "'--days'" in result.stderr
        assert state_of(log) == before

    @pytest.mark.parametrize(
        "arguments",
        [
            ("add", "person:zoe", "--role", "approver"),
            ("roles", "person:ann", "--role", "ml_engineer"),
            ("disable", "person:bob"),
            ("enable", "person:bob"),
            ("token", "person:alice"),
        ],
    )
    def test_by_who_may_not(
        self, log: Log, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...]
    ) -> None:
        sign_in(log, monkeypatch, ALICE)
        assert_refused(log, ("actors", *arguments), "person:alice may not manage_access")
        (denied,) = log.entries(kind="denied")
        assert (denied.actor, denied.body["action"]) == ("person:alice", "manage_access")

    def test_the_first_person_has_to_let_others_in(self, settings: Settings) -> None:
        close(fresh_log(Path(settings.record.removeprefix("sqlite:///")).parent))
        open_database.cache_clear()
        log = open_log(settings)
        wrong = ("actors", "add", "person:zoe", "--role", "approver")
        assert_refused(log, wrong, "nobody could let others in")
        assert call("actors", "add", "person:zoe", "--role", "operator").exit_code == 0
        result = call("actors", "list")
        assert result.exit_code == 1
        assert "nobody is signed in" in result.stderr
        close(log)

    def test_what_is_right_is_recorded(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        size = log.size()
        assert call("actors", "add", "person:zoe", "--role", "approver").exit_code == 0
        token = call("actors", "token", "person:zoe", "--days", 1).stdout.strip()
        assert call("actors", "roles", "person:zoe", "--role", "reviewer").exit_code == 0
        changes = [one.body["change"] for one in log.entries(first=size)]
        assert changes == ["add", "issue_token", "roles"]
        assert {one.actor for one in log.entries(first=size)} == {"person:olga"}
        assert all(token.partition("=")[2].encode() not in one.leaf for one in log.entries())
        monkeypatch.setenv("AIOS_TOKEN", token.partition("=")[2])
        assert "At work here: person:zoe" in call("actors", "list").stdout
        assert token.partition("_")[2] not in call("actors", "tokens").stdout


@pytest.mark.unit
class TestTokens:
    @pytest.mark.parametrize("token", ["x", "aios_0123456789abcdef_" + "x" * 43, "\u00e4"])
    @pytest.mark.parametrize(
        "command", [("record", "rotate-key"), ("record", "erase", SUBJECT), ("actors", "list")]
    )
    def test_a_wrong_one_opens_nothing(
        self, log: Log, monkeypatch: pytest.MonkeyPatch, token: str, command: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("AIOS_TOKEN", token)
        assert_refused(log, command, "the token is not valid")

    def test_an_expired_one_opens_nothing(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        soon = clock.wall() + timedelta(milliseconds=50)
        monkeypatch.setenv("AIOS_TOKEN", Directory(log.database).issue_token(OLGA, soon).text)
        time.sleep(0.06)
        assert_refused(log, ("record", "rotate-key"), "the token expired")

    def test_without_one_nobody_is_signed_in(
        self, log: Log, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("AIOS_TOKEN")
        assert_refused(log, ("record", "rotate-key"), "nobody is signed in", "AIOS_TOKEN")


def lose_the_key(log: Log) -> None:
    (log.keyring.folder / "record.key").unlink()


def show_the_key(log: Log) -> None:
    (log.keyring.folder / "record.key").chmod(0o644)


@pytest.mark.unit
class TestRecord:
    @pytest.mark.parametrize("harm", [lose_the_key, show_the_key])
    def test_rotate_key_without_a_safe_one(self, log: Log, harm: Callable[[Log], None]) -> None:
        harm(log)
        notes, public = log.checkpoints(), log.public_keys()
        assert_refused(log, ("record", "rotate-key"), "record.key")
        assert (log.checkpoints(), log.public_keys()) == (notes, public)

    def test_rotate_key_by_who_may_not(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        sign_in(log, monkeypatch, ANN)
        assert_refused(log, ("record", "rotate-key"), "person:ann may not rotate_key")

    def test_rotate_key(self, log: Log) -> None:
        result = call("record", "rotate-key", "--reason", "routine")
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines()[0] == str(log.public_keys()[-1])
        assert call("record", "verify").exit_code == 0
        assert call("record", "show", "--key").stdout.split() == [str(k) for k in log.public_keys()]

    def test_erase_by_who_may_not(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        sign_in(log, monkeypatch, ALICE)
        assert_refused(log, ("record", "erase", SUBJECT), "person:alice may not erase")

    def test_erase_of_a_person_of_whom_nothing_is_kept(self, log: Log) -> None:
        """A typing error must not pass for an erasure."""
        result = call("record", "erase", SUBJECT.lower())
        assert isinstance(result.exception, SystemExit)
        assert result.exit_code == 1
        assert "What to do" in result.stderr

    def test_erase(self, log: Log) -> None:
        result = call("record", "erase", SUBJECT)
        assert result.exit_code == 0, result.output
        assert "1 payloads are unreadable" in result.stdout
        assert call("record", "verify").exit_code == 0
        (entry,) = log.entries(kind="erasure")
        assert entry.actor == "person:olga"

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, ["cannot be read"]),
            ("nonsense", ["cannot be read"]),
            ("{}", ["proof"]),
            ("[]", ["proof"]),
            ('{"decision": {}, "leaf": "{}", "index": 0, "path": ["x"], "checkpoint": "y"}', []),
        ],
    )
    def test_verify_of_what_is_no_proof(
        self, log: Log, tmp_path: Path, content: str | None, words: list[str]
    ) -> None:
        path = tmp_path / "proof.json"
        if content is not None:
            path.write_text(content)
        assert_refused(log, ("record", "verify", "--proof", path), *words)

    def test_verify_with_what_is_no_key(self, log: Log, tmp_path: Path) -> None:
        (tmp_path / "proof.json").write_text("{}")
        proof = tmp_path / "proof.json"
        assert_refused(
            log, ("record", "verify", "--proof", proof, "--public-key", "x"), "no public key"
        )

    def test_verify_of_a_log_that_was_edited(self, log: Log) -> None:
        with log.transaction() as transaction:
            transaction.connection.exec_driver_sql(
                "UPDATE record_leaves SET actor = 'person:eve' WHERE position = 0"
            )
        result = call("record", "verify")
        assert result.exit_code == 1
        assert "leaf 0: the column actor differs" in result.stderr

    def test_prove_of_what_was_never_decided(self, log: Log, settings: Settings) -> None:
        assert_refused(log, ("record", "prove", "nothing/2026-01-01/7"), "nothing")

    def test_show_of_an_empty_home_without_keys(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = call("record", "show", "--key")
        assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
        assert "record.pub" in result.stderr

    def test_show_prints_what_was_recorded(self, log: Log, tmp_path: Path) -> None:
        assert call("record", "show", "--kind", "override").exit_code == 0
        call("record", "show", "--last", 1, "--json", tmp_path / "shown.json")
        (shown,) = json.loads((tmp_path / "shown.json").read_text())
        assert shown == log.get(log.size() - 1).content

    @pytest.mark.parametrize(
        "command",
        [("record", "show"), ("approvals",), ("actors", "list"), ("record", "verify")],
    )
    def test_a_database_that_is_none(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("AIOS_RECORD_URL", "nonsense")
        result = call(*command)
        assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
        assert "no address of a database" in result.stderr
        assert "What to do" in result.stderr


@pytest.mark.loop
class TestChampions:
    @pytest.fixture
    def log(self, loop: Loop, monkeypatch: pytest.MonkeyPatch) -> Log:
        loop.redeclare(risk="high")
        people(loop.registry.log)
        sign_in(loop.registry.log, monkeypatch, ANN)
        return loop.registry.log

    def test_wrong_input(self, loop: Loop, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = ask(log, NAME, 4, 3, "person:alice", reason="better").number
        refused = ask(log, NAME, 1, 3, "person:alice", reason="better").number
        give_verdict(log, refused, "person:bob", approve=False, reason="too old")
        champions = loop.champions()
        cases: list[tuple[Actor, tuple[object, ...], list[str]]] = [
            (ANN, ("approve", NAME, 999), ["there is no request 999", "aios approvals"]),
            (ANN, ("approve", NAME, refused), ["is refused by person:bob"]),
            (ANN, ("approve", "lons", asked), ["there is no automation 'lons'"]),
            (OLGA, ("approve", NAME, asked), ["person:olga may not approve"]),
            (ALICE, ("approve", NAME, asked), ["may not approve"]),
            (ALICE, ("promote", NAME, 4, "--over", 2), ["version 3", "expected version 2"]),
            (ALICE, ("promote", NAME, 3), ["is the champion already"]),
            (OLGA, ("promote", NAME, 4), ["person:olga may not", "ml_engineer"]),
            (ANN, ("rollback", NAME), ["person:ann may not rollback", "operator"]),
            (OLGA, ("rollback", NAME, "--to", 4), ["never was champion"]),
            (OLGA, ("history", f"{NAME}.reading"), ["has no model of its own"]),
        ]
        for actor, arguments, words in cases:
            sign_in(log, monkeypatch, actor)
            assert_refused(log, arguments, *words)
            assert loop.champions() == champions
        denials = [entry.actor for entry in log.entries(kind="denied")]
        assert "person:olga" in denials
        assert "person:ann" in denials

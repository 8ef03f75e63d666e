"""The directory: actors, their tokens, and every way in which a token is no good."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from aios.database import Database
from aios.errors import AiosError
from aios.identity.actors import GATE, REHEARSAL, ROLLOUT, Actor, NotSignedIn
from aios.identity.directory import Directory
from aios.identity.tables import TOKENS, IssuedToken
from tests.aios.identity.cast import BOB, OLGA, START, WEEK
from tests.aios.identity.conftest import Clock

pytestmark = pytest.mark.unit


def other(text: str) -> str:
    """The same token but for its last character."""
    return text[:-1] + ("A" if text[-1] != "A" else "B")


# Actors


def test_actor_reads_as_it_is_written() -> None:
    assert str(OLGA) == "person:olga"
    assert Actor.parse("person:olga") == OLGA
    assert Actor.parse("service:olga") != OLGA


@pytest.mark.parametrize("name", ["", "Alice", "\u0430lice", "a b", "a:b", "-a", "a" * 65, "a\n"])
def test_a_name_that_could_pass_for_another_is_refused(name: str) -> None:
    with pytest.raises(AiosError, match="no name of an actor"):
        Actor(name, "person")


@pytest.mark.parametrize("text", ["alice", "robot:alice", "", ":alice", "person:"])
def test_text_that_names_no_actor_is_refused(text: str) -> None:
    with pytest.raises(AiosError, match="is no"):
        Actor.parse(text)


def test_unknown_role_is_refused() -> None:
    with pytest.raises(AiosError, match="no such role: king"):
        Actor("olga", "person", frozenset({"king"}))  # type: ignore[arg-type]


def test_directory_lists_actors_with_their_roles(directory: Directory) -> None:
    assert [(str(r.actor), r.actor.roles, r.created_at) for r in directory.actors()] == [
        ("person:bob", BOB.roles, START),
        ("person:olga", OLGA.roles, START),
    ]


@pytest.mark.parametrize(
    ("actor", "why"),
    [
        (Actor("olga", "person"), "registered already"),
        (GATE, "the platform's own"),
        (ROLLOUT, "the platform's own"),
        (REHEARSAL, "the platform's own"),
        (Actor("local", "person"), "the platform's own"),
        (Actor("nightly", "schedule"), "cannot be registered"),
        (Actor("aliases", "sensor"), "cannot be registered"),
    ],
)
def test_actor_that_cannot_be_added_is_refused(
    directory: Directory, actor: Actor, why: str
) -> None:
    with pytest.raises(AiosError, match=why):
        directory.add(actor)
    assert len(directory.actors()) == 2


def test_changed_roles_count_at_once(directory: Directory) -> None:
    token = directory.issue_token(BOB, WEEK)
    directory.change_roles(BOB, {"reviewer"})
    assert directory.actor_of(token.text).roles == {"reviewer"}
    assert directory.find(BOB).actor.roles == {"reviewer"}


def test_what_is_not_registered_cannot_be_changed(directory: Directory) -> None:
    carol = Actor("carol", "person")
    for change in (
        lambda: directory.change_roles(carol, {"auditor"}),
        lambda: directory.disable(carol),
        lambda: directory.enable(carol),
        lambda: directory.find(carol),
        lambda: directory.issue_token(carol, WEEK),
    ):
        with pytest.raises(AiosError, match="person:carol is not registered"):
            change()


def test_somebody_can_always_let_others_in(database: Database, clock: Clock) -> None:
    directory = Directory(database, clock)
    with pytest.raises(AiosError, match="nobody could let others in"):
        directory.add(BOB)
    assert not directory.has_people()
    directory.add(OLGA)
    with pytest.raises(AiosError, match="nobody could let others in"):
        directory.change_roles(OLGA, {"auditor"})
    with pytest.raises(AiosError, match="nobody could let others in"):
        directory.disable(OLGA)
    assert directory.find(OLGA).actor.roles == OLGA.roles
    assert directory.find(OLGA).disabled_at is None


# Tokens


def test_token_tells_its_actor_and_their_roles(directory: Directory) -> None:
    actor = directory.actor_of(directory.issue_token(OLGA, WEEK).text)
    assert (actor, actor.roles) == (OLGA, OLGA.roles)


def test_service_has_tokens_too(directory: Directory) -> None:
    build = Actor("build", "service", frozenset({"data_engineer"}))
    directory.add(build)
    assert directory.actor_of(directory.issue_token(build, WEEK).text) == build


def test_token_is_stored_nowhere(directory: Directory, database: Database) -> None:
    token = directory.issue_token(OLGA, WEEK)
    directory.actor_of(token.text)
    with database.reading() as connection:
        (digest,) = connection.execute(sa.select(TOKENS.c.digest)).scalars()
        tables = sa.inspect(connection).get_table_names()
        rows = [connection.execute(sa.text(f"SELECT * FROM {table}")).all() for table in tables]
    assert len(digest) == 32
    assert token.id in repr(rows)
    assert token.text.split("_", 2)[2] not in repr(rows)
    assert token.text not in repr(token)


@pytest.mark.parametrize("text", ["", "secret", "aios_", "aios_0123456789abcdef_" + "A" * 43, "ä"])
def test_wrong_token_is_refused(directory: Directory, text: str) -> None:
    with pytest.raises(NotSignedIn, match=r"the token is not valid\nWhat to do"):
        directory.actor_of(text)


def test_every_character_of_a_token_counts(directory: Directory) -> None:
    token = directory.issue_token(OLGA, WEEK).text
    for at in range(len(token) - 1):
        wrong = token[:at] + ("0" if token[at] != "0" else "1") + token[at + 1 :]
        with pytest.raises(NotSignedIn, match="not valid"):
            directory.actor_of(wrong)


def test_token_does_not_open_another_ones_door(directory: Directory) -> None:
    olga, bob = directory.issue_token(OLGA, WEEK), directory.issue_token(BOB, WEEK)
    mixed = f"aios_{olga.id}_{bob.text.split('_', 2)[2]}"
    with pytest.raises(NotSignedIn, match="not valid"):
        directory.actor_of(mixed)


def _expire(directory: Directory, _token: IssuedToken, clock: Clock) -> None:
    clock.time = WEEK


def _revoke(directory: Directory, token: IssuedToken, _clock: Clock) -> None:
    directory.revoke(token.id)


def _disable(directory: Directory, _token: IssuedToken, _clock: Clock) -> None:
    directory.disable(BOB)


@pytest.mark.parametrize(
    ("end", "why", "fix"),
    [
        (_expire, "the token expired at 2026-01-08 12:00 UTC", "Ask an operator for a new one"),
        (_revoke, "the token was revoked", "Ask an operator for a new one"),
        (_disable, "your access is switched off", "Ask an operator"),
    ],
)
def test_ended_token_says_what_to_do_and_no_name(
    directory: Directory, clock: Clock, end, why: str, fix: str
) -> None:
    token = directory.issue_token(BOB, WEEK)
    directory.actor_of(token.text)
    end(directory, token, clock)
    with pytest.raises(NotSignedIn) as refused:
        directory.actor_of(token.text)
    assert (refused.value.what, refused.value.fix[: len(fix)]) == (why, fix)
    assert "bob" not in str(refused.value)
    with pytest.raises(NotSignedIn, match="not valid") as stranger:
        directory.actor_of(other(token.text))
    assert "bob" not in str(stranger.value)


def test_token_is_valid_until_it_expires(directory: Directory, clock: Clock) -> None:
    token = directory.issue_token(BOB, WEEK)
    clock.time = WEEK - timedelta(microseconds=1)
    assert directory.actor_of(token.text) == BOB


@pytest.mark.parametrize("expires", [START, START - timedelta(days=1)])
def test_token_of_the_past_is_not_issued(directory: Directory, expires: datetime) -> None:
    with pytest.raises(AiosError, match="already"):
        directory.issue_token(BOB, expires)
    assert directory.tokens() == []


def test_disabled_actor_gets_no_token_and_old_ones_stay_dead(directory: Directory) -> None:
    old = directory.issue_token(BOB, WEEK)
    directory.disable(BOB)
    with pytest.raises(AiosError, match="person:bob is disabled"):
        directory.issue_token(BOB, WEEK)
    directory.enable(BOB)
    with pytest.raises(NotSignedIn, match="revoked"):
        directory.actor_of(old.text)
    assert directory.actor_of(directory.issue_token(BOB, WEEK).text) == BOB


def test_revoking_an_unknown_token_says_so(directory: Directory) -> None:
    with pytest.raises(AiosError, match="no token 0123"):
        directory.revoke("0123")


def test_clock_set_back_revives_nothing(directory: Directory, clock: Clock) -> None:
    token = directory.issue_token(BOB, WEEK)
    clock.time = WEEK + timedelta(seconds=1)
    with pytest.raises(NotSignedIn, match="expired"):
        directory.actor_of(token.text)
    clock.time = START
    with pytest.raises(NotSignedIn, match="does not revive it") as refused:
        directory.actor_of(token.text)
    assert "set the clock" in refused.value.fix


def test_time_is_seen_through_any_token(directory: Directory, clock: Clock) -> None:
    token = directory.issue_token(BOB, WEEK)
    long = directory.issue_token(OLGA, WEEK + timedelta(days=99))
    clock.time = WEEK + timedelta(minutes=2)
    directory.actor_of(long.text)
    clock.time = START
    with pytest.raises(NotSignedIn, match="does not revive it"):
        directory.actor_of(token.text)
    assert directory.actor_of(long.text) == OLGA


def test_token_cannot_be_issued_for_a_time_that_is_over(directory: Directory, clock: Clock) -> None:
    clock.time = WEEK
    directory.issue_token(BOB, WEEK + timedelta(days=1))
    clock.time = START
    with pytest.raises(AiosError, match="it is 2026-01-08 12:00 already"):
        directory.issue_token(BOB, WEEK - timedelta(days=1))


def test_last_use_is_kept_to_the_minute(directory: Directory, clock: Clock) -> None:
    token = directory.issue_token(BOB, WEEK)
    assert directory.tokens()[0].last_used_at is None
    for seconds, used in ((0, 0), (30, 0), (61, 61), (100, 61), (150, 150)):
        clock.time = START + timedelta(seconds=seconds)
        directory.actor_of(token.text)
        assert directory.tokens()[0].last_used_at == START + timedelta(seconds=used)


def test_database_that_is_gone_lets_nobody_in(tmp_path: Path, directory: Directory) -> None:
    (tmp_path / "file").write_text("")
    broken = Directory(Database(f"sqlite:///{tmp_path}/file/record.db"))
    with pytest.raises(AiosError, match="the database cannot be used"):
        broken.actor_of(directory.issue_token(BOB, WEEK).text)


def _issue(url: str, count: int) -> list[str]:
    directory = Directory(Database(url))
    expires = datetime(2100, 1, 1)
    return [directory.issue_token(BOB, expires).text for _ in range(count)]


@pytest.mark.loop
def test_processes_issue_at_the_same_time(directory: Directory, url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with closing(context.Pool(2)) as pool:
        issued = pool.starmap(_issue, [(url, 20)] * 4, chunksize=1)
    pool.join()
    texts = [text for part in issued for text in part]
    assert len(set(texts)) == len(directory.tokens()) == 80
    assert all(directory.actor_of(text) == BOB for text in texts)

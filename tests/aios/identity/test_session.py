"""Who is at work in a process: the owner of its token, or the local user while nobody else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from aios.database import Database
from aios.identity.actors import LOCAL, ROLES, Actor, NotSignedIn
from aios.identity.directory import Directory
from aios.identity.session import current_actor
from aios.settings import Settings
from tests.aios.identity.cast import OLGA

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> Settings:
    monkeypatch.delenv("AIOS_TOKEN", raising=False)
    return replace(Settings.embedded(tmp_path, tmp_path), record=url)


def test_local_user_has_every_role(settings: Settings, database: Database) -> None:
    actor = current_actor(settings)
    assert (actor, actor.roles) == (LOCAL, set(ROLES))


def test_first_person_ends_the_local_user(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Directory(database)
    directory.add(Actor("build", "service"))
    assert current_actor(settings) == LOCAL
    directory.add(OLGA)
    with pytest.raises(NotSignedIn, match="nobody is signed in"):
        current_actor(settings)
    text = directory.issue_token(OLGA, datetime(2100, 1, 1)).text
    monkeypatch.setenv("AIOS_TOKEN", text)
    assert current_actor(settings) == OLGA
    monkeypatch.setenv("AIOS_TOKEN", "")
    with pytest.raises(NotSignedIn, match="nobody is signed in"):
        current_actor(settings)


def test_shutting_people_out_does_not_bring_the_local_user_back(
    settings: Settings, directory: Directory
) -> None:
    with directory._database.writing() as connection:
        connection.execute(sa.text("UPDATE identity_actors SET disabled_at = 1"))
    with pytest.raises(NotSignedIn, match="nobody is signed in"):
        current_actor(settings)


def test_wrong_token_is_never_the_local_user(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOS_TOKEN", "aios_wrong")
    with pytest.raises(NotSignedIn, match="the token is not valid"):
        current_actor(settings)

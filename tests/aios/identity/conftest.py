"""A migrated, empty database with two people in its directory, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import sqlalchemy as sa

from aios.database import Database
from aios.identity.directory import Directory
from tests.aios.identity.cast import BOB, OLGA, START


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated, empty database; migrating takes most of a second."""
    url = f"sqlite:///{tmp_path_factory.mktemp('identity')}/record.db"
    _ = Database(url).engine
    return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    with database.writing() as connection:
        connection.execute(sa.text("DELETE FROM identity_actors"))
        connection.execute(sa.text("DELETE FROM identity_tokens"))
        connection.execute(sa.text("UPDATE identity_clock SET seen_at = 0"))
    yield database
    database.engine.dispose()


@pytest.fixture
def directory(database: Database, clock: Clock) -> Directory:
    directory = Directory(database, clock)
    directory.add(OLGA)
    directory.add(BOB)
    return directory

"""A console over the world of the reviews' tests, with one person of each kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest
from fastapi import FastAPI

from aios import clock
from console.app import create_app
from console.options import Options
from tests.aios.review.world import World, make_world
from tests.console.web import Web, register

PEOPLE = {
    "olga": ["operator"],
    "ann": ["reviewer"],
    "bob": ["reviewer"],
    "eve": ["approver"],
    "udo": ["auditor"],
    "mia": ["ml_engineer"],
}


class Console:
    """A console, its world, and the people in it."""

    def __init__(self, world: World, app: FastAPI) -> None:
        self.world, self.app, self.house = world, app, app.state.house
        self.tokens: dict[str, str] = {}
        self._open: list[Web] = []

    def browser(self) -> Web:
        self._open.append(Web(self.app))
        return self._open[-1]

    def as_(self, name: str) -> Web:
        """A browser in which somebody is signed in."""
        web = self.browser()
        answer = web.sign_in(self.tokens[name])
        assert answer.status_code == 303, answer.text
        return web

    def close(self) -> None:
        for web in self._open:
            web.close()


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """The world, on SQLite unless a test asks for `postgres`."""
    database = None
    if getattr(request, "param", "sqlite") == "postgres":
        database = request.getfixturevalue("postgres").create(f"console_{token_hex(8)}")
    made = make_world(tmp_path, database=database)
    made.clock.time = clock.wall()
    yield made
    made.log.database.engine.dispose()


@pytest.fixture
def build(world: World) -> Iterator[Callable[..., Console]]:
    """Build a console over the world, with other options than the default ones."""
    made: list[Console] = []

    def build(**options: object) -> Console:
        chosen = replace(Options(now=world.clock), **options)  # type: ignore[arg-type]
        made.append(Console(world, create_app(world.settings, chosen)))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def console(build: Callable[..., Console]) -> Console:
    """A console with everybody registered."""
    made = build()
    for name, roles in PEOPLE.items():
        made.tokens[name] = register(made.house, name, roles)  # type: ignore[arg-type]
    return made


HOUR = timedelta(hours=1)

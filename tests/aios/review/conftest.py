"""A world for each test: an automation with reviews and actions, and its desk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aios.review.world import World, make_world


@pytest.fixture(scope="session")
def empty_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a world; making its database takes most of a second."""
    directory = tmp_path_factory.mktemp("world")
    world = make_world(directory)
    world.log.settle()
    world.log.database.engine.dispose()
    return directory


@pytest.fixture
def world(tmp_path: Path, empty_world: Path) -> Iterator[World]:
    shutil.copytree(empty_world, tmp_path, dirs_exist_ok=True)
    world = make_world(tmp_path)
    yield world
    world.log.database.engine.dispose()

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.model_registry import recipes
from tests.model_registry.opening import registry_in


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """A new MLflow database; making one takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    # What a first start that was killed leaves behind; the next one must not mind.
    path.with_name("mlflow.db.new").write_text("half a database")
    registry = registry_in(path.parent)
    registry.automations()
    return path


@pytest.fixture(scope="session")
def copy_database():
    """Copies a database file with what is still in its write-ahead log."""

    def copy(source, target):
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)

    return copy


@pytest.fixture
def registry(tmp_path, empty_database, copy_database):
    copy_database(empty_database, tmp_path / "mlflow.db")
    return registry_in(tmp_path, patience=2)


@pytest.fixture(scope="session")
def boosting():
    return recipes.boosting()


@pytest.fixture(scope="session")
def network():
    return recipes.network()

"""New logs for tests; migrating a database takes most of a second, copying one does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from aios.database import Database
from aios.record.log import Log
from tests.model_registry.opening import log_in


def fresh_log(folder: Path) -> Log:
    """An empty log below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.db").write_bytes(_migrated())
    return log_in(folder)


def close(log: Log) -> None:
    """Let go of a log's files, as a process that ends does."""
    if "engine" in vars(log.database):
        log.database.engine.dispose()


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder, "record.db")
        Database(f"sqlite:///{path}").engine.dispose()
        return path.read_bytes()

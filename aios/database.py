"""The platform's own database: one writer at a time, and what is written stays written.

SQLite when embedded, Postgres by address. Migrations run when it is opened.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from sqlalchemy import MetaData

from aios.errors import AiosError
from aios.locks import held

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

metadata = MetaData()

_MIGRATIONS = Path(__file__).parent / "migrations"
_WRITERS = 0x41494F53
"""Postgres' advisory lock of those who write."""

_FLUSH = "SELECT pg_logical_emit_message(true, 'aios', '')"
"""Postgres brings a commit to disk, with all before it, only where it wrote something itself."""


class Database:
    """One database of the platform; opens nothing until it is used.

    Args:
        url: SQLAlchemy address; `sqlite:///<path>` when embedded.
        patience: Seconds to wait for another writer before giving up.
    """

    def __init__(self, url: str, *, patience: float = 20.0) -> None:
        self.url, self.patience = url, patience
        self._path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
        _open.add(self)

    @cached_property
    def engine(self) -> Engine:
        """The engine, over tables that are up to date.

        Raises:
            AiosError: The database cannot be reached.
        """
        with self._clear_errors():
            engine = self._connect()
            revision, known = _revision(engine), _revisions()
            if revision is not None and revision not in known:
                engine.dispose()
                raise AiosError(
                    f"a later version of this program made the database: it is at {revision}, "
                    f"this one knows {known[-1]}",
                    where=_shown(self.url),
                    fix="Install that version again, or restore a backup from before it.",
                )
            if revision != known[-1]:
                with self._lock("migrating"):
                    _migrate(engine)
            return engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for one consistent look."""
        engine = self.engine
        with self._clear_errors(), engine.connect() as connection:
            if not self._path:
                yield connection
                return
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.exec_driver_sql("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection that alone writes; all or nothing, and on disk afterwards.

        Raises:
            AiosError: Another writer keeps the database longer than `patience`, or the disk is
                full. Nothing was written then.
        """
        engine = self.engine
        with self._clear_errors():
            if self._path:
                # Made before the commit, which must not fail once it is done.
                _ = self._counter
                with self._lock("writing"), engine.connect() as connection:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    try:
                        yield connection
                        connection.exec_driver_sql("COMMIT")
                        commit = self._count_commit()
                    except BaseException:
                        if connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                            connection.exec_driver_sql("ROLLBACK")
                        raise
                self._to_disk(self._path, commit)
            else:
                with engine.begin() as connection:
                    # Commits of one writer after another would each wait for the disk; so they
                    # do not wait, and the commit after them, which all share, does.
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
                    yield connection
                with engine.begin() as connection:
                    connection.exec_driver_sql(_FLUSH)

    def forget_deleted(self) -> None:
        """Overwrite what deleted rows left in the files; Postgres does so when it vacuums.

        Raises:
            AiosError: A reader holds on to the old content longer than `patience`.
        """
        if not self._path:
            return
        with self._clear_errors(), self._lock("writing"), self.engine.connect() as connection:
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        if busy:
            raise AiosError(
                "what was deleted is still in the write-ahead log: another process reads it",
                where=str(self._path),
                fix="End that process, then run this again.",
            )

    def sync(self) -> None:
        """Bring to disk what was committed by anyone, before something elsewhere relies on it."""
        engine = self.engine
        with self._clear_errors():
            if self._path:
                self._to_disk(self._path, self._counters()[0] + 1)
            else:
                with engine.begin() as connection:
                    connection.exec_driver_sql(_FLUSH)

    def _connect(self) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.exc import ArgumentError

        if not self._path:
            try:
                return create_engine(self.url)
            except (ArgumentError, ImportError) as error:
                raise AiosError(
                    f"this is no address of a database: {error}",
                    where="AIOS_RECORD_URL",
                    fix="Give one such as sqlite:////var/aios/record.db or postgresql+psycopg://"
                    "USER@HOST/NAME, and install its driver.",
                ) from error
        self._path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self.url,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": self.patience, "check_same_thread": False},
        )

        @event.listens_for(engine, "connect")
        def tune(connection, _record) -> None:  # type: ignore[no-untyped-def]
            if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                # Of two who change it at once, SQLite turns one away without waiting.
                with self._lock("opening"):
                    connection.execute("PRAGMA journal_mode=WAL")
            # A commit is on disk only after `_to_disk`, once for all that waited meanwhile.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")

        return engine

    def _to_disk(self, database: Path, commit: int) -> None:
        """Bring a commit to disk, with all that were made while it waited.

        In WAL mode with synchronous=NORMAL a commit is in the log file, not yet on disk; what a
        checkpoint moved to the database file, SQLite itself has synced.
        """
        with self._lock("syncing"):
            committed, synced = self._counters()
            if synced >= commit:
                return
            with suppress(FileNotFoundError):
                file = os.open(f"{database}-wal", os.O_RDONLY)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
            os.pwrite(self._counter, struct.pack("<Q", committed), 8)

    def _count_commit(self) -> int:
        """Count a commit, under the writer's lock; return its number."""
        commit = self._counters()[0] + 1
        os.pwrite(self._counter, struct.pack("<Q", commit), 0)
        return commit

    def _counters(self) -> tuple[int, int]:
        """Return how many commits there were, and how many of them are on disk."""
        content = os.pread(self._counter, 16, 0).ljust(16, b"\0")
        committed, synced = struct.unpack("<QQ", content)
        return committed, synced

    @cached_property
    def _counter(self) -> int:
        # One file for both numbers: after a power cut they are of the same moment.
        file = os.open(f"{self._path}.commits", os.O_RDWR | os.O_CREAT, 0o600)
        os.posix_fallocate(file, 0, 16)
        return file

    @contextmanager
    def _lock(self, purpose: str) -> Iterator[None]:
        if not self._path:
            yield
            return
        path = Path(f"{self._path}.{purpose}")
        with held(path, self.patience, lambda: self._late(purpose)):
            yield

    def _late(self, purpose: str) -> AiosError:
        return AiosError(
            f"another process has been {purpose} for {self.patience:g} s",
            where=str(self._path),
            fix="Wait for it to end, then run this again; nothing was changed."
            if purpose != "syncing"
            else "It was written, but may not outlive a power cut yet: look whether it is there "
            "before you repeat it.",
        )

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        from sqlalchemy.exc import DBAPIError

        try:
            yield
        except (DBAPIError, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise AiosError(
                f"the database cannot be used: {cause}",
                where=_shown(self.url),
                fix="Free some disk, end the process that holds it or restore access, then run "
                "this again; what was written before is untouched.",
            ) from error


def _close_all() -> None:
    """Close idle connections: SQLite's locks do not pass a fork, a child's commits were lost."""
    for database in list(_open):
        if "engine" in vars(database):
            database.engine.dispose()


_open: WeakSet[Database] = WeakSet()
os.register_at_fork(before=_close_all)


@lru_cache(maxsize=8)
def open_database(url: str) -> Database:
    """Return this process's database at an address."""
    return Database(url)


def _shown(url: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


def _revisions() -> list[str]:
    return sorted(path.name[:4] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _revision(engine: Engine) -> str | None:
    from sqlalchemy import inspect, text

    if not inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _migrate(engine: Engine) -> None:
    """Run the migrations that are missing, in one transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["engine"] = engine
    command.upgrade(config, "head")

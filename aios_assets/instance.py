"""Dagster's instance under `AIOS_HOME`, and runs of jobs within this process."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError
from aios.settings import PROJECT, Settings, configure_libraries
from jobs.failures import failure_message

if TYPE_CHECKING:
    import dagster as dg

# Everything is in the event log; the terminal belongs to the command.
_QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def prepare_home(settings: Settings) -> Path:
    """Make `DAGSTER_HOME` under `AIOS_HOME` with the project's `dagster.yaml`; return it."""
    configure_libraries()
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    wanted = (PROJECT / "dagster.yaml").read_bytes()
    present = home / "dagster.yaml"
    if not present.exists() or present.read_bytes() != wanted:
        present.write_bytes(wanted)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["AIOS_HOME"] = str(settings.home)
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the instance of this home."""
    import dagster as dg

    home = prepare_home(settings)
    _spare_the_disk()
    # Its databases are made when they are first used, and two processes must not both make them.
    with open(home / ".opening", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
        instance.get_runs(limit=1)
        instance.all_asset_keys()
    return instance


@cache
def _spare_the_disk() -> None:
    """Let SQLite write without an fsync for each of a run's hundreds of events.

    In WAL mode `synchronous=NORMAL` survives a killed process; after a power cut the last events
    may be missing, never the lake. The connection that is held keeps the log from being folded
    into the database whenever a connection closes.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    held: dict[str, sqlite3.Connection] = {}

    @event.listens_for(Engine, "connect")
    def tune(connection: Any, _record: Any) -> None:
        if not isinstance(connection, sqlite3.Connection):
            return
        connection.execute("PRAGMA synchronous=NORMAL")
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        # A database that is being made is not in WAL mode yet: it is held from a later one on.
        if path not in held and connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]:
            held[path] = sqlite3.connect(path, check_same_thread=False)
            held[path].execute("SELECT count(*) FROM sqlite_master").fetchall()


def run_job(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    partition: str,
    *,
    tags: dict[str, str],
    ops: dict[str, Any] | None = None,
) -> None:
    """Run a job for one partition in this process.

    Raises:
        AiosError: A step failed; says which, and what the step said.
    """
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition,
        tags=tags,
        run_config={**_QUIET, "ops": ops or {}},
        raise_on_error=False,
    )
    if not result.success:
        raise AiosError(
            " | ".join(_failures(result)) or "the run failed",
            where=f"{job.name} {partition}",
        )


def _failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [failure_message(event) for event in result.all_events if event.is_step_failure]

"""A person of whom something is kept, for the tests of payloads."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.payloads import Payloads

SUBJECT = "Wilhelmine Quastenberg"
CONTENT = {"name": SUBJECT, "note": "Kniegelenksarthrose", "amounts": [1, 2.5, None]}


def verdict(**given: Any) -> Act:
    return Act("override", "claims", "person:rev", {"decision": "claims/2026-01-01/7"}, **given)


def keep(payloads: Payloads, subject: str = SUBJECT, content: Any = CONTENT) -> str:
    return payloads.record(verdict(), subject, content, "case")


def edit(log: Log, statement: str, *values: Any) -> int:
    """Change the database as somebody who has its file."""
    path = log.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).rowcount


def files_of(log: Log) -> dict[str, bytes]:
    """The database's files as they are on disk now."""
    path = Path(log.database.url.removeprefix("sqlite:///"))
    return {one.name: one.read_bytes() for one in path.parent.glob("record.db*")}


def stored_key(log: Log) -> bytes:
    """The one person's key as the database holds it."""
    path = log.database.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        ((key,),) = connection.execute("SELECT key FROM record_subjects").fetchall()
    return bytes(key)

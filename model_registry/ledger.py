"""The ledger of champions: each change a leaf of the record, each taken against what was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from aios.errors import Stale
from aios.record.leaves import Act, Entry
from aios.record.log import Log
from aios.record.transaction import Transaction
from model_registry.positions import Positions

Kind = Literal["promotion", "rollback"]

LEDGER = Positions(
    "champion_changes", ("promotion", "rollback"), "ledger_begun_anew", "changes",
    "the ledger of {} stands",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change of the champion.

    Attributes:
        automation: Whose champion.
        version: Number of the version that decides from then on.
        at: From when it decides, UTC-naive; the virtual clock's time in a rehearsal.
        recorded_at: When it was recorded (wall clock), UTC-naive.
        by: Who: `person:alice`, `service:gate`.
        reason: In words.
        evidence: What it rests on: a gate's verdict, a run, an incident.
        evidence_digest: SHA-256 of the evidence where it is a leaf or a file; else empty.
        approved_by: Who approved it, where an approval was needed.
        previous: Number of the version that decided before; None for the first.
        kind: Rolling back returns to an earlier champion, so that the next rollback goes further.
        leaf: The leaf of the record that says so.
    """

    automation: str
    version: int
    at: datetime
    recorded_at: datetime
    by: str
    reason: str
    evidence: str
    previous: int | None
    kind: Kind
    evidence_digest: str = ""
    approved_by: tuple[str, ...] = ()
    leaf: int = -1


def changes(log: Log, automation: str) -> list[Change]:
    """Return every change of an automation's champion, oldest first."""
    with log.database.reading() as connection:
        return [_change(entry) for entry in LEDGER.entries(connection, automation)]


def present(connection: sa.Connection, automation: str) -> int | None:
    """Return the version that a transaction sees as champion."""
    known = LEDGER.entries(connection, automation)
    return _change(known[-1]).version if known else None


def line(changes: Sequence[Change]) -> list[int]:
    """Return the champions that led to the present one: what was rolled back is none of them."""
    stack: list[int] = []
    for change in changes:
        if change.kind == "rollback" and change.version in stack:
            while stack[-1] != change.version:
                stack.pop()
        elif not stack or stack[-1] != change.version:
            stack.append(change.version)
    return stack


def add(
    log: Log,
    automation: str,
    seen: int,
    by: str,
    at: datetime,
    body: dict[str, Any],
    then: Callable[[Transaction, Change], None] = lambda transaction, change: None,
) -> Change:
    """Record a change, if the ledger still is as the decider saw it.

    Args:
        log: Where.
        automation: Whose champion.
        seen: How many changes there were when it was decided.
        by: Who.
        at: From when the version decides.
        body: The fields of a `Change` that the decider knows.
        then: Makes in the same transaction what follows from the change.

    Raises:
        Stale: Somebody else was faster; says who. Nothing is recorded then.
    """
    act = Act(body["kind"], automation, by, body, at=at)
    with log.transaction() as transaction:
        if LEDGER.count(transaction.connection, automation) == seen:
            change = _change(LEDGER.append(transaction, seen + 1, act))
            then(transaction, change)
            return change
    raise stale(automation, changes(log, automation), "the one before")


def stale(automation: str, present: list[Change], expected: str) -> Stale:
    """Return the error of one who decided on a champion that is no longer."""
    last = present[-1] if present else None
    now = (
        f"version {last.version} by {last.by}, from {last.at.isoformat()} on ({last.reason})"
        if last
        else "none"
    )
    return Stale(
        f"the champion is {now}; this change expected {expected}",
        where=automation,
        fix="Look at the present champion, and change it again if it still is to be replaced.",
    )


def forget(log: Log, automation: str) -> None:
    """Begin an automation's ledger anew; the leaves stay in the record."""
    LEDGER.forget(log, automation)


def check(log: Log) -> list[str]:
    """Compare the ledger with the leaves it stands on; say what is wrong, in words."""
    return LEDGER.check(log)


def word(number: int | None) -> str:
    """Return a version in words; `none` for none."""
    return f"version {number}" if number else "none"


def _change(entry: Entry) -> Change:
    content = entry.content
    fields = {**content["body"], "approved_by": tuple(content["body"]["approved_by"])}
    return Change(
        str(entry.automation),
        **fields,
        at=datetime.fromisoformat(content["at"]),
        recorded_at=entry.recorded_at,
        by=entry.actor,
        leaf=entry.index,
    )

"""Approvals: asked for, given or refused, or expired; a state that others notice, never a wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from aios.database import metadata
from aios.errors import AiosError
from aios.record.leaves import Act, Entry, entry_of, leaves
from aios.record.log import Log

Step = Literal["canary", "champion"]
"""What an approval lets a version do: decide a share of the events, or all."""
State = Literal["open", "approved", "refused", "expired", "done", "overtaken"]

REQUESTED, APPROVED, REFUSED, EXPIRED = (
    "approval_requested", "approval", "refusal", "approval_expired",
)  # fmt: skip
LASTING = timedelta(days=7)
"""How long a request waits, and its approval holds."""

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("request", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("automation", sa.String(200), nullable=False, index=True),
    sa.Column("verdict", sa.BigInteger),
    sa.Column("closed", sa.String(20)),
)
"""Requests by their leaf, with the leaf of the verdict and how they ended."""


@dataclass(frozen=True)
class Request:
    """A request to let a version take a step towards deciding.

    Attributes:
        number: The leaf of the request; its name.
        automation: Whose champion.
        version: The version that is to decide.
        champion: The champion that the requester saw, which it is to replace; 0 for none.
        by: Who asks.
        reason: Why.
        evidence: What it rests on.
        evidence_digest: SHA-256 of that.
        expires: When it ends, UTC-naive.
        state: How it stands.
        verdict_by: Who approved or refused it.
        verdict_reason: Why.
        step: What the version is to do.
    """

    number: int
    automation: str
    version: int
    champion: int
    by: str
    reason: str
    evidence: str
    evidence_digest: str
    expires: datetime
    state: State
    verdict_by: str = ""
    verdict_reason: str = ""
    step: Step = "champion"


def ask(
    log: Log,
    automation: str,
    version: int,
    champion: int,
    by: str,
    *,
    reason: str,
    evidence: str = "",
    evidence_digest: str = "",
    step: Step = "champion",
    lasting: timedelta = LASTING,
) -> Request:
    """Ask for an approval; a request for the same that is still open is returned as it is."""
    now = log.now()
    body = {
        "version": version,
        "champion": champion,
        "reason": reason,
        "evidence": evidence,
        "evidence_digest": evidence_digest,
        "step": step,
        "expires": (now + lasting).isoformat(timespec="microseconds"),
    }
    with log.transaction() as transaction:
        for one in _all(transaction.connection, automation, now):
            same = (one.version, one.champion, one.step) == (version, champion, step)
            if same and one.state in ("open", "approved"):
                return one
        [entry] = transaction.append([Act(REQUESTED, automation, by, body)])
        transaction.connection.execute(
            approvals.insert().values(request=entry.index, automation=automation)
        )
    return _request(entry, None, None, now)


def give_verdict(log: Log, number: int, by: str, *, approve: bool, reason: str) -> Request:
    """Approve or refuse an open request.

    Raises:
        AiosError: There is no such request, it was decided before, or it has expired.
    """
    with log.transaction() as transaction:
        request = _one(transaction.connection, number, log.now())
        if request.state != "open":
            by_whom = f" by {request.verdict_by}" if request.verdict_by else ""
            raise AiosError(
                f"request {number} is {request.state}{by_whom}",
                where=f"{request.automation} version {request.version}",
                fix="Ask again with 'aios promote', if the version still is to decide.",
            )
        body = {
            "request": number,
            "version": request.version,
            "champion": request.champion,
            "requested_by": request.by,
            "reason": reason,
        }
        kind = APPROVED if approve else REFUSED
        [entry] = transaction.append([Act(kind, request.automation, by, body)])
        transaction.connection.execute(
            approvals.update().where(approvals.c.request == number).values(verdict=entry.index)
        )
        return _one(transaction.connection, number, log.now())


def close(log: Log, number: int, ended: Literal["done", "expired", "overtaken"]) -> None:
    """Note how a request ended; an expired one goes on record."""
    with log.transaction() as transaction:
        request = _one(transaction.connection, number, log.now())
        changed = transaction.connection.execute(
            approvals.update()
            .where(approvals.c.request == number, approvals.c.closed.is_(None))
            .values(closed=ended)
        )
        if changed.rowcount and ended != "done":
            body = {"request": number, "version": request.version, "ended": ended}
            transaction.append([Act(EXPIRED, request.automation, "sensor:approvals", body)])


def requests(log: Log, automation: str | None = None) -> list[Request]:
    """Return every request of an automation's model or of all, oldest first."""
    now = log.now()
    with log.database.reading() as connection:
        return _all(connection, automation, now)


def approved_by(
    log: Log, automation: str, version: int, champion: int, step: Step = "champion"
) -> Sequence[Request]:
    """Return the approved requests for a version's step beside a champion that hold now."""
    return [
        one
        for one in requests(log, automation)
        if one.state == "approved"
        and (one.version, one.champion, one.step) == (version, champion, step)
    ]


def check(log: Log) -> list[str]:
    """Compare the table with the leaves it stands on; say what is wrong, in words."""
    verdicts = {e.body["request"]: e.index for e in log.entries(kind=[APPROVED, REFUSED])}
    ended = {e.body["request"]: e.body["ended"] for e in log.entries(kind=EXPIRED)}
    asked = {entry.index: entry for entry in log.entries(kind=REQUESTED)}
    with log.database.reading() as connection:
        rows = connection.execute(sa.select(approvals).order_by(approvals.c.request)).all()
    problems = [
        f"request {row.request} of {row.automation} is not what the record says"
        for row in rows
        if row.request not in asked
        or row.automation != asked[row.request].automation
        or row.verdict != verdicts.get(row.request)
        or ended.get(row.request) != (None if row.closed == "done" else row.closed)
    ]
    gone = sorted(asked.keys() - {row.request for row in rows})
    return problems + [f"request {number} is missing" for number in gone]


def _all(connection: sa.Connection, automation: str | None, now: datetime) -> list[Request]:
    query = sa.select(approvals.c.request).order_by(approvals.c.request)
    if automation is not None:
        query = query.where(approvals.c.automation == automation)
    numbers = connection.execute(query).scalars().all()
    return [_one(connection, number, now) for number in numbers]


def _one(connection: sa.Connection, number: int, now: datetime) -> Request:
    row = connection.execute(sa.select(approvals).where(approvals.c.request == number)).first()
    if row is None:
        raise AiosError(
            f"there is no request {number}", where="approvals", fix="List them: 'aios approvals'."
        )
    entry = _leaf(connection, number)
    verdict = _leaf(connection, row.verdict) if row.verdict is not None else None
    if verdict and (verdict.kind not in (APPROVED, REFUSED) or verdict.body["request"] != number):
        raise AiosError(
            f"leaf {row.verdict} is no verdict on request {number} but on another request or act",
            where="approvals",
            fix="The table was edited: restore the newest copy of the database.",
        )
    return _request(entry, verdict, row.closed, now)


def _leaf(connection: sa.Connection, index: int) -> Entry:
    row = connection.execute(sa.select(leaves).where(leaves.c.position == index)).one()
    return entry_of(row)


def _request(entry: Entry, verdict: Entry | None, closed: Any, now: datetime) -> Request:
    body = entry.body
    expires = datetime.fromisoformat(body.pop("expires"))
    given = {APPROVED: "approved", REFUSED: "refused"}[verdict.kind] if verdict else "open"
    state: State = closed or (given if given == "refused" or now < expires else "expired")  # type: ignore[assignment]
    return Request(
        number=entry.index,
        automation=str(entry.automation),
        by=entry.actor,
        expires=expires,
        state=state,
        verdict_by=verdict.actor if verdict else "",
        verdict_reason=verdict.body["reason"] if verdict else "",
        **body,
    )

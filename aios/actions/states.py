"""What becomes of an action: pure functions from a row and an answer to the row after it.

docs/actions.md has the table of all transitions.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from random import Random

from aios.actions.connectors.base import Answer, Done, Failed, Refused, Unavailable, Unsure
from aios.actions.declared import Receiver
from aios.actions.rows import Row, changed

WAITING, PENDING, SENDING, UNSURE = "waiting", "pending", "sending", "unsure"
DONE, INCIDENT, CANCELLED, DRY_RUN = "done", "incident", "cancelled", "dry_run"
STATES = (WAITING, PENDING, SENDING, UNSURE, DONE, INCIDENT, CANCELLED, DRY_RUN)

UNKNOWN = "unknown outcome"
REFUSED = "refused"
TOO_OFTEN = "failed too often"
EXPIRED = "expired"
NO_UNDO = "cannot be undone"

_MICRO = timedelta(microseconds=1)
_FIRST, _LONGEST = timedelta(seconds=2), timedelta(minutes=15)


def after_sending(
    row: Row, answer: Answer, receiver: Receiver, now: int, rng: Random, *, probe: bool
) -> Row:
    """Return a row in `sending` after the answer to its call.

    Args:
        row: As it is now; `recalled` may have come since it was sent.
        answer: Of the connector.
        receiver: As declared.
        now: Microseconds.
        rng: Of the jitter.
        probe: The breaker was not closed: that the receiver is not there says nothing about the
            action, and does not count against it.
    """
    free = _let_go(row)
    match answer:
        case Done(receipt):
            return _done(free, receipt, now)
        case Refused(why):
            return _not_done(free, now, REFUSED, why)
        case Failed(why):
            tried = changed(free, attempts=row.attempts + 1, problem=why)
            if row.recalled or tried.attempts >= receiver.attempts:
                return _not_done(tried, now, TOO_OFTEN, why)
            return changed(tried, state=PENDING, due_at=now + _pause(tried.attempts, rng))
        case Unavailable(why, rest):
            if row.recalled:
                return _not_done(free, now, TOO_OFTEN, why)
            due_at = now + max(_pause(row.calls, rng), _micros(rest))
            return changed(free, state=PENDING, due_at=due_at, problem=why)
        case Unsure(why):
            attempts = row.attempts + (not probe)
            return changed(
                free,
                state=UNSURE,
                doubt_at=row.intent_at,
                attempts=attempts,
                problem=why,
                due_at=now + _pause(attempts, rng),
            )


def after_asking(
    row: Row, answer: Answer, receiver: Receiver, now: int, rng: Random, *, probe: bool
) -> Row:
    """Return a row in `unsure` after the receiver was asked; arguments as in `after_sending`."""
    free = _let_go(row)
    match answer:
        case Done(receipt):
            return _done(free, receipt, now)
        case Failed(why):
            return _not_there(free, why, receiver, now, rng)
        case Unavailable(why, rest):
            due_at = now + max(_pause(row.calls, rng), _micros(rest))
            return changed(free, due_at=due_at, problem=why)
        case Unsure(why) | Refused(why):
            attempts = row.attempts + (not probe)
            if attempts >= receiver.attempts or not can_be_asked(receiver):
                return _incident(free, UNKNOWN, why, now)
            due_at = now + _pause(attempts, rng)
            return changed(free, attempts=attempts, problem=why, due_at=due_at)


def expired(row: Row, now: int) -> Row:
    """Return a row that could not be delivered in its time as an incident."""
    known = row.state == PENDING and row.doubt_at is None
    return _incident(row, EXPIRED if known else UNKNOWN, "it was not delivered in its time", now)


def can_be_asked(receiver: Receiver) -> bool:
    """Tell whether a receiver can say what became of a key."""
    return receiver.status is not None if receiver.kind == "http" else receiver.kind != "email"


def withdrawn(row: Row, now: int) -> Row:
    """Return a row that is no longer wanted: cancelled where surely not done, else flagged.

    What was flagged is resolved first, and then undone.
    """
    flagged = changed(row, recalled=True)
    surely_not = row.doubt_at is None and row.state in (PENDING, INCIDENT)
    if surely_not or row.state in (WAITING, DRY_RUN):
        return changed(flagged, state=CANCELLED, ended_at=now)
    if row.state == PENDING:
        return changed(flagged, state=UNSURE, due_at=now)
    return flagged


def category(cause: str | None) -> str:
    """Return a cause without what the receiver said."""
    return (cause or "").partition(":")[0]


def _done(row: Row, receipt: object, now: int) -> Row:
    text = json.dumps(receipt, sort_keys=True, default=str)
    return changed(row, state=DONE, ended_at=now, receipt=text, cause=None, problem=None)


def _not_done(row: Row, now: int, cause: str, why: str) -> Row:
    """After a call that had no effect: an earlier one still may have had."""
    if not row.recalled:
        return _incident(row, cause, why, now)
    if row.doubt_at is not None:
        return changed(row, state=UNSURE, due_at=now, problem=why)
    return changed(row, state=CANCELLED, ended_at=now, problem=why)


def _not_there(row: Row, why: str, receiver: Receiver, now: int, rng: Random) -> Row:
    settled = (row.doubt_at or 0) + _micros(receiver.settles)
    if row.recalled:
        if now < settled:
            return changed(row, due_at=settled, problem=why)
        return changed(row, state=CANCELLED, ended_at=now, problem=why)
    if not receiver.repeats:
        return _incident(row, UNKNOWN, why, now)
    if row.attempts >= receiver.attempts:
        return _incident(row, TOO_OFTEN, why, now)
    return changed(row, state=PENDING, due_at=now + _pause(row.attempts, rng), problem=why)


def _incident(row: Row, cause: str, why: str, now: int) -> Row:
    free = _let_go(row)
    alike = f"{cause}: {_alike(why)}" if cause == REFUSED else cause
    return changed(free, state=INCIDENT, ended_at=now, cause=alike, problem=why)


def _let_go(row: Row) -> Row:
    return changed(row, lease=None, lease_until=None)


def _alike(why: str) -> str:
    """Return what refusals of the same kind have in common, without what they quote."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\S*@\S*|\b\w*\d{4,}\w*\b", "...", why)[:150]


def _pause(count: int, rng: Random) -> int:
    """Return an exponential back-off with full jitter, in microseconds."""
    # 2**20 seconds are longer than the longest, and do not overflow.
    longest = min(_FIRST * 2 ** min(max(count - 1, 0), 20), _LONGEST)
    return int(rng.random() * (longest // _MICRO))


def _micros(span: timedelta | None) -> int:
    return (span or timedelta()) // _MICRO

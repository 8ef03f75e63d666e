"""Rollouts: where each version stands on its way to decide, every move a leaf of the record.

One version of an automation is under way at a time; others wait for it or take its place, as the
automation declares. Who decides which events of a partition follows from the moves before its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from aios.database import metadata
from aios.errors import AiosError, Stale
from aios.record.leaves import Act, Entry, entry_of, leaves
from model_registry import ledger
from model_registry.ledger import Change

if TYPE_CHECKING:
    from aios.record.log import Log
    from aios.record.transaction import Transaction

State = Literal[
    "queued", "shadow", "canary", "paused", "champion", "rejected", "superseded", "rolled_back"
]
STATES: tuple[str, ...] = get_args(State)
UNDER_WAY = ("shadow", "canary", "paused")

MOVED = "rollout"
"""The kind of leaf that moves a version."""
FORGOTTEN = "rollouts_begun_anew"
"""The kind of leaf after which an automation's rollouts begin at the first again."""

FOLLOWS: dict[State | None, tuple[State, ...]] = {
    None: ("queued", "shadow", "champion"),
    "queued": ("shadow", "superseded", "champion"),
    "shadow": ("canary", "champion", "paused", "rejected", "superseded"),
    "canary": ("canary", "champion", "paused", "rolled_back", "superseded"),
    "paused": ("shadow", "canary", "champion", "rejected", "rolled_back", "superseded"),
    "champion": ("rolled_back",),
    "superseded": ("queued", "shadow", "champion"),
    "rolled_back": ("champion",),
    "rejected": (),
}
"""Which states a version may move to from each; None before its first."""

rollout_moves = sa.Table(
    "rollout_moves",
    metadata,
    sa.Column("automation", sa.String(200), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("leaf", sa.BigInteger, nullable=False),
)
"""Where the leaf of each move is; the primary key lets one of two writers through."""


@dataclass(frozen=True)
class To:
    """A move to make.

    Attributes:
        version: Number of the version that moves.
        state: Where it moves to.
        share: Share of the units that it decides from then on.
    """

    version: int
    state: State
    share: float = 0.0


@dataclass(frozen=True)
class Move:
    """One recorded move of a version.

    Attributes:
        version: Number of the version.
        state: Where it stands from then on.
        share: Share of the units that it decides in `canary`, and that it comes back to when
            `paused`.
        champion: The champion beside which it moved; None where there was none.
        at: From when, UTC-naive; the virtual clock's time in a rehearsal.
        recorded_at: When it was recorded (wall clock), UTC-naive.
        by: Who.
        reason: In words.
        evidence: What it rests on.
        evidence_digest: SHA-256 of that.
        approved_by: Who approved it, where an approval was needed.
        leaf: The leaf of the record that says so.
    """

    version: int
    state: State
    share: float
    champion: int | None
    at: datetime
    recorded_at: datetime
    by: str
    reason: str
    evidence: str = ""
    evidence_digest: str = ""
    approved_by: tuple[str, ...] = ()
    leaf: int = -1


@dataclass(frozen=True)
class Basis:
    """Who moves versions, from when, and why."""

    by: str
    at: datetime
    reason: str
    evidence: str = ""
    evidence_digest: str = ""
    approved_by: tuple[str, ...] = ()


def moves(log: Log, automation: str) -> list[Move]:
    """Return every move of an automation's versions, oldest first."""
    with log.database.reading() as connection:
        return _read(connection, automation)


def latest(moves: Sequence[Move]) -> dict[int, Move]:
    """Return the last move of each version."""
    return {move.version: move for move in moves}


def under_way(moves: Sequence[Move]) -> Move | None:
    """Return where the version under way stands; None where none is."""
    return next((move for move in latest(moves).values() if move.state in UNDER_WAY), None)


def watched(moves: Sequence[Move], reopen: timedelta, moment: datetime) -> Move | None:
    """Return the move of the champion that late labels may still take back at a moment."""
    arrived = [one for one in latest(moves).values() if one.state == "champion"]
    if not arrived:
        return None
    last = max(arrived, key=lambda move: move.leaf)
    return last if last.champion is not None and last.at + reopen > moment else None


def queued(moves: Sequence[Move]) -> list[int]:
    """Return the versions that wait for the one under way, in the order in which they came."""
    return [one.version for one in latest(moves).values() if one.state == "queued"]


def stage_of(moves: Sequence[Move], version: int) -> list[Move]:
    """Return the moves of a version's present run: since it last entered shadow."""
    own = [move for move in moves if move.version == version]
    entered = [
        i
        for i, move in enumerate(own)
        if move.state == "shadow" and (i == 0 or own[i - 1].state != "paused")
    ]
    return own[entered[-1] :] if entered else own


def move(
    log: Log,
    automation: str,
    seen: Sequence[Move],
    champion: int | None,
    to: Sequence[To],
    basis: Basis,
) -> list[Move]:
    """Move versions, all or none, if nothing moved and the champion is the one that was seen.

    Raises:
        Stale: Somebody else was faster; says who. Nothing is recorded then.
        AiosError: A version may not move so from where it stands.
    """
    with log.transaction() as transaction:
        known = _read(transaction.connection, automation)
        present = ledger.present(transaction.connection, automation)
        if len(known) == len(seen) and present == champion:
            return _append(transaction, automation, known, to, basis, present)
    if present != champion:
        raise ledger.stale(automation, ledger.changes(log, automation), _word(champion))
    last = known[-1]
    raise Stale(
        f"version {last.version} is in {last.state} by {last.by}, from {last.at.isoformat()} on "
        f"({last.reason}); this move expected {len(seen)} moves before it, there are {len(known)}",
        where=automation,
        fix="Look at where the rollout stands (aios rollout), and move it again if need be.",
    )


def follow(transaction: Transaction, change: Change) -> None:
    """Move versions as a change of the champion makes them, in the same transaction.

    A version under way that becomes champion has arrived; one that stood beside a champion that
    no longer decides is superseded, since all that was measured was against that one. A champion
    that is rolled back is so in its rollout too.
    """
    automation = str(change.automation)
    known = _read(transaction.connection, automation)
    stand, to = latest(known), []
    overtaken = [one.version for one in stand.values() if one.state in UNDER_WAY]
    if change.kind == "promotion":
        overtaken += [number for number in queued(known) if number < change.version]
        to = [To(change.version, "champion", 1.0)] if change.version in stand else []
    elif (last := stand.get(change.previous or 0)) and last.state == "champion":
        to = [To(last.version, "rolled_back")]
    to = [To(n, "superseded") for n in overtaken if n != change.version] + to
    basis = Basis(
        change.by, change.at, change.reason, change.evidence, change.evidence_digest,
        change.approved_by,
    )  # fmt: skip
    _append(transaction, automation, known, to, basis, change.previous)


def forget(log: Log, automation: str) -> None:
    """Begin an automation's rollouts anew; the leaves stay in the record."""
    with log.transaction() as transaction:
        gone = transaction.connection.execute(
            rollout_moves.delete().where(rollout_moves.c.automation == automation)
        )
        if gone.rowcount:
            body = {"moves": gone.rowcount}
            transaction.append([Act(FORGOTTEN, automation, "service:rehearsal", body)])


def check(log: Log) -> list[str]:
    """Compare the moves with the leaves they stand on; say what is wrong, in words."""
    expected: dict[str, list[int]] = {}
    for entry in log.entries(kind=[MOVED, FORGOTTEN]):
        known = expected.setdefault(str(entry.automation), [])
        known.clear() if entry.kind == FORGOTTEN else known.append(entry.index)
    found: dict[str, list[int]] = {name: [] for name in expected}
    query = sa.select(rollout_moves).order_by(rollout_moves.c.position)
    with log.database.reading() as connection:
        for row in connection.execute(query):
            found.setdefault(row.automation, []).append(row.leaf)
    return [
        f"the rollouts of {name} stand on leaves {found[name]}, the record says "
        f"{expected.get(name, [])}"
        for name in sorted(found)
        if found[name] != expected.get(name, [])
    ]


def _append(
    transaction: Transaction,
    automation: str,
    known: Sequence[Move],
    to: Sequence[To],
    basis: Basis,
    champion: int | None,
) -> list[Move]:
    made = list(known)
    for one in to:
        _refuse_wrong(automation, made, one, basis.at)
        body = {
            "version": one.version,
            "state": one.state,
            "share": one.share,
            "champion": champion,
            "reason": basis.reason,
            "evidence": basis.evidence,
            "evidence_digest": basis.evidence_digest,
            "approved_by": list(basis.approved_by),
        }
        [entry] = transaction.append([Act(MOVED, automation, basis.by, body, at=basis.at)])
        transaction.connection.execute(
            rollout_moves.insert().values(
                automation=automation, position=len(made) + 1, leaf=entry.index
            )
        )
        made.append(_move(entry))
    return made[len(known) :]


def _refuse_wrong(automation: str, known: Sequence[Move], to: To, at: datetime) -> None:
    where = f"{automation} version {to.version}"
    stand = latest(known).get(to.version)
    state = stand.state if stand else None
    if to.state not in FOLLOWS[state]:
        raise AiosError(
            f"it cannot move from {state or 'nowhere'} to {to.state}",
            where=where,
            fix=f"From there it can move to: {', '.join(FOLLOWS[state]) or 'nothing'}.",
        )
    if known and at < known[-1].at:
        raise AiosError(
            f"a move at {at.isoformat()} would rewrite the past: version {known[-1].version} "
            f"moved at {known[-1].at.isoformat()}",
            where=where,
            fix="Give a later time; to replay history, use a fresh AIOS_HOME.",
        )
    if stand and state == to.state == "canary" and to.share <= stand.share:
        raise AiosError(
            f"its share cannot go from {stand.share:.0%} to {to.share:.0%}",
            where=where,
            fix="A share only grows; to take it back, pause or end the rollout.",
        )
    other = under_way(known)
    if to.state in UNDER_WAY and other and other.version != to.version:
        raise AiosError(
            f"version {other.version} is under way, in {other.state}",
            where=where,
            fix="One version is under way at a time: end that rollout, or queue behind it.",
        )


def _read(connection: sa.Connection, automation: str) -> list[Move]:
    query = (
        sa.select(leaves)
        .join(rollout_moves, rollout_moves.c.leaf == leaves.c.position)
        .where(rollout_moves.c.automation == automation)
        .order_by(rollout_moves.c.position)
    )
    return [_move(entry_of(row)) for row in connection.execute(query)]


def _move(entry: Entry) -> Move:
    content = entry.content
    fields: dict[str, Any] = {**content["body"]}
    fields["approved_by"] = tuple(fields["approved_by"])
    return Move(
        **fields,
        at=datetime.fromisoformat(content["at"]),
        recorded_at=entry.recorded_at,
        by=entry.actor,
        leaf=entry.index,
    )


def _word(number: int | None) -> str:
    return f"version {number}" if number else "none"

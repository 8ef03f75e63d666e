"""The stages of a rollout: from shadow over growing shares to champion, and the ways out.

One version of an automation is under way at a time; others wait for it or take its place, as the
automation declares. Who decides which events of a partition follows from the moves before its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from aios.errors import AiosError

State = Literal[
    "queued", "shadow", "canary", "paused", "champion", "rejected", "superseded", "rolled_back"
]
STATES: tuple[str, ...] = get_args(State)
UNDER_WAY = ("shadow", "canary", "paused")

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


@dataclass(frozen=True)
class To:
    """A move to make.

    Attributes:
        version: Number of the version that moves.
        state: Where it moves to.
        share: Share of the units that it decides from then on.
        reason: Why, where that is another reason than the others' that move with it.
    """

    version: int
    state: State
    share: float = 0.0
    reason: str = ""


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
    waiting = [one for one in latest(moves).values() if one.state == "queued"]
    return [one.version for one in sorted(waiting, key=lambda move: move.leaf)]


def stage_of(moves: Sequence[Move], version: int) -> list[Move]:
    """Return the moves of a version's present run: since it last entered shadow."""
    own = [move for move in moves if move.version == version]
    entered = [
        i
        for i, move in enumerate(own)
        if move.state == "shadow" and (i == 0 or own[i - 1].state != "paused")
    ]
    return own[entered[-1] :] if entered else own


def refuse_wrong(automation: str, known: Sequence[Move], to: To, at: datetime) -> None:
    """Refuse a move that does not follow from where its version and the others stand.

    Raises:
        AiosError: Says what is against it, and what to do.
    """
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
    if to.state == "canary" and not 0 < to.share < 1:
        raise AiosError(
            f"a canary decides some and not all, this one {to.share}",
            where=where,
            fix="Give a share between 0 and 1.",
        )
    # Back from a pause with the share that it had, or a larger one.
    grows = not stand or to.share > stand.share or (state == "paused" and to.share == stand.share)
    if stand and to.state in ("shadow", "canary") and not grows and state in UNDER_WAY:
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

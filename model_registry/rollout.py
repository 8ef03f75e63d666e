"""The ledger of rollouts: each move of a version a leaf, taken against what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aios.errors import Stale
from aios.record.leaves import Act, Entry
from model_registry import ledger
from model_registry.ledger import Change
from model_registry.positions import Positions
from model_registry.stages import UNDER_WAY, Basis, Move, To, latest, queued, refuse_wrong

if TYPE_CHECKING:
    import sqlalchemy as sa

    from aios.record.log import Log
    from aios.record.transaction import Transaction

MOVED = "rollout"
"""The kind of leaf that moves a version."""
LEDGER = Positions(
    "rollout_moves", (MOVED,), "rollouts_begun_anew", "moves", "the rollouts of {} stand"
)


def moves(log: Log, automation: str) -> list[Move]:
    """Return every move of an automation's versions, oldest first."""
    with log.database.reading() as connection:
        return _read(connection, automation)


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
        unmoved = [one.leaf for one in known] == [one.leaf for one in seen]
        if unmoved and present == champion:
            return _append(transaction, automation, known, to, basis, present)
    if present != champion:
        raise ledger.stale(automation, ledger.changes(log, automation), ledger.word(champion))
    if not known:
        raise Stale(
            f"its rollouts were begun anew; this move expected {len(seen)} moves before it",
            where=automation,
            fix="Start the version again.",
        )
    last = known[-1]
    raise Stale(
        f"version {last.version} is in {last.state} by {last.by}, from {last.at.isoformat()} on "
        f"({last.reason}); this move expected {len(seen)} moves before it, there are {len(known)}",
        where=automation,
        fix="Look at where the rollout stands (aios rollout), and move it again if need be.",
    )


def follow(transaction: Transaction, change: Change, stood: int | None = None) -> None:
    """Move versions as a change of the champion makes them, in the same transaction.

    A version under way that becomes champion has arrived; one that stood beside a champion that
    no longer decides is superseded, since all that was measured was against that one. A champion
    that is rolled back is so in its rollout too.

    Args:
        transaction: That of the change.
        change: What changed.
        stood: The leaf of the move by which the version stood when its promotion was decided.

    Raises:
        Stale: The version moved since: somebody paused it, or took it out.
    """
    automation = str(change.automation)
    known = _read(transaction.connection, automation)
    stand, to = latest(known), []
    if stood is not None and ((last := stand.get(change.version)) is None or last.leaf != stood):
        raise Stale(
            f"version {change.version} is in {last.state if last else 'no rollout'}; its promotion "
            "was decided before",
            where=automation,
            fix="Look at where the rollout stands (aios rollout), and move it again if need be.",
        )
    overtaken = [one.version for one in stand.values() if one.state in UNDER_WAY]
    if change.kind == "promotion":
        overtaken += [number for number in queued(known) if number < change.version]
    elif (back := stand.get(change.previous or 0)) and back.state == "champion":
        to = [To(back.version, "rolled_back")]
    if (now := stand.get(change.version)) and now.state != "champion":
        to.append(To(change.version, "champion", 1.0))
    gone = f"version {change.version} became champion"
    to = [To(n, "superseded", reason=gone) for n in overtaken if n != change.version] + to
    basis = Basis(
        change.by, change.at, change.reason, change.evidence, change.evidence_digest,
        change.approved_by,
    )  # fmt: skip
    _append(transaction, automation, known, to, basis, change.previous)


def forget(log: Log, automation: str) -> None:
    """Begin an automation's rollouts anew; the leaves stay in the record."""
    LEDGER.forget(log, automation)


def check(log: Log) -> list[str]:
    """Compare the moves with the leaves they stand on; say what is wrong, in words."""
    return LEDGER.check(log)


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
        refuse_wrong(automation, made, one, basis.at)
        body = {
            "version": one.version,
            "state": one.state,
            "share": one.share,
            "champion": champion,
            "reason": one.reason or basis.reason,
            "evidence": basis.evidence,
            "evidence_digest": basis.evidence_digest,
            "approved_by": list(basis.approved_by),
        }
        act = Act(MOVED, automation, basis.by, body, at=basis.at)
        made.append(_move(LEDGER.append(transaction, len(made) + 1, act)))
    return made[len(known) :]


def _read(connection: sa.Connection, automation: str) -> list[Move]:
    return [_move(entry) for entry in LEDGER.entries(connection, automation)]


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

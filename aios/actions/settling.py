"""What answers do to the rows that were claimed: one transaction for a batch, with its leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING

from aios.actions import rows as outbox
from aios.actions.claims import Claim, Lane, keep, standing
from aios.actions.connectors.base import Answer
from aios.actions.outbox import rearrange
from aios.actions.rows import Row, changed, run
from aios.actions.states import (
    CANCELLED,
    DONE,
    INCIDENT,
    PENDING,
    UNSURE,
    after_asking,
    after_sending,
    category,
    withdrawn,
)
from aios.identity.actors import WORKER
from aios.record import merkle
from aios.record.leaves import Act

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.record.transaction import Transaction

LEAF = "actions"
"""The kind of the leaf of a settled batch."""


def settle(
    transaction: Transaction,
    automation: Automation,
    lane: Lane,
    claim: Claim,
    answers: Sequence[Answer | None],
    *,
    now: int,
    rng: Random,
) -> None:
    """Write what became of a claim; what it lost meanwhile stays as others made it.

    Args:
        transaction: That of the record.
        automation: Whose, as declared.
        lane: Where.
        claim: What was claimed.
        answers: One for each row; None of one that was not called after all.
        now: Microseconds.
        rng: Of the jitter.
    """
    connection = transaction.connection
    sql = "SELECT key, recalled FROM actions WHERE automation = ? AND lease_until = ? AND lease = ?"
    held = dict(run(connection, sql, lane.automation, claim.until, claim.lease).all())
    changes: list[tuple[Row, Row]] = []
    for row, answer in zip(claim.rows, answers, strict=True):
        if row.key in held:
            row.recalled = bool(held[row.key])
            changes.append((row, _after(row, answer, lane, claim, now, rng)))
    heard = [one for one in answers if one is not None]
    asked = bool(claim.rows) and claim.rows[0].state == UNSURE
    circuit, bucket = standing(connection, lane, now)
    probed = claim.until if claim.probe else None
    after = circuit.heard(heard, lane.declared.breaker, now, probed_until=probed, asked=asked)
    if after != circuit:
        keep(connection, lane, after, bucket)
    ended = [new for _, new in changes if new.state in (DONE, INCIDENT, CANCELLED)]
    if ended:
        act = Act(LEAF, automation.name, str(WORKER), _body(lane, ended))
        position = transaction.append([act])[0].index
        for row in ended:
            row.leaf = position
    outbox.update(connection, changes)
    outbox.unblock(
        connection, [row.key for row in ended if row.state == DONE and not row.recalled], now
    )
    resolved = {row.decision for row in ended if row.recalled}
    if resolved:
        rearrange(connection, automation, resolved, now)


def root_of(rows: Sequence[Row]) -> str:
    """Return the Merkle root over what was done, by key: key, state and digest of the receipt."""
    leaves = [
        merkle.leaf_hash(f"{row.key} {row.state} {digest(row.receipt)}".encode())
        for row in sorted(rows, key=lambda row: row.key)
        if row.state == DONE
    ]
    return merkle.root_of(leaves).hex()


def digest(text: str | None) -> str:
    """Return the digest of a receipt."""
    return sha256((text or "").encode()).hexdigest()


def _after(row: Row, answer: Answer | None, lane: Lane, claim: Claim, now: int, rng: Random) -> Row:
    if answer is None:
        state = UNSURE if row.state == UNSURE else PENDING
        back = changed(row, state=state, calls=row.calls - 1, lease=None, lease_until=None)
        return withdrawn(back, now) if row.recalled else back
    decide = after_asking if row.state == UNSURE else after_sending
    return decide(row, answer, lane.declared, now, rng, probe=claim.probe)


def _body(lane: Lane, ended: Sequence[Row]) -> dict[str, object]:
    states = Counter(row.state for row in ended)
    causes = Counter(category(row.cause) for row in ended if row.state == INCIDENT)
    body: dict[str, object] = {
        "receiver": lane.receiver,
        "states": dict(states),
        "compensations": sum(row.undoes is not None for row in ended),
        "root": root_of(ended),
    }
    return {**body, "causes": dict(causes)} if causes else body

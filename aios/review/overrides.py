"""Overrides: a decision in effect, automatic or reviewed, decided otherwise by a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from aios.errors import AiosError, Stale
from aios.identity.actors import REHEARSAL
from aios.identity.guard import Guard
from aios.identity.tables import micros
from aios.lake import Lake
from aios.record.batches import DECISIONS, file_digest
from aios.record.leaves import Act
from aios.review.cases import needs_two
from aios.review.office import Office, let_have
from aios.review.queue import Verdict, verdict_of
from aios.review.tables import CASES, VERDICTS
from aios.review.verdicts import check_outcome, check_words, moment_text, sealed, verdict_id

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from aios.automation import Automation
    from aios.identity.actors import Actor

OVERRIDE = "override"
REVIEW = "review"


def override(
    office: Office, actor: Actor, decision: str, outcome: str, reason: str, comment: str
) -> Verdict:
    """Decide a decision in effect otherwise; recorded.

    What the former outcome caused is undone, what the new one causes is due at once. It is final:
    to take it back, override again.

    Args:
        office: Where.
        actor: The reviewer.
        decision: `<automation>/<partition>/<event id>@<revision>`.
        outcome: The new outcome; one of `review.outcomes`, else of the policy's.
        reason: A reason code.
        comment: In words; the record has its digest.

    Raises:
        Denied: The rules do not let the actor.
        AiosError: There is no such decision, it waits for a verdict, has this outcome already, or
            takes two people.
    """
    name, partition = _parts(decision)
    automation = office.automation(name)
    guard = Guard(actor, office.access, office.log)
    rules = guard.check("override", automation.resource)
    review, where = automation.spec.review, decision
    check_words(reason, comment, review, where)
    policy = [one for one in automation.policy.outcomes if one != REVIEW]
    check_outcome(outcome, review.outcomes if review else policy, where)
    row = office.decided(automation, partition, [decision])[decision]
    with office.log.database.reading() as connection:
        former = _in_effect(connection, decision)
    present = former.outcome if former else row["outcome"]
    if present == REVIEW:
        raise AiosError("it waits for a verdict", where=where, fix="Take its case and decide it.")
    if present == outcome:
        said = f"by {former.reviewer} at {moment_text(former.at)}" if former else "by the policy"
        raise AiosError(f"'{outcome}' is in effect already, {said}", where=where, fix="No need.")
    if review and outcome in review.approving and needs_two(review, pl.DataFrame([row]))[0]:
        raise AiosError(
            f"'{outcome}' takes two people here, and an override is one's",
            where=where,
            fix="Correct the event: its new revision is decided anew, as a case with four eyes.",
        )
    planned = office.planned(automation, partition, {decision: outcome})
    with office.log.transaction() as transaction:
        connection, now = transaction.connection, office.now()
        again = _in_effect(connection, decision)
        if (again and again.id) != (former and former.id):
            raise Stale("it was decided otherwise meanwhile", where=where, fix="Look again.")
        case = _case(connection, decision)
        dry = case.rehearsed if case else _rehearsed(office, automation, partition)
        body = {
            "decision": decision,
            "case": case.id if case else None,
            "before": present,
            "outcome": outcome,
            "reason": reason,
            "comment": sealed(connection, comment),
            "rehearsed": dry,
            "rules": list(rules),
            "access_digest": office.access.digest,
        }
        leaf = transaction.append([Act(OVERRIDE, name, str(actor), body, at=now)])[0].index
        at = micros(now)
        if former and former.final_at > at:
            # It never became final, so it is no label either.
            overtaken = VERDICTS.update().where(VERDICTS.c.id == former.id)
            connection.execute(overtaken.values(in_effect=False))
        verdict = {
            "id": verdict_id(decision, leaf),
            "case": case.id if case else None,
            "automation": name,
            "partition": partition,
            "decision": decision,
            "event": str(row[automation.spec.id]),
            "reviewer": str(actor),
            "verdict": OVERRIDE,
            "outcome": outcome,
            "reason": reason,
            "comment": comment,
            "shown": True,
            "leaf": leaf,
            "in_effect": True,
            "rehearsed": dry,
            "at": at,
            "final_at": at,
        }
        connection.execute(VERDICTS.insert().values(verdict))
        if case:
            changed = CASES.update().where(CASES.c.id == case.id)
            connection.execute(changed.values(outcome=outcome))
        let_have(connection, automation, [decision], planned, now=at, dry=dry)
        kept = VERDICTS.select().where(VERDICTS.c.id == verdict["id"])
        return verdict_of(connection.execute(kept).one())


def _parts(decision: str) -> tuple[str, str]:
    parts = decision.split("/", 2)
    if len(parts) != 3:
        raise AiosError(
            f"{decision!r} is no decision",
            where="review",
            fix="Write AUTOMATION/PARTITION/EVENT@REVISION.",
        )
    return parts[0], parts[1]


def _in_effect(connection: Connection, decision: str) -> Row[Any] | None:
    wanted = [VERDICTS.c.decision == decision, VERDICTS.c.in_effect, VERDICTS.c.undone_at.is_(None)]
    newest = VERDICTS.c.leaf.desc()
    return connection.execute(VERDICTS.select().where(*wanted).order_by(newest).limit(1)).first()


def _case(connection: Connection, decision: str) -> Row[Any] | None:
    """Return the closed case of a decision, if it had one."""
    wanted = [CASES.c.decision == decision, CASES.c.answer.is_(None), CASES.c.state == "closed"]
    return connection.execute(sa.select(CASES).where(*wanted)).first()


def _rehearsed(office: Office, automation: Automation, partition: str) -> bool:
    """Tell whether a rehearsal made a partition's decisions: then an override acts as little."""
    path = Lake(office.home / "lake" / automation.name).path(DECISIONS, partition)
    made = office.log.find(f"{DECISIONS}/{automation.name}/{partition}/{file_digest(path)}")
    return made is not None and made.actor == str(REHEARSAL)

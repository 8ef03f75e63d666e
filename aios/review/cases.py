"""Cases: which decisions wait for a person, by when, and with what proposal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from aios.digest import text_digest
from aios.errors import AiosError
from aios.policy import MISSING
from aios.review.tables import CASES, VERDICTS, salt_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from aios.automation import Automation
    from aios.review.declared import Review

_CAUSE = 400
_MANY = 500
_OF_THE_DECISION = ("cause", "rule", "model_version", "score", "proposal", "four_eyes", "slices")


@dataclass(frozen=True)
class Known:
    """What is known of a seeded case.

    Attributes:
        answer: What it should get.
        proposal: What is proposed, which is something else.
    """

    answer: str
    proposal: str


def open_cases(
    connection: Connection,
    automation: Automation,
    partition: str,
    rows: pl.DataFrame,
    *,
    now: int,
    rehearsed: bool,
) -> int:
    """Let these decisions of a partition wait for people, and no others.

    In somebody's transaction; again, it changes nothing. A case that waits for a decision which
    is not among them is superseded: a later run decided it. Those that people decided stay.

    Args:
        connection: Of who writes.
        automation: Whose; it declares `review`.
        partition: Which.
        rows: Decided rows with the outcome `review`; see `aios.consequences.decided_rows`.
        now: Microseconds since 1970.
        rehearsed: Whether what follows from verdicts is only shown.

    Returns:
        How many cases are new.

    Raises:
        AiosError: A condition cannot be evaluated on these rows.
    """
    of_partition = [CASES.c.automation == automation.name, CASES.c.partition == partition]
    query = sa.select(CASES).where(*of_partition, CASES.c.answer.is_(None))
    known = {row.decision: row for row in connection.execute(query)}
    wanted = {row["decision"]: row for row in _cases(connection, automation, rows, now, rehearsed)}
    waiting = {decision: row for decision, row in known.items() if row.closed_at is None}
    _supersede(connection, [row.id for key, row in waiting.items() if key not in wanted], now)
    again = {key for key in wanted if key in known and known[key].state == "superseded"}
    _delete(connection, [known[key].id for key in again])
    for key in wanted.keys() & waiting.keys():
        _refresh(connection, waiting[key], wanted[key])
    new = [row for key, row in wanted.items() if key not in known or key in again]
    if new:
        connection.execute(CASES.insert(), new)
    return len(new)


def open_seeded(
    connection: Connection,
    automation: Automation,
    rows: pl.DataFrame,
    known: Mapping[str, Known],
    *,
    now: int,
    rehearsed: bool,
) -> int:
    """Mix cases with a known answer into the queue; each decision once.

    Args:
        connection: Of who writes.
        automation: Whose; it declares `review`.
        rows: Decided rows of any partitions.
        known: For each of their decisions what is known of it.
        now: Microseconds since 1970.
        rehearsed: As of the other cases in the queue, for nobody shall tell them apart.

    Returns:
        How many cases are new.
    """
    wanted = _cases(connection, automation, rows, now, rehearsed, known)
    there = _present(connection, [row["id"] for row in wanted])
    new = [row for row in wanted if row["id"] not in there]
    if new:
        connection.execute(CASES.insert(), new)
    return len(new)


def decided_by_people(connection: Connection, automation: str, partition: str) -> set[str]:
    """Return the decisions of a partition whose outcome is that of a verdict that stands.

    Verdicts, overrides, and what was decided for people who did not in time.
    """
    wanted = [VERDICTS.c.automation == automation, VERDICTS.c.partition == partition]
    wanted += [VERDICTS.c.in_effect, VERDICTS.c.undone_at.is_(None)]
    query = sa.select(VERDICTS.c.decision).where(*wanted)
    return set(connection.execute(query).scalars())


def case_id(salt: bytes, decision: str, *, seeded: bool = False) -> str:
    """Return the id of a decision's case; it does not tell whether the case is seeded."""
    marker = "seeded/" if seeded else "case/"
    return blake2b((marker + decision).encode(), key=salt, digest_size=16).hexdigest()


def chosen(salt: bytes, purpose: str, case: str, share: float) -> bool:
    """Tell whether a case is in a share; the same whoever asks, and whenever."""
    digest = blake2b(f"{purpose}/{case}".encode(), key=salt, digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def needs_two(review: Review, rows: pl.DataFrame) -> pl.Series:
    """Return for each row whether an approving verdict needs a second person.

    Where an input of the condition is missing it does: nobody can tell that it does not.
    """
    if review.four_eyes is None:
        return pl.repeat(False, rows.height, eager=True)
    known, holds = _condition(review.four_eyes)
    return _evaluate(rows, ~known | holds)


def _cases(
    connection: Connection,
    automation: Automation,
    rows: pl.DataFrame,
    now: int,
    rehearsed: bool,
    known: Mapping[str, Known] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of `CASES` of decided rows, in their order."""
    review = automation.spec.review
    if review is None:
        raise AiosError(
            "it declares no review, and decisions wait for one",
            where=automation.name,
            fix="Declare 'review' in its defs.yaml.",
        )
    if rows.is_empty():
        return []
    salt = salt_of(connection)
    found = rows.select(
        "partition",
        "decision",
        pl.col(automation.spec.id).cast(pl.String).alias("event"),
        "rule",
        pl.col("model_version").cast(pl.Int64),
        pl.col("score").cast(pl.Float64).fill_nan(None),
        _causes(automation, rows),
        _evaluate(rows, _proposal(review)).alias("proposal"),
        needs_two(review, rows).alias("four_eyes"),
        _evaluate(rows, _first(review.due, "within", review.within)).alias("due_at") + now,
    )
    cases = []
    for row, slices in zip(found.iter_rows(named=True), _slices(automation, rows), strict=True):
        decision = row["decision"]
        case = case_id(salt, decision, seeded=known is not None)
        seeded = {} if known is None else vars(known[decision])
        cases.append(
            {
                **row,
                "id": case,
                "slices": slices,
                "automation": automation.name,
                "double": chosen(salt, "double", case, review.double),
                "hidden": chosen(salt, "hidden", case, review.hidden),
                "answer": None,
                "rehearsed": rehearsed,
                "state": "open",
                "opened_at": now,
                **seeded,
            }
        )
    return cases


def _proposal(review: Review) -> pl.Expr:
    """Return the proposed outcome: where an input of the policy is missing, the safe one."""
    proposed = _first(review.proposals, "outcome", review.safe)
    return pl.when(pl.col("rule") == MISSING).then(pl.lit(review.safe)).otherwise(proposed)


def _first(declared: Sequence[Any], name: str, otherwise: Any) -> pl.Expr:
    """Return the value of the first declared condition that holds; durations as microseconds."""
    expression: Any = pl
    for one in declared:
        known, holds = _condition(one.when)
        expression = expression.when(known & holds).then(pl.lit(_plain(getattr(one, name))))
    last = pl.lit(_plain(otherwise))
    return last if expression is pl else expression.otherwise(last)


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else value // timedelta(microseconds=1)


def _condition(when: str) -> tuple[pl.Expr, pl.Expr]:
    """Return whether a condition's inputs are known, and whether it holds."""
    condition = pl.sql_expr(when)
    inputs = sorted(set(condition.meta.root_names()))
    known = pl.all_horizontal(pl.lit(True), *(pl.col(name).is_not_null() for name in inputs))
    return known, condition.fill_null(False)


def _evaluate(rows: pl.DataFrame, expression: pl.Expr) -> pl.Series:
    clean = rows.with_columns(pl.selectors.float().fill_nan(None))
    try:
        return clean.with_columns(expression.alias("found"))["found"]
    except pl.exceptions.PolarsError as error:
        raise AiosError(
            f"a condition cannot be evaluated: {error}",
            where="review",
            fix="Make each 'when' and 'four_eyes' a condition that suits its columns' types.",
        ) from error


def _causes(automation: Automation, rows: pl.DataFrame) -> pl.Series:
    """Return what makes cases alike: rule, all rules that fired, missing inputs, policy."""
    inputs = [name for name in automation.policy.inputs if name in rows.columns]
    missing = pl.concat_str(
        [pl.when(pl.col(name).is_null()).then(pl.lit(f" {name}")) for name in inputs],
        ignore_nulls=True,
    )
    alone = (pl.col("fired") == pl.col("rule")) | (pl.col("fired") == "")
    text = (
        pl.when(pl.col("rule") == MISSING)
        .then(pl.col("rule") + ":" + missing)
        .when(alone)
        .then(pl.col("rule"))
        .otherwise(pl.col("rule") + " of " + pl.col("fired").str.replace_all(",", ", "))
    )
    causes = _evaluate(rows, text + "; policy " + pl.col("policy_hash").str.head(8))
    return pl.Series("cause", [_short(cause) for cause in causes])


def _short(cause: str) -> str:
    return cause if len(cause) <= _CAUSE else f"{cause[: _CAUSE - 17]} {text_digest(cause)}"


def _slices(automation: Automation, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in rows.select(automation.spec.slices).iter_rows(named=True):
        yield {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return None if value != value else value
    return str(value)


def _parts(cases: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids in parts that one statement takes."""
    return (cases[at : at + _MANY] for at in range(0, len(cases), _MANY))


def _present(connection: Connection, cases: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in _parts(cases):
        query = sa.select(CASES.c.id).where(CASES.c.id.in_(some))
        found |= set(connection.execute(query).scalars())
    return found


def _supersede(connection: Connection, cases: Sequence[str], now: int) -> None:
    closed = {"state": "superseded", "closed_at": now, "holder": None, "held_until": None}
    for some in _parts(cases):
        connection.execute(CASES.update().where(CASES.c.id.in_(some)).values(closed))
        theirs = [VERDICTS.c.case.in_(some), VERDICTS.c.undone_at.is_(None)]
        connection.execute(VERDICTS.update().where(*theirs).values(undone_at=now))


def _delete(connection: Connection, cases: Sequence[str]) -> None:
    for some in _parts(cases):
        connection.execute(CASES.delete().where(CASES.c.id.in_(some)))


def _refresh(connection: Connection, there: Any, row: Mapping[str, Any]) -> None:
    """Let a case that nobody has given a verdict on show what is decided now."""
    changed = {name: row[name] for name in _OF_THE_DECISION if getattr(there, name) != row[name]}
    if changed and there.state == "open":
        connection.execute(CASES.update().where(CASES.c.id == there.id).values(changed))

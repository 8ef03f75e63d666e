"""What a decision is to cause, worked out from the declaration by the automation's functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from aios.errors import AiosError

if TYPE_CHECKING:
    from aios.actions.declared import Call
    from aios.automation import Automation


@dataclass(frozen=True, slots=True)
class Planned:
    """One effect that a decision is to have.

    Attributes:
        automation: Whose.
        partition: Of the decision.
        decision: `<automation>/<partition>/<event id>@<revision>`.
        entity: Whom it concerns.
        outcome: What was decided.
        step: Its place among the effects of the outcome, from 0.
        type: What it does, in the words of the receiver.
        receiver: To which of `receivers`.
        to: Where at the receiver.
        payload: Plain data.
    """

    automation: str
    partition: str
    decision: str
    entity: str
    outcome: str
    step: int
    type: str
    receiver: str
    to: str
    payload: dict[str, Any]


def plan(automation: Automation, outcome: str, decided: Mapping[str, Any]) -> list[Planned]:
    """Return the effects of an outcome on one decided row, in their order.

    Args:
        automation: Whose declaration and functions.
        outcome: That of the decision, or the one a person gives it.
        decided: The decided row, with `decision` and `partition`.

    Raises:
        AiosError: A function failed, or did not return a plain object.
    """
    actions = automation.spec.actions
    if actions is None:
        return []
    decision, entity = decided["decision"], str(decided[automation.spec.entity])
    decided = {**decided, "outcome": outcome}
    return [
        Planned(
            automation.name,
            decided["partition"],
            decision,
            entity,
            outcome,
            step,
            effect.type,
            effect.receiver,
            effect.to,
            body_of(automation, effect, decision, decided),
        )
        for step, effect in enumerate(actions.effects.get(outcome, []))
    ]


def body_of(automation: Automation, call: Call, decision: str, *known: Any) -> dict[str, Any]:
    """Return what a call sends, made by its declared function from what is known.

    Raises:
        AiosError: The function failed, or did not return a plain object.
    """
    function = automation.function(call.body)
    where = f"{automation.name}, action '{call.type}' of {decision}"
    try:
        body = function(*known)
    except Exception as error:
        # Its text may hold what the function was given: only the kind of error is told.
        raise AiosError(
            f"'{call.body}' raised {type(error).__name__}",
            where=where,
            fix="Mend the function: it gets the row of the decision and returns plain data.",
        ) from error
    if not isinstance(body, dict):
        raise AiosError(
            f"'{call.body}' returned {type(body).__name__}, not an object",
            where=where,
            fix="Return a dict of text, numbers, lists and objects.",
        )
    json_of(body, where)
    return body


def json_of(payload: Any, where: str) -> str:
    """Return a payload as JSON text, its names in order.

    Raises:
        AiosError: It is no object of text, finite numbers, lists and objects.
    """
    if not isinstance(payload, dict) or (problem := _problem_in(payload)):
        problem = problem if isinstance(payload, dict) else "it is no object"
        raise AiosError(
            f"the payload is no plain data: {problem}",
            where=where,
            fix="Use text, finite numbers, true, false, null, lists and objects; times as text.",
        )
    try:
        return orjson.dumps(payload, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError as error:
        raise AiosError(
            f"the payload is no plain data: {error}",
            where=where,
            fix="Write integers beyond 64 bits as text, and leave out lone surrogates.",
        ) from error


def _problem_in(value: Any) -> str | None:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return None
    if kind is float:
        return None if math.isfinite(value) else "a number is not finite"
    if kind is dict:
        for name, one in value.items():
            if type(name) is not str:
                return "a name is no text"
            if problem := _problem_in(one):
                return problem
        return None
    if kind is list:
        for one in value:
            if problem := _problem_in(one):
                return problem
        return None
    return f"it holds a {kind.__name__}"

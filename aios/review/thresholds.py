"""The numbers that a policy's rules compare the score with: found, changed, and written back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from aios.policy import Policy

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COMPARED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    rf"|(?<![\w.])score\s*(?:<=|>=|<|>)\s*({_NUMBER})(?![\w.]|\s*[-+*/])"
    rf"|(?<![\w.*+])({_NUMBER})\s*(?:<=|>=|<|>)\s*score(?![\w.]|\s*[-+*/])"
    rf"|(?<![\w.])score\s+between\s+({_NUMBER})\s+and\s+({_NUMBER})(?![\w.]|\s*[-+*/])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Threshold:
    """A number that a rule compares the score with.

    Attributes:
        rule: The rule.
        value: The number.
        start: Where it begins in the rule's condition.
        end: Where it ends.
    """

    rule: str
    value: float
    start: int
    end: int


def thresholds(policy: Policy) -> list[Threshold]:
    """Return the thresholds of a policy's rules, in their order."""
    return [
        Threshold(rule.name, float(match[group]), *match.span(group))
        for rule in policy.rules
        for match in _COMPARED.finditer(rule.when)
        for group in range(1, 5)
        if match[group] is not None
    ]


def with_values(policy: Policy, found: Sequence[Threshold], values: Sequence[float]) -> Policy:
    """Return the policy with other numbers at its thresholds."""
    conditions = {rule.name: rule.when for rule in policy.rules}
    # From the back, so that the places of those before stay right.
    for one, value in reversed(list(zip(found, values, strict=True))):
        if value != one.value:
            when = conditions[one.rule]
            conditions[one.rule] = f"{when[: one.start]}{value:g}{when[one.end :]}"
    rules = [rule.model_copy(update={"when": conditions[rule.name]}) for rule in policy.rules]
    return Policy(**{**policy.model_dump(), "rules": [rule.model_dump() for rule in rules]})


def rewritten(text: str, old: Policy, new: Policy) -> str:
    """Return a policy's file with other conditions and a new version, its comments kept.

    Where the file writes conditions in another way than on one line, it is laid out anew.
    """
    new = new.model_copy(update={"version": old.version + 1})
    changed = re.sub(r"(?m)^version:\s*\d+", f"version: {new.version}", text, count=1)
    for before, after in zip(old.rules, new.rules, strict=True):
        if before.when != after.when:
            changed = changed.replace(before.when, after.when)
    if Policy.model_validate(yaml.safe_load(changed)) == new:
        return changed
    return yaml.safe_dump(new.model_dump(), sort_keys=False, allow_unicode=True, width=100)

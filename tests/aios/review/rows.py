"""Rows of cases and verdicts as the tables have them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from aios.identity.tables import micros

OPENED = datetime(2026, 3, 2, 9)
_leaves = count(1)


def case(number: int, **other: Any) -> dict[str, Any]:
    """A closed case that was opened at nine and due two days later."""
    opened = other.pop("opened", OPENED)
    row = {
        "id": f"case{number}",
        "automation": "loans",
        "partition": "2026-03-01",
        "decision": f"loans/2026-03-01/{number}@0",
        "event": str(number),
        "cause": "unsure",
        "rule": "unsure",
        "model_version": 1,
        "score": 0.5,
        "slices": {"region": "north"},
        "proposal": "approve",
        "four_eyes": False,
        "double": False,
        "hidden": False,
        "answer": None,
        "rehearsed": False,
        "state": "closed",
        "outcome": "approve",
        "opened_at": micros(opened),
        "due_at": micros(opened + timedelta(days=2)),
        "closed_at": micros(opened + timedelta(hours=1)),
        "holder": None,
        "held_at": None,
        "held_until": None,
    }
    return row | other


def verdict(of: dict[str, Any], by: str, outcome: str | None, /, **other: Any) -> dict[str, Any]:
    """A standing verdict on a case, a minute after it was taken."""
    seconds = other.pop("seconds", 60.0)
    taken = other.pop("taken", OPENED + timedelta(minutes=5))
    at = taken + timedelta(seconds=seconds)
    leaf = next(_leaves)
    kind = "approve" if outcome == of["proposal"] else "change"
    row = {
        "id": f"verdict{leaf}",
        "case": of["id"],
        **{name: of[name] for name in ("automation", "partition", "decision", "event")},
        "reviewer": f"person:{by}",
        "verdict": kind if outcome else "escalate",
        "outcome": outcome,
        "reason": "agreed",
        "comment": "",
        "shown": True,
        "rehearsed": False,
        "batch": None,
        "leaf": leaf,
        "in_effect": of["answer"] is None and outcome is not None,
        "held_at": micros(taken),
        "at": micros(at),
        "final_at": micros(at + timedelta(minutes=5)),
        "undone_at": None,
    }
    return row | other

"""Decoding: picking one value for each field, so that the values agree with each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from .candidates import Candidate
from .fields import KEY_FIELDS
from .memory import Recall
from .normalise import bare, parse_date, parse_money
from .segments import Page

LEAST = 0.5  # probability from which a field that need not be printed is given out


@dataclass(frozen=True)
class Picked:
    """The value of a field, and what its confidence is computed from.

    Attributes:
        text: As printed or as remembered; None where nothing was found.
        score: The ranker's probability.
        second: That of the best candidate of another value.
        votes: Share of the memory's weight behind exactly this text.
        alike: Share of it behind the same letters.
        support: How many recalled documents have exactly this text.
        known: How surely the vendor was recognised.
        sure: The reader's least confidence in the words.
        from_memory: Whether only the memory knows it in this form.
        constrained: Whether another value was pushed aside because it contradicted others.
        segments: Where it is printed.
    """

    text: str | None
    score: float = 0.0
    second: float = 0.0
    votes: float = 0.0
    alike: float = 0.0
    support: int = 0
    known: float = 0.0
    sure: float = 1.0
    from_memory: bool = False
    constrained: bool = False
    segments: tuple[int, ...] = ()


def decode(
    page: Page,
    candidates: dict[str, list[Candidate]],
    scores: dict[str, np.ndarray],
    recall: Recall,
) -> dict[str, Picked]:
    """Pick a value for each field.

    A field that need not be printed stays empty below an even chance. A due date lies not before
    the date, and a tax is less than the total; what contradicts that is pushed aside.
    """
    picked = {
        field: _best(page, field, some, scores[field], recall) for field, some in candidates.items()
    }
    total, day = parse_money(picked["total"].text), parse_date(picked["date"].text)
    if total is not None:
        fits = [(one.amount or 0) < max(total, 0.01) for one in candidates["tax"]]
        picked["tax"] = _constrained(page, "tax", candidates, scores, recall, picked, fits)
    if day:
        fits = [(parse_date(one.text) or day) >= day for one in candidates["due_date"]]
        picked["due_date"] = _constrained(
            page, "due_date", candidates, scores, recall, picked, fits
        )
    return picked


def _constrained(
    page: Page,
    field: str,
    candidates: dict[str, list[Candidate]],
    scores: dict[str, np.ndarray],
    recall: Recall,
    picked: dict[str, Picked],
    fits: list[bool],
) -> Picked:
    kept = [one for one, fit in zip(candidates[field], fits, strict=True) if fit]
    found = _best(page, field, kept, scores[field][np.array(fits, dtype=bool)], recall)
    return replace(found, constrained=found.text != picked[field].text)


def _best(
    page: Page, field: str, candidates: list[Candidate], scores: np.ndarray, recall: Recall
) -> Picked:
    column = {"company": 0, "address": 1}.get(field)
    votes = recall.votes(column) if column is not None else {}
    if not len(scores):
        return Picked(None, known=recall.known)
    at = int(scores.argmax())
    one = candidates[at]
    if field not in KEY_FIELDS and scores[at] < LEAST:
        return Picked(None, score=float(scores[at]), known=recall.known)
    other = [s for c, s in zip(candidates, scores, strict=True) if bare(c.text) != bare(one.text)]
    return Picked(
        text=one.text,
        score=float(scores[at]),
        second=float(max(other, default=0.0)),
        votes=votes.get(one.text, 0.0),
        alike=sum(share for text, share in votes.items() if bare(text) == bare(one.text)),
        support=recall.support(column, one.text) if column is not None else 0,
        known=recall.known,
        sure=float(page.sure[list(one.segments)].min()) if one.segments else 1.0,
        from_memory=not one.segments,
        segments=one.segments,
    )


def money_of(picked: Picked) -> float | None:
    """Return a picked amount as a number."""
    return parse_money(picked.text)


def day_of(picked: Picked) -> datetime | None:
    """Return a picked date as a day."""
    return parse_date(picked.text)

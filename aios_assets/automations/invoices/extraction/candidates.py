"""What might be the value of each field: spans of segments, as printed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from .fields import FIELDS
from .normalise import DATE, MONEY, parse_date, parse_money, without_registration
from .segments import Page

HEADER = 18  # segments from the top in which company and address are looked for
SUSPECTED = 0.2  # probability from which a segment is looked at wherever it stands
LONGEST = 7  # segments of an address
MOST = 500  # candidates of one field

_NUMBER = re.compile(r"(?<![\w/-])(?=[A-Z0-9/-]*\d)[A-Z0-9][A-Z0-9/-]{2,24}(?![\w])", re.IGNORECASE)
_CURRENCY = re.compile(r"\b(EUR|USD|GBP|MYR|CHF|RM)(?=\b|\d)|[€$£]")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){2,7}(?:\s?[A-Z0-9]{1,4})?\b")
_END = re.compile(
    r"[\s,;]*\b(TEL|FAX|PHONE|GST|CO\.? ?REG|REG|ROC|E-?MAIL|WWW|HTTP|HP)\b.*$", re.IGNORECASE
)
_HEAD = re.compile(r"^(HQ )?(ADD(RESS)?|HQ)\s?[:.]\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Candidate:
    """One possible value.

    Attributes:
        text: As it would be given out.
        segments: Which segments it is printed on; empty for what only the memory knows.
        amount: For money.
        kind: How it was made; a small number that the ranker reads.
    """

    text: str
    segments: tuple[int, ...]
    amount: float | None = None
    kind: int = 0


def propose(page: Page, tags: np.ndarray) -> dict[str, list[Candidate]]:
    """Return the candidates of each field that the page itself offers.

    Args:
        page: The page.
        tags: The probability of each field for each segment, shape (n, fields).
    """
    money = _money(page)
    found = {
        "company": _companies(page, _places(tags, "company")),
        "date": _dates(page),
        "address": _addresses(page, _places(tags, "address")),
        "total": money,
        "number": _matches(page, _NUMBER),
        "due_date": _dates(page),
        "tax": money,
        "currency": _matches(page, _CURRENCY),
        "iban": _matches(page, _IBAN),
    }
    return {name: some[:MOST] for name, some in found.items()}


def _places(tags: np.ndarray, field: str) -> list[int]:
    """Return where a name may stand: at the top, and wherever the tagger suspects it."""
    suspected = np.flatnonzero(tags[:, FIELDS.index(field)] >= SUSPECTED)
    return sorted({*range(min(HEADER, len(tags))), *(int(at) for at in suspected[:HEADER])})


def _companies(page: Page, places: list[int]) -> list[Candidate]:
    found = []
    for at in places:
        text = page.texts[at].strip()
        if not re.search(r"[^\W\d_]{2}", text):
            continue
        found.append(Candidate(text, (at,)))
        short = without_registration(text)
        if short and short != text:
            found.append(Candidate(short, (at,), kind=1))
        if at + 1 < len(page):
            both = f"{text} {page.texts[at + 1].strip()}"
            found.append(Candidate(both, (at, at + 1), kind=2))
            short = without_registration(both)
            if short != both:
                found.append(Candidate(short, (at, at + 1), kind=3))
        cut = re.split(r"\s*[(\[]", text)[0]
        if cut and cut not in (text, short):
            found.append(Candidate(cut, (at,), kind=4))
        name = text.split(",")[0]
        if name not in (text, cut):
            found.append(Candidate(name, (at,), kind=7))
        head, colon, rest = text.partition(":")
        if colon and len(head) < 16 and rest.strip():
            found.append(Candidate(rest.strip(), (at,), kind=6))
    return found


def _addresses(page: Page, places: list[int]) -> list[Candidate]:
    found = []
    for first in places:
        found += _runs(page, first, _HEAD.sub("", page.texts[first].strip()), 0)
        _, comma, rest = page.texts[first].partition(",")
        if comma and len(rest) > 5 and first < 2:  # after the company's name
            found += _runs(page, first, rest.strip(), 2)
    kept = [one for one in found if len(one.text) >= 12 and re.search(r"[^\W\d_]{3}", one.text)]
    return [variant for one in kept for variant in _variants(one)]


def _runs(page: Page, first: int, head: str, kind: int) -> list[Candidate]:
    """Return the texts that begin at a segment and go on over the next ones."""
    found, parts = [], list[str]()
    for end in range(first, min(first + LONGEST, len(page))):
        text = head if end == first else page.texts[end].strip()
        cut = _END.sub("", text)
        segments = tuple(range(first, end + 1))
        if cut and cut != text:
            found.append(Candidate(" ".join([*parts, cut]), segments, kind=kind + 1))
        parts.append(text)
        found.append(Candidate(" ".join(parts), segments, kind=kind))
    return found


def _variants(one: Candidate) -> list[Candidate]:
    """Return an address as printed, and as people tidy it: blanks closed up, no mark at the end."""
    plain = re.sub(r"\s+", " ", one.text)
    tidy = re.sub(r"\s+([,.])", r"\1", plain)
    texts = dict.fromkeys([plain, tidy, plain.rstrip(" ,"), re.sub(r"[ ,.]+$", "", plain)])
    kinds = range(one.kind * 4, one.kind * 4 + 4)
    return [replace(one, text=text, kind=kind) for text, kind in zip(texts, kinds, strict=False)]


def _dates(page: Page) -> list[Candidate]:
    return [
        Candidate(match[0], (at,))
        for at, text in enumerate(page.texts)
        for match in DATE.finditer(text)
        if parse_date(match[0])
    ]


def _money(page: Page) -> list[Candidate]:
    found = []
    for at, text in enumerate(page.texts):
        for match in MONEY.finditer(text):
            amount = parse_money(match[0])
            found.append(Candidate(match["number"], (at,), amount))
            if match["prefix"]:
                found.append(Candidate(match[0].strip(), (at,), amount, kind=1))
    # The last ones are the likelier totals where there are too many.
    return found[-MOST:]


def _matches(page: Page, pattern: re.Pattern[str]) -> list[Candidate]:
    return [
        Candidate(match[0].strip(), (at,))
        for at, text in enumerate(page.texts)
        for match in pattern.finditer(text)
    ]

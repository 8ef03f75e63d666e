"""The duplicates step: has this invoice been received before, under whatever name?

The same bytes are the same invoice. Otherwise the rows that share a key field are compared field
by field and by their text, and the evidence is added up as Fellegi and Sunter do ("A theory for
record linkage", 1969): each comparison counts log(m / u), where m is how often it comes out so
for two readings of one invoice and u how often for two invoices that share a key field. Text
alone never decides, since invoices of one vendor share most of it.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import Any

import polars as pl
from rapidfuzz.distance import Hamming, Levenshtein
from rapidfuzz.fuzz import ratio

from aios.documents.document import Document
from aios.documents.similarity import fingerprint, resemblance

DUPLICATE = 0.5  # from this score on, the earlier invoice is named
COMPARED = 40  # candidates whose fields and text are compared at most

# A row is compared with those that share one of these.
KEYS = ("digest", "number", "invoice_date", "total_amount", "fingerprint")
# (m, u) of each outcome of a comparison; one that cannot be made says nothing. Date and total
# are one comparison: that both are the same is far rarer than the product of their shares.
OUTCOMES: dict[str, dict[str, tuple[float, float]]] = {
    "number": {"same": (0.85, 0.01), "near": (0.07, 0.15), "other": (0.08, 0.84)},
    "sale": {
        "same": (0.88, 0.015),
        "near": (0.06, 0.03),
        "half": (0.05, 0.60),
        "other": (0.01, 0.355),
        "same, one unread": (0.94, 0.30),
        "other, one unread": (0.06, 0.70),
    },
    "payee": {"same": (0.94, 0.60), "other": (0.06, 0.40)},
}
# Resemblance of two texts -> the logarithm of m / u, linear between the points.
TEXT = ((0.2, -4.0), (0.5, 0.0), (0.8, 2.5))
PRIOR = math.log(0.03 / 0.97)

COUNTER = 3  # digits at the end of a number that count the invoices
# Letters and digits that readers take for each other.
ALIKE = str.maketrans("OQDILZSBG", "000112586")


def find(row: dict[str, Any], past: pl.DataFrame) -> dict[str, Any]:
    """Compare a document with those received before it.

    Args:
        row: `document_id`, `digest`, `document` (JSON), and as extraction read them (None where
            it did not): `number`, `invoice_date`, `total_amount`, `vendor`, `iban`.
        past: The rows known before: the same columns, without `document`, `received_at`, and
            what this step returned for them.

    Returns:
        `duplicate_score` in [0, 1], 1 for the same bytes; `duplicate_of`, the document_id of the
        first of its kind where the score is at least `DUPLICATE`, else None; `fingerprint` of the
        text, for the rows to come.
    """
    text = Document.from_json(row["document"]).text
    mark = fingerprint(text) if text.strip() else None
    score, original = _best(row | {"fingerprint": mark}, past)
    return {
        "duplicate_of": original if score >= DUPLICATE else None,
        "duplicate_score": round(score, 4),
        "fingerprint": mark,
    }


def _best(row: dict[str, Any], past: pl.DataFrame) -> tuple[float, str | None]:
    """The highest score of an earlier row, and the first document that it copies."""
    best: tuple[float, str | None] = (0.0, None)
    for earlier in _candidates(row, past):
        score = 1.0 if earlier["digest"] == row["digest"] else likeness(row, earlier)
        if score > best[0]:
            best = score, earlier["duplicate_of"] or earlier["document_id"]
    return best


def _candidates(row: dict[str, Any], past: pl.DataFrame) -> list[dict[str, Any]]:
    """Earlier rows that share a key field: those that share most first, then the oldest."""
    keys = [name for name in KEYS if row[name] is not None]
    shares = reduce(or_, (past[name] == row[name] for name in keys))
    found = past.filter(shares & (past["document_id"] != row["document_id"])).rows(named=True)

    def order(earlier: dict[str, Any]) -> tuple[Any, ...]:
        # The vendor alone is no reason to compare; with another key it is one more.
        shared = sum(earlier[name] == row[name] for name in (*keys, "vendor"))
        same = earlier["digest"] == row["digest"]
        return not same, -shared, earlier["received_at"], earlier["document_id"]

    return sorted(found, key=order)[:COMPARED]


def likeness(row: dict[str, Any], earlier: dict[str, Any]) -> float:
    """The probability that two rows are readings of the same invoice, from their contents."""
    compared = {
        "number": _numbers(row["number"], earlier["number"]),
        "sale": _sales(row, earlier),
        "payee": _payees(row, earlier),
    }
    evidence = PRIOR + _text(row["fingerprint"], earlier["fingerprint"])
    for name, outcome in compared.items():
        if outcome is not None:
            m, u = OUTCOMES[name][outcome]
            evidence += math.log(m / u)
    return 1 / (1 + math.exp(-evidence))


def _numbers(one: str | None, other: str | None) -> str | None:
    left, right = (plain(number or "").translate(ALIKE) for number in (one, other))
    if not left or not right:
        return None
    if left == right:
        return "same"
    # The next of a sequence differs in its last digits, a misreading anywhere.
    ends = left[-COUNTER:] + right[-COUNTER:]
    counted = left[:-COUNTER] == right[:-COUNTER] and ends.isdigit()
    misread = Levenshtein.distance(left, right, score_cutoff=1) <= 1
    return "near" if misread and not counted else "other"


def _sales(row: dict[str, Any], earlier: dict[str, Any]) -> str | None:
    date = _dates(row["invoice_date"], earlier["invoice_date"])
    total = _totals(row["total_amount"], earlier["total_amount"])
    if date is None or total is None:
        read = date or total
        return f"{read}, one unread" if read in ("same", "other") else None
    if date == total == "same":
        return "same"
    if "other" not in (date, total):
        return "near"
    return "half" if "same" in (date, total) else "other"


def _dates(one: datetime | None, other: datetime | None) -> str | None:
    if one is None or other is None:
        return None
    if one.date() == other.date():
        return "same"
    swapped = (one.year, one.month, one.day) == (other.year, other.day, other.month)
    misread = Hamming.distance(f"{one:%Y%m%d}", f"{other:%Y%m%d}") == 1
    return "near" if swapped or misread else "other"


def _totals(one: float | None, other: float | None) -> str | None:
    if one is None or other is None:
        return None
    if abs(one - other) < 0.005:
        return "same"
    misread = Levenshtein.distance(f"{one:.2f}", f"{other:.2f}", score_cutoff=1) <= 1
    return "near" if misread else "other"


def _payees(row: dict[str, Any], earlier: dict[str, Any]) -> str | None:
    accounts = [plain(one["iban"] or "") for one in (row, earlier)]
    if accounts[0] and accounts[0] == accounts[1]:
        return "same"
    if row["vendor"] is None or earlier["vendor"] is None:
        return None
    return "same" if ratio(row["vendor"], earlier["vendor"]) >= 85 else "other"


def _text(one: str | None, other: str | None) -> float:
    if one is None or other is None:
        return 0.0
    alike = resemblance(one, other)
    for (low, least), (high, most) in pairwise(TEXT):
        if alike < high:
            return least + (most - least) * max(alike - low, 0.0) / (high - low)
    return TEXT[-1][1]


def plain(text: str) -> str:
    """The text in capital letters and digits only."""
    return re.sub(r"[^A-Z0-9]", "", text.upper())

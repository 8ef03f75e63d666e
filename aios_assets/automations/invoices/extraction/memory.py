"""What people wrote for the vendors of the training documents, to be used when one is recognised.

A vendor is recognised by what its header prints again and again: registration and phone numbers,
and whole lines. Each such mark counts by how few vendors print it.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from typing import Any

import numpy as np
from rapidfuzz import fuzz, process

from .candidates import Candidate
from .normalise import bare, vendor_key
from .segments import Page

TOP = 16  # segments from which marks are taken
MEMORY = 9  # the kind of a candidate that the memory made
FOOT = 6  # and from the page's foot
RECALLED = 6  # vendors that are looked at
FUZZY = 85  # from this likeness on, a vendor's name is recognised in a line

Memory = dict[str, Any]


def remember(pages: list[Page], truth: list[dict[str, str | None]]) -> Memory:
    """Return what there is to remember of documents and their right values, as plain data.

    Returns:
        `entries`: company, address, date pattern and total prefix of each document; `marks`:
        mark -> entries that print it; `names`: bare company -> entries.
    """
    entries: list[list[Any]] = []
    marks: dict[str, list[int]] = defaultdict(list)
    names: dict[str, list[int]] = defaultdict(list)
    for page, right in zip(pages, truth, strict=True):
        at = len(entries)
        entries.append(
            [right.get("company"), right.get("address"), pattern(right.get("date")),
             prefix(right.get("total"))]
        )  # fmt: skip
        for mark in _marks(page):
            marks[mark].append(at)
        if company := right.get("company"):
            names[bare(company)].append(at)
    return {"entries": entries, "marks": dict(marks), "names": dict(names)}


def pattern(text: str | None) -> str | None:
    """Return the shape of a printed date, such as 00/00/0000."""
    return re.sub(r"[^\W\d_]+", "A", re.sub(r"\d", "0", text)) if text else None


def prefix(text: str | None) -> str | None:
    """Return what stands before the digits of a printed total."""
    return re.split(r"[\d-]", text)[0].strip() if text else None


class Recall:
    """What the memory has to say about one page.

    Attributes:
        known: How surely a vendor was recognised, 0 to 1.
    """

    def __init__(self, memory: Memory, page: Page) -> None:
        self._entries, self._votes = memory["entries"], dict[int, dict[str, float]]()
        self._weight = self._weigh(memory, page)
        self._total = sum(self._weight.values()) or 1.0
        best = max(self._weight.values(), default=0.0)
        self.known = best / (best + 3.0)
        self._top = bare(" ".join((*page.texts[: TOP + 4], *page.texts[TOP + 4 :][-FOOT:])))

    def _weigh(self, memory: Memory, page: Page) -> dict[int, float]:
        weight: dict[int, float] = defaultdict(float)
        n = max(len(self._entries), 1)
        for mark in _marks(page):
            rows = memory["marks"].get(mark, ())
            for row in rows:
                weight[row] += math.log(1 + n / len(rows))
        names = list(memory["names"])
        for text in (*page.texts[:8], *page.texts[8:][-FOOT:]) if names else ():
            line = bare(text)
            if len(line) < 5:
                continue
            found = process.extractOne(line, names, scorer=fuzz.ratio, score_cutoff=FUZZY)
            if found:
                for row in memory["names"][found[0]]:
                    weight[row] += 4.0 * found[1] / 100
        # A page has hundreds of faint echoes; only what is close to the best counts.
        best = max(weight.values(), default=0.0)
        return {row: value for row, value in weight.items() if value >= 0.5 * best}

    def votes(self, column: int) -> dict[str, float]:
        """Return the values of a column of the entries with the share of weight behind each."""
        if column not in self._votes:
            self._votes[column] = self._counted(column)
        return self._votes[column]

    def _counted(self, column: int) -> dict[str, float]:
        found: Counter[str] = Counter()
        for row, weight in self._weight.items():
            value = self._entries[row][column]
            if value is not None:
                found[value] += weight / self._total  # type: ignore[assignment]
        return dict(found)

    def support(self, column: int, text: str) -> int:
        """Return how many of the recalled documents have a value."""
        return sum(self._entries[row][column] == text for row in self._weight)

    def candidates(self, column: int) -> list[Candidate]:
        """Return what the memory would write, most supported first."""
        votes = sorted(self.votes(column).items(), key=lambda item: -item[1])[:RECALLED]
        return [Candidate(text, (), kind=MEMORY) for text, _ in votes if text]

    def printed(self, text: str) -> float:
        """Return how well a text can be found in the page's header, 0 to 1."""
        wanted = bare(text)
        if not wanted:
            return 0.0
        if wanted in self._top:
            return 1.0
        return fuzz.partial_ratio(wanted, self._top) / 100

    def known_vendor(self, company: str | None) -> bool:
        """Tell whether a company is one that the memory holds and that this page recalls."""
        key = vendor_key(company)
        return bool(key) and key in {vendor_key(one) for one in self.votes(0)}


def _marks(page: Page) -> set[str]:
    found = set()
    for text in (*page.upper[:TOP], *page.upper[TOP:][-FOOT:]):
        line = bare(text)
        if len(line) >= 6:
            found.add(line)
        for digits in re.findall(r"\d[\d -]{5,15}\d", text):
            number = re.sub(r"\D", "", digits)
            if 7 <= len(number) <= 13:
                found.add(number)
        for number in re.findall(r"\b\d{4,8}\s?-\s?[A-Z]\b", text):
            found.add(bare(number))
    return found


def agreement(page: Page, recall: Recall) -> np.ndarray:
    """Return how surely the vendor is known and how united the memory is, shape (3,)."""
    companies, addresses = recall.votes(0), recall.votes(1)
    return np.array(
        [recall.known, max(companies.values(), default=0.0), max(addresses.values(), default=0.0)]
    )

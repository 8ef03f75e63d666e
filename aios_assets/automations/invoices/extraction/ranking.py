"""Ranking: how likely each candidate is the right value of its field, by gradient boosting."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from .candidates import Candidate
from .fields import FIELDS, PATTERNS
from .memory import MEMORY, Recall, pattern, prefix
from .normalise import bare, parse_date
from .segments import Page
from .tagging import layout

NEGATIVES = 30  # wrong candidates of one document that a ranker is trained on
_POSTCODE = re.compile(r"\b\d{5}\b")
_START = re.compile(r"^\W*(NO\b|LOT|UNIT|LEVEL|BLOCK|G\d|\d)", re.IGNORECASE)
_LEGAL = re.compile(r"\b(SDN|BHD|S/B|LTD|LIMITED|GMBH|INC|LLC|SARL|AG|ENTERPRISE|TRADING)\b", re.I)
_EPSILON = 0.006  # of a currency unit: amounts that differ by less are the same


class View:
    """What the features of all candidates of a page are computed from."""

    def __init__(self, page: Page, tags: np.ndarray, recall: Recall) -> None:
        self.page, self.tags, self.recall = page, tags, recall
        self.place = layout(page)
        own = [[bool(one.search(text)) for one in PATTERNS.values()] for text in page.texts]
        labels = np.array(own, dtype=float).reshape(len(page), len(PATTERNS))
        rows = np.array([labels[row].max(axis=0) if row else labels[0] * 0 for row in page.row])
        self.own = np.maximum(labels, rows) if len(page) else labels
        self.labels = np.concatenate(
            [labels, rows.reshape(labels.shape), _beside(self.own, page.above)], axis=1
        )

        self.static = np.concatenate([tags, self.place, self.labels], axis=1)

    def table(self, field: str, candidates: list[Candidate]) -> np.ndarray:
        """Return one row of features for each candidate."""
        if not candidates:
            return np.zeros((0, 0))
        common = self._common(field, candidates)
        extra = {
            "company": self._names, "address": self._names, "total": self._amounts,
            "tax": self._amounts, "date": self._dates, "due_date": self._dates,
        }.get(field)  # fmt: skip
        if extra is None:
            return common
        return np.concatenate([common, np.array(extra(field, candidates))], axis=1)

    def _common(self, field: str, candidates: list[Candidate]) -> np.ndarray:
        """Return the features of every field: the text's form, its tags, where it stands."""
        column, n = FIELDS.index(field), len(self.page)
        tags = np.concatenate([self.tags[:, column], [0.0]])  # the last stands for beyond the page
        total = max(float(tags.sum()), 1e-6)
        form, stats, first = [], [], []
        for one in candidates:
            text = one.text
            form.append(
                (one.kind, len(text), sum(map(str.isdigit, text)) / max(len(text), 1),
                 text.count(" "), text.count(","), len(one.segments))
            )  # fmt: skip
            first.append(one.segments[0] if one.segments else n)
            stats.append(self._tags_of(one, tags, total))
        nowhere = np.full((1, self.static.shape[1]), np.nan)
        static = np.concatenate([self.static, nowhere])[first]
        return np.concatenate([np.array(form, dtype=float), np.array(stats), static], axis=1)

    def _tags_of(self, one: Candidate, tags: np.ndarray, total: float) -> tuple[float, ...]:
        if not one.segments:
            return (np.nan,) * 6
        first, last = one.segments[0], one.segments[-1]
        own = tags[first : last + 1] if len(one.segments) > 1 else tags[first : first + 1]
        whole = float(one.text == self.page.texts[first].strip())
        covered = float(own.sum())
        before = tags[first - 1] if first else 0.0
        return covered / len(own), own.min(), covered / total, before, tags[last + 1], whole

    def _names(self, field: str, candidates: list[Candidate]) -> list[list[float]]:
        column = 0 if field == "company" else 1
        votes = self.recall.votes(column)
        alike: Counter[str] = Counter()
        for text, share in votes.items():
            alike[bare(text)] += share  # type: ignore[assignment]
        best = max(votes.values(), default=0.0)
        first = next((bare(c.text) for c in candidates if c.kind == MEMORY), "")
        return [
            [
                votes.get(one.text, 0.0),
                np.log1p(self.recall.support(column, one.text)),
                alike.get(bare(one.text), 0.0),
                best,
                self.recall.known,
                self.recall.printed(one.text) if not one.segments else 1.0,
                float(bare(one.text) == first),
                float(bool(_LEGAL.search(one.text))),
                float(bool(_POSTCODE.search(one.text))),
                float(bool(_START.search(one.text))),
                float(one.text.rstrip().endswith((".", ","))),
            ]
            for one in candidates
        ]

    def _amounts(self, field: str, candidates: list[Candidate]) -> list[list[float]]:
        amounts = [abs(one.amount or 0.0) for one in candidates]
        prefixes = self.recall.votes(3)
        distinct = sorted({round(one, 2) for one in amounts}, reverse=True)
        counts = Counter(round(one, 2) for one in amounts)
        largest = max(amounts, default=0.0) or 1.0
        said = self._said_of(field, candidates)
        table = np.array(distinct[:40])
        sums = table[:, None] + table[None] if len(table) else np.zeros((0, 0))
        rows = []
        for at, (one, amount) in enumerate(zip(candidates, amounts, strict=True)):
            rows.append(
                [
                    amount / largest,
                    float(distinct.index(round(amount, 2))),
                    float(counts[round(amount, 2)]),
                    np.log1p(amount),
                    at / len(candidates),
                    # cash - change, or net + tax
                    float((np.abs(sums - amount) < _EPSILON).sum()),
                    float((np.abs(table[:, None] - table[None] - amount) < _EPSILON).sum()),
                    prefixes.get(prefix(one.text) or "", 0.0),
                    self.recall.known,
                    float((one.amount or 0.0) < 0),
                    *said[round(amount, 2)],
                ]
            )
        return rows

    def _said_of(self, field: str, candidates: list[Candidate]) -> dict[float, list[float]]:
        """Return for each amount what is printed beside any of its occurrences."""
        said: dict[float, np.ndarray] = {}
        column = FIELDS.index(field)
        for one in candidates:
            at, key = one.segments[0], round(abs(one.amount or 0.0), 2)
            here = np.array([self.tags[at, column], *self.own[at]])
            said[key] = np.maximum(said.get(key, here), here)
        return {key: list(values) for key, values in said.items()}

    def _dates(self, field: str, candidates: list[Candidate]) -> list[list[float]]:
        days = [parse_date(one.text) for one in candidates]
        counts, shapes = Counter(days), self.recall.votes(2)
        texts = Counter(one.text for one in candidates)
        ordered = sorted({day for day in days if day})
        return [
            [
                float(counts[day]),
                float(texts[one.text]),
                float(ordered.index(day)) if day else -1.0,
                float(len(ordered)),
                shapes.get(pattern(one.text) or "", 0.0),
                self.recall.known,
                float(at),
            ]
            for at, (one, day) in enumerate(zip(candidates, days, strict=True))
        ]


def marks(field: str, candidates: list[Candidate], right: str | None) -> np.ndarray:
    """Return which candidates are right: the same text or, where none is, the same letters."""
    if not right:
        return np.zeros(len(candidates))
    same = np.array([one.text == right for one in candidates], dtype=float)
    if not same.any():
        wanted = bare(right)
        same = np.array([bare(one.text) == wanted for one in candidates], dtype=float)
    return same


def fit(tables: list[np.ndarray], wanted: list[np.ndarray], *, seed: int) -> Any:
    """Train the ranker of one field; None where there is nothing to learn from."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    draw = np.random.default_rng(seed)
    kept = [_thinned(target, draw) for target in wanted]
    rows = [table[some] for table, some in zip(tables, kept, strict=True) if len(some)]
    label = [target[some] for target, some in zip(wanted, kept, strict=True) if len(some)]
    if not rows or not np.concatenate(label).any():
        return None
    if np.concatenate(label).all():  # nothing else that looks like it was ever printed
        rows.append(np.full((1, rows[0].shape[1]), -1.0))
        label.append(np.zeros(1))
    model = HistGradientBoostingClassifier(
        max_iter=50, learning_rate=0.15, max_leaf_nodes=15, min_samples_leaf=8,
        l2_regularization=1.0, early_stopping=False, random_state=seed,
    )  # fmt: skip
    return model.fit(np.concatenate(rows), np.concatenate(label))


def _thinned(target: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    wrong = np.flatnonzero(target == 0)
    if len(wrong) > NEGATIVES:
        wrong = draw.choice(wrong, NEGATIVES, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(target), wrong]))


def score(model: Any, table: np.ndarray) -> np.ndarray:
    """Return the probability of each candidate to be right, shape (n,)."""
    if model is None or not len(table):
        return np.zeros(len(table))
    found: np.ndarray = model.predict_proba(table)[:, 1]
    return found


def _beside(labels: np.ndarray, neighbours: list[int]) -> np.ndarray:
    at = np.array(neighbours, dtype=int)
    if not len(at):
        return labels
    return np.where((at >= 0)[:, None], labels[at], 0.0)

"""Recipes that train the extraction, and the function that a trained one becomes.

Confidence is honest only about documents that a model has not seen. Training therefore goes in
folds: tagger, memory and rankers read each fold without having learned from it, and calibration
learns from these readings. What is stored is trained once more, on everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from aios.documents.document import Document

from . import confidence, linear, network, ranking
from .candidates import Candidate, propose
from .decoding import Picked, day_of, decode, money_of
from .fields import FIELDS
from .line_items import line_items, totals_agree
from .memory import Memory, Recall, remember
from .normalise import same, vendor_key
from .segments import Page
from .tagging import targets

Truth = dict[str, str | None]
Tagger = Callable[[Page], np.ndarray]
FOLDS = 2


def layout_network(
    rows: pl.DataFrame, truth: pl.DataFrame, *, seed: int, epochs: int = 14
) -> dict[str, Any]:
    """Train with the layout network as tagger; see `_train`."""

    def train(pages: list[Page], wanted: list[np.ndarray]) -> tuple[dict[str, Any], Tagger]:
        model = network.fit(pages, wanted, seed=seed, epochs=epochs)
        parts = {"tagger": network.exportable(model)}
        return parts, lambda page: network.probabilities(model, page)

    return _train(rows, truth, train, "network", seed)


def boosting(
    rows: pl.DataFrame, truth: pl.DataFrame, *, seed: int, strength: float = 1.0
) -> dict[str, Any]:
    """Train with scikit-learn alone; see `_train`."""

    def train(pages: list[Page], wanted: list[np.ndarray]) -> tuple[dict[str, Any], Tagger]:
        model, columns = linear.fit(pages, wanted, seed=seed, strength=strength)
        parts = {"tagger": model, "tagged": columns}
        return parts, lambda page: linear.probabilities(model, columns, page)

    return _train(rows, truth, train, "linear", seed)


def _train(
    rows: pl.DataFrame,
    truth: pl.DataFrame,
    train: Callable[[list[Page], list[np.ndarray]], tuple[dict[str, Any], Tagger]],
    kind: str,
    seed: int,
) -> dict[str, Any]:
    """Train tagger, memory, rankers and calibration.

    Args:
        rows: Column `document`: JSON of the documents.
        truth: The fields as text, same rows; null where a document has none.
        train: Trains the tagger.
        kind: Which one it is.
        seed: Of everything random.

    Returns:
        Parts: JSON data, scikit-learn estimators, and a torch module with what exports it.
    """
    pages = [Page.of(Document.from_json(text)) for text in rows["document"]]
    right: list[Truth] = truth.select(FIELDS).to_dicts()
    wanted = [targets(page, one) for page, one in zip(pages, right, strict=True)]
    fold = np.random.default_rng(seed).permutation(len(pages)) % FOLDS
    seen = _read_by_folds(pages, right, wanted, fold, train)
    rankers = _rankers(seen, right, seed)
    picked = _pick_by_folds(pages, seen, right, fold, seed)
    parts, _ = train(pages, wanted)
    judged = [
        {
            field: float(same(field, one[field].text, right_value))
            for field in FIELDS
            if (right_value := value[field]) is not None
        }
        for one, value in zip(picked, right, strict=True)
    ]
    return {
        **parts,
        **{f"rank_{field}": model for field, model in rankers.items()},
        "scales": confidence.fit(picked, judged, seed=seed),
        "memory": remember(pages, right),
        "about": {"kind": kind, "documents": len(pages)},
    }


Seen = list[tuple[Recall, dict[str, list[Candidate]], dict[str, np.ndarray]]]


def _read_by_folds(
    pages: list[Page],
    right: list[Truth],
    wanted: list[np.ndarray],
    fold: np.ndarray,
    train: Callable[[list[Page], list[np.ndarray]], tuple[dict[str, Any], Tagger]],
) -> Seen:
    """Return recall, candidates and feature tables of each page, by models that did not see it."""
    seen: dict[int, Any] = {}
    for number in range(FOLDS):
        others = np.flatnonzero(fold != number)
        _, tagger = train([pages[i] for i in others], [wanted[i] for i in others])
        memory = remember([pages[i] for i in others], [right[i] for i in others])
        for at in np.flatnonzero(fold == number):
            seen[int(at)] = _look(pages[at], tagger, memory)
    return [seen[at] for at in range(len(pages))]


def _look(
    page: Page, tagger: Tagger, memory: Memory
) -> tuple[Recall, dict[str, list[Candidate]], dict[str, np.ndarray]]:
    recall, tags = Recall(memory, page), tagger(page)
    candidates = propose(page, tags)
    candidates["company"] = candidates["company"] + recall.candidates(0)
    candidates["address"] = candidates["address"] + recall.candidates(1)
    view = ranking.View(page, tags, recall)
    return recall, candidates, {f: view.table(f, some) for f, some in candidates.items()}


def _rankers(seen: Seen, right: list[Truth], seed: int) -> dict[str, Any]:
    """Train the ranker of each field that has any truth."""
    rankers = {}
    for field in FIELDS:
        # Where a field's truth is never known, nothing says that its candidates are wrong.
        if all(one[field] is None for one in right):
            continue
        tables = [tables[field] for _, _, tables in seen]
        wanted = [
            ranking.marks(field, candidates[field], one[field])
            for (_, candidates, _), one in zip(seen, right, strict=True)
        ]
        model = ranking.fit(tables, wanted, seed=seed)
        if model is not None:
            rankers[field] = model
    return rankers


def _pick_by_folds(
    pages: list[Page], seen: Seen, right: list[Truth], fold: np.ndarray, seed: int
) -> list[dict[str, Picked]]:
    """Return what is picked on each page by rankers that were not trained on it."""
    picked: dict[int, dict[str, Picked]] = {}
    for number in range(FOLDS):
        others = np.flatnonzero(fold != number)
        rankers = _rankers([seen[i] for i in others], [right[i] for i in others], seed)
        own = [int(at) for at in np.flatnonzero(fold == number)]
        found = _pick([pages[at] for at in own], [seen[at] for at in own], rankers)
        picked.update(zip(own, found, strict=True))
    return [picked[at] for at in range(len(pages))]


def _pick(pages: list[Page], seen: Seen, rankers: dict[str, Any]) -> list[dict[str, Picked]]:
    """Return what is picked on each page; one call of a ranker costs more than many rows of it."""
    scores: list[dict[str, np.ndarray]] = [{} for _ in pages]
    for field in FIELDS:
        tables = [tables[field] for _, _, tables in seen]
        filled = [table for table in tables if len(table)]
        rows = np.concatenate(filled) if filled else np.zeros((0, 0))
        found = ranking.score(rankers.get(field), rows)
        ends = np.cumsum([len(table) for table in tables])[:-1]
        for of_page, part in zip(scores, np.split(found, ends), strict=True):
            of_page[field] = part
    return [
        decode(page, candidates, one, recall)
        for page, (recall, candidates, _), one in zip(pages, seen, scores, strict=True)
    ]


def extractor(parts: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the step's function of a trained model's parts."""
    rankers = {field: parts[f"rank_{field}"] for field in FIELDS if f"rank_{field}" in parts}
    memory: Memory = parts["memory"]
    if parts["about"]["kind"] == "network":

        def tagger(page: Page) -> np.ndarray:
            return network.probabilities(parts["tagger"], page)
    else:

        def tagger(page: Page) -> np.ndarray:
            return linear.probabilities(parts["tagger"], parts["tagged"], page)

    def read(row: dict[str, Any]) -> dict[str, Any]:
        page = Page.of(Document.from_json(row["document"]))
        seen = _look(page, tagger, memory)
        [picked] = _pick([page], [seen], rankers)
        return _outputs(page, picked, seen[0], parts["scales"])

    return read


def _outputs(
    page: Page, picked: dict[str, Picked], recall: Recall, scales: dict[str, Any]
) -> dict[str, Any]:
    items = line_items(page)
    total, tax = money_of(picked["total"]), money_of(picked["tax"])
    company = picked["company"].text
    return {
        **{field: picked[field].text for field in FIELDS},
        **{f"{f}_confidence": confidence.sure(scales, f, picked[f]) for f in FIELDS},
        "confidence": confidence.sure_of_document(scales, picked),
        "line_items": items,
        "line_count": float(len(items)),
        "total_amount": total,
        "tax_amount": tax,
        "invoice_date": day_of(picked["date"]),
        "vendor": vendor_key(company),
        "vendor_known": float(recall.known_vendor(company)),
        "totals_agree": totals_agree(items, tax, total),
        "evidence": {field: _reason(page, one) for field, one in picked.items() if one.text},
    }


def _reason(page: Page, one: Picked) -> dict[str, Any]:
    """Return where a value is printed, as indices of the document's words, and why it was taken."""
    if one.from_memory:
        why = f"as people wrote it for this vendor ({one.votes:.0%} of the like documents)"
    else:
        why = f"ranked {one.score:.2f}, the next other value {one.second:.2f}"
    if one.constrained:
        why += "; another value contradicted the other fields"
    return {"words": [page.origin[at] for at in one.segments], "reason": why}

"""From articles of the EU AI Act (Regulation (EU) 2024/1689) to what a pack holds about each.

A map of evidence and no claim of compliance: which duties apply, and whether they are met, is for
the provider, the deployer and those who supervise them to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from aios.evidence.manifest import CHECKPOINT, CHECKPOINTS, LEAVES, MANIFEST, ROWS
from aios_assets.evidence import (
    bill,
    data_sheet,
    effects,
    models,
    operation,
    oversight,
    reviews,
)
from aios_assets.evidence.scope import Folder, grouped

NAME = "articles.json"


@dataclass(frozen=True)
class Article:
    """One article: what it asks in short, where the pack speaks to it, and what it cannot hold.

    Attributes:
        name: Such as `Article 9`.
        title: Its subject.
        asks: What it asks, in short and in our words.
        files: Patterns of names in the pack.
        outside: What it asks and the platform does not keep.
    """

    name: str
    title: str
    asks: str
    files: tuple[str, ...]
    outside: str


_CARDS = "cards/*"
_DRIFT = "monitoring/*/drift.json"
_PERFORMANCE = "monitoring/*/performance.json"
_POLICIES = (operation.POLICIES, "policies/*")
_ACCESS = "access/*"
_PROOFS = (LEAVES, CHECKPOINT, CHECKPOINTS, ROWS)

ARTICLES = (
    Article(
        "Article 9",
        "Risk management system",
        "Risks identified, measured, treated and tested against, over the whole lifecycle.",
        (models.GATES, _CARDS, *_POLICIES, operation.INCIDENTS, _PERFORMANCE, _DRIFT),
        "The risk analysis itself: which harms were considered, and which residual risk was "
        "accepted by whom.",
    ),
    Article(
        "Article 10",
        "Data and data governance",
        "Data that are relevant, representative and examined for errors and for bias.",
        (data_sheet.NAME, _CARDS, _DRIFT),
        "How the data were collected and for what purpose, consent and legal basis, and why they "
        "represent the people concerned.",
    ),
    Article(
        "Article 11",
        "Technical documentation",
        "Documentation drawn up before use and kept up to date.",
        (_CARDS, data_sheet.NAME, models.VERSIONS, *_POLICIES, bill.NAME),
        "The provider's own description of the system and of its place in other products.",
    ),
    Article(
        "Article 12",
        "Record-keeping",
        "Events recorded automatically, so that operation can be traced.",
        _PROOFS,
        "Events of systems outside the platform.",
    ),
    Article(
        "Article 13",
        "Transparency and information to deployers",
        "Instructions that state purpose, accuracy, limits and oversight.",
        (_CARDS, data_sheet.NAME, *_POLICIES),
        "Instructions for use, and the provider's contact details.",
    ),
    Article(
        "Article 14",
        "Human oversight",
        "People who can understand, supervise, override and stop the system.",
        (oversight.NAME, reviews.NAME, models.APPROVALS, models.CHANGES, *_POLICIES, _ACCESS),
        "Whether reviewers are trained, have the time, and resist automation bias.",
    ),
    Article(
        "Article 15",
        "Accuracy, robustness and cybersecurity",
        "Accuracy stated in metrics; resilience against errors, drift and attacks.",
        (models.GATES, _CARDS, _PERFORMANCE, _DRIFT, bill.NAME, operation.CONTROLS, _ACCESS),
        "Penetration tests, adversarial tests and the vulnerabilities of the components listed.",
    ),
    Article(
        "Article 17",
        "Quality management system",
        "Documented procedures for design, testing, change and accountability.",
        (models.GATES, models.APPROVALS, models.CHANGES, operation.CONTROLS, _ACCESS),
        "The organisation's quality manual and its responsibilities.",
    ),
    Article(
        "Article 18",
        "Documentation keeping",
        "Documentation at the authorities' disposal for ten years.",
        (MANIFEST, CHECKPOINT, CHECKPOINTS),
        "That this pack is kept: keeping it, and its public key, is for whoever receives it.",
    ),
    Article(
        "Article 19",
        "Automatically generated logs",
        "Logs kept for a suitable period, of six months at least.",
        _PROOFS,
        "That the log is kept after this pack was made; a later pack shows it by continuing this "
        "one's checkpoint.",
    ),
    Article(
        "Article 20",
        "Corrective actions and duty of information",
        "Systems that do not conform are corrected, withdrawn or disabled, and others are told.",
        (operation.INCIDENTS, models.CHANGES, effects.NAME, reviews.NAME),
        "Messages to deployers, distributors and authorities.",
    ),
    Article(
        "Article 26",
        "Obligations of deployers",
        "Use as instructed, oversight by competent people, input data that fit, logs kept.",
        (
            *(oversight.NAME, reviews.NAME, data_sheet.NAME, _DRIFT),
            *(operation.INCIDENTS, effects.NAME, *_PROOFS),
        ),
        "Information of workers and of the people concerned.",
    ),
    Article(
        "Article 72",
        "Post-market monitoring",
        "Performance in use collected and analysed throughout the lifetime, by a plan.",
        (_PERFORMANCE, _DRIFT, operation.INCIDENTS, oversight.NAME, reviews.NAME, effects.NAME),
        "The monitoring plan as a document.",
    ),
    Article(
        "Annex IV",
        "Content of the technical documentation",
        "Description, development, data, monitoring, metrics, risks, changes, standards, "
        "declaration, plan.",
        (
            *(_CARDS, data_sheet.NAME, models.GATES, models.VERSIONS, models.CHANGES),
            *(*_POLICIES, _PERFORMANCE, _DRIFT, oversight.NAME, bill.NAME),
        ),
        "Harmonised standards applied, the EU declaration of conformity, and the risk management "
        "and monitoring documents of points 5 and 9.",
    ),
)


def write_articles(folder: Folder) -> list[dict[str, Any]]:
    """Write and return the table; the pack must hold all that it speaks of but the manifest."""
    nothing = {lack.file for lack in folder.lacks if lack.empty}
    found = []
    for one in ARTICLES:
        names = list(dict.fromkeys(name for p in one.files for name in _matching(folder, p)))
        lacks = [lack for lack in folder.lacks if any(fnmatchcase(lack.file, p) for p in one.files)]
        found.append(
            {
                "article": one.name,
                "title": one.title,
                "asks": one.asks,
                "artefacts": [name for name in names if name not in nothing],
                "missing": [f"{what}: {why}" for why, what in grouped(lacks).items()],
                "not_kept_by_the_platform": one.outside,
            }
        )
    folder.write_json(NAME, found)
    return found


def _matching(folder: Folder, pattern: str) -> list[str]:
    if pattern == MANIFEST:
        return [MANIFEST]
    return sorted(name for name in folder.digests if fnmatchcase(name, pattern))

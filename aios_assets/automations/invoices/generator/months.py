"""Which documents arrive in a month, what is right about them, and what was done to them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from aios.documents.document import Document, Word

from .content import Invoice, write
from .layouts import Sheet, lay_out
from .rendering import scan
from .tricks import SHARES, misread, play
from .vendors import FIRST, PORTAL_FROM, PORTAL_VENDORS, SEED, Vendor, vendors

if TYPE_CHECKING:
    from PIL.Image import Image

START, END = datetime(2025, 1, 1), datetime(2026, 2, 1)
DOCUMENTS = 80  # honest ones in a month, before copies
HIGH = 0.03  # share of honest high values
SCANNED = 0.025  # share that arrives as a picture
NOISY = 0.25  # share whose words were read carelessly
COPIES, RESENT = 0.02, 0.02  # share sent again unchanged, and as another scan
DAMAGED = ("damaged", "encrypted", "empty")


@dataclass(frozen=True)
class Arrival:
    """One document as it arrives.

    Attributes:
        uri: `generated:2025-03/17`.
        invoice: Its content; None where the file cannot be read.
        trick: What was done to it; None for an honest one.
        copy_of: The document that it repeats.
        content: What its digest is made of: copies share it.
    """

    id: str
    uri: str
    received_at: datetime
    invoice: Invoice | None
    trick: str | None
    copy_of: str | None
    content: str
    scanned: bool
    noisy: bool
    condition: str = "readable"
    high: bool = False

    @property
    def digest(self) -> str:
        """The content's digest."""
        return hashlib.sha256(self.content.encode()).hexdigest()


@lru_cache(maxsize=32)
def arrivals(year: int, month: int, seed: int = SEED) -> tuple[Arrival, ...]:
    """Return the documents of a month in order of arrival."""
    honest = _first_time(year, month, seed)
    again = _again(year, month, seed)
    broken = _broken(year, month, seed)
    found = sorted([*honest, *again, *broken], key=lambda one: (one.received_at, one.id))
    return tuple(found)


def document(uri: str) -> Document:
    """Return the words of a document that arrives as words.

    Raises:
        KeyError: There is no such document.
    """
    one = _find(uri)
    assert one.invoice
    sheet = lay_out(one.invoice)
    draw = np.random.default_rng(_seed(one.content))
    words = []
    for run in sheet.runs:
        text = misread(run.text, draw, 0.012) if one.noisy else run.text
        box = tuple(float(round(edge)) for edge in run.box)
        words.append(Word(text, (box[0], box[1], box[2], box[3])))
    return Document(one.id, tuple(words), ((float(sheet.size[0]), float(sheet.size[1])),))


def image(uri: str) -> Image:
    """Return the scan of a document."""
    one = _find(uri)
    return scan(_sheet(one), [_seed(one.content)])


def ledger(year: int, month: int, seed: int = SEED) -> list[dict[str, object]]:
    """Return what was done to each document of a month: the answers to what should be found."""
    return [
        {
            "document_id": one.id,
            "trick": one.trick,
            "copy_of": one.copy_of,
            "condition": one.condition,
            "high": bool(one.invoice and one.invoice.total >= 5000),
            "vendor": one.invoice.vendor.name if one.invoice else None,
            "layout": one.invoice.layout if one.invoice else None,
        }
        for one in arrivals(year, month, seed)
    ]


def truth(one: Arrival) -> dict[str, str | None]:
    """Return the right value of each field, as printed; null where there is none."""
    invoice = one.invoice
    assert invoice
    portal = invoice.layout == "portal"
    joined = {"portal": " - ", "centred": ", "}.get(invoice.layout, " ")
    address = joined.join(invoice.vendor.address)

    def day(value: datetime | None) -> str | None:
        if value is None:
            return None
        return value.strftime("%d-%m-%Y") if portal else invoice.date(value)

    return {
        "company": invoice.company,
        "date": day(invoice.day),
        "address": address,
        "total": invoice.money(invoice.total),
        "number": invoice.number,
        "due_date": day(invoice.due),
        "tax": None if invoice.tax is None else invoice.money(invoice.tax),
        "currency": invoice.vendor.currency,
        "iban": invoice.account() if invoice.iban else None,
    }


def _sheet(one: Arrival) -> Sheet:
    assert one.invoice
    return lay_out(one.invoice)


def _find(uri: str) -> Arrival:
    month = uri.removeprefix("generated:").split("/")[0]
    year, number = (int(part) for part in month.split("-"))
    return {one.uri: one for one in arrivals(year, number)}[uri]


@lru_cache(maxsize=32)
def _first_time(year: int, month: int, seed: int) -> tuple[Arrival, ...]:
    draw = np.random.default_rng([seed, 2, year, month])
    index = (year - FIRST[0]) * 12 + month - FIRST[1]
    active = [one for one in vendors(seed) if one.since <= index <= one.until]
    weight = np.array([one.weight for one in active])
    found = []
    for serial in range(DOCUMENTS):
        vendor = active[int(draw.choice(len(active), p=weight / weight.sum()))]
        received = datetime(year, month, 1) + timedelta(minutes=float(draw.uniform(0, 27 * 1440)))
        day = (received - timedelta(days=int(draw.integers(0, 6)))).replace(hour=0, minute=0)
        day = day.replace(second=0, microsecond=0)
        high = bool(draw.random() < HIGH)
        layout = _layout(vendor, index)
        number = index * DOCUMENTS + serial + 1
        one = write(vendor, day, number, layout, draw, high)
        trick = _trick(vendor, index, draw)
        if trick:
            one = play(trick, one, draw)
        id_ = f"{year}{month:02d}-{serial:04d}"
        found.append(
            Arrival(
                id=id_,
                uri=f"generated:{year}-{month:02d}/{id_}",
                received_at=received.replace(microsecond=0),
                invoice=one,
                trick=trick,
                copy_of=None,
                content=id_,
                scanned=bool(draw.random() < SCANNED),
                noisy=bool(draw.random() < NOISY),
                high=high,
            )
        )
    return tuple(found)


def _layout(vendor: Vendor, index: int) -> str:
    moved = index >= PORTAL_FROM and vendor.number in PORTAL_VENDORS
    return "portal" if moved else vendor.layout


def _trick(vendor: Vendor, index: int, draw: np.random.Generator) -> str | None:
    chance, so_far = draw.random(), 0.0
    for name, share in SHARES.items():
        so_far += share
        if chance < so_far:
            # A bank can only change where one was printed before.
            known = vendor.layout != "till" and index > vendor.since + 1
            return name if known or name not in ("changed_bank", "imitation") else None
    return None


def _again(year: int, month: int, seed: int) -> list[Arrival]:
    """Return documents of this month that are sent again, unchanged or as another scan."""
    draw = np.random.default_rng([seed, 3, year, month])
    found = []
    for one in _first_time(year, month, seed):
        chance = draw.random()
        if chance >= COPIES + RESENT or one.received_at.day > 20:
            continue
        same = chance < COPIES
        later = one.received_at + timedelta(days=float(draw.uniform(1, 6)))
        id_ = f"{one.id}-{'again' if same else 'rescan'}"
        found.append(
            Arrival(
                id=id_,
                uri=f"generated:{year}-{month:02d}/{id_}",
                received_at=later.replace(microsecond=0),
                invoice=one.invoice,
                trick="copy" if same else "rescan",
                copy_of=one.id,
                content=one.content if same else id_,
                scanned=one.scanned,
                noisy=one.noisy if same else True,
                high=one.high,
            )
        )
    return found


def _broken(year: int, month: int, seed: int) -> list[Arrival]:
    draw = np.random.default_rng([seed, 4, year, month])
    found = []
    for serial in range(int(draw.integers(0, 3))):
        received = datetime(year, month, 1) + timedelta(minutes=float(draw.uniform(0, 27 * 1440)))
        id_ = f"{year}{month:02d}-broken-{serial}"
        found.append(
            Arrival(
                id=id_,
                uri=f"generated:{year}-{month:02d}/{id_}",
                received_at=received.replace(microsecond=0),
                invoice=None,
                trick=None,
                copy_of=None,
                content=id_,
                scanned=True,
                noisy=False,
                condition=str(draw.choice(DAMAGED)),
            )
        )
    return found


def _seed(content: str) -> int:
    return int(hashlib.sha256(content.encode()).hexdigest()[:12], 16)

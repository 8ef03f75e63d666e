"""Vendors: who sends invoices, how they look, how much they usually charge."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

SEED = 20250101
VENDORS = 44
FIRST = (2025, 1)
PORTAL_FROM = 8  # months after the first: from September on some vendors send through a new portal
PORTAL_VENDORS = frozenset({0, 1, 3, 5, 8})

_STEMS = [
    "Nordwind", "Harbour & Finch", "Kestrel", "Lumen", "Alder", "Brightwater", "Castell",
    "Dorfner", "Elmhurst", "Fjord", "Grauer", "Halden", "Ibex", "Juniper", "Kaiser & Sohn",
    "Larkspur", "Meridian", "Nimbus", "Oakfield", "Perak Jaya", "Quarry Lane", "Rosier",
    "Seri Indah", "Tanjung", "Umbra", "Vireo", "Waldner", "Xenon", "Yarrow", "Zephyr",
    "Bukit Raya", "Colline", "Drei Linden", "Eastgate", "Fontaine", "Glenmore", "Hochberg",
    "Iskandar", "Jasmin", "Keller", "Lindqvist", "Marlow", "Neumann", "Orchard",
]  # fmt: skip
_TRADES = ["Office Supplies", "Logistics", "Catering", "Electrical", "Facility Services", "Print",
           "Hardware", "Consulting", "Software", "Packaging"]  # fmt: skip
_COUNTRIES = {
    # country: legal form, currency, tax rate, tax label, cities, streets, language, share
    "DE": ("GmbH", "EUR", 0.19, "MwSt", ["80331 München", "20095 Hamburg", "50667 Köln"],
           ["Hauptstraße", "Lindenweg", "Am Markt"], "de"),
    "GB": ("Ltd", "GBP", 0.20, "VAT", ["Leeds LS1 4AP", "Bristol BS1 5TR", "London EC2A 4NE"],
           ["High Street", "Mill Lane", "Station Road"], "en"),
    "MY": ("Sdn Bhd", "MYR", 0.06, "SST", ["50450 Kuala Lumpur", "81100 Johor Bahru",
           "47301 Petaling Jaya"], ["Jalan Tun Razak", "Jalan Permas", "Jalan SS 7/2"], "en"),
    "US": ("Inc.", "USD", 0.07, "Sales tax", ["Austin, TX 78701", "Denver, CO 80202",
           "Portland, OR 97201"], ["Cedar Avenue", "Lake Street", "5th Street"], "en"),
    "FR": ("SARL", "EUR", 0.20, "TVA", ["75011 Paris", "69002 Lyon", "44000 Nantes"],
           ["rue des Lilas", "avenue Foch", "place du Marché"], "fr"),
    "CH": ("AG", "CHF", 0.081, "MwSt", ["8001 Zürich", "3011 Bern"], ["Bahnhofstrasse",
           "Seeweg"], "de"),
}  # fmt: skip
_IBAN_FORM = {"DE": ("DE", 18), "GB": ("GB", 14), "MY": ("MT", 23), "US": ("IE", 14),
              "FR": ("FR", 23), "CH": ("CH", 17)}  # fmt: skip


@dataclass(frozen=True)
class Vendor:
    """One vendor.

    Attributes:
        number: From 0, the most frequent first.
        since: Months after the first one when it began to send.
        until: Months after which it stopped.
        layout: Name of its layout before the portal.
        usual: Median of its net amounts.
        changes_bank: Month of an honest, announced change of bank, or None.
    """

    number: int
    name: str
    address: tuple[str, ...]
    country: str
    currency: str
    rate: float
    tax_label: str
    language: str
    iban: str
    other_iban: str
    layout: str
    date_format: str
    usual: float
    weight: float
    since: int
    until: int
    changes_bank: int | None


LAYOUTS = ("letter", "centred", "columns", "till", "table", "compact", "sidebar")
DATE_FORMATS = ("%d/%m/%Y", "%d.%m.%Y", "%d %b %Y", "%Y-%m-%d", "%d-%m-%Y", "%B %d, %Y")


@cache
def vendors(seed: int = SEED) -> tuple[Vendor, ...]:
    """Return all vendors, the most frequent first."""
    return tuple(_vendor(number, seed) for number in range(VENDORS))


def _vendor(number: int, seed: int) -> Vendor:
    draw = np.random.default_rng([seed, 1, number])
    country = str(draw.choice(list(_COUNTRIES), p=[0.28, 0.2, 0.24, 0.12, 0.1, 0.06]))
    legal, currency, rate, label, cities, streets, language = _COUNTRIES[country]
    stem = _STEMS[number]
    name = f"{stem} {draw.choice(_TRADES)} {legal}" if draw.random() < 0.8 else f"{stem} {legal}"
    house = int(draw.integers(1, 180))
    street = str(draw.choice(streets))
    line = f"{street} {house}" if language == "de" else f"{house} {street}"
    if country == "MY":
        line = f"No. {house}, {street},"
    late = number >= 12 and draw.random() < 0.45
    return Vendor(
        number=number,
        name=name.upper() if draw.random() < 0.35 else name,
        address=(line, str(draw.choice(cities))),
        country=country,
        currency=currency,
        rate=rate,
        tax_label=label,
        language=language,
        iban=iban(country, draw),
        other_iban=iban(country, draw),
        layout=str(LAYOUTS[int(draw.integers(len(LAYOUTS)))]),
        date_format=str(draw.choice(DATE_FORMATS)),
        usual=float(np.exp(draw.normal(5.2, 1.0))),
        weight=float((number + 2) ** -0.9),
        since=int(draw.integers(1, 11)) if late else 0,
        until=int(draw.integers(6, 12)) if number > 30 and not late else 99,
        changes_bank=6 if number in (4, 9) else None,
    )


def iban(country: str, draw: np.random.Generator) -> str:
    """Return a random account number with right check digits (ISO 13616)."""
    letters, length = _IBAN_FORM[country]
    body = "".join(str(digit) for digit in draw.integers(0, 10, length))
    if letters in ("GB", "IE", "MT"):
        body = "ABNK" + body
    numeric = "".join(str(int(one, 36)) for one in body + letters + "00")
    return f"{letters}{98 - int(numeric) % 97:02d}{body}"

"""What an invoice says: number, dates, lines, tax, total - and how that is printed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from .vendors import Vendor

_ITEMS = {
    "en": ["Copy paper A4", "Cable tray 2 m", "Site visit", "Toner black", "Pallet freight",
           "Lunch platter", "LED panel 60x60", "Licence, monthly", "Carton boxes", "Cleaning",
           "Screws M6 box", "Consulting hours", "Poster print A1", "Safety gloves"],
    "de": ["Kopierpapier A4", "Kabelkanal 2 m", "Anfahrt", "Toner schwarz", "Palettenfracht",
           "Mittagsplatte", "LED-Panel", "Lizenz monatlich", "Kartons", "Reinigung",
           "Schrauben M6", "Beratungsstunden", "Plakatdruck A1"],
    "fr": ["Papier A4", "Goulotte 2 m", "Déplacement", "Toner noir", "Transport palette",
           "Plateau repas", "Panneau LED", "Licence mensuelle", "Cartons", "Nettoyage"],
}  # fmt: skip
WORDING = {
    "en": {"title": ["INVOICE", "Tax Invoice", "Invoice"], "number": ["Invoice no", "Invoice #",
           "Inv. No."], "date": ["Date", "Invoice date", "Issued"], "due": ["Due date", "Pay by",
           "Payment due"], "total": ["Total", "TOTAL DUE", "Amount due", "Grand total"],
           "net": ["Subtotal", "Net", "Total excl. tax"], "bank": ["IBAN", "Bank account (IBAN)"],
           "qty": "Qty", "item": "Description", "amount": "Amount", "discount": "Discount",
           "shipping": "Shipping"},
    "de": {"title": ["RECHNUNG", "Rechnung"], "number": ["Rechnung Nr.", "Rechnungsnummer",
           "Beleg-Nr."], "date": ["Datum", "Rechnungsdatum"], "due": ["Fällig am", "Zahlbar bis"],
           "total": ["Gesamtbetrag", "Summe brutto", "Zahlbetrag"], "net": ["Zwischensumme",
           "Netto"], "bank": ["IBAN", "Konto (IBAN)"], "qty": "Menge", "item": "Bezeichnung",
           "amount": "Betrag", "discount": "Rabatt", "shipping": "Versand"},
    "fr": {"title": ["FACTURE", "Facture"], "number": ["Facture n°", "N° de facture"],
           "date": ["Date", "Date de facture"], "due": ["Échéance", "À payer avant"],
           "total": ["Total TTC", "Net à payer", "Montant total"], "net": ["Total HT",
           "Sous-total"], "bank": ["IBAN", "Compte IBAN"], "qty": "Qté", "item": "Désignation",
           "amount": "Montant", "discount": "Remise", "shipping": "Port"},
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line item; amounts in the invoice's currency."""

    description: str
    quantity: int
    price: float

    @property
    def amount(self) -> float:
        """Quantity times price, rounded to cents."""
        return round(self.quantity * self.price, 2)


@dataclass(frozen=True)
class Invoice:
    """The content of an invoice.

    Attributes:
        vendor: Who sends it.
        layout: How it looks.
        company: The name printed; an imitator's differs from the vendor's.
        lines: The items.
        discount: Taken off the lines; 0 for none.
        shipping: Added to the lines; 0 for none.
        tax: Printed where the layout shows it.
        total: As printed; where it does not add up, not what the lines give.
        iban: None where no account is printed.
        note: A line at the foot.
        wording: Which of the synonyms are printed; a number.
    """

    vendor: Vendor
    layout: str
    company: str
    number: str
    day: datetime
    due: datetime | None
    lines: tuple[Line, ...]
    discount: float
    shipping: float
    tax: float | None
    total: float
    iban: str | None
    note: str
    wording: int

    def word(self, name: str) -> str:
        """Return the printed label of a field."""
        words = WORDING[self.vendor.language][name]
        return words if isinstance(words, str) else words[self.wording % len(words)]

    def date(self, day: datetime) -> str:
        """Return a day as this vendor prints it."""
        return day.strftime(self.vendor.date_format)

    def money(self, amount: float) -> str:
        """Return an amount as this vendor prints it."""
        text = f"{amount:,.2f}"
        if self.vendor.language == "de" and self.vendor.country == "DE":
            return text.replace(",", " ").replace(".", ",").replace(" ", ".")
        return text.replace(",", "'") if self.vendor.country == "CH" else text

    def account(self) -> str:
        """Return the account in groups of four."""
        iban = self.iban or ""
        return " ".join(iban[at : at + 4] for at in range(0, len(iban), 4))


def write(vendor: Vendor, day: datetime, serial: int, layout: str, draw: np.random.Generator,
          high: bool = False) -> Invoice:  # fmt: skip
    """Return an honest invoice of a vendor."""
    scale = vendor.usual * float(np.exp(draw.normal(0, 0.35)))
    if high:
        scale = float(draw.uniform(5200, 14000))
    count = int(draw.integers(1, 4 if layout == "till" else 8))
    shares = draw.dirichlet(np.ones(count) * 2)
    names = draw.permutation(_ITEMS[vendor.language])[:count]
    lines = []
    for name, share in zip(names, shares, strict=False):
        quantity = int(draw.choice([1, 1, 1, 2, 3, 5, 10]))
        lines.append(Line(str(name), quantity, round(max(float(scale * share / quantity), 0.5), 2)))
    goods = sum(line.amount for line in lines)
    discount = round(goods * 0.05, 2) if draw.random() < 0.12 else 0.0
    shipping = float(draw.choice([4.9, 9.5, 15.0])) if draw.random() < 0.2 else 0.0
    taxed = layout != "till" or draw.random() < 0.5
    net = goods - discount + shipping
    tax = round(net * vendor.rate, 2) if taxed else None
    month = (day.year - 2025) * 12 + day.month - 1
    moved = vendor.changes_bank is not None and month >= vendor.changes_bank
    return Invoice(
        vendor=vendor,
        layout=layout,
        company=vendor.name,
        number=_number(vendor, day, serial),
        day=day,
        due=None if layout == "till" else day + timedelta(days=int(draw.choice([14, 30]))),
        lines=tuple(lines),
        discount=discount,
        shipping=shipping,
        tax=tax,
        total=round(net + (tax or 0.0), 2),
        iban=None if layout == "till" else (vendor.other_iban if moved else vendor.iban),
        note="",
        wording=vendor.number * 7 % 5,
    )


def _number(vendor: Vendor, day: datetime, serial: int) -> str:
    forms = [f"INV-{day:%Y}-{serial:05d}", f"{day:%y%m}{serial:04d}", f"RE{serial:06d}",
             f"{vendor.number + 11}/{serial:05d}"]  # fmt: skip
    return forms[vendor.number % len(forms)]

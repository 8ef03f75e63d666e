"""Layouts: where an invoice's words stand on its page.

Every layout is a function that places text runs; the same runs become words with boxes and the
picture of a scan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .content import Invoice
from .fonts import width

A4 = (1240, 1754)  # pixels at 150 dots an inch
TILL = (620, 1300)


@dataclass(frozen=True)
class Run:
    """A run of text: left edge, baseline box top, font size in pixels."""

    text: str
    x: float
    y: float
    size: int

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.x, self.y, self.x + width(self.text, self.size), self.y + self.size


@dataclass
class Sheet:
    """A page that is being laid out."""

    size: tuple[int, int] = A4
    runs: list[Run] = field(default_factory=list)

    def left(self, text: str, x: float, y: float, size: int = 24) -> None:
        """Place text by its left edge."""
        if text:
            self.runs.append(Run(text, x, y, size))

    def right(self, text: str, x: float, y: float, size: int = 24) -> None:
        """Place text by its right edge."""
        self.left(text, x - width(text, size), y, size)

    def middle(self, text: str, y: float, size: int = 24) -> None:
        """Place text in the middle of the page."""
        self.left(text, (self.size[0] - width(text, size)) / 2, y, size)


def lay_out(invoice: Invoice) -> Sheet:
    """Place the words of an invoice."""
    sheet = Sheet(TILL if invoice.layout == "till" else A4)
    _LAYOUTS[invoice.layout](invoice, sheet)
    if invoice.note:
        sheet.left(invoice.note, 0.08 * sheet.size[0], 0.93 * sheet.size[1], 22)
    return sheet


def _letter(one: Invoice, sheet: Sheet) -> None:
    sheet.left(one.company, 110, 110, 40)
    y = _lines(sheet, one.vendor.address, 110, 165)
    sheet.left(one.word("title"), 110, y + 80, 34)
    y = _facts(one, sheet, 110, 340, y + 140)
    y = _items(one, sheet, y + 60, (110, 760, 1130))
    _totals(one, sheet, y + 30, 760, 1130)
    _bank(one, sheet, 110, 1560)


def _centred(one: Invoice, sheet: Sheet) -> None:
    sheet.middle(one.company, 100, 38)
    sheet.middle(", ".join(one.vendor.address), 155)
    sheet.middle(one.word("title"), 230, 32)
    y = _facts(one, sheet, 700, 920, 300)
    y = _items(one, sheet, y + 60, (130, 820, 1110))
    _totals(one, sheet, y + 40, 820, 1110)
    _bank(one, sheet, 130, 1600)


def _columns(one: Invoice, sheet: Sheet) -> None:
    sheet.left(one.word("title"), 100, 90, 44)
    sheet.left(one.company, 700, 95, 30)
    _lines(sheet, one.vendor.address, 700, 140)
    for at, (label, value) in enumerate(_fact_pairs(one)):
        sheet.left(label, 100 + 360 * at, 300, 20)
        sheet.left(value, 100 + 360 * at, 332, 26)
    y = _items(one, sheet, 460, (100, 700, 1140))
    _totals(one, sheet, y + 60, 700, 1140)
    _bank(one, sheet, 100, 1580)


def _till(one: Invoice, sheet: Sheet) -> None:
    sheet.middle(one.company, 60, 30)
    y = 105.0
    for line in one.vendor.address:
        sheet.middle(line, y, 22)
        y += 32
    sheet.left(f"{one.word('date')}: {one.date(one.day)}", 50, y + 40, 22)
    sheet.left(f"{one.word('number')}: {one.number}", 50, y + 72, 22)
    y = _items(one, sheet, y + 130, (50, 400, 570), size=22, step=34)
    _totals(one, sheet, y + 20, 300, 570, size=24)
    sheet.middle("THANK YOU", 1180, 24)


def _table(one: Invoice, sheet: Sheet) -> None:
    sheet.right(one.company, 1140, 90, 34)
    y = 140.0
    for line in one.vendor.address:
        sheet.right(line, 1140, y)
        y += 34
    sheet.left(one.word("title"), 100, 260, 40)
    y = _facts(one, sheet, 100, 400, 340)
    sheet.left(one.word("qty"), 100, y + 50)
    y = _items(one, sheet, y + 50, (220, 860, 1140))
    _totals(one, sheet, 1250, 760, 1140)
    _bank(one, sheet, 100, 1480)


def _compact(one: Invoice, sheet: Sheet) -> None:
    sheet.left(f"{one.company}, {one.vendor.address[0]}", 100, 90, 22)
    sheet.left(one.vendor.address[1], 100, 122, 22)
    sheet.left(f"{one.word('title')} {one.number}", 100, 200, 32)
    sheet.left(f"{one.word('date')} {one.date(one.day)}", 100, 250)
    if one.due:
        sheet.left(f"{one.word('due')} {one.date(one.due)}", 480, 250)
    y = _items(one, sheet, 330, (100, 800, 1000), size=22, step=36)
    _totals(one, sheet, y + 20, 640, 1000, size=22)
    _bank(one, sheet, 100, y + 280)


def _sidebar(one: Invoice, sheet: Sheet) -> None:
    sheet.left(one.company, 430, 100, 36)
    y = 330.0
    for label, value in _fact_pairs(one):
        sheet.left(label, 70, y, 20)
        sheet.left(value, 70, y + 28, 24)
        y += 90
    _lines(sheet, one.vendor.address, 70, y + 20, 20)
    end = _items(one, sheet, 330, (430, 900, 1150))
    _totals(one, sheet, end + 40, 800, 1150)
    _bank(one, sheet, 430, 1500)


def _portal(one: Invoice, sheet: Sheet) -> None:
    """The new portal's form: totals on top, the sender at the foot, words of its own."""
    sheet.left("e-Document", 80, 60, 22)
    sheet.right(f"{one.vendor.currency} {one.money(one.total)}", 1160, 60, 40)
    sheet.right("Settlement value", 1160, 112, 20)
    sheet.left("Ref", 80, 160, 20)
    sheet.left(one.number, 180, 160)
    sheet.left("Raised", 480, 160, 20)
    sheet.left(one.day.strftime("%d-%m-%Y"), 600, 160)
    if one.due:
        sheet.left("Settle before", 820, 160, 20)
        sheet.left(one.due.strftime("%d-%m-%Y"), 1000, 160)
    y = 260.0
    for line in one.lines:
        sheet.left(one.money(line.amount), 80, y)
        sheet.left(f"{line.quantity} x {line.description}", 320, y)
        y += 44
    if one.tax is not None:
        sheet.left(one.money(one.tax), 80, y + 20)
        sheet.left(f"of which levy {one.vendor.rate:.1%}", 320, y + 20)
    sheet.left("Paid to the account", 80, 1400, 20)
    sheet.left(one.account(), 380, 1400)
    sheet.left("Issued on behalf of", 80, 1480, 20)
    sheet.left(one.company, 80, 1512, 28)
    sheet.left(" - ".join(one.vendor.address), 80, 1556, 24)


_LAYOUTS: dict[str, Callable[[Invoice, Sheet], None]] = {
    "letter": _letter, "centred": _centred, "columns": _columns, "till": _till, "table": _table,
    "compact": _compact, "sidebar": _sidebar, "portal": _portal,
}  # fmt: skip


def _fact_pairs(one: Invoice) -> list[tuple[str, str]]:
    pairs = [(one.word("number"), one.number), (one.word("date"), one.date(one.day))]
    return [*pairs, (one.word("due"), one.date(one.due))] if one.due else pairs


def _facts(one: Invoice, sheet: Sheet, x: float, value_x: float, y: float) -> float:
    for label, value in _fact_pairs(one):
        sheet.left(f"{label}:", x, y)
        sheet.left(value, value_x, y)
        y += 38
    return y


def _lines(sheet: Sheet, lines: tuple[str, ...], x: float, y: float, size: int = 24) -> float:
    for line in lines:
        sheet.left(line, x, y, size)
        y += size * 1.4
    return y


def _items(
    one: Invoice,
    sheet: Sheet,
    y: float,
    columns: tuple[float, float, float],
    size: int = 24,
    step: int = 42,
) -> float:
    item, quantity, amount = columns
    sheet.left(one.word("item"), item, y, size)
    sheet.right(one.word("qty"), quantity, y, size)
    sheet.right(one.word("amount"), amount, y, size)
    for line in one.lines:
        y += step
        sheet.left(line.description, item, y, size)
        sheet.right(str(line.quantity), quantity, y, size)
        sheet.right(one.money(line.amount), amount, y, size)
    return y + step


def _totals(one: Invoice, sheet: Sheet, y: float, x: float, right: float, size: int = 24) -> None:
    rows = []
    if one.discount:
        rows.append((one.word("discount"), f"-{one.money(one.discount)}"))
    if one.shipping:
        rows.append((one.word("shipping"), one.money(one.shipping)))
    if one.tax is not None:
        rows.append((one.word("net"), one.money(round(one.total - one.tax, 2))))
        label = f"{one.vendor.tax_label} {one.vendor.rate:.1%}"
        rows.append((label, one.money(one.tax)))
    total = one.money(one.total)
    for label, value in [*rows, (f"{one.word('total')} {one.vendor.currency}", total)]:
        sheet.left(label, x - (120 if size == 24 and right > 900 else 0), y, size)
        sheet.right(value, right, y, size)
        y += 42


def _bank(one: Invoice, sheet: Sheet, x: float, y: float) -> None:
    if one.iban:
        sheet.left(f"{one.word('bank')}:", x, y)
        sheet.left(one.account(), x + 300, y)

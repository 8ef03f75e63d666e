"""Line items: rows that end with an amount, between the page's head and its totals."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .fields import PATTERNS
from .normalise import MONEY, parse_money
from .segments import Page

MOST = 60
TOLERANCE = 0.011  # of a currency unit, for each line
_NOT_ITEMS = ("total", "subtotal", "tax", "paid", "rounding", "discount", "iban")
# Not the beginning of an amount, a date or a longer number, nor a measure such as 60x60.
_QUANTITY = re.compile(
    r"^\s*(\d{1,4})(?!\d|[.,/'-]\d| \d{3}\b|[xX]\d+(?![.,\d]))"
    r"|\b(\d{1,4})\s?(?:@|[xX](?!\d+(?![.,\d])))"
)


def line_items(page: Page) -> list[dict[str, Any]]:
    """Return description, quantity and amount of each row that looks like an item, in order."""
    found = []
    for row in _rows(page):
        texts = [page.texts[at] for at in row]
        joined = " ".join(texts)
        amounts = list(MONEY.finditer(texts[-1]))
        if not amounts or any(PATTERNS[name].search(joined) for name in _NOT_ITEMS):
            continue
        words = [text for text in texts if re.search(r"[^\W\d_]{2}", text)]
        if not words:
            continue
        quantity = next((m for text in texts if (m := _QUANTITY.search(text))), None)
        found.append(
            {
                "description": MONEY.sub("", " ".join(words)).strip(),
                "quantity": float(quantity[1] or quantity[2]) if quantity else None,
                "amount": parse_money(amounts[-1][0]),
            }
        )
        if len(found) == MOST:
            break
    return found


def totals_agree(
    items: list[dict[str, Any]], tax: float | None, total: float | None
) -> bool | None:
    """Tell whether lines and tax add up to the total; None where they cannot be compared."""
    amounts = [one["amount"] for one in items]
    if total is None or not amounts or any(one is None for one in amounts):
        return None
    lines, reach = sum(amounts), TOLERANCE * (len(amounts) + 1)
    return any(abs(lines + part - total) <= reach for part in (0.0, tax or 0.0))


def _rows(page: Page) -> list[list[int]]:
    """Return the segments of each row, from left to right, rows from the top down."""
    if not len(page):
        return []
    middle = (page.boxes[:, 1] + page.boxes[:, 3]) / 2
    height = float(np.median(page.boxes[:, 3] - page.boxes[:, 1]))
    rows: list[list[int]] = []
    for at in np.argsort(middle, kind="stable"):
        if rows and middle[at] - middle[rows[-1][0]] < 0.5 * height:
            rows[-1].append(int(at))
        else:
            rows.append([int(at)])
    return [sorted(row, key=lambda at: float(page.boxes[at, 0])) for row in rows]

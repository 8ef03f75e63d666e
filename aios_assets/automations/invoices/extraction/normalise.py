"""Typed values of printed text: dates, money, and the key that names a vendor."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache

from rapidfuzz.distance import Levenshtein

SLIP = 0.05  # share of letters in which two names or addresses may differ and mean the same
_MONTHS = {
    name: number
    for number, names in enumerate(
        [
            ("JAN", "JÄN"), ("FEB", "FÉV", "FEV"), ("MAR", "MÄR", "MRZ", "MAC"), ("APR", "AVR"),
            ("MAY", "MAI", "MEI"), ("JUN", "JUIN"), ("JUL", "JUIL"), ("AUG", "AOÛ", "AOU", "OGO"),
            ("SEP",), ("OCT", "OKT"), ("NOV",), ("DEC", "DEZ", "DÉC", "DIS"),
        ],
        start=1,
    )
    for name in names
}  # fmt: skip
MONTH = r"[A-ZÄÉÛ]{3,9}\.?"
_SEP = r"(?:[-/.,]|\s[-/.]\s)"
DATE = re.compile(
    rf"(?<![\d])(?:\d{{1,2}}{_SEP}\d{{1,2}}{_SEP}(?:\d{{4}}|\d{{2}})"
    rf"|\d{{4}}{_SEP}\d{{1,2}}{_SEP}\d{{1,2}}"
    rf"|\d{{1,2}}[-/. ]{{0,2}}{MONTH}[-/., ]{{0,2}}(?:\d{{4}}|\d{{2}})"
    rf"|{MONTH} \d{{1,2}},? \d{{4}}"
    r"|20\d{6})(?!\d)",
    re.IGNORECASE,
)
MONEY = re.compile(
    r"(?P<prefix>RM|MYR|USD|EUR|GBP|CHF|[$€£])?\s?"
    r"(?P<number>-?\d{1,3}(?:[,.'\u2019 \u00a0\u202f]\d{3})+[.,]\d{2}|-?\d+[.,]\d{2})(?!\d|[.,]\d)",
    re.IGNORECASE,
)
_REGISTRATION = re.compile(r"[(\[]?\s*\d{4,9}\s?-\s?[A-Z]\b\s*[)\]]?")
_LEGAL = re.compile(r"\b(SDN|BHD|S/B|LTD|LIMITED|GMBH|INC|LLC|SARL|SA|AG|PLC|CO)\b\.?")


def parse_date(text: str | None) -> datetime | None:
    """Return the day that a printed date means, day before month; None where it means none."""
    if not text:
        return None
    found = DATE.search(text)
    upper = (found[0] if found else text).upper()
    numbers = re.findall(r"\d+", upper)
    month = next((n for name, n in _MONTHS.items() if name in upper), None)
    if month and len(numbers) >= 2:
        day, year = int(numbers[0]), int(numbers[-1])
    elif len(numbers) == 1 and len(numbers[0]) == 8:
        year, month, day = int(numbers[0][:4]), int(numbers[0][4:6]), int(numbers[0][6:])
    elif len(numbers) == 3 and len(numbers[0]) == 4:
        year, month, day = (int(one) for one in numbers)
    elif len(numbers) == 3:
        day, month, year = (int(one) for one in numbers)
        if month > 12 >= day:
            day, month = month, day
    else:
        return None
    try:
        return datetime(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return None


def parse_money(text: str | None) -> float | None:
    """Return a printed amount as a number; the last of its marks is the decimal one."""
    found = MONEY.search(text or "")
    if not found:
        short = re.search(r"(?<![\d.,])-?\d+[.,]\d(?![\d.,])", text or "")
        return float(short[0].replace(",", ".")) if short else None
    number = found["number"]
    whole = re.sub(r"[^\d-]", "", number[:-3])
    return float(f"{whole}.{number[-2:]}")


@lru_cache(maxsize=50_000)
def bare(text: str) -> str:
    """Return letters and digits alone, in capitals."""
    return re.sub(r"[\W_]", "", text.upper())


def vendor_key(company: str | None) -> str | None:
    """Return the key of a vendor: its name without legal form, number and punctuation."""
    if not company:
        return None
    upper = company.upper()
    short = _LEGAL.sub(" ", _REGISTRATION.sub(" ", upper))
    return bare(short) or bare(upper) or None


def same(field: str, read: str | None, right: str) -> bool:
    """Tell whether a reading has the right value, however it is printed.

    An amount is the same amount, a date the same day. A text has the same letters and digits; a
    name or an address may differ by a slip of the pen, one letter in twenty, in no digit.
    """
    if field in ("total", "tax"):
        return parse_money(read) is not None and parse_money(read) == parse_money(right)
    if field in ("date", "due_date") and parse_date(right):
        return parse_date(read) == parse_date(right)
    mine, wanted = bare(read or ""), bare(right)
    if field not in ("company", "address") or re.sub(r"\D", "", mine) != re.sub(r"\D", "", wanted):
        return mine == wanted
    return bool(mine) and Levenshtein.distance(mine, wanted) <= max(1, SLIP * len(wanted))


def without_registration(text: str) -> str:
    """Return a company's line without the registration number printed beside the name."""
    return _REGISTRATION.sub(" ", text).strip(" -,:")

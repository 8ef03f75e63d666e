"""Features of invoices: the page as numbers, and what its vendor's documents were before it.

A document is known from the moment it was received, so all views are dated at `known_at`. What
came before a row was known strictly before it, within `LOOKBACK`: a document sees nothing that
arrives with it, and copies of what was sent before are no history. A document with several
records counts once, as its latest record before the row says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein
from stdnum.iso7064 import mod_97_10

KEY_FIELDS = ("company", "date", "address", "total")
NUMBERS = (
    "confidence", *(f"{name}_confidence" for name in KEY_FIELDS), "ocr_confidence", "words",
    "duplicate_score", "total_amount", "vendor_known",
)  # fmt: skip
CATEGORIES = ("currency", "read_by")
PAGE = (
    "totals_agree", "totals_differ", "log_amount", "round_amount", "tax_share", "weekend",
    "days_to_receipt", "has_iban", "iban_invalid",
)  # fmt: skip
HISTORY = ("vendor_seen", "amount_ratio", "iban_share", "iban_changed", "iban_unusual")
VENDOR = ("vendor_count", "vendor_mean_amount", "vendor_days_since_last", "vendor_days_known")
LOOKBACK = timedelta(days=400)

ROUND = 50  # amounts that are multiples of it count as round
# An account is the vendor's own once this many documents printed it, the first this long ago:
# time enough for a person to have stopped a forged one.
OWN_DOCUMENTS, OWN_SINCE = 2, timedelta(days=30)
MISREAD = 2  # letters by which an account with wrong check digits may differ from a known one


class Past(NamedTuple):
    """Earlier documents of a vendor, in order of time.

    Attributes:
        at: When they were received.
        amount: Their totals; NaN where unread.
        printed: Whether they print bank details.
        account: Those, where the check digits are right: what cannot be paid to is a misreading.
    """

    at: np.ndarray
    amount: np.ndarray
    printed: np.ndarray
    account: np.ndarray


def document(events: pl.DataFrame) -> pl.DataFrame:
    """One row for each record: document_id, event_time, known_at and what the page itself says.

    Confidences are in [0, 1]. `log_amount` is the natural logarithm of the total, `round_amount`
    1 for a multiple of 50, `weekend` 1 for an invoice dated on a Saturday or Sunday,
    `days_to_receipt` the days from the invoice's date to its receipt, `tax_share` tax / total.
    All of these are null where the page does not say. Never null, for the policy: `has_iban`,
    `iban_invalid` (bank details printed with wrong check digits) and `totals_differ` (what is
    printed disagrees with the total, or a printed tax could not be compared with it).
    """
    total, tax = _finite("total_amount"), _finite("tax_amount")
    account = _accounts(events["iban"])
    printed = account.is_not_null()
    waited = pl.col("known_at") - pl.col("invoice_date")
    return events.select(
        "document_id",
        pl.col("known_at").alias("event_time"),
        "known_at",
        *(_finite(name) for name in NUMBERS),
        *CATEGORIES,
        totals_agree=_number(pl.col("totals_agree")),
        totals_differ=_number(~pl.col("totals_agree").fill_null(tax.is_null())),
        log_amount=pl.when(total > 0).then(total.log()),
        round_amount=_number(total % ROUND == 0),
        tax_share=pl.when(total > 0).then(tax / total),
        weekend=_number(pl.col("invoice_date").dt.weekday() > 5),
        days_to_receipt=waited.dt.total_seconds() / 86400,
        has_iban=printed.cast(pl.Float64),
        iban_invalid=(printed & ~_sound(account)).cast(pl.Float64),
    )


def history(events: pl.DataFrame) -> pl.DataFrame:
    """One row for each record: the document beside the earlier ones of its vendor.

    Args:
        events: Records of a window and of `LOOKBACK` before it. Rows of that run-up see an
            incomplete past: keep those of the window only; they are the same whichever window
            they are computed in.

    Returns:
        document_id, event_time, known_at and, over the vendor's earlier documents (never the
        document's own earlier records): `vendor_seen` (their number; 0 without a vendor),
        `amount_ratio` (the total over the median of theirs; null without any), `iban_share` (of
        those with bank details, the share that print the same; null without any, or without
        bank details here), `iban_changed` (1 where they print others, and these are not yet the
        vendor's own: on fewer than 2 of them, or first less than 30 days ago) and `iban_unusual`
        (1 where most of them print bank details and this one does not, or none does and this
        one does). An account with wrong check digits is no account of an earlier document; here
        it passes for an earlier one from which it differs by two letters at most.
    """
    records = _records(events)
    values: list[tuple[float | None, ...]] = [(0.0, None, None, 0.0, 0.0)] * records.height
    for row, past in _pasts(records, records.drop_nulls("vendor"), apart=True):
        ratio = _ratio(row["amount"], past.amount)
        values[row["row"]] = (float(len(past.at)), ratio, *_bank(row["account"], row["at"], past))
    table = pl.DataFrame(values, schema=dict.fromkeys(HISTORY, pl.Float64), orient="row")
    times = records.select("document_id", event_time="at", known_at="at")
    return times.hstack(table.get_columns())


def vendor(events: pl.DataFrame) -> pl.DataFrame:
    """What was known of a vendor at each moment when a document of theirs arrives.

    Args:
        events: As for `history`.

    Returns:
        vendor, event_time, known_at and, over the documents known before that moment:
        `vendor_count`, `vendor_mean_amount`, `vendor_days_since_last` and `vendor_days_known`
        (days since the first of them, at most `LOOKBACK`), the last three null without any. One
        row for each vendor and moment.
    """
    records = _records(events)
    asked = records.drop_nulls("vendor").unique(["vendor", "at"]).sort("at", "vendor")
    rows = [
        (row["vendor"], row["at"], row["at"], *_summary(row["at"], past))
        for row, past in _pasts(records, asked, apart=False)
    ]
    time = events.schema["known_at"]
    schema: dict[str, Any] = {"vendor": pl.String, "event_time": time, "known_at": time}
    schema |= dict.fromkeys(VENDOR, pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row").sort("known_at", "vendor")


def _records(events: pl.DataFrame) -> pl.DataFrame:
    """The latest record of each document and moment, and until when it speaks for it."""
    return (
        events.select(
            "document_id",
            "vendor",
            at="known_at",
            amount=_finite("total_amount"),
            account=_accounts(events["iban"]),
            copy=pl.col("duplicate_of").is_not_null(),
        )
        .sort("at", "document_id", maintain_order=True)
        .unique(["document_id", "at"], keep="last", maintain_order=True)
        .with_columns(
            until=pl.min_horizontal(
                pl.col("at").shift(-1).over("document_id"), pl.col("at") + LOOKBACK
            )
        )
        .with_row_index("row")
    )


def _pasts(
    records: pl.DataFrame, asked: pl.DataFrame, *, apart: bool
) -> Iterator[tuple[dict[str, Any], Past]]:
    """Each asked row with its vendor's earlier documents; `apart` leaves out its own."""
    speaking = records.filter(~pl.col("copy")).drop_nulls("vendor")
    speaking = speaking.with_columns(
        printed=pl.col("account").is_not_null(),
        account=pl.when(_sound(speaking["account"])).then("account"),
    )
    of_vendor = {key: own for (key,), own in speaking.partition_by("vendor", as_dict=True).items()}
    for (name,), rows in asked.group_by("vendor", maintain_order=True):
        own = of_vendor.get(name, speaking.clear())
        past = Past(*(own[column].to_numpy() for column in Past._fields))
        ids, until = own["document_id"].to_numpy(), own["until"].to_numpy()
        moments = rows["at"].to_numpy()
        for row, moment in zip(rows.iter_rows(named=True), moments, strict=True):
            seen = (past.at < moment) & (until >= moment)
            if apart:
                seen &= ids != row["document_id"]
            yield row, Past(*(column[seen] for column in past))


def _ratio(amount: float | None, earlier: np.ndarray) -> float | None:
    known = earlier[~np.isnan(earlier)]
    usual = float(np.median(known)) if known.size else 0.0
    return amount / usual if amount is not None and usual > 0 else None


def _bank(account: str | None, moment: datetime, past: Past) -> tuple[float | None, float, float]:
    """`iban_share`, `iban_changed` and `iban_unusual` of a document that prints `account`."""
    if account is None:
        return None, 0.0, float(past.printed.sum() * 2 > past.at.size)
    theirs = past.account[past.account != None]  # noqa: E711
    if not theirs.size:
        return None, 0.0, float(past.at.size > 0)
    same = past.account == _as_known(account, theirs)
    share = float(same.sum() / theirs.size)
    since = past.at[same].min() if same.any() else np.datetime64(moment)
    own = same.sum() >= OWN_DOCUMENTS and since <= np.datetime64(moment - OWN_SINCE)
    return share, float(share < 1 and not own), 0.0


def _as_known(account: str, earlier: np.ndarray) -> str:
    """The known account that a misread one stands for, or the account as it is."""
    if _is_sound(account):
        return account
    for known, _ in Counter(earlier).most_common():
        if Levenshtein.distance(account, known, score_cutoff=MISREAD) <= MISREAD:
            return known
    return account


def _sound(accounts: pl.Series) -> pl.Series:
    return pl.Series(
        [account is not None and _is_sound(account) for account in accounts], dtype=pl.Boolean
    )


@lru_cache(maxsize=65536)
def _is_sound(account: str) -> bool:
    """Whether the check digits are right (ISO 7064, mod 97-10)."""
    return len(account) > 4 and bool(mod_97_10.is_valid(account[4:] + account[:4]))


def _summary(moment: datetime, past: Past) -> tuple[float | None, ...]:
    if not past.at.size:
        return 0.0, None, None, None
    known = past.amount[~np.isnan(past.amount)]
    days = [float((np.datetime64(moment) - at) / np.timedelta64(1, "D")) for at in past.at[[-1, 0]]]
    return float(past.at.size), float(known.mean()) if known.size else None, *days


def _accounts(printed: pl.Series) -> pl.Series:
    """Bank details in capital letters and digits only; null where none are left."""
    plain = printed.str.to_uppercase().str.replace_all(r"[^A-Z0-9]", "").str.strip_prefix("IBAN")
    return plain.replace("", None)


def _finite(name: str) -> pl.Expr:
    number = pl.col(name).cast(pl.Float64)
    return pl.when(number.is_finite()).then(number).alias(name)


def _number(fact: pl.Expr) -> pl.Expr:
    return fact.cast(pl.Float64)

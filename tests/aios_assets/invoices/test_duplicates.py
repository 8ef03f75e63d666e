"""Duplicates: what is sent again is found under any name, what only looks alike is not."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from aios.documents.document import Document, Word
from aios_assets.automations.invoices import duplicates

pytestmark = pytest.mark.unit

NOON = datetime(2025, 5, 14, 12)
PAST: dict[str, Any] = {
    "document_id": pl.String, "received_at": pl.Datetime("us"), "digest": pl.String,
    "number": pl.String, "invoice_date": pl.Datetime("us"), "total_amount": pl.Float64,
    "vendor": pl.String, "iban": pl.String, "duplicate_of": pl.String,
    "duplicate_score": pl.Float64, "fingerprint": pl.String,
}  # fmt: skip
GOODS = (
    "PAPER A4 WHITE", "TONER BLACK", "STAPLES NO 10", "DESK LAMP", "ENVELOPES C5", "INK BLUE",
    "FOLDER GREY", "PENS RED 12", "CABLE 2 M", "CHAIR WHEELS", "TAPE CLEAR", "LABELS ROUND",
)  # fmt: skip


def page(*lines: str) -> str:
    words = tuple(
        Word(text, (10.0, 20.0 * i, 300.0, 20.0 * i + 15)) for i, text in enumerate(lines)
    )
    return Document("page", words, ((400.0, 900.0),)).to_json()


def invoice(serial: int, **facts: Any) -> dict[str, Any]:
    """Invoice number `serial` of one vendor: letterhead and terms are those of all the others."""
    draw = random.Random(serial)
    day = datetime(2025, 1, 1) + timedelta(days=draw.randrange(120))
    bought = draw.choices(GOODS, k=4)
    prices = [draw.randrange(100, 30000) / 100 for _ in bought]
    found = {
        "document_id": f"doc-{serial}", "digest": f"digest-{serial}", "number": f"INV-{serial:05}",
        "invoice_date": day, "total_amount": round(sum(prices), 2), "vendor": "acme stationery",
        "iban": "DE89 3704 0044 0532 0130 00", "received_at": NOON + timedelta(hours=serial),
    } | facts  # fmt: skip
    document = page(
        "ACME STATIONERY LTD", "14 HARBOUR ROAD, BRISTOL BS1 4XX", "VAT GB 123 4567 89", "INVOICE",
        f"Invoice no {found['number']}", f"Date {found['invoice_date']:%d %b %Y}",
        *(f"{good} {price:.2f}" for good, price in zip(bought, prices, strict=True)),
        f"Total {found['total_amount']:.2f}", "Pay within 30 days to DE89 3704 0044 0532 0130 00",
        "Goods remain ours until paid. Thank you for your business.",
    )  # fmt: skip
    return {"document": document} | found | facts


def misread(text: str, share: float, draw: random.Random) -> str:
    pairs = {"0": "O", "O": "0", "1": "l", "5": "S", "S": "5", "8": "B", "E": "F", "i": "1"}
    return "".join(pairs.get(c, c) if draw.random() < share else c for c in text)


def rescanned(row: dict[str, Any], share: float = 0.04, seed: int = 1) -> dict[str, Any]:
    """The same invoice with a stamp, misread letters and a lost line, under another name."""
    draw = random.Random(seed)
    words = [misread(w.text, share, draw) for w in Document.from_json(row["document"]).words]
    del words[draw.randrange(len(words))]
    return row | {
        "document_id": f"scan-{row['document_id']}",
        "digest": f"scan-{row['digest']}",
        "document": page("RECEIVED 14 MAY 2025", *words),
        "number": row["number"] and misread(row["number"], share, draw),
    }


def past(*rows: dict[str, Any]) -> pl.DataFrame:
    empty = pl.DataFrame(schema=PAST)
    known = [{name: row.get(name) for name in PAST} | duplicates.find(row, empty) for row in rows]
    return pl.DataFrame(known, schema=PAST)


@pytest.fixture(scope="module")
def known() -> tuple[list[dict[str, Any]], pl.DataFrame]:
    rows = [invoice(serial) for serial in range(100, 160)]
    return rows, past(*rows)


def test_the_first_document_is_no_duplicate() -> None:
    found = duplicates.find(invoice(1), pl.DataFrame(schema=PAST))
    assert (found["duplicate_of"], found["duplicate_score"]) == (None, 0.0)
    assert found["fingerprint"]


def test_the_same_bytes_are_the_same_whatever_was_read() -> None:
    nothing = dict.fromkeys(["number", "invoice_date", "total_amount", "vendor", "iban"])
    again = invoice(1) | nothing | {"document_id": "again", "document": page()}
    found = duplicates.find(again, past(invoice(2), invoice(1)))
    assert found == {"duplicate_of": "doc-1", "duplicate_score": 1.0, "fingerprint": None}


def test_a_document_is_no_duplicate_of_its_own_earlier_record() -> None:
    assert duplicates.find(invoice(1), past(invoice(1)))["duplicate_of"] is None


def test_rescanned_invoices_are_found(known) -> None:
    rows, frame = known
    found = [duplicates.find(rescanned(row, seed=i), frame) for i, row in enumerate(rows)]
    assert [one["duplicate_of"] for one in found] == [row["document_id"] for row in rows]
    assert sum(one["duplicate_score"] >= 0.9 for one in found) >= 0.9 * len(rows)


def test_other_invoices_of_the_vendor_are_none(known) -> None:
    _, frame = known
    found = [duplicates.find(invoice(serial), frame) for serial in range(160, 300)]
    assert max(one["duplicate_score"] for one in found) < 0.3


@pytest.mark.parametrize(
    "facts",
    [
        {"number": None},
        {"number": "8"},
        {"total_amount": 12.5},
        {"invoice_date": None},
        {"vendor": None, "iban": None},
        {"vendor": "acne stationary", "iban": None},
        {"vendor": "other company", "iban": "GB82 WEST 1234 5698 7654 32"},
    ],
)
def test_one_field_misread_or_changed_hides_nothing(known, facts: dict[str, Any]) -> None:
    rows, frame = known
    found = duplicates.find(rescanned(rows[7]) | facts, frame)
    assert found["duplicate_score"] >= 0.3
    assert duplicates.find(rows[7] | facts | {"document_id": "x", "digest": "x"}, frame)[
        "duplicate_score"
    ] > (0.5 if facts.get("vendor") != "other company" else 0.3)


def test_the_same_amount_every_month_is_no_duplicate() -> None:
    monthly = {"total_amount": 250.0}
    rent = invoice(100, invoice_date=datetime(2025, 3, 1), **monthly)
    again = invoice(101, invoice_date=datetime(2025, 4, 1), **monthly)
    again["document"] = rent["document"].replace("INV-00100", "INV-00101").replace("Mar", "Apr")
    assert duplicates.find(again, past(rent))["duplicate_score"] < 0.3


def test_the_next_number_of_the_same_day_and_amount_is_not_blocked() -> None:
    same = {"total_amount": 5.0, "invoice_date": datetime(2025, 3, 1)}
    found = duplicates.find(invoice(100, **same), past(invoice(101, **same)))
    assert found["duplicate_score"] < 0.9


def test_a_copy_of_a_copy_names_the_first() -> None:
    first, second, third = invoice(1), rescanned(invoice(1)), rescanned(invoice(1), seed=2)
    second["received_at"] += timedelta(days=1)
    frame = past(first, second).with_columns(duplicate_of=pl.Series([None, "doc-1"]))
    again = third | {"document_id": "third", "digest": second["digest"]}
    assert duplicates.find(again, frame)["duplicate_of"] == "doc-1"


def test_the_order_of_the_past_changes_nothing(known) -> None:
    rows, frame = known
    copy = rescanned(rows[3])
    expected = duplicates.find(copy, frame)
    assert duplicates.find(copy, frame.sample(fraction=1, shuffle=True, seed=1)) == expected


def test_many_documents_that_share_a_field_do_not_hide_the_one(known) -> None:
    rows, frame = known
    crowd = pl.concat(
        [
            frame.with_columns(document_id=pl.format("{}-{}", "document_id", pl.lit(i)))
            for i in "abc"
        ]
    ).with_columns(digest=pl.lit("z"), total_amount=rows[50]["total_amount"])
    found = duplicates.find(rescanned(rows[50]), pl.concat([crowd, frame]))
    assert found["duplicate_score"] > 0.5
    assert found["duplicate_of"].startswith(rows[50]["document_id"])

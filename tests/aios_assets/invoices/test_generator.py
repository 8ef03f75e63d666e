"""Generated invoices: the same every time, true to what is printed, honest about their tricks."""

from __future__ import annotations

import io
from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban

from aios_assets.automations.invoices import generator, pages, source
from aios_assets.automations.invoices.generator.months import END, START
from aios_assets.automations.invoices.reading import read
from tests.aios.test_steps import INVOICES

pytestmark = pytest.mark.unit

YEAR = [one for month in range(1, 13) for one in generator.arrivals(2025, month)]


def test_a_month_is_the_same_every_time() -> None:
    from aios_assets.automations.invoices.generator import months

    first = generator.arrivals(2025, 5)
    documents = [generator.document(one.uri) for one in first if one.invoice]
    months.arrivals.cache_clear()
    months._first_time.cache_clear()
    assert generator.arrivals(2025, 5) == first
    assert [generator.document(one.uri) for one in first if one.invoice] == documents
    assert generator.arrivals(2025, 5, seed=1) != first


def test_the_truth_of_clean_words_is_printed_and_inside_the_page() -> None:
    clean = [one for one in YEAR if one.invoice and not one.noisy and one.trick is None]
    for one in clean[:300]:
        document = generator.document(one.uri)
        text = " ".join(word.text for word in document.words)
        for field, value in generator.truth(one).items():
            assert value is None or value in text or field == "address", (one.id, field, value)
        width, height = document.pages[0]
        boxes = np.array([word.box for word in document.words])
        assert (boxes >= 0).all()
        assert (boxes[:, 2] <= width + 1).all()
        assert (boxes[:, 3] <= height).all()


def test_bank_details_have_right_check_digits() -> None:
    for one in YEAR:
        if one.invoice and one.invoice.iban:
            assert iban.is_valid(one.invoice.iban, check_country=False)


def test_tricks_are_played_and_written_down() -> None:
    ledger = [row for month in range(1, 13) for row in generator.ledger(2025, month)]
    tricks = Counter(row["trick"] for row in ledger)
    for trick in ("changed_bank", "wrong_total", "inflated", "imitation", "instruction"):
        assert 5 <= tricks[trick] <= 0.04 * len(ledger), tricks
    assert tricks["copy"] >= 8
    assert tricks["rescan"] >= 8
    by_id = {one.id: one for one in YEAR}
    for one in YEAR:
        if one.trick == "copy":
            assert one.digest == by_id[one.copy_of].digest
        if one.trick == "rescan":
            assert one.digest != by_id[one.copy_of].digest
            assert one.invoice == by_id[one.copy_of].invoice
    assert any(row["high"] for row in ledger)
    assert {one.condition for one in YEAR} >= {"readable", "damaged"}


def test_a_new_layout_comes_in_september() -> None:
    first = {month: {r["layout"] for r in generator.ledger(2025, month)} for month in range(1, 13)}
    assert all("portal" not in first[month] for month in range(1, 9))
    assert all("portal" in first[month] for month in range(9, 13))


def test_a_scan_shows_the_page() -> None:
    one = next(one for one in YEAR if one.scanned and one.invoice)
    image = np.asarray(generator.image(one.uri))
    assert image.std() > 5
    assert np.median(image) > 200
    row = {"document_id": one.id, "uri": one.uri, "format": "words"}
    found = read(row)
    assert found["read_by"] == "given"
    assert set(found) == set(INVOICES["steps"][0]["outputs"])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 395), max_size=4, unique=True))
def test_every_document_arrives_once_however_time_is_cut(days: list[int]) -> None:
    cuts = [START, *(START + timedelta(days=day) for day in sorted(days)), END]
    parts = [source.events(a, b, None) for a, b in pairwise(cuts)]
    ids = pl.concat(parts)["document_id"]
    assert ids.n_unique() == len(ids) == len(YEAR) + len(generator.arrivals(2026, 1))


def test_truth_and_outcomes_come_later_about_documents_that_came() -> None:
    end = END + timedelta(days=60)
    events = source.events(START, END, None)
    for learned, delay in (
        (source.truth(START, end, None), source.TRUTH_DELAY),
        (source.labels(START, end, None), source.LABEL_DELAY),
    ):
        joined = learned.join(events, on="document_id", how="left")
        assert joined["received_at"].null_count() == 0
        assert (joined["known_at"] - joined["received_at"] == delay).all()
        assert learned.height == sum(1 for one in YEAR if one.invoice) + sum(
            1 for one in generator.arrivals(2026, 1) if one.invoice
        )
    rate = source.labels(START, end, None)["label"].mean()
    assert 0.05 < rate < 0.2


def test_real_receipts_arrive_once_in_the_order_of_their_dates(datasets: Path) -> None:
    path = datasets / "sroie_receipts" / "train.jsonl"
    first, last = source.period(path)
    assert (first.year, last.year) == (2016, 2019)
    events = source.events(first, last + timedelta(days=1), path)
    assert events["document_id"].n_unique() == events.height == 586
    assert events["condition"].unique().to_list() == ["readable"]
    truth = source.truth(datetime(2000, 1, 1), datetime(2100, 1, 1), path)
    assert truth.height == 586
    assert truth["company"].null_count() == 0
    assert truth["iban"].null_count() == 586
    labels = source.labels(datetime(2000, 1, 1), datetime(2100, 1, 1), path)
    assert labels["label"].sum() == 0


def test_a_folder_may_hold_its_truth_beside_the_files(tmp_path: Path) -> None:
    one = next(one for one in YEAR if one.invoice)
    buffer = io.BytesIO()
    generator.image(one.uri).save(buffer, format="PNG")
    (tmp_path / "scan.png").write_bytes(buffer.getvalue())
    (tmp_path / "truth.jsonl").write_text('{"id": "scan", "entities": {"total": "1.00"}}\n')
    first, last = source.period(tmp_path)
    events = source.events(first, last + timedelta(seconds=1), tmp_path)
    assert events.select("document_id", "format", "condition").rows() == [
        ("scan", "png", "readable")
    ]
    truth = source.truth(datetime(2000, 1, 1), datetime(2100, 1, 1), tmp_path)
    assert truth.select("document_id", "total", "company").rows() == [("scan", "1.00", None)]


def test_the_page_shows_documents_that_were_not_read_too() -> None:
    one = next(one for one in YEAR if one.invoice and not one.scanned)
    spec = INVOICES["steps"]
    row = dict.fromkeys([*spec[0]["outputs"], *spec[1]["outputs"]])
    row |= {"document_id": one.id, "uri": one.uri, "format": "words", "name": "<b>.json"}
    row |= {"document": generator.document(one.uri).to_json()}
    html, png = pages.page(pl.DataFrame([row], infer_schema_length=None))
    assert "&lt;b&gt;.json" in html
    assert "not read" in html
    assert png.startswith(b"\x89PNG")

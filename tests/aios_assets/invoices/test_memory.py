"""The memory recognises a vendor and gives back what people wrote for it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.documents.document import Document, Word
from aios_assets.automations.invoices.extraction.candidates import propose
from aios_assets.automations.invoices.extraction.decoding import decode
from aios_assets.automations.invoices.extraction.fields import FIELDS
from aios_assets.automations.invoices.extraction.memory import (
    MEMORY,
    RECALLED,
    Memory,
    Recall,
    agreement,
    pattern,
    prefix,
    remember,
)
from aios_assets.automations.invoices.extraction.segments import Page

pytestmark = pytest.mark.unit

COMPANY, ADDRESS, DATE, TOTAL = range(4)
ACME = ("ACME TRADlNG SDN BHD", "(789417-W)", "NO 4 JALAN BUNGA", "81100 JOHOR", "TEL 07-3558160")
OTHER = ("BORNEO FOODS", "(123456-X)", "LOT 9 JALAN LAUT", "50000 KUALA LUMPUR", "03-77821234")
WROTE = {
    "company": "ACME TRADING SDN. BHD.",
    "address": "NO. 4, JALAN BUNGA, 81100 JOHOR",
    "date": "03/04/2018",
    "total": "RM 9.00",
}
WROTE_OTHER = {
    "company": "BORNEO FOODS",
    "address": "LOT 9, JALAN LAUT, 50000 KUALA LUMPUR",
    "date": "3 APR 2018",
    "total": "9.00",
}


def page(*texts: str) -> Page:
    words = [Word(text, (10.0, 20.0 * at, 300.0, 20.0 * at + 16)) for at, text in enumerate(texts)]
    return Page.of(Document("x", tuple(words), ((600.0, 900.0),)))


@pytest.fixture
def memory() -> Memory:
    pages = [page(*ACME, "RM 9.00"), page(*ACME, "RM 7.00"), page(*OTHER, "9.00")]
    return remember(pages, [WROTE, WROTE, WROTE_OTHER])


def test_a_vendor_is_recalled_with_what_people_wrote(memory: Memory) -> None:
    recall = Recall(memory, page(*ACME, "12.12.2019", "RM 88.00"))
    assert recall.known > 0.5
    for column, name in ((COMPANY, "company"), (ADDRESS, "address")):
        (first, *others) = recall.candidates(column)
        assert (first.text, first.segments, first.kind) == (WROTE[name], (), MEMORY)
        assert not others
        assert recall.votes(column) == {WROTE[name]: pytest.approx(1)}
        assert recall.support(column, WROTE[name]) == 2
    assert recall.votes(DATE) == {"00/00/0000": pytest.approx(1)}
    assert recall.votes(TOTAL) == {"RM": pytest.approx(1)}
    assert recall.known_vendor("Acme Trading Sdn Bhd")
    assert not recall.known_vendor("BORNEO FOODS")


def test_one_mark_of_the_header_is_enough(memory: Memory) -> None:
    recall = Recall(memory, page("misread beyond words", "789417-W"))
    assert [one.text for one in recall.candidates(COMPANY)] == [WROTE["company"]]
    assert 0 < recall.known < Recall(memory, page(*ACME)).known


def test_a_name_with_a_slip_is_recognised(memory: Memory) -> None:
    recall = Recall(memory, page("BORNE0 FOODS", "elsewhere"))
    assert [one.text for one in recall.candidates(COMPANY)] == ["BORNEO FOODS"]


def test_a_stranger_recalls_nobody(memory: Memory) -> None:
    recall = Recall(memory, page("ZENITH GMBH", "HAUPTSTRASSE 1", "10115 BERLIN", "030-9876543"))
    assert recall.known == 0
    assert recall.candidates(COMPANY) == recall.candidates(ADDRESS) == []
    assert recall.votes(COMPANY) == {}
    assert not recall.known_vendor("ZENITH GMBH")
    assert agreement(page("ZENITH GMBH"), recall).tolist() == [0, 0, 0]


def test_what_was_written_more_often_comes_first() -> None:
    written = [*["ACME"] * 3, "ACME TRADING"]
    memory = remember([page(*ACME)] * 4, [{"company": one} for one in written])
    recall = Recall(memory, page(*ACME))
    assert [one.text for one in recall.candidates(COMPANY)] == ["ACME", "ACME TRADING"]
    assert recall.votes(COMPANY) == {
        "ACME": pytest.approx(0.75),
        "ACME TRADING": pytest.approx(0.25),
    }
    assert recall.candidates(ADDRESS) == []  # nobody ever wrote one


def test_no_more_vendors_are_proposed_than_are_looked_at() -> None:
    names = [f"VENDOR {letter}" for letter in "ABCDEFGHIJKL"]
    memory = remember([page("SHARED MALL 081234567")] * 12, [{"company": one} for one in names])
    found = Recall(memory, page("SHARED MALL 081234567")).candidates(COMPANY)
    assert len(found) == RECALLED


def test_a_mark_that_many_print_weighs_less_than_ones_own() -> None:
    mall = "GRAND MALL LEVEL 2"
    pages = [page(mall, f"2000{at}7-K") for at in range(5)]
    memory = remember(pages, [{"company": f"SHOP {letter}"} for letter in "ABCDE"])
    recall = Recall(memory, page(mall, "200037-K"))
    votes = recall.votes(COMPANY)
    assert max(votes, key=lambda name: votes[name]) == "SHOP D"


def test_what_people_wrote_is_given_out_though_it_is_not_printed_so(memory: Memory) -> None:
    here = page(*ACME, "12.12.2019", "TOTAL RM 88.00")
    recall = Recall(memory, here)
    candidates = propose(here, np.zeros((len(here), len(FIELDS))))
    for column, field in ((COMPANY, "company"), (ADDRESS, "address")):
        candidates[field] = candidates[field] + recall.candidates(column)
    scores = {
        field: np.array([0.9 if one.kind == MEMORY else 0.1 for one in some])
        for field, some in candidates.items()
    }
    picked = decode(here, candidates, scores, recall)
    assert picked["company"].text == WROTE["company"]
    assert picked["address"].text == WROTE["address"]
    assert picked["company"].from_memory
    assert (picked["company"].support, picked["company"].segments) == (2, ())
    assert not picked["total"].from_memory


def test_a_text_is_found_in_the_header(memory: Memory) -> None:
    recall = Recall(memory, page(*ACME))
    assert recall.printed("No. 4, Jalan Bunga") == 1
    assert recall.printed("ACME TRADING SDN BHD") > 0.9  # but for one letter
    assert recall.printed("ZENITH GMBH") < 0.6
    assert recall.printed("...") == 0


def test_the_memory_is_plain_data(memory: Memory) -> None:
    again = json.loads(json.dumps(memory))
    assert again == memory
    here = page(*ACME)
    assert Recall(again, here).votes(COMPANY) == Recall(memory, here).votes(COMPANY)


@pytest.mark.parametrize("rows", [[], [{}], [dict.fromkeys(FIELDS)]])
def test_nothing_to_remember_is_no_obstacle(rows: list[dict[str, str | None]]) -> None:
    memory = remember([page(*ACME)] * len(rows), rows)
    for here in (page(), page(*ACME)):
        recall = Recall(memory, here)
        assert recall.candidates(COMPANY) == []
        assert 0 <= recall.known < 1
        assert not recall.known_vendor(None)
        assert np.isfinite(agreement(here, recall)).all()


@given(st.lists(st.text(max_size=40), max_size=30))
def test_whatever_is_printed_shares_are_shares(texts: list[str]) -> None:
    pages = [page(*ACME), page(*texts)]
    recall = Recall(remember(pages, [WROTE, WROTE_OTHER]), page(*texts))
    assert 0 <= recall.known < 1
    for column in (COMPANY, ADDRESS, DATE, TOTAL):
        votes = recall.votes(column)
        assert sum(votes.values()) <= 1 + 1e-9
        assert all(share > 0 for share in votes.values())


@pytest.mark.parametrize(
    ("text", "shape"),
    [("03/04/2018", "00/00/0000"), ("3 APR 18", "0 A 00"), ("12. März 2024", "00. A 0000")],
)
def test_a_date_has_a_shape(text: str, shape: str) -> None:
    assert pattern(text) == shape
    assert pattern(None) is None


@pytest.mark.parametrize(
    ("text", "before"), [("RM 9.00", "RM"), ("9.00", ""), ("$-4.00", "$"), ("€ 5,00", "€")]
)
def test_a_total_has_a_prefix(text: str, before: str) -> None:
    assert prefix(text) == before
    assert prefix(None) is None

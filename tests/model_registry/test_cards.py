from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.statistics.metrics import evaluate
from aios.statistics.slices import by_slice, fairness_gaps
from model_registry.cards import (
    Card,
    TrainingData,
    limits,
    model_card,
    shorten,
    with_approvals,
    with_verdict,
)
from model_registry.gate import gate

pytestmark = pytest.mark.unit


def make_card() -> Card:
    rng = np.random.default_rng(0)
    label = (rng.random(600) < 0.3).astype(float)
    score = np.clip(0.2 + 0.4 * label + rng.normal(0, 0.2, 600), 0, 1)
    slices = pl.DataFrame({"sex": ["f", "m"] * 295 + ["x"] * 10})
    features = pl.DataFrame(
        {"amount": rng.lognormal(6, 1, 600), "region": ["north", None, "south"] * 200}
    )
    by = by_slice("classification", label, score, slices)
    verdict = gate(
        "classification",
        label,
        {"boosting": score},
        None,
        metric="roc_auc",
        floor=0.6,
        margin=0.02,
        confidence=0.8,
        min_rows=100,
        min_per_class=10,
    )
    return Card(
        automation="claims",
        candidate="boosting",
        intended_use="Finds claims to investigate before they are paid.",
        owners=["claims@example.com"],
        risk="high",
        task="classification",
        label="fraud",
        params={"learning_rate": 0.1},
        data=TrainingData(
            rows=1_800,
            held_out=600,
            first=datetime(2024, 1, 1),
            last=datetime(2024, 5, 1),
            digest="3f9a",
            label_delay="30 days",
            window="all matured labels",
        ),
        metrics=evaluate("classification", label, score),
        confidence=0.95,
        slices=by,
        gaps=fairness_gaps(label, score, slices, 0.5),
        limits=limits(features, by, drifted=["amount"]),
        verdict=verdict.candidates["boosting"],
        promotion="manual",
    )


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n\n")[1].split("\n\n## ")[0]


def test_card_says_what_a_reader_asks():
    text = model_card(make_card())
    assert text.startswith("# claims: boosting\n")
    for words in ("claims@example.com", "1,800", "2024-01-01 to 2024-05-01", "30 days", "`3f9a`"):
        assert words in text
    assert "| roc_auc | 0." in section(text, "Performance")
    assert "| sex = f | 295 | 0." in section(text, "Slices")
    assert "sex: the selection rate differs by" in section(text, "Fairness")
    assert "Left out for too few rows: x" in section(text, "Fairness")
    assert section(text, "Gate").startswith("**pass**")
    assert "aios promote" in section(text, "Approvals")


def test_limits_come_from_the_data():
    text = section(model_card(make_card()), "Limits")
    assert "`region` 2 values" in text
    assert "Missing in the training rows: `region` 33%." in text
    assert "Too few held-out rows to judge these slices: sex = x (10)." in text
    assert "drifting when it was trained: `amount`." in text


@pytest.mark.parametrize(("drifted", "words"), [(None, "not measured"), ([], "No drift")])
def test_drift_not_measured_is_not_drift_not_found(drifted, words):
    card = make_card()
    assert any(words in limit for limit in limits(pl.DataFrame(), card.slices, drifted=drifted))


def test_card_is_the_same_each_time_it_is_written():
    assert model_card(make_card()) == model_card(make_card())


def test_card_without_slices_gate_or_measured_values_still_reads():
    card = make_card()
    undefined = {"roc_auc": replace(card.metrics["roc_auc"], value=float("nan"), low=float("nan"))}
    bare = replace(
        card, slices=card.slices.clear(), gaps=card.gaps.clear(), verdict=None, metrics=undefined
    )
    text = model_card(bare)
    assert "| roc_auc | n/a | n/a |" in text
    assert "nan" not in text
    assert "No slices are declared" in text
    assert "has not been to the gate" in text


def test_values_cannot_break_a_table():
    text = model_card(replace(make_card(), intended_use="either | or\nboth"))
    assert "| Intended use | either \\| or both |" in text


def test_approvals_replace_the_promise_of_one():
    text = with_approvals(model_card(make_card()), ["Promotion by ada."], limit=50_000)
    assert section(text, "Approvals") == "- Promotion by ada.\n"
    assert with_approvals(text, ["Promotion by ada."], limit=50_000) == text


def test_verdict_replaces_the_former_and_keeps_the_approvals():
    card = make_card()
    text = model_card(replace(card, verdict=None))
    judged = with_verdict(text, card.verdict, limit=50_000)
    assert judged == model_card(card)
    approved = with_approvals(text, ["Promotion by ada."], limit=50_000)
    again = with_verdict(approved, card.verdict, limit=50_000)
    assert section(again, "Gate").startswith("**pass**")
    assert section(again, "Approvals") == "- Promotion by ada.\n"


def test_long_card_keeps_gate_and_approvals_in_the_short_form():
    text = model_card(replace(make_card(), limits=["a limit"] * 2_000))
    short = shorten(text, 5_000)
    assert len(short) <= 5_000
    assert "The card continues in `card.md`" in short
    assert section(short, "Gate") == section(text, "Gate")
    assert section(short, "Approvals") == section(text, "Approvals")


@given(
    st.integers(0, 400),
    st.lists(st.integers(1, 300).map(lambda size: "y" * size), min_size=1, max_size=30),
)
def test_approvals_stay_whole_within_the_limit(lines, approvals):
    card = "# claims\n" + "a line\n" * lines + "\n## Approvals\n\nNone yet.\n"
    once = with_approvals(card, approvals, limit=1_000)
    assert len(once) <= 1_000
    assert once.endswith(f"- {approvals[-1]}\n")
    assert with_approvals(once, approvals, limit=1_000) == once


def test_short_text_is_not_cut():
    assert shorten("abc", 3) == "abc"

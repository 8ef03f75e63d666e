"""Where invoices come from: each arrives once, and what is known of it comes later."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios_assets.automations.invoices import generator, source
from aios_assets.automations.invoices.generator.months import END, START

pytestmark = pytest.mark.unit

ALWAYS = datetime(1900, 1, 1), datetime(2100, 1, 1)
LATER = END + timedelta(days=60)
ALL = [one for month in range(1, 13) for one in generator.arrivals(2025, month)]
ALL += generator.arrivals(2026, 1)
Ask = Callable[[datetime, datetime, Path | None], pl.DataFrame]
ASKED: list[Ask] = [source.events, source.truth, source.labels]


def row(name: str, **more: Any) -> dict[str, Any]:
    plain = {"id": name, "words": [f"INVOICE {name}"], "bboxes": [[0, 0, 50, 9]]}
    return plain | {"image_size": {"width": 100, "height": 200}} | more


def jsonl(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in rows))
    return path


def png(path: Path) -> Path:
    buffer = io.BytesIO()
    one = next(one for one in ALL if one.invoice)
    generator.image(one.uri).crop((0, 0, 40, 40)).save(buffer, format="PNG")
    path.write_bytes(buffer.getvalue() + path.name.encode())
    return path


moments = st.datetimes(datetime(2024, 6, 1), datetime(2026, 9, 1))


@settings(max_examples=12)
@given(st.lists(moments, max_size=6))
def test_everything_is_heard_once_however_time_is_cut(cuts: list[datetime]) -> None:
    edges = [datetime(2024, 1, 1), *sorted(cuts), datetime(2027, 1, 1)]
    for ask in ASKED:
        parts = pl.concat([ask(a, b, None) for a, b in pairwise(edges)])
        assert parts.equals(ask(edges[0], edges[-1], None))


def test_the_generators_documents_arrive_once_within_its_period() -> None:
    first, last = source.period(None)
    assert (first, last) == (START, END - timedelta(seconds=1))
    events = source.events(*ALWAYS, None)
    assert sorted(events["document_id"]) == sorted(one.id for one in ALL)
    assert events["received_at"].is_between(first, last).all()
    assert events["received_at"].is_sorted()
    assert events["received_at"].equals(events["known_at"])
    assert source.events(first, last + timedelta(seconds=1), None).equals(events)


def test_copies_share_their_digest_and_scans_come_as_pictures() -> None:
    events = source.events(*ALWAYS, None)
    by_id = {row["document_id"]: row for row in events.iter_rows(named=True)}
    for one in ALL:
        found = by_id[one.id]
        assert (found["format"], found["condition"]) == (
            "png" if one.scanned else "words",
            one.condition,
        )
        if one.copy_of:
            same = found["digest"] == by_id[one.copy_of]["digest"]
            assert same == (one.trick == "copy")
            assert found["received_at"] > by_id[one.copy_of]["received_at"]
    once = [one.id for one in ALL if one.trick != "copy"]
    assert len({by_id[name]["digest"] for name in once}) == len(once)


@pytest.mark.parametrize(
    ("ask", "delay"), [(source.truth, source.TRUTH_DELAY), (source.labels, source.LABEL_DELAY)]
)
def test_what_is_learned_comes_later_about_documents_that_came(ask: Ask, delay: timedelta) -> None:
    learned = ask(START, LATER, None)
    events = source.events(START, END, None).filter(pl.col("condition") == "readable")
    joined = events.join(learned, on="document_id", suffix="_learned", validate="1:1")
    assert joined.height == events.height == learned.height
    assert (joined["known_at_learned"] - joined["received_at"] == delay).all()
    assert ask(START, START + delay, None).is_empty()


def test_truth_is_what_the_generator_printed() -> None:
    learned = source.truth(*ALWAYS, None).drop("known_at").rows_by_key("document_id", named=True)
    for one in ALL:
        if one.invoice:
            assert learned[one.id] == [generator.truth(one)]


def test_finance_rejects_copies_frauds_and_mistakes_and_few_others() -> None:
    label = dict(source.labels(*ALWAYS, None).select("document_id", "label").iter_rows())
    assert set(label.values()) == {0.0, 1.0}
    by_trick: dict[str | None, list[float]] = {}
    for one in ALL:
        if one.invoice:
            by_trick.setdefault(one.trick, []).append(label[one.id])
    honest = by_trick.pop(None) + by_trick.pop("instruction")
    assert all(set(labels) == {1.0} for labels in by_trick.values())
    assert sum(honest) / len(honest) < 0.02


def test_real_receipts_arrive_once_in_the_order_of_their_dates(datasets: Path) -> None:
    path = datasets / "sroie_receipts" / "train.jsonl"
    first, last = source.period(path)
    assert (first, last) == (datetime(2016, 1, 8), datetime(2019, 1, 23))
    edges = [datetime(2015, 12, 1) + timedelta(days=30 * n) for n in range(40)]
    parts = [source.events(a, b, path) for a, b in pairwise(edges)]
    for (a, b), part in zip(pairwise(edges), parts, strict=True):
        assert part["received_at"].is_between(a, b, closed="left").all()
    events = pl.concat(parts)
    assert events["document_id"].n_unique() == events.height == 586
    assert set(events["condition"]) == {"readable"}
    assert set(events["format"]) == {"words"}
    assert events["document_id"].sort().equals(source.events(*ALWAYS, path)["document_id"].sort())


def test_what_is_right_about_real_receipts_comes_with_them(datasets: Path) -> None:
    path = datasets / "sroie_receipts" / "train.jsonl"
    events, truth = source.events(*ALWAYS, path), source.truth(*ALWAYS, path)
    assert truth["document_id"].equals(events["document_id"])
    assert (truth["known_at"] - events["received_at"] == source.TRUTH_DELAY).all()
    given = [json.loads(line)["entities"] for line in path.read_text().splitlines()]
    for name in ("company", "date", "address", "total"):
        assert truth[name].to_list() == [entities.get(name) or None for entities in given]
    assert truth["iban"].null_count() == truth.height
    labels = source.labels(*ALWAYS, path)
    assert (labels["label"] == 0).all()
    assert (labels["known_at"] - events["received_at"] == source.LABEL_DELAY).all()


def test_a_row_is_dated_by_its_receipt_else_by_its_date_else_by_the_row_before(
    tmp_path: Path,
) -> None:
    path = jsonl(
        tmp_path / "some.jsonl",
        row("undated first"),
        row("dated", entities={"date": "03/02/2024"}),
        row("received", received_at="2024-02-05T08:30:00", entities={"date": "01/01/2024"}),
        row("elsewhere", received_at="2024-02-06T02:00:00+08:00"),
        row("undated"),
        row("no time", received_at="yesterday"),
        row("date in words", received_at="soon", entities={"date": "7 Feb 2024"}),
        row("misprint", entities={"date": "07/02/1024"}),
        row("far", received_at="9999-12-31"),
        "{torn",
    )
    events = source.events(*ALWAYS, path)
    february = [datetime(2024, 2, 3)] * 2 + [datetime(2024, 2, 5, 8, 30)]
    february += [datetime(2024, 2, 5, 18)] * 3 + [datetime(2024, 2, 7)] * 4
    assert events["received_at"].to_list() == february
    assert events["condition"].to_list() == ["readable"] * 9 + ["damaged"]
    assert source.period(path) == (february[0], february[-1])


@pytest.mark.parametrize(
    "entities",
    [None, [], "total 1.00", {"date": 20240203}, {"date": ["2024"], "total": 12.5}, {"total": ""}],
    ids=str,
)
def test_odd_truth_hurts_nobody_else(tmp_path: Path, entities: Any) -> None:
    good = row("good", entities={"date": "03/02/2024", "total": "9.00"})
    path = jsonl(tmp_path / "some.jsonl", good, row("odd", entities=entities))
    assert source.events(*ALWAYS, path)["document_id"].to_list() == ["good", "odd"]
    truth = source.truth(*ALWAYS, path)
    assert truth.row(0, named=True)["total"] == "9.00"
    assert all(kind == pl.String for name, kind in truth.schema.items() if name != "known_at")
    assert source.labels(*ALWAYS, path).height == truth.height


def test_a_number_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "some.jsonl", row("one", entities={"total": 12.5, "number": 17}))
    assert source.truth(*ALWAYS, path).select("total", "number").row(0) == ("12.5", "17")


def test_a_folder_may_hold_its_truth_beside_the_files(tmp_path: Path) -> None:
    for at, name in enumerate(("scan", "other", "17")):
        os.utime(png(tmp_path / f"{name}.png"), (1_700_000_000 + at, 1_700_000_000 + at))
    jsonl(
        tmp_path / "truth.jsonl",
        {"id": "scan", "entities": {"total": "1.00"}},
        "",
        {"id": 17, "entities": {"company": "Kestrel"}},
        {"id": "absent", "entities": {"total": "2.00"}},
        {"id": "other", "entities": {}},
    )
    first, last = source.period(tmp_path)
    assert first == datetime(2023, 11, 14, 22, 13, 20)
    events = source.events(first, last + timedelta(seconds=1), tmp_path)
    assert events.select("document_id", "format", "condition").sort("document_id").rows() == [
        (name, "png", "readable") for name in ("17", "other", "scan")
    ]
    truth = source.truth(*ALWAYS, tmp_path).sort("document_id")
    assert truth.select("document_id", "total", "company").rows() == [
        ("17", None, "Kestrel"),
        ("scan", "1.00", None),
    ]
    assert truth["known_at"].to_list() == [last + source.TRUTH_DELAY, first + source.TRUTH_DELAY]
    assert sorted(source.labels(*ALWAYS, tmp_path)["document_id"]) == ["17", "scan"]


def test_a_folder_without_truth_has_none(tmp_path: Path) -> None:
    png(tmp_path / "scan.png")
    assert source.events(*ALWAYS, tmp_path).height == 1
    assert source.truth(*ALWAYS, tmp_path).is_empty()
    assert source.labels(*ALWAYS, tmp_path).is_empty()


def test_rows_without_any_day_keep_the_time_of_their_file(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "some.jsonl", row("one"), row("two", entities={"total": "1.00"}))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert source.period(path) == (datetime(2023, 11, 14, 22, 13, 20),) * 2


def test_a_jsonl_in_a_folder_brings_its_days_and_its_truth(tmp_path: Path) -> None:
    entities = {"date": "03/02/2024", "total": "9.00"}
    jsonl(tmp_path / "some.jsonl", row("one", entities=entities))
    os.utime(png(tmp_path / "scan.png"), (1_700_000_000, 1_700_000_000))
    events = source.events(*ALWAYS, tmp_path)
    assert dict(events.select("document_id", "received_at").iter_rows()) == {
        "one": datetime(2024, 2, 3),
        "scan": datetime(2023, 11, 14, 22, 13, 20),
    }
    assert source.truth(*ALWAYS, tmp_path).select("document_id", "total").rows() == [
        ("one", "9.00")
    ]


def test_what_comes_later_is_seen(tmp_path: Path) -> None:
    png(tmp_path / "scan.png")
    assert source.truth(*ALWAYS, tmp_path).is_empty()
    png(tmp_path / "second.png")
    assert source.events(*ALWAYS, tmp_path).height == 2
    jsonl(tmp_path / "truth.jsonl", {"id": "scan", "entities": {"total": "1.00"}})
    assert source.truth(*ALWAYS, tmp_path)["total"].to_list() == ["1.00"]
    jsonl(tmp_path / "truth.jsonl", {"id": "scan", "entities": {"total": "12.00"}})
    assert source.truth(*ALWAYS, tmp_path)["total"].to_list() == ["12.00"]


def test_all_sources_speak_the_same_schema(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "some.jsonl", row("one", entities={"total": "1.00"}))
    for ask in ASKED:
        schema = ask(*ALWAYS, None).schema
        for data, span in ((path, ALWAYS), (path, ALWAYS[:1] * 2), (None, (LATER, LATER))):
            assert ask(*span, data).schema == schema


def test_errors_name_the_place_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="there is nothing at this place"):
        source.events(*ALWAYS, tmp_path / "absent")
    with pytest.raises(AiosError, match="there are no documents"):
        source.period(tmp_path)
    png(tmp_path / "scan.png")
    for text in ("{torn", '{"entities": {}}', "[1]"):
        jsonl(tmp_path / "truth.jsonl", {"id": "scan", "entities": {}}, text)
        with pytest.raises(AiosError, match=r"truth\.jsonl:2: not a line of truth"):
            source.truth(*ALWAYS, tmp_path)

"""Replay of automations with steps: files that are gone, other answers, time-outs, and models."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from aios.settings import PROJECT, Settings
from aios_assets.lifecycle.decisions import decide_window
from aios_assets.lifecycle.events import ingest
from aios_assets.lifecycle.features import make_features
from aios_assets.lifecycle.predictions import score_window
from aios_assets.lifecycle.steps import run_step
from aios_assets.rehearsal import rehearse
from aios_assets.replay.replay import Part, replay
from aios_assets.replay.why import why
from aios_assets.resources import Platform
from tests.conftest import COLUMNS, loans, make_automation, settings_in
from tests.loops.conftest import key

pytestmark = pytest.mark.loop

LOOKUP = """
import time
from pathlib import Path

import polars as pl


def read(row):
    return {"ceiling": float(Path(row["path"]).read_text())}


def count(row, past):
    same = past.filter(pl.col("customer") == row["customer"])
    return {"times": float(same.height), "spent": float(same["ceiling"].sum())}


def wait(row):
    if Path(row["path"]).with_suffix(".slow").exists():
        time.sleep(30)
    return {"waited": 1.0}
"""
STEPS = [
    {"name": "reading", "kind": "query", "function": "lookup:read", "inputs": ["path"],
     "outputs": {"ceiling": "number"}},
    {"name": "seen", "kind": "transform", "function": "lookup:count", "lookback": "14d",
     "inputs": ["customer", "ceiling"], "outputs": {"times": "number", "spent": "number"}},
    {"name": "waiting", "kind": "transform", "function": "lookup:wait", "timeout": "3s",
     "inputs": ["path"], "outputs": {"waited": "number"}},
]  # fmt: skip
POLICY = {
    "version": 1,
    "required": ["ceiling", "spent", "waited"],
    "rules": [{"name": "low", "when": "ceiling < 50", "outcome": "approve", "reason": "Low."}],
}
WEEKS, ROWS = 3, 36
LAST = key(WEEKS - 1)


class Letters:
    """Loans with a letter each, decided for three weeks without Dagster and without a model.

    The letter of the last loan but one keeps its step waiting for longer than it may.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / "letters"
        self.folder.mkdir(parents=True)
        table = loans(ROWS, weeks=WEEKS)
        limits = np.random.default_rng(1).integers(0, 100, ROWS)
        for identity, limit in zip(table["loan_id"], limits, strict=True):
            self.letter(identity).write_text(str(limit))
        self.slow = self.letter(ROWS - 1).with_suffix(".slow")
        self.slow.touch()
        path = pl.format("{}/{}.txt", pl.lit(str(self.folder)), "loan_id")
        self.automation, self.platform = make_automation(
            root,
            table=table.with_columns(path=path, customer=pl.format("c{}", pl.col("loan_id") % 3)),
            policy=POLICY,
            files={"lookup.py": LOOKUP},
            contract={"columns": {**COLUMNS, "path": {"type": "text", "required": True}}},
            steps=STEPS,
        )
        self.lake = self.platform.lake("loans")
        for week in range(WEEKS):
            window = self.automation.window(key(week))
            ingest(self.automation, self.lake, window)
            for step in self.automation.spec.steps:
                run_step(self.automation, self.platform, step, window)
            make_features(self.automation, self.platform, window)
            score_window(self.automation, self.lake, window, None, [])
            decide_window(self.automation, self.lake, window)

    def letter(self, identity: int) -> Path:
        return self.folder / f"{identity}.txt"

    def replay(self, **asked: object) -> Part:
        (part,) = replay("loans", self.platform.settings, **(asked or {"partition": LAST})).parts
        return part


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Letters:
    return Letters(tmp_path_factory.mktemp("letters"))


@pytest.fixture
def letters(written: Letters):
    """The same letters, put back as they were afterwards."""
    before = {path: path.read_bytes() for path in written.folder.iterdir()}
    stored = {path: path.read_bytes() for path in written.lake.root.rglob("*.parquet")}
    yield written
    for path in written.folder.iterdir():
        path.unlink()
    for path, content in {**before, **stored}.items():
        path.write_bytes(content)


def test_steps_are_run_again_also_one_that_is_too_slow_again(letters):
    decided = letters.lake.read("decisions", LAST)
    assert ROWS - 1 in decided.filter(rule="missing_input")["loan_id"]
    result = replay("loans", letters.platform.settings)
    assert result.holds, result.as_text()
    assert result.rows == ROWS


def test_a_time_out_that_does_not_repeat_counts_as_not_replayed(letters):
    letters.slow.unlink()
    first = letters.lake.read("events", LAST)["loan_id"][0]
    letters.letter(first).with_suffix(".slow").touch()
    part = letters.replay()
    assert (part.different, part.not_replayed) == (0, 2)
    assert set(part.reasons) == {
        "step waiting was ended by time: it took longer than 3 s",
        "step waiting cannot be done again: it took longer than 3 s",
    }


def test_a_letter_that_is_gone_is_told_and_only_its_row_is_lost(letters):
    (first, second, *_) = letters.lake.read("events", LAST)["loan_id"]
    letters.letter(first).unlink()
    part = letters.replay()
    assert (part.different, part.not_replayed) == (0, 1)
    assert any(str(letters.letter(first)) in reason for reason in part.reasons)
    name = f"loans/{LAST}/{second}"
    assert replay(None, letters.platform.settings, decision_id=name).holds
    name = f"loans/{LAST}/{first}"
    assert not replay(None, letters.platform.settings, decision_id=name).holds


def test_another_answer_of_a_query_is_told_and_the_rest_is_still_checked(letters):
    (first, *_) = letters.lake.read("events", LAST)["loan_id"]
    letters.letter(first).write_text("1000")
    part = letters.replay()
    (finding,) = part.findings
    assert (finding.stage, finding.column, finding.rows) == ("reading", "ceiling", 1)
    assert "recomputed 1000.0" in finding.text
    assert "query" in finding.text
    assert (part.different, part.not_replayed) == (1, 0)


def test_an_edited_output_of_a_step_is_named_where_it_was_edited(letters):
    path = letters.lake.path("seen", LAST)
    frame = pl.read_parquet(path)
    first = pl.int_range(pl.len()) == 0
    frame.with_columns(pl.when(first).then(-1.0).otherwise("times").alias("times")).write_parquet(
        path
    )
    part = letters.replay()
    (finding,) = part.findings
    assert (finding.stage, finding.column, finding.rows) == ("seen", "times", 1)
    assert "stored -1.0" in finding.text


def test_only_the_asked_rows_are_read_again(letters):
    asked = letters.lake.read("events", LAST)["loan_id"][2]
    for identity in letters.lake.read("events", LAST)["loan_id"]:
        if identity != asked:
            letters.letter(identity).unlink()
    part = letters.replay(decision_id=f"loans/{LAST}/{asked}")
    assert (part.rows, part.equal) == (1, 1)


def test_why_shows_what_the_steps_found(letters):
    row = letters.lake.read("events", LAST).row(0, named=True)
    found = why(str(row["loan_id"]), letters.platform.settings)
    limit = float(letters.letter(row["loan_id"]).read_text())
    assert found.steps["reading"]["ceiling"] == limit
    assert found.steps["seen"]["seen_status"] == "done"
    assert found.models == []
    assert "no champion yet" in found.as_text()


@pytest.fixture(scope="module")
def invoices(tmp_path_factory: pytest.TempPathFactory):
    """Three months of a few invoices, the last one read by a trained extraction."""
    settings = settings_in(tmp_path_factory.mktemp("invoices"))
    folder = settings.automations / "invoices"
    source = PROJECT / "aios_assets" / "automations" / "invoices"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    months = folder / "generator" / "months.py"
    text = months.read_text().replace("DOCUMENTS = 80", "DOCUMENTS = 60")
    months.write_text(text.replace("SCANNED = 0.025", "SCANNED = 0.0"))
    lines = (folder / "defs.yaml").read_text().splitlines()
    text = "\n".join(line for line in lines if "layout_network" not in line)
    text = text.replace("min_rows: 120", "min_rows: 60").replace("min_rows: 25", "min_rows: 20")
    (folder / "defs.yaml").write_text(text.replace("floor: 0.5, margin", "floor: 0.05, margin"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(settings.home))
        patch.setenv("AIOS_AUTOMATIONS", str(settings.automations))
        start, end = datetime(2025, 7, 1), datetime(2025, 10, 1)
        rehearse("invoices", settings, start=start, end=end, progress=lambda *_: None)
        yield settings


def test_invoices_are_replayed_by_the_extraction_that_read_them(invoices: Settings):
    lake = Platform(invoices).lake("invoices")
    assert lake.read("decisions", "2025-09-01")["extraction_version"].null_count() == 0
    result = replay("invoices", invoices)
    assert result.holds, result.as_text()
    row = lake.read("decisions", "2025-09-01").row(-1, named=True)
    one = replay(None, invoices, decision_id=f"invoices/2025-09-01/{row['document_id']}")
    assert one.holds, one.as_text()
    found = why(row["document_id"], invoices)
    assert [model.model for model in found.models] == ["invoices.extraction"]
    assert found.models[0].dataset == "intact"


def test_an_extraction_that_does_not_load_is_named_and_its_rows_not_replayed(invoices: Settings):
    platform = Platform(invoices)
    number = platform.lake("invoices").read("decisions", "2025-09-01")["extraction_version"][0]
    version = platform.registry.get("invoices.extraction", number)
    folder = Path(version.source.removeprefix("file://"))
    folder.rename(folder.with_name("aside"))
    try:
        (part,) = replay("invoices", invoices, partition="2025-09-01").parts
    finally:
        folder.with_name("aside").rename(folder)
    assert part.not_replayed == part.rows
    assert f"invoices.extraction version {number}" in next(iter(part.reasons))

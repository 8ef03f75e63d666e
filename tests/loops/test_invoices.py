"""Invoices from their arrival to their decision: the generator's months through the real jobs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from aios.automation import load_automation
from aios.learner import model_steps
from aios.settings import PROJECT
from aios_assets.automations.invoices import generator
from aios_assets.cli import app
from aios_assets.rehearsal import State
from aios_assets.report import build_report
from aios_assets.resources import Platform
from tests.conftest import settings_in

pytestmark = pytest.mark.loop

MONTHS = [f"2025-{month:02d}-01" for month in range(7, 12)]


def call(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    """A home in which the invoices of July to November have been rehearsed."""
    root = tmp_path_factory.mktemp("invoices")
    settings = settings_in(root)
    settings.automations.mkdir(parents=True, exist_ok=True)
    source = PROJECT / "aios_assets" / "automations" / "invoices"
    folder = settings.automations / "invoices"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"))
    # One quick candidate is enough for the loop; both are trained in tests of their own.
    text = (folder / "defs.yaml").read_text()
    lines = [line for line in text.splitlines() if "layout_network" not in line]
    (folder / "defs.yaml").write_text("\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_HOME", str(settings.home))
        patch.setenv("AIOS_AUTOMATIONS", str(settings.automations))
        result = call(
            "rehearse", "invoices", "--from", "2025-07-01", "--to", "2025-12-01",
            "--json", root / "report.json",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        yield settings, json.loads((root / "report.json").read_text()), result.output


@pytest.fixture
def lake(home):
    return Platform(home[0]).lake("invoices")


def all_of(lake, dataset: str) -> pl.DataFrame:
    found = lake.read_all(dataset)
    assert found is not None
    return found


def ledger() -> pl.DataFrame:
    rows = [row for month in range(7, 12) for row in generator.ledger(2025, month)]
    return pl.DataFrame(rows, infer_schema_length=None)


def test_every_document_is_decided_once_or_set_aside_with_the_reason(lake) -> None:
    decided, expected = all_of(lake, "decisions"), ledger()
    readable = expected.filter(pl.col("condition") == "readable")
    assert sorted(decided["document_id"]) == sorted(readable["document_id"])
    aside = all_of(lake, "quarantine").filter(pl.col("rules") != "unique")
    broken = expected.filter(pl.col("condition") != "readable")
    assert sorted(aside["document_id"]) == sorted(broken["document_id"])
    assert set(aside["condition"]) == set(broken["condition"])


def test_decisions_name_the_extraction_that_read_them(lake) -> None:
    decided = all_of(lake, "decisions")
    approved = decided.filter(pl.col("outcome") == "approve")
    assert approved.height > 20
    assert approved["extraction_version"].null_count() == 0
    assert approved["model_version"].null_count() == 0
    early = decided.filter(pl.col("extraction_version").is_null())
    assert early["outcome"].unique().to_list() == ["review"]


@pytest.mark.parametrize("trick", ["copy", "rescan", "changed_bank", "imitation"])
def test_what_was_planted_is_stopped(lake, trick: str) -> None:
    planted = ledger().filter(pl.col("trick") == trick)
    decided = all_of(lake, "decisions").join(planted, on="document_id", how="semi")
    assert decided.height == planted.height > 0
    assert "approve" not in set(decided["outcome"])


def test_no_high_value_is_paid_without_a_person(lake) -> None:
    high = ledger().filter("high")
    decided = all_of(lake, "decisions").join(high, on="document_id", how="semi")
    assert decided.height > 3
    assert "approve" not in set(decided["outcome"])


def test_a_new_layout_is_noticed_and_learned(home) -> None:
    step = home[1]["model_steps"]["invoices.extraction"]
    assert "2025-09-01" in step["drift_alarms"]
    assert not {"2025-07-01", "2025-08-01"} & set(step["drift_alarms"])
    assert step["models"]["promoted"] >= 2
    history = step["history"]
    worst = min(history["2025-09-01"], history["2025-10-01"])
    assert worst < 0.97
    assert history["2025-11-01"] > worst + 0.02


def test_a_misread_document_counts_as_corrected(home, lake) -> None:
    found = all_of(Platform(home[0]).lake("invoices.extraction"), "performance")
    labels = all_of(lake, "labels").join(found, on="document_id", how="left")
    assert labels["right"].null_count() == 0  # what was not read has no outcome
    assert labels.filter(~pl.col("right"))["label"].unique().to_list() == [1.0]
    assert set(labels.filter("right")["label"]) == {0.0, 1.0}


def test_the_summary_says_what_happened_to_documents_and_models(home) -> None:
    _, report, said = home
    assert report["steps"]["extraction"]["statuses"]["no_champion"] > 0
    for words in ("step reading", "invoices.extraction: champion", "straight-through", "approve"):
        assert words in said


def test_a_step_run_again_leaves_the_same_bytes(home, lake) -> None:
    from aios_assets.lifecycle.steps import run_step

    settings, _, _ = home
    automation, platform = load_automation("invoices", settings), Platform(settings)
    window = automation.window("2025-11-01")
    for step in automation.spec.steps:
        before = lake.path(step.name, window.key).read_bytes()
        run_step(automation, platform, step, window)
        assert lake.path(step.name, window.key).read_bytes() == before, step.name


def test_the_champion_reads_documents_outside_of_partitions(home, tmp_path: Path) -> None:
    rows = []
    for one in generator.arrivals(2025, 12)[:20]:
        if one.invoice:
            document = generator.document(one.uri)
            (width, height), *_ = document.pages
            rows.append(
                {
                    "id": one.id,
                    "words": [word.text for word in document.words],
                    "bboxes": [word.box for word in document.words],
                    "image_size": {"width": width, "height": height},
                }
            )
    rows.append({"id": "../../x", "words": [], "bboxes": [], "image_size": {}})
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows))
    result = call("invoices", "extract", source, "--output", output)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [one["id"] for one in found][:-1] == [row["id"] for row in rows][:-1]
    truth = {one.id: generator.truth(one) for one in generator.arrivals(2025, 12) if one.invoice}
    right = [one["total"] == truth[one["id"]]["total"] for one in found[:-1]]
    assert sum(right) >= 0.8 * len(right)
    for one in found:
        assert set(one) - {"problem"} == {
            "id", "company", "date", "address", "total", "confidence",
        }  # fmt: skip
        assert set(one["confidence"]) == {"company", "date", "address", "total", "document"}
    assert found[-1]["problem"]
    assert "/" not in found[-1]["id"]


def test_without_a_champion_it_says_how_to_make_one(home, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "new"))
    (tmp_path / "in.jsonl").write_text("{}")
    output = tmp_path / "out.jsonl"
    result = call("invoices", "extract", tmp_path / "in.jsonl", "--output", output)
    assert result.exit_code == 1
    assert "there is no champion to read with" in result.stderr
    assert "aios rehearse invoices" in result.stderr
    assert not output.exists()


def test_a_model_step_is_promoted_and_rolled_back_by_its_own_name(home) -> None:
    name = "invoices.extraction"
    assert "boosting" in call("models", name).output
    result = call("rollback", name, "--reason", "the new one misreads dates")
    assert result.exit_code == 0, result.output
    assert "misreads" in call("history", name).output
    wrong = call("models", "invoices.reading")
    assert wrong.exit_code == 1
    assert "invoices.extraction" in wrong.stderr


def test_the_report_is_built_again_from_what_is_stored(home) -> None:
    settings, report, _ = home
    automation = load_automation("invoices", settings)
    state = State.read(Platform(settings).lake("invoices"))
    assert state is not None
    windows = [automation.window(key) for key in MONTHS]
    again = build_report(automation, windows, state, settings)
    assert again["decisions"] == report["decisions"]
    assert [one.name for one in model_steps(automation)] == list(again["model_steps"])

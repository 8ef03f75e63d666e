"""A rehearsal repeats itself, scores honestly, and reports what the lake holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from aios.errors import AiosError
from aios_assets.cli import app
from model_registry.champion import champion_at
from tests.conftest import MODELS, START, loans, write_table
from tests.loops.conftest import DAMAGED, NAME, REHEARSED, Loop, end_of, enter, key, new_loop

pytestmark = pytest.mark.loop


@dataclass
class Rehearsed:
    """A second home that went through the same weeks by the command line."""

    loop: Loop
    report: dict[str, Any]
    predictions: pl.DataFrame
    text: str


def by_command(loop, *options):
    report, predictions = loop.root / "report.json", loop.root / "predictions.parquet"
    result = CliRunner().invoke(
        app,
        ["rehearse", NAME, "--to", f"{end_of(REHEARSED - 1):%Y-%m-%d}", "--json", str(report),
         "--predictions", str(predictions), *options],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return Rehearsed(
        loop, json.loads(report.read_text()), pl.read_parquet(predictions), result.stdout
    )


@pytest.fixture(scope="module")
def again(tmp_path_factory, empty_mlflow):
    with pytest.MonkeyPatch.context() as patch:
        loop = new_loop(tmp_path_factory.mktemp("again"), empty_mlflow, patch)
        return by_command(loop)


def registered(loop):
    """What MLflow holds of every version, without ids and wall-clock times.

    The artefact's digest is left out: the archives inside hold the time at which they were packed.
    """
    found, changing = [], ("aios.dagster_run", "aios.artifact_digest")
    for version in loop.versions():
        run = loop.registry.client.get_run(version.run_id)
        tags = {name: text for name, text in version.tags.items() if name not in changing}
        found.append((version.number, version.candidate, tags, run.data.metrics, run.data.params))
    return found


def test_two_homes_end_with_the_same_bytes_versions_and_metrics(prepared, again):
    mine, other = prepared.files(), again.loop.files()
    assert mine.keys() == other.keys()
    assert [name for name in mine if mine[name] != other[name]] == []
    assert prepared.champions() == again.loop.champions()
    assert registered(prepared) == registered(again.loop)


def test_fresh_forgets_everything_and_repeats_it(again, monkeypatch):
    enter(again.loop, monkeypatch)
    before, champions, versions = again.loop.files(), again.loop.champions(), registered(again.loop)
    repeated = by_command(again.loop, "--fresh")
    assert again.loop.files() == before
    assert again.loop.champions() == champions
    assert registered(again.loop) == versions
    assert [v.number for v in again.loop.versions()] == [1, 2, 3, 4]
    changing = ("models",)  # says when the changes were recorded
    assert {k: v for k, v in repeated.report.items() if k not in changing} == {
        k: v for k, v in again.report.items() if k not in changing
    }


def test_running_again_does_nothing_twice(loop):
    before, versions = loop.files(), registered(loop)
    runs = loop.instance.get_runs_count()
    loop.rehearse(REHEARSED)
    assert loop.files() == before
    assert registered(loop) == versions
    assert loop.instance.get_runs_count() == runs


def test_other_data_is_refused_unless_fresh(loop):
    before = loop.files()
    table = loans(300, seed=1, weeks=4).with_columns(pl.col("applied_at") + pl.duration(days=364))
    other = write_table(loop.root / "other.csv", table)
    with pytest.raises(AiosError, match="already run on other data") as refused:
        loop.rehearse(70, data=other)
    assert "--fresh" in str(refused.value)
    assert loop.files() == before
    state = loop.rehearse(70, data=other, fresh=True)
    assert state.done == loop.lake.partitions("decisions")
    assert state.done[0] > key(19)
    assert len(state.done) == 4


def test_every_score_was_made_by_a_model_of_its_past(prepared):
    numbers = {v.number: v for v in prepared.versions()}
    scored = 0
    for week in range(REHEARSED):
        champion = champion_at(prepared.registry, NAME, end_of(week))
        for (version,) in prepared.lake.read("decisions", key(week)).select("model_version").unique(
        ).iter_rows():  # fmt: skip
            assert version == (champion.number if champion else None)
            if version is None:
                continue
            scored += 1
            trained = numbers[version]
            first = START + (end_of(week) - end_of(0))
            assert trained.trained_until <= first
            (since,) = {at for number, at, *_ in prepared.champions() if number == version}
            assert since <= first
            rows = prepared.lake.read("training_set", trained.tags["aios.partition"])
            assert rows["label_known_at"].max() < trained.trained_until
            assert rows["known_at"].max() < trained.trained_until
    assert scored == 5


def test_no_row_of_the_source_is_lost(prepared):
    table = pl.read_csv(prepared.folder / "loans.csv", try_parse_dates=True)
    until = end_of(REHEARSED - 1)
    sent = table.filter(pl.col("applied_at") < until).sort("loan_id")
    events = prepared.lake.read_all("events")
    quarantine = prepared.lake.read_all("quarantine")
    assert events.height + quarantine.height == sent.height
    reasons = dict(quarantine.select(pl.col("loan_id").cast(int), "rules").iter_rows())
    assert reasons == {
        **{100: "in_set:region", 200: "in_range:amount", 300: "not_null:customer"},
        150: "unique",
    }
    assert set(DAMAGED) < set(reasons)
    assert sorted(events.filter(pl.col("loan_id") == 50)["revision"]) == [0, 1]


def test_the_predictions_file_has_one_row_for_each_event(prepared, again):
    rows = again.predictions
    names = ["loan_id", "event_time", "score", "model_version", "outcome", "label"]
    assert rows.columns == names
    events = prepared.lake.read_all("events").unique("loan_id")
    assert set(rows["loan_id"]) == set(events["loan_id"])
    assert rows["loan_id"].is_unique().all()
    # Of the corrected loan, the later decision counts.
    late = rows.filter(pl.col("loan_id") == 50)["event_time"].item()
    assert late > START + (end_of(1) - end_of(0))
    unlabelled = rows.filter(pl.col("label").is_null())
    assert set(unlabelled["event_time"].dt.truncate("1w")) == {
        datetime.fromisoformat(key(REHEARSED - 1))
    }


def test_the_report_says_what_an_independent_count_says(prepared, again):
    report = again.report
    table = pl.read_csv(prepared.folder / "loans.csv")
    truth = dict(table.select("loan_id", "defaulted").iter_rows())
    decisions = prepared.lake.read_all("decisions")
    latest = {}
    for row in decisions.sort("known_at").iter_rows(named=True):
        latest[row["loan_id"]] = row
    rows = list(latest.values())
    assert report["events"] == decisions.height
    assert report["quarantined"] == 4
    assert report["unscored"] == sum(row["score"] is None for row in rows)
    outcomes: dict[str, int] = {}
    for row in rows:
        outcomes[row["outcome"]] = outcomes.get(row["outcome"], 0) + 1
    assert report["decisions"] == outcomes
    scored = [(row["score"], truth[row["loan_id"]]) for row in rows if row["score"] is not None]
    assert report["overall"]["roc_auc"]["value"] == pytest.approx(area(scored))
    assert report["overall"]["roc_auc"]["n"] == len(scored)
    for one in report["partitions"]:
        own = [row for row in rows if row["known_at"] >= datetime.fromisoformat(one["partition"])]
        own = [row for row in own if (row["known_at"] - START).days // 7 == week_of(one)]
        pairs = [(row["score"], truth[row["loan_id"]]) for row in own if row["score"] is not None]
        if pairs:
            assert one["metrics"]["roc_auc"]["value"] == pytest.approx(area(pairs))
            assert one["champion"] == own[0]["model_version"]
    models = report["models"]
    assert (models["trained"], models["promoted"], models["champion"]) == (4, 2, 3)
    assert set(report["retrains"]) == {key(2), key(5)}
    for said in ("4 trained", "2 promoted", "review", f"{report['events']:,}"):
        assert said in again.text
    page = again.loop.settings.home / "reports" / NAME / "rehearsal.html"
    assert "data:image/png;base64," in page.read_text()


def week_of(one):
    return (datetime.fromisoformat(one["partition"]) - START).days // 7


def area(pairs):
    """ROC-AUC from its definition: the share of pairs that are in order, half for ties."""
    positive = np.array([score for score, label in pairs if label == 1])
    negative = np.array([score for score, label in pairs if label == 0])
    difference = positive[:, None] - negative[None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def test_a_retrain_that_fails_leaves_the_champion_deciding(loop):
    raising = "def tree(*_, **__):\n    raise OSError('no memory')\n\n\ndef unused("
    failing = MODELS.replace("def tree(", raising)
    loop.redeclare(models=failing)
    champions = loop.champions()
    state = loop.rehearse(REHEARSED + 2)
    assert "failed: " in state.retrains[NAME][key(8)]
    assert "no memory" in state.retrains[NAME][key(8)]
    assert loop.champions() == champions
    assert loop.decided_by(9) == {champions[-1][0]}

"""Bad input of every kind: a clear error on the right asset, and the last good state in service.

Each test breaks something for the ninth week, sees the run fail (or the rows set aside), mends it
and runs the week again.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from aios.errors import AiosError
from aios.policy import MISSING
from tests.conftest import FEATURES, MODELS, POLICY
from tests.loops.conftest import (
    NAME,
    checks_of,
    copy_loop,
    enter,
    in_week,
    key,
)

pytestmark = pytest.mark.loop

WEEK = 8


def fail(loop, kind, *, asset, says):
    """Run the week, which must fail at one asset, saying these things and what to do."""
    service = loop.service(WEEK)
    result = loop.execute(kind, WEEK)
    assert not result.success
    failures = {
        event.step_key: event.step_failure_data.user_failure_data
        for event in result.all_events
        if event.is_step_failure
    }
    assert list(failures) == [f"{NAME}__{asset}"]
    (failure,) = failures.values()
    for words in says:
        assert words in failure.description
    assert failure.metadata["what to do"].value
    files, champions, versions = loop.service(WEEK)
    assert (files, champions) == service[:2]
    assert versions[: len(service[2])] == service[2]
    return result


def whole(loop, week=WEEK):
    """The week has one decision for each of its loans, in the source or in quarantine."""
    table = pl.read_csv(loop.folder / "loans.csv", infer_schema=False)
    sent = table.filter(in_week(week)).height
    decided = loop.lake.rows("decisions", key(week))
    assert decided + loop.lake.rows("quarantine", key(week)) == sent
    return decided


def test_a_column_that_is_missing_in_the_source(loop):
    loop.change_table(lambda table: table.rename({"amount": "sum"}))
    fail(loop, "batch", asset="events", says=["lacks column amount", "sum", key(WEEK)])
    assert not loop.lake.has("events", key(WEEK))
    loop.change_table(lambda table: table.rename({"sum": "amount"}))
    loop.run("batch", WEEK)
    assert whole(loop)


def test_a_few_values_of_another_type_go_to_quarantine(loop):
    first = in_week(WEEK) & (in_week(WEEK).cum_sum() <= 3)
    text = pl.when(first).then(pl.lit("a lot")).otherwise("amount").alias("amount")
    loop.change_table(lambda table: table.with_columns(text))
    result = loop.execute("batch", WEEK)
    assert result.success
    check = checks_of(result)["events/type"]
    assert not check.passed
    assert check.metadata["rows_failed"].value == 3
    assert check.metadata["columns"].value == "amount"
    quarantine = loop.lake.read("quarantine", key(WEEK))
    assert quarantine["rules"].to_list() == ["type:amount"] * 3
    assert quarantine["amount"].to_list() == ["a lot"] * 3
    whole(loop)


def test_too_many_values_of_another_type_stop_the_partition(loop):
    service = loop.service(WEEK)
    text = pl.when(in_week(WEEK)).then(pl.lit("a lot")).otherwise("amount").alias("amount")
    loop.change_table(lambda table: table.with_columns(text))
    result = loop.execute("batch", WEEK)
    assert not result.success
    check = checks_of(result)["events/quarantine_share"]
    assert not check.passed
    assert check.metadata["share"].value == 1.0
    assert not loop.lake.has("predictions", key(WEEK))
    assert not loop.lake.has("decisions", key(WEEK))
    assert loop.service(WEEK) == service

    loop.redeclare()
    loop.run("batch", WEEK)
    assert whole(loop)
    assert loop.lake.rows("quarantine", key(WEEK)) == 0


def test_an_empty_partition_is_red_and_fills_up_later(loop):
    loop.change_table(lambda table: table.filter(~in_week(WEEK)))
    result = loop.execute("batch", WEEK)
    assert result.success
    check = checks_of(result)["events/volume"]
    assert not check.passed
    assert check.severity.value == "ERROR"
    assert check.metadata["empty_partitions"].value == key(WEEK)
    assert whole(loop) == 0
    loop.redeclare()
    loop.run("batch", WEEK)
    assert whole(loop) > 0
    loop.run("batch", WEEK + 1)
    assert whole(loop, WEEK + 1) > 0


def test_a_column_without_any_value_is_named_and_goes_to_review(loop):
    nothing = pl.when(~in_week(WEEK)).then("amount").alias("amount")
    loop.change_table(lambda table: table.with_columns(nothing))
    result = loop.execute("batch", WEEK)
    check = checks_of(result)["features/filled"]
    assert not check.passed
    assert check.metadata["empty_features"].value == "amount, log_amount"
    assert whole(loop)
    decisions = loop.lake.read("decisions", key(WEEK))
    assert set(decisions["outcome"]) == {"review"}
    assert set(decisions["rule"]) == {MISSING}
    drift = loop.lake.read_json("drift", key(WEEK))
    assert "amount" in {one["column"] for one in drift["columns"] if one["drifted"]}


def test_labels_of_one_class_train_nothing(loop):
    loop.change_table(lambda table: table.with_columns(defaulted=pl.lit("0")))
    for week in range(WEEK + 1):
        result = loop.execute("batch", week)
    check = checks_of(result)["labels/both_classes"]
    assert not check.passed
    assert check.metadata["distinct"].value == 1
    fail(loop, "retrain", asset="training_set", says=["labels by class are 0: ", "each of 0 and 1"])


def test_a_corrupt_file_in_the_lake_is_named_and_rebuilt(loop):
    good = loop.files("events", "decisions")
    path = loop.lake.path("events", key(WEEK - 1))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    fail(loop, "batch", asset="events", says=[str(path), "cannot be read"])
    loop.run("batch", WEEK - 1)
    assert loop.files("events", "decisions") == good
    loop.run("batch", WEEK)
    assert whole(loop)


def test_a_corrupt_view_in_the_lake_stops_a_retrain(loop):
    loop.run("batch", WEEK)
    path = loop.lake.path("views/application", key(2))
    good = path.read_bytes()
    path.write_bytes(good[:-50])
    fail(loop, "retrain", asset="training_set", says=[str(path), "Parquet"])
    loop.run("batch", 2)
    assert path.read_bytes() == good
    loop.run("retrain", WEEK)
    assert len(loop.versions()) == 6


def test_a_corrupt_source(loop):
    # The same loans from a Parquet file, written by someone whose disk was full.
    loop.redeclare(source={"table": "loans.parquet"})
    path = loop.folder / "loans.parquet"
    good = path.read_bytes()
    path.write_bytes(good[:1000])
    fail(loop, "batch", asset="events", says=[str(path), "cannot be read"])
    path.write_bytes(good)
    loop.run("batch", WEEK)
    assert loop.lake.rows("decisions", key(WEEK)) > 0


def test_every_champion_whose_artefact_is_deleted(loop):
    champions = [loop.registry.get(NAME, number) for number, *_ in loop.champions()]
    artefacts = [Path(one.source.removeprefix("file://")) for one in champions]
    for artefact in artefacts:
        artefact.rename(artefact.with_name("elsewhere"))
    says = [champions[-1].label, "missing", "aios rollback"]
    fail(loop, "batch", asset="predictions", says=says)
    assert not loop.lake.has("decisions", key(WEEK))
    for artefact in artefacts:
        artefact.with_name("elsewhere").rename(artefact)
    loop.run("batch", WEEK)
    assert loop.decided_by(WEEK) == {champions[-1].number}


@pytest.mark.parametrize(
    ("kind", "asset", "file"),
    [
        ("batch", "events", "quarantine/{key}.parquet"),
        ("batch", "decisions", "decisions/{key}.parquet"),
        ("retrain", "training_set", "training_set/{key}.parquet"),
        ("retrain", "gate", "gate/{key}.json"),
    ],
)
def test_a_full_disk(loop, kind, asset, file):
    if kind == "retrain":
        loop.run("batch", WEEK)
    path = loop.lake.root / file.format(key=key(WEEK))
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    aside.symlink_to("/dev/full")  # the kernel answers every write with ENOSPC
    champions = loop.champions()
    fail_full(loop, kind, asset, path)
    assert not path.exists()
    assert loop.champions() == champions
    loop.run(kind, WEEK)
    assert path.exists()
    whole(loop)


def fail_full(loop, kind, asset, path):
    files = loop.files("predictions", "decisions", before=WEEK)
    result = loop.execute(kind, WEEK)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_key == f"{NAME}__{asset}"
    description = event.step_failure_data.user_failure_data.description
    for words in ("the disk is full", str(path), "Free space"):
        assert words in description
    assert loop.files("predictions", "decisions", before=WEEK) == files


@pytest.mark.parametrize(("kind", "asset"), [("batch", "predictions"), ("retrain", "logistic")])
def test_a_locked_mlflow_database(prepared, tmp_path, monkeypatch, kind, asset):
    from model_registry.registry import Registry

    loop = copy_loop(prepared, tmp_path / "loop")
    enter(loop, monkeypatch)
    monkeypatch.setitem(Registry.__init__.__kwdefaults__, "patience", 0.3)
    if kind == "retrain":
        loop.run("batch", WEEK)
    files = loop.files("predictions", "decisions", before=WEEK)
    with closing(sqlite3.connect(loop.settings.home / "mlflow" / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = loop.execute(kind, WEEK)
    failed = {event.step_key: event for event in result.all_events if event.is_step_failure}
    assert f"{NAME}__{asset}" in failed
    for event in failed.values():
        description = event.step_failure_data.user_failure_data.description
        for words in ("MLflow's database cannot be used", "locked", "end the process"):
            assert words in description
    assert loop.files("predictions", "decisions", before=WEEK) == files
    assert len(loop.champions()) == 2
    loop.run(kind, WEEK)
    assert loop.lake.has("decisions", key(WEEK))
    assert len(loop.versions()) == (6 if kind == "retrain" else 4)


def test_a_feature_function_that_fails(loop):
    broken = FEATURES.replace(
        '"event_time",\n        "known_at",', '"event_time",\n        "seen",'
    )
    assert broken != FEATURES
    loop.redeclare(features=broken)
    fail(loop, "batch", asset="features", says=["features.py, features:application", "seen"])
    assert not loop.lake.has("features", key(WEEK))
    loop.redeclare()
    loop.run("batch", WEEK)
    assert whole(loop)


def test_a_training_function_that_raises(loop):
    loop.run("batch", WEEK)
    loop.redeclare(models=MODELS.replace("DecisionTreeClassifier(random", "Nothing(random"))
    fail(loop, "retrain", asset="tree", says=["training failed", "Nothing", "the champion goes on"])
    champion = loop.champions()[-1][0]
    loop.run("batch", WEEK + 1)
    assert loop.decided_by(WEEK + 1) == {champion}
    loop.redeclare()
    loop.run("retrain", WEEK)
    # The other candidate had its version already.
    assert [v.candidate for v in loop.versions()[4:]] == ["logistic", "tree"]


def test_a_broken_policy_makes_the_automation_red_and_touches_nothing(loop):
    service = loop.service(WEEK)
    wrong = {**POLICY, "rules": [{**POLICY["rules"][0], "when": "scoer >= 0.7"}]}
    loop.redeclare(policy=wrong)
    (asset,) = loop.repository.asset_graph.assets_defs
    assert asset.key.to_user_string() == f"{NAME}/declaration"
    description = asset.descriptions_by_key[asset.key]
    for words in ("scoer", "Known columns"):
        assert words in description
    with pytest.raises(AiosError, match="scoer"):
        loop.rehearse(WEEK + 1)
    assert loop.service(WEEK) == service
    loop.redeclare()
    loop.run("batch", WEEK)
    assert whole(loop)


def test_lost_definitions_of_the_store_are_made_again(loop):
    shutil.rmtree(loop.settings.home / "feast")
    loop.run("batch", WEEK)
    assert whole(loop)

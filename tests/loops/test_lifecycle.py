"""What one batch and one retrain leave behind, and what stops them."""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg
import numpy as np
import polars as pl
import pytest

from aios.digest import row_digests
from aios.errors import AiosError
from tests.conftest import FEATURES
from tests.loops.conftest import NAME, Loop, checks_of, copy_loop, end_of, enter, key, metadata_of

pytestmark = pytest.mark.loop


@dataclass
class Ran:
    """The ninth week scored, then trained on."""

    loop: Loop
    batch: dg.ExecuteInProcessResult
    retrain: dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def ran(prepared, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        loop = copy_loop(prepared, tmp_path_factory.mktemp("ran") / "loop")
        enter(loop, patch)
        return Ran(loop, loop.execute("batch", 8, page="always"), loop.execute("retrain", 8))


def test_every_stage_says_its_rows_and_columns(ran):
    assert ran.batch.success
    events = ran.loop.lake.rows("events", key(8))
    labels = ran.loop.lake.rows("labels", key(8))
    expected = dict.fromkeys(["events", "features", "predictions", "decisions"], events)
    for noun, rows in {**expected, "labels": labels}.items():
        metadata = metadata_of(ran.batch, noun)
        assert metadata["dagster/partition_row_count"].value == rows > 0, noun
        columns = [one.name for one in metadata["dagster/column_schema"].schema.columns]
        assert columns == ran.loop.lake.read(noun, key(8)).columns, noun


def test_every_check_passes_with_the_numbers_behind_it(ran):
    checks = {**checks_of(ran.batch), **checks_of(ran.retrain)}
    events = ran.loop.lake.rows("events", key(8))
    assert checks["events/quarantine_share"].metadata["share"].value == 0.0
    assert checks["events/in_range"].metadata["rows_checked"].value == events
    assert checks["decisions/complete"].metadata["events"].value == events
    assert checks["decisions/complete"].metadata["decisions"].value == events
    assert checks["predictions/scored"].metadata["rows_without_score"].value == 0
    proof = {name: one.value for name, one in checks["training_set/point_in_time"].metadata.items()}
    rows = ran.loop.lake.rows("training_set", key(8))
    # Labels about the three damaged loans have no event.
    assert proof == {"asked": rows, "rows": rows, "future": 0, "differing": 0, "unmatched": 3}
    quiet = {name for name in checks if name not in ("drift_report/no_drift", "gate/passed")}
    assert all(checks[name].passed for name in quiet)


def test_plots_and_links_are_there_to_look_at(ran):
    drift = metadata_of(ran.batch, "drift_report")
    assert "data:image/png;base64," in drift["distances"].value
    page = ran.loop.platform.reports(NAME).path("drift", key(8), "html")
    assert drift["Evidently report"].value.endswith(f"/{NAME}/drift/{key(8)}.html")
    assert "<html" in page.read_text()[:5000].lower()
    model = metadata_of(ran.retrain, "logistic")
    version = next(v for v in ran.loop.versions() if v.number == model["version"].value)
    assert model["MLflow run"].value.endswith(f"/runs/{version.run_id}")
    assert model["MLflow version"].value.endswith(f"/models/{NAME}/versions/{version.number}")
    assert "roc_auc" in model["metrics on the holdout"].value


def test_the_gate_tells_each_verdict_and_why(ran):
    verdicts = metadata_of(ran.retrain, "gate")["verdicts"].value
    for candidate in ("logistic", "tree"):
        assert candidate in verdicts
    assert "champion" in verdicts
    assert checks_of(ran.retrain)["gate/passed"].metadata["status"].value in ("pass", "fail")


def test_every_decision_names_what_made_it_and_repeats(prepared):
    from model_registry.formats import load

    automation, lake = prepared.automation, prepared.lake
    names = list(automation.spec.feature_columns)
    seen = set()
    for partition in lake.partitions("decisions"):
        decisions = lake.read("decisions", partition)
        features = lake.read("features", partition)
        digests = row_digests(features.select(names)).to_list()
        assert decisions["feature_digest"].to_list() == digests
        assert set(decisions["policy_hash"]) == {automation.policy.hash}
        assert set(decisions["code_version"]) == {automation.code_version}
        for version in decisions["model_version"].unique():
            if version is None:
                assert set(decisions["outcome"]) == {"review"}
                continue
            seen.add(version)
            scorer = load(prepared.registry, prepared.registry.get(NAME, version))
            again = scorer.score(features)
            assert np.array_equal(decisions["score"].to_numpy(), again)
        inputs = decisions.select("score").hstack(features.select("amount"))
        verdicts = automation.policy.decide(inputs)
        assert verdicts.equals(decisions.select("outcome", "rule", "fired"))
    assert seen == {version for version, *_ in prepared.champions()}


@pytest.mark.parametrize(
    ("known_at", "differing"), [("when it was learned", 0), ("before it was learned", 1)]
)
def test_a_value_learned_later_may_not_be_dated_back(loop, known_at, differing):
    loop.run("batch", 8)
    view = loop.lake.read("views/application", key(4))
    event = view.row(0, named=True)
    learned = end_of(6) if known_at == "when it was learned" else event["known_at"]
    later = pl.DataFrame([{**event, "amount": 1.0, "known_at": learned}], schema=view.schema)
    target = key(7) if known_at == "when it was learned" else key(4)
    present = loop.lake.read("views/application", target)
    loop.lake.write("views/application", target, pl.concat([present, later]))
    before = (loop.champions(), len(loop.versions()))

    result = loop.execute("retrain", 8)
    proof = checks_of(result)["training_set/point_in_time"]
    assert proof.metadata["differing"].value == differing
    assert proof.passed is (differing == 0)
    assert len(loop.versions()) == before[1] + (0 if differing else 2)
    if differing:
        assert not result.success
        assert loop.champions() == before[0]
        assert not loop.lake.has("gate", key(8), "json")


def test_features_of_changed_code_do_not_train_what_the_old_code_scored(loop):
    loop.run("batch", 8)
    changed = FEATURES.replace('(pl.col("amount") + 1).log()', '(pl.col("amount") + 100).log()')
    unfinished = changed.replace("def history(events):", "def history(events):\n    1 / 0")
    loop.redeclare(features=unfinished)
    with pytest.raises(AiosError, match="division by zero"):
        loop.run("batch", 7)  # leaves a view of the new code beside features of the old
    loop.redeclare(features=changed)
    champions = loop.champions()

    result = loop.execute("retrain", 8)
    assert not result.success
    proof = checks_of(result)["training_set/point_in_time"]
    assert not proof.passed
    assert proof.metadata["differing"].value == loop.lake.rows("features", key(7))
    assert len(loop.versions()) == 4
    assert loop.champions() == champions

    loop.run("batch", 7)
    assert loop.execute("retrain", 8).success


def test_too_few_rows_to_judge_on_never_promote(loop):
    loop.redeclare(gate={"min_rows": 10_000})
    champions = loop.champions()
    loop.run("batch", 8)
    result = loop.execute("retrain", 8)
    gate = checks_of(result)["gate/passed"]
    assert not gate.passed
    assert gate.metadata["status"].value == "insufficient"
    assert loop.champions() == champions
    assert [v.stage for v in loop.versions()[-2:]] == ["registered", "registered"]
    loop.run("batch", 9)
    assert loop.decided_by(9) == {champions[-1][0]}
    assert "score_v5" not in loop.lake.read("predictions", key(9)).columns


def test_a_challenger_is_scored_beside_the_champion_until_it_is_promoted(loop):
    from model_registry.champion import promote
    from model_registry.formats import load

    loop.redeclare(promotion="manual")
    champion = loop.champions()[-1][0]
    loop.run("batch", 8)
    loop.run("retrain", 8)
    chosen = loop.lake.read_json("gate", key(8))
    number = chosen["versions"][chosen["chosen"]]
    assert loop.champions()[-1][0] == champion

    loop.run("batch", 9)
    predictions = loop.lake.read("predictions", key(9))
    scorer = load(loop.registry, loop.registry.get(NAME, number))
    beside = predictions[f"score_v{number}"].to_numpy()
    assert np.array_equal(beside, scorer.score(loop.lake.read("features", key(9))))
    assert loop.decided_by(9) == {champion}

    before = loop.files("decisions")
    promote(loop.registry, NAME, number, at=end_of(9), by="ana", reason="better")
    loop.run("batch", 9)
    assert loop.files("decisions") == before
    loop.run("batch", 10)
    assert loop.decided_by(10) == {number}

"""Replay: decisions of a rehearsal made again, explained, and decided by another policy."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from aios.archive import CODE, POLICIES
from aios.errors import AiosError
from aios_assets.lifecycle.decisions import decide_window
from aios_assets.replay.replay import Part, Replay, replay
from aios_assets.replay.what_if import what_if
from aios_assets.replay.why import why
from tests.conftest import FEATURES, POLICY, START
from tests.loops.conftest import NAME, REHEARSED, Loop, key

pytestmark = pytest.mark.loop


def edit(loop: Loop, dataset: str, week: int, change: Callable[[pl.DataFrame], pl.DataFrame]):
    """Change a stored file by hand, as someone with access to the disk."""
    path = loop.lake.path(dataset, key(week))
    change(pl.read_parquet(path)).write_parquet(path)


def first(column: str, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Set the value of the first row."""
    is_first = pl.int_range(pl.len()) == 0

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        new = pl.when(is_first).then(pl.lit(value, dtype=frame[column].dtype))
        return frame.with_columns(new.otherwise(column).alias(column))

    return change


def part_of(result: Replay) -> Part:
    (part,) = result.parts
    return part


def replay_week(loop: Loop, week: int) -> Part:
    return part_of(replay(NAME, loop.settings, partition=key(week)))


def test_every_decision_of_a_rehearsal_is_replayed_bit_by_bit(prepared):
    before = prepared.files()
    result = replay(NAME, prepared.settings)
    decided = sum(prepared.lake.rows("decisions", key(week)) for week in range(REHEARSED))
    assert result.holds
    assert (result.rows, result.equal) == (decided, decided)
    assert {part.model_version for part in result.parts} == {
        None,
        *(version for version, *_ in prepared.champions()),
    }
    assert prepared.files() == before


def test_it_holds_after_a_later_retrain_and_a_correction(loop):
    loop.rehearse(REHEARSED + 3)
    assert loop.lake.read("events", key(REHEARSED)).height
    result = replay(NAME, loop.settings)
    assert result.holds, result.as_text()
    assert len(result.parts) == REHEARSED + 3


def test_it_holds_in_another_process_with_the_folder_edited(loop):
    recorded = loop.lake.read("decisions", key(5))["code_version"][0]
    text = FEATURES.replace('(pl.col("amount") + 1).log()', 'pl.col("amount") * 0')
    assert text != FEATURES
    policy = {**POLICY, "version": 2, "rules": []}
    loop.redeclare(features=text, policy=policy)
    program = (
        "import sys, json\n"
        "from aios.settings import Settings\n"
        "from aios_assets.replay.replay import replay\n"
        f"result = replay({NAME!r}, Settings.from_env())\n"
        "print(json.dumps(result.as_dict(), default=str))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["holds"], result
    assert {part["code_version"] for part in result["parts"]} == {recorded}
    assert all(part["archived"] for part in result["parts"])


def test_the_folder_as_it_was_is_apart_from_the_present_one(loop):
    loop.redeclare(features=FEATURES + "\nraise RuntimeError('edited')\n")
    assert replay_week(loop, 5).equal == loop.lake.rows("decisions", key(5))


def test_one_decision_and_a_sample(prepared):
    row = prepared.lake.read("decisions", key(6)).row(3, named=True)
    name = f"{NAME}/{key(6)}/{row['loan_id']}"
    one = replay(None, prepared.settings, decision_id=name)
    assert (one.rows, one.equal, one.holds) == (1, 1, True)
    sample = replay(NAME, prepared.settings, sample=20, seed=1)
    assert (sample.rows, sample.holds) == (20, True)
    again = replay(NAME, prepared.settings, sample=20, seed=1)
    assert [part.rows for part in again.parts] == [part.rows for part in sample.parts]
    assert "seed 1" in sample.asked


@pytest.mark.parametrize(
    ("dataset", "column", "value", "says"),
    [
        ("features", "amount", 1.0, "no longer has its own digest"),
        ("features", "region", "moon", "no longer has its own digest"),
        ("features", "loans_28d", None, "no longer has its own digest"),
        ("predictions", "score", 0.123, "stored prediction was changed"),
        ("decisions", "outcome", "approved", "stored decision was changed"),
        ("decisions", "score", float("nan"), "stored decision was changed"),
        ("decisions", "policy_hash", "0" * 16, "names another policy hash"),
        ("decisions", "model_version", 99, "names another model version"),
    ],
)
def test_an_edited_value_is_named(loop, dataset, column, value, says):
    edit(loop, dataset, 6, first(column, value))
    part = replay_week(loop, 6)
    assert (part.different, part.not_replayed) == (1, 0)
    (finding,) = part.findings
    assert (finding.stage, finding.column, finding.rows) == (dataset, column, 1)
    assert says in finding.text
    (difference,) = part.differences
    assert difference.stored == value or value != value
    event = loop.lake.read("events", key(6))["loan_id"][0]
    assert difference.event == event


def test_a_difference_of_one_bit_is_seen(loop):
    score = loop.lake.read("decisions", key(6))["score"][0]
    edit(loop, "decisions", 6, first("score", math.nextafter(score, 1)))
    assert replay_week(loop, 6).different == 1


def test_an_edited_event_is_named_and_what_looks_back_at_it(loop):
    edit(loop, "events", 5, first("amount", 7.0))
    event = loop.lake.read("events", key(5))["loan_id"][0]
    part = replay_week(loop, 5)
    assert part.different == 1
    assert (part.findings[0].stage, part.findings[0].kind) == ("events", "input")
    assert str(event) in part.findings[0].text
    assert replay_week(loop, 4).different == 0

    someone = loop.lake.read("events", key(6))["customer"][0]
    edit(loop, "events", 5, lambda frame: frame.with_columns(customer=pl.lit(someone)))
    later = replay_week(loop, 6)
    assert later.different > 0
    assert {one.column for one in later.findings} == {"loans_28d"}
    assert any(key(5) in note and str(event) in note for note in later.notes)


def test_removed_added_and_moved_decisions_are_seen(loop):
    edit(loop, "decisions", 6, lambda frame: frame[1:])
    part = replay_week(loop, 6)
    assert [(one.stage, one.column, one.rows) for one in part.findings] == [("decisions", "row", 1)]
    edit(loop, "decisions", 5, lambda frame: frame.reverse())
    assert {one.column for one in replay_week(loop, 5).findings} == {"order"}
    invented = pl.col("loan_id") + 1_000_000
    edit(loop, "decisions", 4, lambda f: pl.concat([f, f[:1].with_columns(loan_id=invented)]))
    part = replay_week(loop, 4)
    assert (part.not_replayed, part.different) == (1, 0)
    assert "event is not stored" in next(iter(part.reasons))


def test_a_changed_or_lost_model_is_not_replayed_and_named(loop):
    (number,) = loop.decided_by(6)
    version = loop.registry.get(NAME, number)
    folder = Path(version.source.removeprefix("file://"))
    file = folder / "model.skops"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    part = replay_week(loop, 6)
    assert (part.equal, part.not_replayed) == (0, part.rows)
    assert f"{NAME} version {number}" in next(iter(part.reasons))
    shutil.rmtree(folder)
    part = replay_week(loop, 6)
    assert (part.equal, part.not_replayed) == (0, part.rows)
    assert "missing" in next(iter(part.reasons))


def test_an_edited_archive_and_a_lost_one_are_not_replayed(loop):
    version = loop.lake.read("decisions", key(6))["code_version"][0]
    loop.redeclare(features=FEATURES + "\n# edited\n")
    path = loop.lake.path(CODE, version, "json")
    path.write_text(path.read_text().replace("28d", "29d"))
    part = replay_week(loop, 6)
    assert part.not_replayed == part.rows
    assert f"archived code version {version} was changed" in next(iter(part.reasons))
    path.unlink()
    part = replay_week(loop, 6)
    assert f"code version {version} is not in the archive" in next(iter(part.reasons))


def test_a_missing_file_is_named(loop):
    path = loop.lake.path("features", key(6))
    path.unlink()
    part = replay_week(loop, 6)
    assert part.not_replayed == part.rows
    assert str(path) in next(iter(part.reasons))
    loop.lake.path("events", key(5)).unlink()
    part = replay_week(loop, 5)
    assert part.not_replayed == part.rows
    assert "events" in next(iter(part.reasons))


def test_wrong_questions_are_answered_with_what_there_is(prepared):
    with pytest.raises(AiosError, match=r"(?s)no decisions of partition 2019.*" + key(0)):
        replay(NAME, prepared.settings, partition="2019-01-07")
    with pytest.raises(AiosError, match="no decision 'loans/none'"):
        replay(None, prepared.settings, decision_id="loans/none")
    with pytest.raises(AiosError, match="decided nothing yet"):
        replay("nobody", prepared.settings)
    with pytest.raises(AiosError, match=r"(?s)names 2 decisions.*loans/.*/50@0, loans/.*/50@1"):
        replay(None, prepared.settings, decision_id="50")


def test_why_says_where_a_decision_came_from(prepared):
    row = prepared.lake.read("decisions", key(6)).filter(outcome="approve").row(0, named=True)
    found = why(f"{NAME}/{row['loan_id']}", prepared.settings)
    assert found.decision_id == f"{NAME}/{key(6)}/{row['loan_id']}@0"
    assert (found.decision["outcome"], found.score) == ("approve", row["score"])
    assert [(rule.name, rule.decided) for rule in found.rules] == [("small_and_safe", True)]
    (model,) = found.models
    version = prepared.registry.get(NAME, row["model_version"])
    assert (model.version, model.candidate) == (version.number, version.candidate)
    assert model.dataset == "intact"
    assert model.dataset_digest == version.tags["aios.dataset_digest"]
    assert model.data_to < model.trained_until == version.trained_until
    assert model.gate["status"] == "pass"
    assert model.promoted["by"]
    assert model.promoted["at"] <= START + timedelta(weeks=6)
    assert found.outcome["label"] in (0.0, 1.0)
    text = found.as_text()
    for part in ("small_and_safe", row["policy_hash"], "Little to lose.", model.dataset_digest):
        assert part in text
    json.dumps(found.as_dict(), default=str)


def test_why_knows_the_old_policy_and_says_what_is_lost(loop):
    loop.redeclare(policy={**POLICY, "version": 2, "rules": []})
    row = loop.lake.read("decisions", key(7)).filter(outcome="block").row(0, named=True)
    found = why(str(row["loan_id"]), loop.settings)
    assert [rule.reason for rule in found.rules] == ["Likely default."]
    assert "version 1" in found.policy
    loop.lake.path(POLICIES, row["policy_hash"], "yaml").unlink()
    assert "version 1" in why(str(row["loan_id"]), loop.settings).policy
    loop.lake.path(CODE, row["code_version"], "json").unlink()
    loop.lake.path("training_set", found.models[0].gate["partition"]).unlink()
    found = why(str(row["loan_id"]), loop.settings)
    assert "lost" in found.policy
    assert found.models[0].dataset.startswith("missing")


def test_what_if_counts_what_another_policy_would_change(prepared, tmp_path):
    rules = [{**POLICY["rules"][0], "when": "score >= 0.5"}, POLICY["rules"][1]]
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump({**POLICY, "version": 2, "rules": rules}))
    before = prepared.files()
    output = tmp_path / "changed.parquet"
    found = what_if(NAME, path, prepared.settings, output=output)
    assert prepared.files() == before
    decided = prepared.lake.read_all("decisions")
    moved = decided.filter(pl.col("score").is_between(0.5, 0.7, closed="left"))
    moved = moved.filter(pl.col("outcome") != "block")
    assert found.decisions == decided.height
    assert found.changed == moved.height > 0
    assert set(pl.read_parquet(output)["loan_id"]) == set(moved["loan_id"])
    assert {pair for pair in found.matrix if pair[0] != pair[1]} <= {
        ("review", "block"),
        ("approve", "block"),
    }
    labels = prepared.lake.read_all("labels").unique("loan_id", keep="last")
    blocked = decided.filter(pl.col("outcome") == "block").join(labels, on="loan_id")
    assert found.before["block"].matured == blocked.height
    assert found.before["block"].rate == pytest.approx(blocked["label"].mean())
    assert f"{found.changed:,} of {decided.height:,}" in found.as_text()


def test_what_if_takes_a_window_and_columns_of_the_event(prepared, tmp_path):
    path = tmp_path / "other.yaml"
    rule = {"name": "one", "when": "customer = 'c1'", "outcome": "block", "reason": "r"}
    path.write_text(yaml.safe_dump({**POLICY, "required": ["customer"], "rules": [rule]}))
    start, end = datetime.fromisoformat(key(3)), datetime.fromisoformat(key(5))
    output = tmp_path / "changed.csv"
    found = what_if(NAME, path, prepared.settings, start=start, end=end, output=output)
    assert found.partitions == [key(3), key(4)]
    events = pl.concat([prepared.lake.read("events", key(week)) for week in (3, 4)])
    assert found.after["block"].decisions == events.filter(customer="c1").height
    assert pl.read_csv(output).height == found.changed


def test_what_if_refuses_an_unknown_column_and_an_empty_window(prepared, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump({**POLICY, "required": ["score", "shoe_size"]}))
    with pytest.raises(AiosError, match=r"(?s)shoe_size.*Known columns"):
        what_if(NAME, path, prepared.settings, output=tmp_path / "none.csv")
    path.write_text(yaml.safe_dump(POLICY))
    with pytest.raises(AiosError, match="(?s)nothing was decided in this window.*" + key(0)):
        what_if(NAME, path, prepared.settings, start=datetime(2030, 1, 1))
    assert not (tmp_path / "none.csv").exists()


def test_the_policy_in_force_would_change_nothing(prepared):
    path = prepared.folder / "policy.yaml"
    found = what_if(NAME, path, prepared.settings)
    assert (found.changed, found.policies) == (0, [found.policy])


def test_features_made_by_other_code_than_what_decided_are_said_to_be(loop):
    before = loop.lake.read("decisions", key(6))["code_version"][0]
    loop.redeclare(features=FEATURES.replace('pl.col("amount") + 1', 'pl.col("amount") + 2'))
    decide_window(loop.automation, loop.lake, loop.automation.window(key(6)))
    part = replay_week(loop, 6)
    assert part.different == part.rows
    (finding,) = [one for one in part.findings if one.stage == "features"]
    assert (finding.kind, finding.column) == ("version", "log_amount")
    assert f"code version {before} gives the stored features" in finding.text


def test_an_edited_view_is_named_though_no_decision_differs(loop):
    edit(loop, "views/history", 6, first("loans_28d", 77.0))
    part = replay_week(loop, 6)
    assert part.equal == part.rows
    assert any("views/history" in note for note in part.notes)


def test_it_holds_without_the_folder(loop):
    shutil.rmtree(loop.folder)
    row = loop.lake.read("decisions", key(6)).row(0, named=True)
    assert replay(NAME, loop.settings, partition=key(6)).holds
    assert why(str(row["loan_id"]), loop.settings).decision["outcome"] == row["outcome"]


def test_why_names_the_leaf_that_covers_the_decision(loop):
    identity = str(loop.lake.read("decisions", key(6))["loan_id"][2])
    found = why(identity, loop.settings, loop.platform.log)
    entry = loop.platform.log.get(found.leaf["index"])
    assert (entry.kind, found.leaf["row"]) == ("decisions", 2)
    assert f"leaf {entry.index}, row 2" in found.as_text()
    edit(loop, "decisions", 6, first("outcome", "approved"))
    found = why(identity, loop.settings, loop.platform.log)
    assert found.leaf is None
    assert any(f"leaf {entry.index}" in text for text in found.lost)


def test_why_says_that_a_stored_row_was_edited(loop):
    row = loop.lake.read("decisions", key(6)).row(0, named=True)
    assert not any("digest" in one for one in why(str(row["loan_id"]), loop.settings).lost)
    edit(loop, "events", 6, first("amount", 1.0))
    edit(loop, "features", 6, first("region", None))
    lost = why(str(row["loan_id"]), loop.settings).lost
    assert sum("no longer has its digest" in one for one in lost) == 2

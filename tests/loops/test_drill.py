"""Drills: the rollback rehearsed on a home with two champions, whatever befalls the earlier one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from aios import clock
from aios.alarms import alarms
from aios.errors import AiosError, Stale
from aios_assets.cli import app
from aios_assets.lifecycle import drill as drills
from aios_assets.lifecycle import golden
from aios_assets.lifecycle.drill import Drill, build_rollback_drill, run_drill
from aios_assets.lifecycle.golden import GOLDEN, ROWS, differences
from jobs.drill import build_drill_job, build_drill_schedule
from model_registry import formats, standby
from model_registry.champion import history, promote, rollback
from model_registry.registry import DIGEST_TAG
from model_registry.standby import DRILLS, blocked
from tests.loops.conftest import NAME, Loop, end_of

pytestmark = pytest.mark.loop


@pytest.fixture(autouse=True)
def _empty_memory() -> None:
    standby.forget()


@pytest.fixture
def earlier(loop: Loop) -> Path:
    """The files of the version that a rollback returns to."""
    first = loop.champions()[0][0]
    return Path(loop.registry.get(NAME, first).source.removeprefix("file://"))


def drill(loop: Loop, rounds: int = 3) -> Drill:
    return run_drill(loop.automation, loop.platform, rounds)


def in_service(loop: Loop) -> tuple[Any, ...]:
    """Everything that a rollback would change."""
    model = loop.registry.client.get_registered_model(NAME)
    versions = [(one.number, one.stage, one.card) for one in loop.versions()]
    return dict(model.aliases), versions, loop.champions(), loop.files("predictions", "decisions")


def test_a_drill_passes_and_leaves_nothing_but_its_own_leaves(loop: Loop) -> None:
    first, second = (version for version, *_ in loop.champions())
    log = loop.registry.log
    before, size = in_service(loop), log.size()
    root = log.root()

    found = drill(loop, rounds=5)

    assert found.ok, found.said
    assert found.version == first
    assert len(found.rounds) == 5
    assert all(set(one) == set(drills.STAGES) for one in found.rounds)
    p50, p95, most = found.percentiles().values()
    assert p50
    assert p95
    assert most
    assert 0 < p50 <= p95 <= most
    assert in_service(loop) == before
    assert [one.kind for one in log.entries(first=size)] == [GOLDEN, "drill"]
    assert log.root(size) == root
    assert log.verify().good
    assert alarms(loop.settings.home, NAME) == []
    assert blocked(loop.lake) is None
    assert loop.champions()[-1][0] == second


def test_nothing_stays_of_a_change_that_is_taken_back(loop: Loop) -> None:
    log, changes = loop.registry.log, history(loop.registry, NAME)
    size, root = log.size(), log.root()
    version = loop.registry.get(NAME, changes[0].version)
    undone = drills._TakenBack(log)
    for _ in range(3):
        assert drills._change(loop.registry, undone, version, changes, "x").keys() == {
            "lock", "change", "alias",
        }  # fmt: skip
    assert (log.size(), log.root()) == (size, root)
    assert history(loop.registry, NAME) == changes
    # The places that were taken and given back are free: the real rollback gets them.
    rollback(loop.registry, NAME, at=end_of(8), by="person:alice", reason="for good")
    assert log.size() == size + 1
    assert log.verify().good


def test_only_the_first_round_finds_an_empty_memory(loop: Loop, monkeypatch) -> None:
    loads, load_from = [], formats.load_from
    monkeypatch.setattr(formats, "load_from", lambda *a: (loads.append(a), load_from(*a))[1])
    standby.load(loop.registry, loop.registry.get(NAME, loop.champions()[0][0]))
    assert drill(loop, rounds=4).ok
    assert len(loads) == 2


def test_a_change_that_stayed_is_found(loop: Loop, monkeypatch) -> None:
    monkeypatch.setattr(drills, "_TakenBack", lambda log: log)
    size = loop.registry.log.size()
    found = drill(loop, rounds=1)
    leaf = size + 1  # after that of the golden predictions
    assert found.problems == (f"leaf {leaf} of the rehearsal stayed in the record",)


def test_a_record_that_does_not_verify_fails_the_drill(loop: Loop) -> None:
    with loop.registry.log.database.writing() as connection:
        connection.exec_driver_sql("UPDATE record_leaves SET actor = 'x' WHERE position = 1")
    found = drill(loop, rounds=2)
    assert "the record does not verify" in found.said
    assert blocked(loop.lake)


def test_the_drill_is_recorded_and_kept(loop: Loop) -> None:
    found = drill(loop)
    leaf = loop.registry.log.last("drill", NAME)
    assert leaf is not None
    (key,) = loop.lake.partitions(DRILLS, "json")
    kept = loop.lake.read_json(DRILLS, key)
    assert leaf.actor == "service:rollout"
    assert {name: leaf.body[name] for name in ("version", "ok", "problems", "p50", "p95")} == {
        name: kept[name] for name in ("version", "ok", "problems", "p50", "p95")
    }
    assert kept["ok"] is True
    assert kept["p95"] == found.percentiles()["p95"]


def flip(path: Path, loop: Loop) -> None:
    content = bytearray((path / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "model.skops").write_bytes(content)


def delete(path: Path, loop: Loop) -> None:
    (path / "scorer.json").unlink()


def another_digest(path: Path, loop: Loop) -> None:
    first = str(loop.champions()[0][0])
    loop.registry.client.set_model_version_tag(NAME, first, DIGEST_TAG, "0" * 64)


def another_feature(path: Path, loop: Loop) -> None:
    declared = loop.folder / "defs.yaml"
    text = declared.read_text()
    changed = re.sub(r"(?<!log_)amount: number", "amount: category", text)
    assert changed != text
    declared.write_text(changed)
    loop.restart()


def change_golden(loop: Loop, **changed: pl.Expr) -> None:
    first = str(loop.champions()[0][0])
    loop.lake.write(GOLDEN, first, loop.lake.read(GOLDEN, first).with_columns(**changed))


def golden_scores(path: Path, loop: Loop) -> None:
    change_golden(loop, **{"answer.score": pl.col("answer.score") + 1e-3})


def no_training_set(path: Path, loop: Loop) -> None:
    first = loop.registry.get(NAME, loop.champions()[0][0])
    loop.lake.path(GOLDEN, str(first.number)).unlink()
    loop.lake.path("training_set", first.tags["aios.partition"]).unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip, "its file model.skops changed after registration"),
        (delete, "its file scorer.json changed after registration"),
        (another_digest, DIGEST_TAG),
        (another_feature, "reads feature 'amount' as a number, declared is a category"),
        (golden_scores, "golden predictions changed after they were recorded"),
        (no_training_set, "the rows that it was trained on are gone"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_failing_drill_is_an_alarm_and_blocks_until_one_passes(
    loop: Loop, earlier: Path, damage: Callable[[Path, Loop], None], says: str
) -> None:
    assert drill(loop, rounds=2).ok
    damage(earlier, loop)
    before = in_service(loop)

    found = drill(loop)

    assert not found.ok
    assert says in found.said
    assert not found.rounds
    assert says in (blocked(loop.lake) or "")
    (alarm,) = alarms(loop.settings.home, NAME)
    assert alarm["kind"] == "drill"
    assert says in alarm["message"]
    leaf = loop.registry.log.last("drill", NAME)
    assert leaf is not None
    assert leaf.body["ok"] is False
    assert says in leaf.body["problems"][0]
    assert in_service(loop) == before


def test_mended_files_unblock_with_the_next_drill(loop: Loop, earlier: Path) -> None:
    content = (earlier / "model.skops").read_bytes()
    flip(earlier, loop)
    assert not drill(loop).ok
    assert blocked(loop.lake)
    (earlier / "model.skops").write_bytes(content)
    assert drill(loop).ok
    assert blocked(loop.lake) is None


def test_other_answers_than_the_golden_ones_are_found(loop: Loop, monkeypatch) -> None:
    assert drill(loop, rounds=2).ok
    answers = golden._answers

    def shifted(learner, loaded):
        return lambda rows: answers(learner, loaded)(rows).with_columns(pl.col("score") + 1e-3)

    monkeypatch.setattr(golden, "_answers", shifted)
    found = drill(loop)
    rows = loop.lake.read(GOLDEN, str(found.version)).height
    assert found.problems == (
        f"its score differs from the golden one on {rows} of {rows} rows, by up to 0.001",
    )


def test_code_that_cannot_use_the_version_any_more_is_found(loop: Loop, monkeypatch) -> None:
    assert drill(loop, rounds=2).ok

    def broken(learner, loaded):
        raise KeyError("weights")

    monkeypatch.setattr(golden, "_answers", broken)
    assert "does not answer its golden rows: KeyError: 'weights'" in drill(loop).said
    assert blocked(loop.lake)


def test_golden_predictions_that_were_lost_are_made_again_only_if_they_are_the_same(
    loop: Loop, monkeypatch
) -> None:
    found = drill(loop, rounds=2)
    path = loop.lake.path(GOLDEN, str(found.version))
    content = path.read_bytes()
    path.unlink()
    assert drill(loop, rounds=2).ok
    assert path.read_bytes() == content
    path.unlink()
    monkeypatch.setattr(golden, "ROWS", 3)
    assert "made again they are others" in drill(loop).said
    assert not path.exists()


def test_golden_rows_are_held_out_ones_of_the_versions_own_training(loop: Loop) -> None:
    found = drill(loop, rounds=2)
    version = loop.registry.get(NAME, found.version or 0)
    kept = loop.lake.read(GOLDEN, str(version.number))
    names = list(loop.automation.spec.feature_columns)
    held = loop.lake.read("training_set", version.tags["aios.partition"]).filter("holdout")
    assert 0 < kept.height == min(held.height, ROWS)
    assert (
        kept.select(names)
        .join(held.select(names), on=names, how="anti", nulls_equal=True)
        .is_empty()
    )
    assert kept.columns == [*names, "answer.score"]


def test_without_an_earlier_champion_there_is_nothing_to_return_to(loop: Loop) -> None:
    rollback(loop.registry, NAME, at=end_of(8), by="person:alice", reason="so")
    found = drill(loop)
    assert found.ok
    assert found.version is None
    assert "nothing to return to" in found.said
    assert blocked(loop.lake) is None
    assert alarms(loop.settings.home, NAME) == []


def test_a_champion_that_changes_meanwhile_ends_the_drill_without_an_outcome(
    loop: Loop, monkeypatch
) -> None:
    check = golden.golden_check
    second = loop.champions()[1][0]

    def meanwhile(*given):
        if len(loop.champions()) == 2:
            rollback(loop.registry, NAME, at=end_of(8), by="person:alice", reason="so")
            promote(loop.registry, NAME, second, at=end_of(9), by="person:alice", reason="so")
        return check(*given)

    monkeypatch.setattr(drills, "golden_check", meanwhile)
    with pytest.raises(Stale):
        drill(loop)
    assert loop.lake.partitions(DRILLS, "json") == []
    assert alarms(loop.settings.home, NAME) == []
    assert "drill" not in loop.registry.client.get_registered_model(NAME).aliases


def test_a_slow_rollback_is_a_failing_drill(loop: Loop, monkeypatch) -> None:
    monkeypatch.setattr(drills, "LIMIT", 1e-6)
    found = drill(loop)
    assert "half of the rounds took" in found.said
    assert found.rounds
    assert blocked(loop.lake)


def test_a_store_that_is_out_of_reach_is_a_failing_drill(loop: Loop, monkeypatch) -> None:
    def gone(*_: object) -> None:
        raise AiosError("the store is out of reach")

    monkeypatch.setattr("model_registry.champion.previous", gone)
    found = drill(loop)
    assert found.version == loop.champions()[0][0]
    assert "it could not be rehearsed: the store is out of reach" in found.said


def test_the_command_prints_a_table_and_fails_with_the_drill(
    loop: Loop, earlier: Path, tmp_path: Path
) -> None:
    with clock.at(end_of(8)):
        result = CliRunner().invoke(
            app, ["drill", NAME, "--rounds", "2", "--json", str(tmp_path / "drill.json")]
        )
    assert result.exit_code == 0, result.output
    for word in ("recovery", *drills.STAGES, "could decide"):
        assert word in result.stdout
    assert json.loads((tmp_path / "drill.json").read_text())["ok"] is True
    flip(earlier, loop)
    result = CliRunner().invoke(app, ["drill", NAME, "--json", str(tmp_path / "drill.json")])
    assert result.exit_code == 1
    assert "rollouts are blocked" in result.stderr
    assert "model.skops changed" in result.stderr
    assert json.loads((tmp_path / "drill.json").read_text())["ok"] is False


def test_the_job_runs_in_process_and_shows_the_drill(loop: Loop, earlier: Path) -> None:
    automation = loop.automation
    schedule = build_drill_schedule(automation)
    defs = dg.Definitions(
        assets=[build_rollback_drill(automation, automation)],
        jobs=[build_drill_job(automation, automation)],
        schedules=[schedule],
        resources={"platform": loop.platform},
        executor=dg.in_process_executor,
    )
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    job = defs.resolve_job_def(schedule.job_name)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    result = job.execute_in_process(instance=loop.instance, run_config=quiet)
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("recovers", True)
    (event,) = result.asset_materializations_for_node(f"{NAME}__rollback_drill")
    assert "| recovery |" in event.metadata["recovery time"].value
    assert "data:image/png" in event.metadata["history"].value

    flip(earlier, loop)
    result = job.execute_in_process(instance=loop.instance, run_config=quiet)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR


@pytest.mark.unit
def test_answers_differ_beyond_the_tolerance_only() -> None:
    now = pl.DataFrame({"score": [0.5, None, 2.0], "text": ["a", None, "c"]})
    kept = now.rename(lambda name: f"answer.{name}").with_columns(asked=pl.lit(1))

    def wrong(**changed: pl.Expr) -> list[str]:
        return differences(kept, now.with_columns(**changed))

    assert wrong() == []
    assert wrong(score=pl.col("score") * (1 + 1e-9)) == []
    assert wrong(score=pl.col("score") + pl.Series([0.0, 0.0, 0.1])) == [
        "its score differs from the golden one on 1 of 3 rows, by up to 0.1"
    ]
    assert wrong(score=pl.col("score").fill_null(0.5)) == [
        "its score differs from the golden one on 1 of 3 rows"
    ]
    assert wrong(text=pl.lit("a")) == ["its text differs from the golden one on 2 of 3 rows"]
    assert wrong(text=pl.lit(1)) == ["it gives no text as String any more"]
    assert differences(kept, now.drop("score")) == ["it gives no score as Float64 any more"]

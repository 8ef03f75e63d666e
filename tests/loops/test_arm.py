"""`aios arm` on a home with eight rehearsed weeks: what it measures, keeps and leaves alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aios.errors import AiosError
from aios.rollouts import Targets
from aios_assets.arming.arm import measure
from aios_assets.arming.history import FEWEST_PARTS, read_history
from aios_assets.cli import app
from aios_assets.cli import arm as _registered  # noqa: F401  until the command line names it
from model_registry.armed import below_target
from tests.aios_assets.test_arming import history_in, played, version
from tests.loops.conftest import NAME, REHEARSED, Loop, key

pytestmark = pytest.mark.loop

ROLLOUT: dict[str, Any] = {"canary": [0.5], "min_rows": 20, "patience": 4, "reopen": "14d"}
TRIALS = 6


@pytest.fixture
def rolling(loop: Loop) -> Loop:
    """The home whose automation now declares a rollout with targets."""
    targets = {"detection": 0.5, "false_rollback": 0.5}
    loop.redeclare(rollout={**ROLLOUT, "targets": targets})
    return loop


def arm(*options: str) -> Result:
    return CliRunner().invoke(app, ["arm", NAME, *options])


def test_arming_measures_keeps_and_records_and_touches_nothing_else(
    rolling: Loop, tmp_path: Path
) -> None:
    log = rolling.registry.log
    before, champions, versions = rolling.files(), rolling.champions(), rolling.versions()
    size = log.size()

    done = arm("--trials", str(TRIALS), "--json", str(tmp_path / "armed.json"))

    # Six trials prove nothing: it stays below its targets, and says so.
    assert done.exit_code == 1, done.output
    assert "only" in done.output
    after = rolling.files()
    (new,) = after.keys() - before.keys()
    assert new.startswith("arming/")
    assert {name: after[name] for name in before} == before
    assert (rolling.champions(), rolling.versions()) == (champions, versions)

    result = json.loads((tmp_path / "armed.json").read_text())
    kept = json.loads(after[new])
    assert result == kept | {"page": result["page"]}
    assert kept["equal"]["false_rollback"]["n"] == TRIALS
    assert kept["history"]["partitions"] == [key(week) for week in (4, 5, 6)]
    assert {one["kind"] for one in kept["faults"]} == {
        "null feature", "unit change", "stale join", "shuffled column", "shuffled in training",
        "leaked feature", "flipped labels", "slow model",
    }  # fmt: skip
    page = Path(result["page"]).read_text()
    assert page.count("data:image/png") == 1
    assert "slow model" in page

    (leaf,) = log.entries(first=size)
    assert (leaf.kind, leaf.automation) == ("armed", NAME)
    assert leaf.actor == kept["by"]
    assert leaf.body["file"] == hashlib.sha256(after[new]).hexdigest()
    assert leaf.body["code_version"] == rolling.automation.code_version
    assert leaf.body["detection"]["value"] == kept["detection"]["value"]
    assert log.verify().good


def test_what_was_armed_counts_until_the_code_changes(rolling: Loop) -> None:
    targets = Targets(detection=0.01, false_rollback=0.99)

    def standing() -> str | None:
        code = rolling.automation.code_version
        return below_target(rolling.registry.log, NAME, targets, code_version=code)

    assert "never armed" in (standing() or "")
    arm("--trials", "40")
    assert standing() is None
    rolling.redeclare(rollout={**ROLLOUT, "patience": 5})
    assert "code version" in (standing() or "")


def test_the_same_seed_measures_the_same(rolling: Loop) -> None:
    history = read_history(rolling.automation, rolling.platform)

    def without_times(seed: int) -> dict[str, Any]:
        found = measure(history, trials=2, seed=seed)
        # How long a model takes is measured anew.
        faults = [one for one in found["faults"] if one["kind"] != "slow model"]
        return {"faults": faults, "equal": found["equal"], "importance": found["importance"]}

    first = without_times(1)
    assert without_times(1) == first
    assert without_times(2) != first


def test_models_learn_before_the_cut_and_are_replayed_after_it(rolling: Loop) -> None:
    history = read_history(rolling.automation, rolling.platform)
    cut = history.parts[0].start
    learned = set(history.fit["loan_id"]) | set(history.held["loan_id"])
    assert history.fit["label_known_at"].max() <= history.held["label_known_at"].min()  # type: ignore[operator]
    assert history.held["label_known_at"].max() < cut  # type: ignore[operator]
    assert not learned & set(history.live["loan_id"])
    assert history.live["label"].null_count() <= 0.05 * history.live.height


def test_an_automation_that_cannot_be_armed_says_why(loop: Loop) -> None:
    done = arm()
    assert done.exit_code == 1
    assert "it declares no rollout" in done.output

    loop.redeclare(rollout=ROLLOUT)
    for week in range(4, REHEARSED):
        loop.lake.path("labels", key(week)).unlink()
    done = arm()
    assert done.exit_code == 1
    assert "too little history" in done.output
    assert f"{FEWEST_PARTS} partitions" in done.output

    loop.redeclare(rollout=ROLLOUT, candidates=[{"name": "other", "train": "models:tree"}])
    done = arm()
    assert "is not declared any more" in done.output


def test_without_a_champion_there_is_nothing_to_replay(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.redeclare(rollout=ROLLOUT)
    monkeypatch.setattr("model_registry.champion.champion", lambda *_: None)
    with pytest.raises(AiosError, match="no version decides yet"):
        read_history(loop.automation, loop.platform)


def test_few_equal_versions_are_ended_and_most_become_champion(tmp_path: Path) -> None:
    """Twenty rollouts of versions that differ by noise alone, on made-up weeks of 200 loans."""
    history = history_in(tmp_path)
    trials = [played(history, version(history, seed), seed) for seed in range(20)]
    outcomes = [one.outcome for one in trials]
    assert outcomes.count("worse") <= 1
    assert outcomes.count("promoted") >= 18
    assert all(one.decided <= one.most <= 0.35 for one in trials)


def test_a_whole_measurement_finds_what_is_harmful(tmp_path: Path) -> None:
    found = measure(history_in(tmp_path, gate={"floor": 0.55, "margin": 0.2}), trials=20, seed=4)
    kinds = found["kinds"]
    assert kinds["unit change"]["rollout"]["value"] == 1.0
    assert kinds["null feature"]["gate"]["n"] == 0
    # It looks splendid offline, and only the rows of the day show what it is.
    assert kinds["leaked feature"]["harmful"] > 0
    assert kinds["leaked feature"]["gate"]["value"] < kinds["leaked feature"]["rollout"]["value"]
    assert kinds["flipped labels"]["detection"]["value"] == 1.0
    assert kinds["slow model"]["harmful"] == kinds["slow model"]["trials"]
    assert found["equal"]["false_rollback"]["value"] <= 0.1
    assert found["all"]["most_decided"] <= 0.35

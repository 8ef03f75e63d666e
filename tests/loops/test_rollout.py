"""Whole rollouts on real stores: what deserves to decide gets there, and what does harm is stopped.

The payouts of `examples/` go through 37 weeks: drift that a retrain mends, a model with a leaked
feature, one that turns bad in its canary, and one that late labels turn against.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from aios import clock
from aios.automation import load_automation
from aios.record.log import open_log
from aios.rollouts import places
from aios.settings import PROJECT
from aios_assets.lifecycle.assignment import kept
from aios_assets.lifecycle.predictions import score_partition
from aios_assets.rehearsal import rehearse
from aios_assets.replay.replay import replay
from aios_assets.resources import Platform
from model_registry import approvals, ledger, rollout
from model_registry.champion import champion, champion_at, history
from tests.conftest import settings_in

pytestmark = pytest.mark.loop

NAME = "payouts"
DRIFTED, LEAKED, TURNED, LATE = 2, 3, 4, 5
"""Versions trained after the first one, in the order of the incidents."""


@pytest.fixture(scope="module")
def home(tmp_path_factory, empty_mlflow):
    """The example rehearsed to its end, for tests that only look."""
    root = tmp_path_factory.mktemp("rollout")
    settings = settings_in(root)
    shutil.copytree(PROJECT / "examples" / NAME, settings.automations / NAME)
    target = settings.home / "mlflow" / "mlflow.db"
    target.parent.mkdir(parents=True)
    shutil.copy(empty_mlflow, target)
    automation, windows, _ = rehearse(NAME, settings, progress=lambda *said: None)
    platform = Platform(settings)
    return SimpleNamespace(
        settings=settings,
        platform=platform,
        automation=automation,
        windows=windows,
        lake=platform.lake(NAME),
        moves=rollout.moves(platform.log, NAME),
    )


def path(home, version):
    return [(move.state, move.share) for move in home.moves if move.version == version]


def moment(home, version, state):
    return next(m.at for m in home.moves if (m.version, m.state) == (version, state))


def decided(home):
    """Every decision with its partition, and whether that was before or after what moments."""
    return pl.concat(
        [
            home.lake.read("decisions", window.key).with_columns(
                pl.lit(window.key).alias("partition"), pl.lit(window.end).alias("end")
            )
            for window in home.windows
        ]
    )


class TestWhatDeservesToDecide:
    def test_drift_is_mended_by_way_of_shadow_and_canary(self, home) -> None:
        assert path(home, DRIFTED) == [
            ("shadow", 0), ("canary", 0.25), ("canary", 0.5), ("champion", 1),
        ]  # fmt: skip
        promoted = moment(home, DRIFTED, "champion")
        assert champion_at(home.platform.registry, NAME, promoted).number == 1
        later = promoted + timedelta(seconds=1)
        assert champion_at(home.platform.registry, NAME, later).number == DRIFTED

    def test_each_move_names_a_report_that_the_record_holds(self, home) -> None:
        for move in home.moves:
            entry = home.platform.log.get(move.leaf)
            assert (entry.kind, entry.body["version"]) == ("rollout", move.version)
            if move.state in ("canary", "champion", "rejected", "rolled_back"):
                assert move.evidence.startswith("rollout report ")
                partition = move.evidence.removeprefix("rollout report ")
                key = f"rollout_report/{NAME}/{partition}/{move.evidence_digest}"
                assert home.platform.log.find(key) is not None

    def test_units_stay_with_their_model_while_the_shares_grow(self, home) -> None:
        rows = decided(home).filter(
            (pl.col("end") > moment(home, DRIFTED, "canary"))
            & (pl.col("end") <= moment(home, DRIFTED, "champion"))
        )
        for partition in rows.partition_by("partition"):
            assigned = kept(home.lake, partition["partition"][0])
            place = places(partition["payout_id"].to_list(), f"{NAME}/{DRIFTED}")
            by_challenger = (partition["model_version"] == DRIFTED).to_numpy()
            assert (by_challenger == (place < assigned.share)).all()
        assert {0.25, 0.5} == {kept(home.lake, key).share for key in rows["partition"].unique()}


class TestWhatDoesHarm:
    def test_a_leaked_feature_dies_in_shadow_and_decides_nothing(self, home) -> None:
        gate = home.lake.read_json("gate", "2024-04-08")
        assert gate["candidates"]["logistic"]["status"] == "pass"
        assert path(home, LEAKED) == [("shadow", 0), ("rejected", 0)]
        assert (decided(home)["model_version"] == LEAKED).sum() == 0

    def test_what_is_good_offline_and_bad_live_dies_in_its_canary(self, home) -> None:
        assert path(home, TURNED)[:2] == [("shadow", 0), ("canary", 0.25)]
        assert path(home, TURNED)[-1] == ("rolled_back", 0)
        ended = moment(home, TURNED, "rolled_back")
        rows = decided(home)
        assert rows.filter(pl.col("end") > ended)["model_version"].ne(TURNED).all()
        assert champion_at(home.platform.registry, NAME, ended).number == DRIFTED
        canary = rows.filter(
            (pl.col("end") > moment(home, TURNED, "canary")) & (pl.col("end") <= ended)
        )
        for partition in canary.partition_by("partition"):
            share = kept(home.lake, partition["partition"][0]).share
            places_ = places(partition["payout_id"].to_list(), f"{NAME}/{TURNED}")
            assert (partition["model_version"] == TURNED).sum() <= (places_ < share).sum()

    def test_late_labels_take_a_promoted_version_back(self, home) -> None:
        assert ("champion", 1) in path(home, LATE)
        assert path(home, LATE)[-1] == ("rolled_back", 0)
        registry = home.platform.registry
        promoted, back = moment(home, LATE, "champion"), moment(home, LATE, "rolled_back")
        assert timedelta(0) < back - promoted <= home.automation.spec.rollout.reopen
        assert champion_at(registry, NAME, back).number == LATE
        assert champion_at(registry, NAME, back + timedelta(seconds=1)).number == DRIFTED
        assert history(registry, NAME)[-1].by == "service:rollout"


class TestWhatStays:
    def test_record_and_registry_agree(self, home) -> None:
        log = open_log(home.settings)
        assert log.verify().problems == []
        assert rollout.check(log) + ledger.check(log) + approvals.check(log) == []
        registry = home.platform.registry
        model = registry.client.get_registered_model(NAME)
        assert int(model.aliases["champion"]) == champion(registry, NAME).number
        tags = {one.number: one.tags.get("aios.rollout") for one in registry.versions(NAME)}
        assert tags[LEAKED] == "rejected"
        assert tags[TURNED] == tags[LATE] == "rolled back"

    def test_every_decision_replays_whoever_made_it(self, home) -> None:
        found = replay(NAME, home.settings)
        assert found.holds, found.as_text()
        assert found.rows == sum(home.lake.rows("events", one.key) for one in home.windows)

    def test_a_partition_run_again_is_decided_as_it_was(self, home) -> None:
        window = next(one for one in home.windows if one.end > moment(home, DRIFTED, "canary"))
        before = home.lake.path("predictions", window.key).read_bytes()
        with clock.at(home.windows[-1].end):
            scored = score_partition(home.automation, home.platform, window)
        assert (scored.assignment.challenger, scored.assignment.share) == (DRIFTED, 0.25)
        assert home.lake.path("predictions", window.key).read_bytes() == before

    def test_shadow_is_kept_apart_from_decisions(self, home) -> None:
        window = next(one for one in home.windows if one.end > moment(home, LEAKED, "shadow"))
        shadow = home.lake.read("shadow", window.key)
        assert shadow["challenger"].unique().to_list() == [LEAKED]
        assert shadow.height == home.lake.rows("events", window.key)
        assert not shadow["canary"].any()
        other = shadow["champion_outcome"] != shadow["challenger_outcome"]
        assert other.any()
        outcomes = home.lake.read("decisions", window.key)["outcome"]
        assert outcomes.equals(shadow["champion_outcome"].alias("outcome"))


def test_the_example_is_declared_as_it_stands() -> None:
    settings = settings_in(Path("/nowhere"))
    automation = load_automation(NAME, type(settings).embedded(settings.home, PROJECT / "examples"))
    assert automation.spec.rollout is not None

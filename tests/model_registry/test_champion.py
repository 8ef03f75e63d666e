from __future__ import annotations

import shutil
import threading
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.errors import AiosError
from model_registry import champion as module
from model_registry.champion import (
    Change,
    alias_mismatch,
    champion,
    champion_at,
    deciding,
    history,
    promote,
    restore_alias,
    rollback,
)
from model_registry.registry import Registry
from tests.model_registry.opening import log_in, registry_in
from tests.model_registry.recipes import enrol

DAY = [datetime(2024, 1, 1) + timedelta(days=day) for day in range(31)]


@pytest.fixture(scope="module")
def three_versions(tmp_path_factory, empty_database, copy_database, boosting):
    home = tmp_path_factory.mktemp("three")
    copy_database(empty_database, home / "mlflow.db")
    registry = registry_in(home)
    for key in ("a", "b", "c"):
        registry.set_stage(enrol(registry, key, boosting), "gated")
    return home / "mlflow.db"


@pytest.fixture
def registry(tmp_path, three_versions, copy_database):
    """Three gated versions; their artefacts are shared by all tests that do not ask for `own`."""
    copy_database(three_versions, tmp_path / "mlflow.db")
    return registry_in(tmp_path, keys=three_versions.parent / "keys", patience=2)


def advance(registry, number, day, **given):
    return promote(registry, "claims", number, at=DAY[day], by="ada", reason="better", **given)


def back(registry, day, **given):
    return rollback(registry, "claims", at=DAY[day], by="bob", reason="complaints", **given)


def state(registry):
    model = registry.client.get_registered_model("claims")
    stages = {version.number: version.stage for version in registry.versions("claims")}
    return dict(model.aliases), stages, history(registry, "claims")


@pytest.mark.loop
class TestPromote:
    def test_moves_aliases_stages_and_history_together(self, registry):
        advance(registry, 1, 0)
        assert champion(registry, "claims").number == 1
        assert advance(registry, 2, 1).stage == "champion"
        aliases, stages, changes = state(registry)
        assert aliases == {"champion": 2, "previous": 1}
        assert stages == {1: "retired", 2: "champion", 3: "gated"}
        assert [(c.version, c.previous, c.at, c.by) for c in changes] == [
            (1, None, DAY[0], "ada"),
            (2, 1, DAY[1], "ada"),
        ]

    def test_version_that_did_not_pass_the_gate_is_refused(self, registry, boosting):
        for stage in ("registered", "rejected"):
            registry.set_stage(registry.get("claims", 3), stage)
            before = state(registry)
            with pytest.raises(AiosError, match=f"did not pass the gate .*'{stage}'"):
                advance(registry, 3, 0)
            assert state(registry) == before

    def test_unknown_version_is_refused(self, registry):
        with pytest.raises(AiosError, match="version 9 does not exist"):
            advance(registry, 9, 0)

    def test_repeating_it_changes_nothing(self, registry):
        advance(registry, 1, 0)
        advance(registry, 2, 1)
        before = state(registry)
        assert advance(registry, 1, 0).stage == "retired"
        assert advance(registry, 2, 1).stage == "champion"
        assert advance(registry, 2, 5).stage == "champion"
        assert state(registry) == before

    def test_other_champion_than_expected_is_refused(self, registry):
        advance(registry, 1, 0, expected=0)
        with pytest.raises(AiosError, match=r"champion is version 1 by ada.*expected none"):
            advance(registry, 2, 1, expected=0)
        with pytest.raises(AiosError, match="expected version 3"):
            back(registry, 1, expected=3)
        assert advance(registry, 2, 1, expected=1).number == 2

    def test_of_two_that_expect_the_same_one_wins(self, registry, tmp_path):
        advance(registry, 1, 0)
        lost, won = [], []

        def attempt(number):
            own = Registry(registry.uri, tmp_path / "artifacts", registry.log)
            try:
                won.append(advance(own, number, 1, expected=1).number)
            except AiosError as error:
                lost.append(str(error))

        threads = [threading.Thread(target=attempt, args=(number,)) for number in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == len(lost) == 1
        assert f"champion is version {won[0]}" in lost[0]
        assert len(history(registry, "claims")) == 2

    def test_past_is_not_rewritten(self, registry):
        advance(registry, 1, 5)
        with pytest.raises(AiosError, match="would rewrite the past"):
            advance(registry, 2, 4)

    def test_artefact_that_does_not_load_is_refused(self, own):
        remove_artefact(own, 2)
        advance(own, 1, 0)
        before = state(own)
        with pytest.raises(AiosError, match="claims version 2: its artefact is missing"):
            advance(own, 2, 1)
        assert state(own) == before

    def test_approval_is_written_on_the_card(self, registry):
        advance(registry, 1, 0)
        card = registry.get("claims", 1).card
        assert card.startswith("# claims")
        assert "Promotion by ada, deciding from 2024-01-01 00:00 UTC" in card
        assert "None yet" not in card


def remove_artefact(registry, number):
    shutil.rmtree(Path(urlparse(registry.get("claims", number).source).path))


@pytest.fixture
def own(tmp_path, empty_database, copy_database, boosting):
    """Two gated versions with artefacts that a test may break."""
    copy_database(empty_database, tmp_path / "own.db")
    registry = Registry(f"sqlite:///{tmp_path}/own.db", tmp_path / "artifacts", log_in(tmp_path))
    for key in ("a", "b"):
        registry.set_stage(enrol(registry, key, boosting), "gated")
    return registry


@pytest.mark.loop
class TestRollback:
    def test_returns_to_the_previous_champion(self, registry):
        advance(registry, 1, 0)
        advance(registry, 2, 1)
        assert back(registry, 2).number == 1
        assert champion(registry, "claims").number == 1
        assert state(registry)[1] == {1: "champion", 2: "retired", 3: "gated"}

    def test_second_one_goes_further_back_not_forward(self, registry):
        for number in (1, 2, 3):
            advance(registry, number, number)
        assert [back(registry, 4).number, back(registry, 5).number] == [2, 1]
        with pytest.raises(AiosError, match="no earlier champion"):
            back(registry, 6)

    def test_after_one_the_rejected_version_can_be_chosen_by_number(self, registry):
        advance(registry, 1, 0)
        advance(registry, 2, 1)
        back(registry, 2)
        assert back(registry, 3, to=2).number == 2

    def test_version_that_never_was_champion_is_refused(self, registry):
        advance(registry, 1, 0)
        advance(registry, 2, 1)
        with pytest.raises(AiosError, match="never was champion") as error:
            back(registry, 2, to=3)
        assert "1, 2" in error.value.fix

    def test_without_a_champion_is_refused(self, registry):
        with pytest.raises(AiosError, match="no earlier champion"):
            back(registry, 2)

    def test_repeating_it_does_not_go_further(self, registry):
        for number in (1, 2, 3):
            advance(registry, number, number)
        assert back(registry, 4).number == back(registry, 4).number == 2

    def test_missing_artefact_leaves_the_champion(self, own):
        advance(own, 1, 0)
        advance(own, 2, 1)
        remove_artefact(own, 1)
        before = state(own)
        with pytest.raises(AiosError, match="claims version 1: its artefact is missing"):
            back(own, 2)
        assert state(own) == before
        assert champion(own, "claims").number == 2


@pytest.mark.loop
class TestAliases:
    def test_alias_moved_by_hand_is_noticed_and_decides_nothing(self, registry):
        advance(registry, 1, 0)
        assert alias_mismatch(registry, "claims") is None
        registry.client.set_registered_model_alias("claims", "champion", "3")
        assert champion(registry, "claims").number == 1
        assert alias_mismatch(registry, "claims") == (
            "claims: alias 'champion' is version 3, the history says version 1"
        )
        restore_alias(registry, "claims")
        assert alias_mismatch(registry, "claims") is None

    def test_alias_without_a_history_is_noticed(self, registry):
        registry.client.set_registered_model_alias("claims", "champion", "3")
        assert "the history says none" in alias_mismatch(registry, "claims")
        restore_alias(registry, "claims")
        assert state(registry)[0] == {}

    @pytest.mark.parametrize("change", ["promotion", "rollback"])
    @pytest.mark.parametrize("step", range(1, 6))
    def test_change_killed_between_its_writes_is_completed(
        self, registry, monkeypatch, change, step
    ):
        advance(registry, 1, 0)
        advance(registry, 2, 1)
        act = (
            (lambda: advance(registry, 3, 2))
            if change == "promotion"
            else (lambda: back(registry, 2))
        )
        fail_at_write(registry, monkeypatch, step)
        with pytest.raises(KeyboardInterrupt):
            act()
        monkeypatch.undo()
        act()
        assert len(history(registry, "claims")) == 3
        number = 3 if change == "promotion" else 1
        assert champion(registry, "claims").number == number
        assert alias_mismatch(registry, "claims") is None
        stages = state(registry)[1]
        assert [n for n, stage in stages.items() if stage == "champion"] == [number]

    def test_unknown_automation_has_no_champion(self, registry):
        assert champion(registry, "invoices") is None
        assert champion_at(registry, "invoices", DAY[3]) is None
        assert alias_mismatch(registry, "invoices") is None


def fail_at_write(registry, monkeypatch, step):
    writes = 0
    client = type(registry.client._client)
    for name in (
        "set_registered_model_tag",
        "set_registered_model_alias",
        "delete_registered_model_alias",
        "set_model_version_tag",
        "update_model_version",
    ):
        method = getattr(client, name)

        def call(self, *args, _method=method, **kwargs):
            nonlocal writes
            writes += 1
            if writes == step:
                raise KeyboardInterrupt
            return _method(self, *args, **kwargs)

        monkeypatch.setattr(client, name, call)


@pytest.mark.loop
def test_champion_at_a_moment_is_the_one_promoted_before_it(registry):
    advance(registry, 1, 0)
    advance(registry, 2, 10)
    at = {day: champion_at(registry, "claims", DAY[day]) for day in (0, 1, 10, 11)}
    assert at[0] is None
    assert [at[day].number for day in (1, 10, 11)] == [1, 1, 2]


def changes_at(moments):
    return [
        Change("claims", number, at, at, "ada", "", "", None, "promotion")
        for number, at in enumerate(sorted(moments), start=1)
    ]


moments = st.datetimes(datetime(2020, 1, 1), datetime(2020, 1, 9))


@pytest.mark.unit
@given(st.lists(moments, max_size=8), moments)
def test_deciding_version_is_the_last_that_took_effect_before(times, moment):
    changes = changes_at(times)
    number = deciding(changes, moment)
    earlier = [change for change in changes if change.at < moment]
    assert number == (len(earlier) or None)


@pytest.mark.unit
@given(st.lists(moments, max_size=8), moments, moments)
def test_later_changes_do_not_alter_who_decided(times, moment, later):
    changes = changes_at(times)
    if later >= max([moment, *times]):
        more = [*changes, Change("claims", 99, later, later, "ada", "", "", None, "promotion")]
        assert deciding(more, moment) == deciding(changes, moment)


@pytest.mark.unit
@given(st.lists(st.sampled_from(["next", "back"]), max_size=20))
def test_rolling_back_is_a_stack(steps):
    changes, stack = [], []
    for place, step in enumerate(steps):
        if step == "next":
            number, kind = 100 + place, "promotion"
            stack.append(number)
        else:
            number, kind = module._before_present(changes), "rollback"
            assert number == (stack[-2] if len(stack) > 1 else None)
            if number is None:
                continue
            stack.pop()
        changes.append(Change("claims", number, DAY[place], DAY[place], "ada", "", "", None, kind))

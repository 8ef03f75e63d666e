"""An automation's folder: its functions, its version, its data and its windows."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios import clock
from aios.automation import (
    Automation,
    Binding,
    automation_folders,
    declared_binding,
    load_automation,
    write_binding,
)
from aios.declaration import load_spec
from aios.errors import AiosError
from aios.lake import Lake
from aios_assets.lifecycle.common import partitions_of
from tests.conftest import POLICY, make_automation, settings_in, write_automation

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_automation(tmp_path_factory.mktemp("declared") / "loans")


def automation(directory: Path, **overrides: Any) -> Automation:
    return make_automation(directory, **overrides)[0]


def test_an_automation_is_found_by_its_folder(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert automation_folders(settings) == []
    for name in ("loans", "_draft", ".hidden", "cards"):
        write_automation(settings.automations / name)
    (settings.automations / "empty").mkdir()
    names = [folder.name for folder in automation_folders(settings)]
    assert names == ["cards", "loans"]
    assert load_automation("loans", settings).name == "loans"
    with pytest.raises(AiosError, match="no automation 'lones'") as error:
        load_automation("lones", settings)
    assert "cards, loans" in error.value.fix


@pytest.mark.parametrize("name", ["features.py", "models.py", "policy.yaml", "defs.yaml", "new.py"])
def test_code_version_follows_every_file_that_decides(tmp_path: Path, name: str) -> None:
    before = automation(tmp_path)
    assert automation(tmp_path).code_version == before.code_version
    with open(before.folder / name, "a") as file:
        file.write("\n# changed\n")
    again = Automation.load(before.folder, settings_in(tmp_path))
    assert again.code_version != before.code_version


def test_code_version_ignores_data_and_pages(tmp_path: Path) -> None:
    before = automation(tmp_path)
    (before.folder / "README.md").write_text("news")
    (before.folder / "loans.csv").write_text("loan_id\n")
    again = Automation.load(before.folder, settings_in(tmp_path))
    assert again.code_version == before.code_version


def test_code_version_is_the_same_in_another_place(tmp_path: Path) -> None:
    left, right = automation(tmp_path / "a"), automation(tmp_path / "b")
    assert left.code_version == right.code_version


def test_a_reference_to_a_module_that_is_not_there(tmp_path: Path) -> None:
    candidates = [{"name": "net", "train": "networks:train"}]
    with pytest.raises(AiosError, match="'networks:train' names a module") as error:
        automation(tmp_path, candidates=candidates)
    assert error.value.where.endswith("loans/defs.yaml")
    assert "networks.py" in error.value.fix


def test_a_policy_that_is_missing_or_asks_for_what_nobody_has(tmp_path: Path) -> None:
    folder = write_automation(tmp_path / "loans")
    (folder / "policy.yaml").unlink()
    with pytest.raises(AiosError, match="no such policy file"):
        Automation.load(folder, settings_in(tmp_path))
    with pytest.raises(AiosError, match="uses income, which no event or feature provides"):
        automation(tmp_path, policy=POLICY | {"required": ["score", "income"]})


def test_a_reference_to_a_function_that_is_not_there(tmp_path: Path) -> None:
    ours = automation(tmp_path)
    for reference in ("models:nothing", "features:pl"):
        with pytest.raises(AiosError, match="has no function") as error:
            ours.function(reference)
        assert reference in error.value.fix


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def logistic(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("from .helpers import nothing\n", "ImportError|ModuleNotFoundError"),
    ],
)
def test_a_module_that_does_not_import_is_named(tmp_path: Path, text: str, says: str) -> None:
    ours = automation(tmp_path, models=text)
    with pytest.raises(AiosError, match=f"importing 'models' failed: ({says})") as error:
        ours.function("models:logistic")
    assert error.value.where == str(ours.folder / "models.py")


def test_siblings_import_each_other_and_two_automations_do_not_clash(tmp_path: Path) -> None:
    models = "from .shared import NAME\n\ndef logistic():\n    return NAME\n"
    found = [
        automation(
            tmp_path / place,
            name=name,
            models=models,
            files={"shared.py": f"NAME = {place + name!r}"},
        ).function("models:logistic")()
        for place in ("a", "b")
        for name in ("loans", "cards")
    ]
    assert found == ["aloans", "acards", "bloans", "bcards"]


def test_a_binding_is_remembered(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    declared = automation(tmp_path)
    assert declared.binding == Binding(None, datetime(2024, 1, 1), datetime(2024, 5, 20))
    lake = Lake(settings.home / "lake" / "loans")
    for binding in (
        Binding(Path("/data/old.csv"), datetime(1994, 1, 3), datetime(1995, 1, 2)),
        Binding(None, datetime(1994, 1, 3), None),
    ):
        write_binding(lake, binding)
        assert Automation.load(declared.folder, settings).binding == binding
    assert lake.partitions("source") == []


def test_windows_end_where_the_data_or_the_clock_does(tmp_path: Path) -> None:
    ours = automation(tmp_path)
    assert len(ours.windows()) == 20
    with clock.at(datetime(2024, 1, 21)):
        assert [window.key for window in ours.windows()] == ["2024-01-01", "2024-01-08"]
    growing = ours.bound_to(Binding(None, datetime(2024, 1, 1), None))
    with clock.at(datetime(2024, 1, 22)):
        assert len(growing.windows()) == 3


def test_a_key_outside_the_automations_time_is_refused(tmp_path: Path) -> None:
    ours = automation(tmp_path)
    assert ours.window("2024-05-13").end == datetime(2024, 5, 20)
    for key in ("2023-12-25", "2024-05-20"):
        with pytest.raises(AiosError, match="lies outside") as error:
            ours.window(key)
        assert "from 2024-01-01 to 2024-05-20" in error.value.fix
    with pytest.raises(AiosError, match="lies inside the window that begins on 2024-01-08"):
        ours.window("2024-01-09")


@given(
    st.sampled_from(["daily", "weekly", "monthly"]),
    st.dates(datetime(2020, 1, 1).date(), datetime(2021, 1, 1).date()),
    st.integers(1, 200),
)
def test_windows_are_dagsters_partitions_wherever_the_declaration_begins(
    declared: Path, cadence: Any, start: Any, days: int
) -> None:
    spec = load_spec(declared)
    end = datetime.fromordinal(start.toordinal() + days).date()
    source = spec.source.model_copy(update={"start": start, "end": end})
    spec = spec.model_copy(update={"source": source, "cadence": cadence})
    ours = Automation("loans", declared, spec, declared_binding(spec))
    keys = [window.key for window in ours.windows()]
    assert partitions_of(ours).get_partition_keys() == keys
    assert ours.windows()[0].start.date() <= start
    assert ours.windows()[-1].end.date() >= end
    for key in keys:
        ours.window(key)


def test_an_automation_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        automation(tmp_path).name = "other"  # type: ignore[misc]

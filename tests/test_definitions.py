"""All definitions of the code location, and what becomes of them when one folder is broken.

`AIOS_UPDATE_SNAPSHOTS=1 pytest tests/test_definitions.py` writes the snapshot anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from aios.settings import PROJECT, Settings
from aios_assets.definitions import build_definitions

pytestmark = pytest.mark.unit

SNAPSHOT = Path(__file__).parent / "snapshots" / "definitions.json"
CLAIMS = PROJECT / "aios_assets" / "automations" / "claims"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """A home and a folder of automations of one's own: the user's may hold anything."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("definitions")
        (root / "automations").mkdir()
        patch.setenv("AIOS_HOME", str(root / "home"))
        patch.setenv("AIOS_AUTOMATIONS", str(root / "automations"))
        yield patch


@pytest.fixture(scope="module")
def automations(environment: pytest.MonkeyPatch) -> Path:
    folder = Path(os.environ["AIOS_AUTOMATIONS"])
    shutil.copytree(CLAIMS, folder / "claims", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def whole(automations: Path) -> dg.RepositoryDefinition:
    """The claims automation alone."""
    return build_definitions(Settings.from_env()).get_repository_def()


@pytest.fixture(scope="module")
def broken(whole: dg.RepositoryDefinition, automations: Path) -> dg.RepositoryDefinition:
    """The claims automation beside a copy whose cadence nobody knows."""
    shutil.copytree(automations / "claims", automations / "wrong")
    declaration = automations / "wrong" / "defs.yaml"
    declaration.write_text(declaration.read_text().replace("cadence: monthly", "cadence: hourly"))
    return build_definitions(Settings.from_env()).get_repository_def()


def described(repository: dg.RepositoryDefinition) -> dict[str, Any]:
    """Everything that a user of the code location relies on, as plain data."""
    definitions = repository.asset_graph.assets_defs
    assets = {
        spec.key.to_user_string(): {
            "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
            "group": spec.group_name,
            "kinds": sorted(spec.kinds),
            "owners": list(spec.owners),
            "partitions": partitions(spec.partitions_def),
            "backfill": str(one.backfill_policy) if one.backfill_policy else "run by run",
            "automation": conditions(spec.automation_condition),
            "checks": {
                check.name: "blocking" if check.blocking else "reports"
                for check in one.check_specs
                if check.asset_key == spec.key
            },
        }
        for one in definitions
        for spec in one.specs
    }
    return {
        "assets": assets,
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
            for job in repository.get_all_jobs()
            if not job.name.startswith("__")
        },
        "schedules": {
            one.name: {
                "cron": one.cron_schedule,
                "job": one.job_name,
                "default": one.default_status.value,
            }
            for one in repository.schedule_defs
        },
        "sensors": {
            one.name: {
                "jobs": sorted(target.job_name for target in one.targets),
                "default": one.default_status.value,
                "every": one.minimum_interval_seconds,
            }
            for one in repository.sensor_defs
        },
    }


def conditions(condition: dg.AutomationCondition[Any] | None) -> list[str | None]:
    if condition is None:
        return []
    parts = [condition] if condition.get_label() else condition.children
    return [part.get_label() for part in parts]


def partitions(definition: dg.PartitionsDefinition[Any] | None) -> dict[str, str] | None:
    if definition is None:
        return None
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    return {
        "start": definition.start.date().isoformat(),
        "end": definition.end.date().isoformat() if definition.end else "open",
        "cron": definition.cron_schedule,
    }


def test_definitions_are_those_of_the_snapshot(whole: dg.RepositoryDefinition) -> None:
    found = json.dumps(described(whole), indent=1, sort_keys=True) + "\n"
    if os.environ.get("AIOS_UPDATE_SNAPSHOTS") == "1":
        SNAPSHOT.write_text(found)
    assert json.loads(found) == json.loads(SNAPSHOT.read_text()), (
        "If this change is meant, run AIOS_UPDATE_SNAPSHOTS=1 pytest tests/test_definitions.py "
        "and commit the snapshot with it."
    )


def test_every_asset_is_described_owned_and_checked_or_explained(
    whole: dg.RepositoryDefinition,
) -> None:
    for one in whole.asset_graph.assets_defs:
        for spec in one.specs:
            assert spec.description, spec.key
            assert spec.owners, spec.key
            assert spec.code_version, spec.key


def test_a_partition_key_means_the_same_to_dagster_and_to_us(
    whole: dg.RepositoryDefinition,
) -> None:
    from aios.windows import windows_between

    definition = whole.asset_graph.get(dg.AssetKey(["claims", "events"])).partitions_def
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    start, end = (moment.replace(tzinfo=None) for moment in (definition.start, definition.end))
    windows = windows_between("monthly", start, end)
    assert definition.get_partition_keys() == [window.key for window in windows]
    for window in windows:
        span = definition.time_window_for_partition_key(window.key)
        assert (span.start.replace(tzinfo=None), span.end.replace(tzinfo=None)) == (
            window.start,
            window.end,
        )


def test_a_broken_folder_leaves_the_others_whole(
    whole: dg.RepositoryDefinition, broken: dg.RepositoryDefinition
) -> None:
    before, after = described(whole), described(broken)
    assert set(after["assets"]) - set(before["assets"]) == {"wrong/declaration"}
    for kind in before:
        assert {name: after[kind][name] for name in before[kind]} == before[kind]


def test_a_broken_folder_is_one_asset_that_carries_the_error(
    broken: dg.RepositoryDefinition, automations: Path
) -> None:
    (one,) = [
        spec
        for definition in broken.asset_graph.assets_defs
        for spec in definition.specs
        if spec.key.path[0] == "wrong"
    ]
    lines = (automations / "wrong" / "defs.yaml").read_text().splitlines()
    line = lines.index("  cadence: hourly") + 1
    for said in (f"{automations / 'wrong' / 'defs.yaml'}:{line}", "cadence", "'monthly'", "hourly"):
        assert said in str(one.description)
    assert one.group_name == "wrong"


def test_a_broken_folder_shows_red_before_anyone_runs_it(broken: dg.RepositoryDefinition) -> None:
    sensor = broken.get_sensor_def("wrong_broken_sensor")
    key = dg.AssetCheckKey(dg.AssetKey(["wrong", "declaration"]), "declaration")
    with dg.DagsterInstance.ephemeral() as instance:
        with dg.build_sensor_context(instance=instance, repository_def=broken) as context:
            tick = sensor.evaluate_tick(context)
        for event in tick.asset_events:
            instance.report_runless_asset_event(event)
        summary = instance.event_log_storage.get_asset_check_summary_records([key])[key]
        evaluation = summary.last_check_execution_record.event.dagster_event.event_specific_data
        assert not evaluation.passed
        assert evaluation.severity == dg.AssetCheckSeverity.ERROR
        assert "hourly" in str(evaluation.metadata["error"].value)

        with dg.build_sensor_context(
            instance=instance, repository_def=broken, cursor=tick.cursor
        ) as context:
            again = sensor.evaluate_tick(context)
        assert not again.asset_events
        assert "hourly" in str(again.skip_message)


def test_materializing_a_broken_folder_fails_with_the_error(
    broken: dg.RepositoryDefinition,
) -> None:
    (definition,) = [
        one
        for one in broken.asset_graph.assets_defs
        if dg.AssetKey(["wrong", "declaration"]) in one.keys
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([definition], instance=instance, raise_on_error=False)
    (failure,) = result.get_step_failure_events()
    assert "hourly" in failure.step_failure_data.user_failure_data.description


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "defs.yaml").write_text("attributes: [\n"), "not YAML"),
        (lambda folder: (folder / "policy.yaml").unlink(), "no such policy file"),
        (lambda folder: (folder / "features.py").unlink(), "features:claim"),
    ],
    ids=["syntax", "policy", "module"],
)
def test_every_kind_of_damage_is_named(
    automations: Path, tmp_path: Path, damage: Any, said: str
) -> None:
    shutil.copytree(automations / "claims", tmp_path / "damaged")
    damage(tmp_path / "damaged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOS_AUTOMATIONS", str(tmp_path))
        repository = build_definitions(Settings.from_env()).get_repository_def()
    (key,) = (key for one in repository.asset_graph.assets_defs for key in one.keys)
    assert key == dg.AssetKey(["damaged", "declaration"])
    assert said in str(repository.asset_graph.get(key).description)


def test_the_workspace_names_a_module_that_loads(automations: Path, tmp_path: Path) -> None:
    workspace = yaml.safe_load((PROJECT / "workspace.yaml").read_text())
    (entry,) = workspace["load_from"]
    module = entry["python_module"]["module_name"]
    environment = {
        **os.environ,
        "AIOS_AUTOMATIONS": str(automations),
        "AIOS_HOME": str(tmp_path),
        "DAGSTER_HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT),
    }
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-m", module],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr

"""The archive: the code and the policy of a version, kept once, read back only unchanged."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from aios.archive import (
    CODE,
    POLICIES,
    archived_policy,
    archived_versions,
    environment,
    keep,
    made_by,
    restored,
)
from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from tests.conftest import FEATURES, make_automation, write_automation

pytestmark = pytest.mark.unit

KEY = "2024-01-01"


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Automation, Lake]:
    """An automation with a module in a folder of its own, kept once."""
    nested = {"models.py": "from .tools.fit import fit\n", "features.py": FEATURES}
    folder = tmp_path / "automations" / "loans"
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "fit.py").write_bytes(b"# caf\xe9\ndef fit():\n    return 'then'\n")
    automation, platform = make_automation(tmp_path, files=nested)
    lake = platform.lake("loans")
    keep(automation, lake, KEY)
    return automation, lake


def reloaded(automation: Automation) -> Automation:
    """The automation as a new process would load it."""
    return replace(automation)


def test_a_version_is_restored_file_for_file(kept):
    automation, lake = kept
    with restored("loans", lake, automation.code_version) as folder:
        assert folder.name == "loans"
        found = {
            path.relative_to(folder): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        assert found == {
            path.relative_to(automation.folder): path.read_bytes()
            for path in automation.folder.rglob("*")
            if path.suffix in {".py", ".yaml"}
        }
        again = replace(automation, folder=folder)
        assert again.code_version == automation.code_version
    assert not folder.exists()


def test_what_is_restored_runs_apart_from_the_present_folder(kept):
    automation, lake = kept
    (automation.folder / "models.py").write_text("def fit():\n    return 'now'\n")
    with restored("loans", lake, automation.code_version) as folder:
        then = replace(automation, folder=folder).function("models:fit")
        assert (then(), reloaded(automation).function("models:fit")()) == ("then", "now")
        loaded = [name for name in sys.modules if "loans_" in name and "tools" in name]
        assert loaded
    assert not [name for name in loaded if name in sys.modules]


def test_each_version_is_kept_once_and_none_is_lost(kept):
    automation, lake = kept
    before = lake.path(CODE, automation.code_version, "json").stat().st_mtime_ns
    keep(automation, lake, "2024-01-08")
    assert lake.path(CODE, automation.code_version, "json").stat().st_mtime_ns == before
    write_automation(automation.folder, features=FEATURES + "\n# new\n")
    keep(reloaded(automation), lake, "2024-01-15")
    assert len(archived_versions(lake)) == 2
    assert automation.code_version in archived_versions(lake)


def test_code_that_is_no_longer_in_the_folder_is_not_kept_under_its_name(kept):
    automation, lake = kept
    fresh = reloaded(automation)
    (automation.folder / "features.py").write_text(FEATURES + "\n# first\n")
    running = fresh.code_version
    (automation.folder / "features.py").write_text(FEATURES + "\n# second\n")
    with pytest.raises(AiosError, match=r"(?s)edited while it was in use.*Reload"):
        keep(fresh, lake, KEY)
    assert running not in archived_versions(lake)


def test_an_edited_or_missing_copy_is_refused(kept):
    automation, lake = kept
    path = lake.path(CODE, automation.code_version, "json")
    files = json.loads(path.read_text())
    path.write_text(json.dumps({**files, "features.py": "import os\n"}))
    with (
        pytest.raises(AiosError, match=r"archived code version .* was changed"),
        restored("loans", lake, automation.code_version),
    ):
        raise AssertionError
    with (
        pytest.raises(AiosError, match="0123 is not in the archive"),
        restored("loans", lake, "0123"),
    ):
        raise AssertionError


def test_a_policy_is_read_back_by_its_hash_and_only_unchanged(kept):
    automation, lake = kept
    policy = automation.policy
    assert archived_policy(lake, policy.hash) == policy
    path = lake.path(POLICIES, policy.hash, "yaml")
    path.write_text(path.read_text().replace("0.7", "0.8"))
    with pytest.raises(AiosError, match=f"policy {policy.hash} was changed"):
        archived_policy(lake, policy.hash)
    with pytest.raises(AiosError, match="policy none is not in the archive"):
        archived_policy(lake, "none")


def test_a_partition_remembers_what_computed_it(kept):
    _, lake = kept
    assert made_by(lake, KEY) == environment()
    assert {"python", "polars", "aios"} <= set(environment())
    assert made_by(lake, "1999-01-04") == {}

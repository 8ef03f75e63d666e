"""Whether a version could decide at once, on real files; each kind of damage is found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from aios.errors import AiosError
from aios.lake import Lake
from model_registry import formats, standby
from model_registry.registry import DIGEST_TAG, ModelVersion, Registry
from model_registry.standby import DRILLS, Readiness, blocked, readiness
from tests.model_registry.claims import NAME, registry_at
from tests.model_registry.recipes import COLUMNS, frame
from tests.model_registry.tampering import files_in, folder_of

pytestmark = pytest.mark.loop


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    standby.forget()
    return registry_at(tmp_path, own=True)


@pytest.fixture
def version(registry: Registry) -> ModelVersion:
    return registry.get(NAME, 1)


def look(registry: Registry, version: ModelVersion, **given: object) -> Readiness:
    return readiness(registry, version, **{"features": COLUMNS, "golden": None, **given})  # type: ignore[arg-type]


def scored(loaded: standby.Loaded) -> list[str]:
    assert isinstance(loaded, formats.FrameScorer)
    return [] if len(loaded.score(frame(5))) == 5 else ["no scores"]


def test_an_undamaged_version_is_ready_and_every_stage_is_timed(registry, version) -> None:
    found = look(registry, version, golden=scored)
    assert found.ready
    assert found.version == 1
    assert list(found.seconds) == ["files", "load", "signature", "golden"]
    assert all(seconds > 0 for seconds in found.seconds.values())


def test_what_is_in_memory_is_not_loaded_again(registry, version, monkeypatch) -> None:
    loads = []
    load_from = formats.load_from
    monkeypatch.setattr(formats, "load_from", lambda *a: (loads.append(a), load_from(*a))[1])
    first, second = standby.load(registry, version), standby.load(registry, version)
    assert first is second
    other = standby.load(registry, registry.get(NAME, 2))
    assert other is not first
    assert len(loads) == 2
    standby.forget()
    assert standby.load(registry, version) is not first


def test_memory_holds_the_latest_versions_only(registry, version, monkeypatch) -> None:
    monkeypatch.setattr(standby, "KEPT", 2)
    first = standby.load(registry, version)
    second = standby.load(registry, registry.get(NAME, 2))
    assert standby.load(registry, version) is first
    standby.load(registry, registry.get(NAME, 3))
    assert standby.load(registry, version) is first
    assert standby.load(registry, registry.get(NAME, 2)) is not second


def test_a_version_in_memory_scores_as_one_from_its_files(registry, version) -> None:
    rows = frame(300, seed=7)
    standby.load(registry, version)
    warm = standby.load(registry, version)
    assert isinstance(warm, formats.FrameScorer)
    fresh = formats.load(registry, version)
    assert np.array_equal(warm.score(rows), fresh.score(rows))


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("way", ["flip", "delete", "add", "same_time_and_size", "remove_all"])
def test_changed_files_are_found_also_when_the_model_is_in_memory(
    registry, version, way, warm
) -> None:
    if warm:
        assert look(registry, version).ready
    path = folder_of(version) / "model.skops"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    says = "its file model.skops changed"
    match way:
        case "flip":
            path.write_bytes(content)
        case "delete":
            path.unlink()
        case "add":
            path.with_name("more.py").write_text("1")
            says = "its file more.py changed"
        case "same_time_and_size":
            before = path.stat()
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "remove_all":
            for one in files_in(folder_of(version)):
                one.unlink()
            says = "no signed manifest"
    found = look(registry, version)
    assert not found.ready
    assert says in found.problems[0]
    assert "load" not in found.seconds
    assert look(registry, registry.get(NAME, 2)).ready


def test_a_missing_folder_is_found(registry, version) -> None:
    folder = folder_of(version)
    folder.rename(folder.with_name("elsewhere"))
    (problem,) = look(registry, version).problems
    assert "artefact is missing" in problem


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_tag_with_another_digest_is_found(registry, version, warm) -> None:
    if warm:
        assert look(registry, version).ready
    registry.client.set_model_version_tag(NAME, "1", DIGEST_TAG, "0" * 64)
    (problem,) = look(registry, registry.get(NAME, 1)).problems
    assert DIGEST_TAG in problem
    assert version.digest in problem
    with pytest.raises(AiosError, match=DIGEST_TAG):
        standby.load(registry, registry.get(NAME, 1))


@pytest.mark.parametrize(
    ("features", "says"),
    [
        ({"amount": "number", "age": "number"}, "'region', which is not declared any more"),
        ({**COLUMNS, "age": "category"}, "'age' as a number, declared is a category"),
    ],
)
def test_a_feature_that_is_declared_otherwise_today_is_found(
    registry, version, features, says
) -> None:
    (problem,) = look(registry, version, features=features).problems
    assert says in problem


def test_a_feature_that_was_added_since_is_no_problem(registry, version) -> None:
    assert look(registry, version, features={"new": "number", **COLUMNS}).ready


def test_what_the_golden_check_says_is_a_problem(registry, version) -> None:
    found = look(registry, version, golden=lambda loaded: ["other answers"])
    assert found.problems == ("other answers",)

    def fails(loaded: standby.Loaded) -> list[str]:
        raise AiosError("it cannot be compared")

    assert look(registry, version, golden=fails).problems == ("it cannot be compared",)


def test_the_latest_drill_blocks_if_it_failed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    assert blocked(lake) is None
    passed = {"at": "2026-01-01T00:00:00", "ok": True, "said": "version 1 could decide"}
    failed = {"at": "2026-01-02T00:00:00", "ok": False, "said": "return to version 1: gone"}
    lake.write_json(DRILLS, "20260101T000000Z", passed)
    assert blocked(lake) is None
    lake.write_json(DRILLS, "20260102T000000Z", failed)
    said = blocked(lake)
    assert said is not None
    assert "2026-01-02" in said
    assert "return to version 1: gone" in said
    lake.write_json(DRILLS, "20260103T000000Z", passed)
    assert blocked(lake) is None


def test_a_drill_that_cannot_be_read_blocks(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.write_bytes(DRILLS, "20260101T000000Z", "json", b'{"ok": tr')
    assert "cannot be read" in (blocked(lake) or "")

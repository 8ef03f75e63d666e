"""Signed models: of files that somebody touched, none is ever loaded."""

from __future__ import annotations

import base64
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aios.errors import AiosError
from aios.record.keyring import Keyring
from aios.record.signing import SigningKey
from model_registry import artifacts, formats, parts
from model_registry.manifest import SIGNATURE_FILE, digest_of
from model_registry.registry import DIGEST_TAG, ModelVersion, Registry
from tests.model_registry.claims import NAME, registry_at
from tests.model_registry.opening import registry_in
from tests.model_registry.recipes import boosting, enrol, frame
from tests.model_registry.tampering import Home, Tampering, content_of, files_in, folder_of
from tests.model_registry.test_parts import parts as some_parts
from tests.model_registry.test_parts import registered

pytestmark = pytest.mark.loop

ATTEMPTS = 200
Load = Callable[[Registry, ModelVersion], Any]


@pytest.fixture(scope="module")
def sklearn_home(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path, copy_database: Any
) -> Home:
    root = tmp_path_factory.mktemp("formats")
    copy_database(empty_database, root / "mlflow.db")
    registry = registry_in(root)
    versions = [enrol(registry, name, boosting(seed)) for seed, name in enumerate(("a", "b"))]
    return Home(root, versions, registry)


@pytest.fixture(scope="module")
def parts_home(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path, copy_database: Any
) -> Home:
    root = tmp_path_factory.mktemp("parts")
    copy_database(empty_database, root / "mlflow.db")
    registry, versions = registry_in(root), []
    for number in (1, 2):
        model = some_parts()
        model["about"] = {"kind": "test", "number": number}
        versions.append(registered(registry, model, f"a/{number}/x"))
    return Home(root, versions, registry)


@pytest.mark.parametrize(("home", "load", "seed"), [
    ("sklearn_home", formats.load, 1),
    ("parts_home", parts.load, 2),
])  # fmt: skip
def test_whatever_was_touched_is_not_loaded(
    request: pytest.FixtureRequest, home: str, load: Load, seed: int
) -> None:
    at: Home = request.getfixturevalue(home)
    draw, attempts, ways = random.Random(seed), 0, set()
    version = at.versions[0]
    before = content_of(at.folders[0])
    while attempts < ATTEMPTS:
        tampering = Tampering(draw, at)
        if at.folders[0].exists() and content_of(at.folders[0]) == before:
            at.restore()  # it put the same in its place
            continue
        attempts += 1
        ways.add(tampering.way.__name__)
        try:
            with pytest.raises(AiosError) as error:
                load(at.registry, version)
        except BaseException as wrong:
            raise AssertionError(f"{tampering.way.__name__} {tampering.named}") from wrong
        said = str(error.value)
        assert said.startswith(f"{version.label}: "), tampering.way
        assert "What to do: restore the files from a backup" in said
        assert any(name in said for name in tampering.named), (tampering.way, said)
        at.restore()
    assert len(ways) == 18
    load(at.registry, version)


def test_what_changes_after_the_check_is_not_loaded(
    sklearn_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, version = sklearn_home.registry, sklearn_home.versions[0]
    expected = formats.load(registry, version).score(frame(20))
    check = artifacts.problem

    def changed_meanwhile(*arguments: Any) -> str | None:
        found = check(*arguments)
        for path in files_in(sklearn_home.folders[0]):
            path.unlink()
        return found

    monkeypatch.setattr(artifacts, "problem", changed_meanwhile)
    assert (formats.load(registry, version).score(frame(20)) == expected).all()
    sklearn_home.restore()


def test_a_number_that_was_led_to_the_files_of_another_version_is_not_loaded(
    tmp_path: Path,
) -> None:
    registry = registry_at(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute(
            "UPDATE model_versions SET source = "
            "(SELECT source FROM model_versions WHERE version = 2) WHERE version = 1"
        )
    for name in ("aios.key", "aios.artifact_digest"):
        tag = registry.get(NAME, 2).tags[name]
        registry.client.set_model_version_tag(NAME, "1", name, tag)
    with pytest.raises(AiosError, match="claims version 1: other files were registered"):
        formats.load(registry, registry.get(NAME, 1))
    formats.load(registry, registry.get(NAME, 2))


class TestKeys:
    def test_a_version_of_another_installation_is_refused(
        self, sklearn_home: Home, tmp_path: Path, empty_database: Path, copy_database: Any
    ) -> None:
        copy_database(empty_database, tmp_path / "mlflow.db")
        theirs = enrol(registry_in(tmp_path), "a", boosting())
        folder = sklearn_home.folders[0]
        shutil.rmtree(folder)
        shutil.copytree(folder_of(theirs), folder)
        with pytest.raises(AiosError, match="not signed by a key of this installation"):
            formats.load(sklearn_home.registry, sklearn_home.versions[0])
        sklearn_home.restore()

    def test_a_rotated_key_still_vouches_for_what_it_signed(self, sklearn_home: Home) -> None:
        keyring = Keyring(sklearn_home.registry.log.keyring.folder, "models")
        keyring.rotate(lambda *_: None)
        for version in sklearn_home.versions:
            formats.load(sklearn_home.registry, version)
        new = enrol(sklearn_home.registry, "later", boosting(5))
        formats.load(sklearn_home.registry, new)
        signature = base64.b64decode((folder_of(new) / SIGNATURE_FILE).read_text())
        assert signature[:4] == keyring.signing_key().public.id

    @pytest.mark.parametrize("harm", ["missing", "readable", "garbage", "of others"])
    def test_without_its_key_nothing_is_registered(
        self, tmp_path: Path, empty_database: Path, copy_database: Any, boosting: Any, harm: str
    ) -> None:
        copy_database(empty_database, tmp_path / "mlflow.db")
        registry = registry_in(tmp_path)
        first = enrol(registry, "first", boosting)
        private = tmp_path / "keys" / "models.key"
        genuine = private.read_bytes()
        match harm:
            case "missing":
                private.unlink()
            case "readable":
                private.chmod(0o644)
            case "garbage":
                private.write_bytes(b"aios\nnonsense")
            case "of others":
                private.unlink()
                SigningKey.create(private, "mallory")
        size, experiment = registry.log.size(), registry.experiment("claims")
        with pytest.raises(AiosError, match=r"models\.key") as error:
            enrol(registry, "second", boosting)
        assert "What to do" in str(error.value)
        assert [one.key for one in registry.versions("claims")] == ["first"]
        assert registry.log.size() == size
        assert len(registry.client.search_runs([experiment])) == 1
        assert len(registry.client.search_logged_models([experiment])) == 1
        # What was signed before is checked with the public key alone.
        formats.load(registry, first)
        private.unlink(missing_ok=True)
        private.touch(mode=0o600)
        private.write_bytes(genuine)
        assert enrol(registry, "second", boosting).number == 2

    def test_the_first_registration_makes_the_key_and_records_the_manifest(
        self, tmp_path: Path, empty_database: Path, copy_database: Any, boosting: Any
    ) -> None:
        copy_database(empty_database, tmp_path / "mlflow.db")
        registry = registry_in(tmp_path)
        version = enrol(registry, "first", boosting)
        assert (tmp_path / "keys" / "models.key").stat().st_mode & 0o777 == 0o600
        (entry,) = registry.log.entries(kind="model_registered")
        digest = digest_of(folder_of(version))
        assert entry.body["manifest"] == version.tags[DIGEST_TAG] == digest
        assert (entry.body["version"], entry.body["key"]) == (1, "first")
        assert entry.actor == "service:training"
        enrol(registry, "first", boosting)
        assert registry.log.size() == 1

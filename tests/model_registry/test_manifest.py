"""Signed models: of files that somebody touched, none is ever loaded."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from aios.errors import AiosError
from aios.record.canonical import encode
from aios.record.keyring import Keyring
from aios.record.signing import SigningKey
from model_registry import artifacts, formats, parts
from model_registry.manifest import MANIFEST_FILE, SIGNATURE_FILE, digest_of
from model_registry.registry import DIGEST_TAG, ModelVersion, Registry
from tests.model_registry.opening import registry_in
from tests.model_registry.recipes import boosting, enrol, frame
from tests.model_registry.test_parts import parts as some_parts
from tests.model_registry.test_parts import registered

pytestmark = pytest.mark.loop

ATTEMPTS = 200
OWN = (MANIFEST_FILE, SIGNATURE_FILE)
Load = Callable[[Registry, ModelVersion], Any]


def folder_of(version: ModelVersion) -> Path:
    return Path(urlparse(version.source).path)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def content_of(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, by name; a link is not what it leads to."""
    return {
        str(path.relative_to(folder)): os.readlink(path).encode() if path.is_symlink()
        else path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }  # fmt: skip


class Home:
    """Two versions of one model with artefacts that are put right again after each attempt."""

    def __init__(self, root: Path, versions: list[ModelVersion], registry: Registry) -> None:
        self.registry, self.versions = registry, versions
        self.folders = [folder_of(version) for version in versions]
        self.saved = [root / f"saved{number}" for number in range(len(versions))]
        for folder, saved in zip(self.folders, self.saved, strict=True):
            shutil.copytree(folder, saved)

    def restore(self) -> None:
        for folder, saved in zip(self.folders, self.saved, strict=True):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(saved, folder)


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


class Tampering:
    """One random act upon the artefacts of the first of two versions.

    Attributes:
        named: What an error may name; each message has to name one of them.
    """

    def __init__(self, draw: random.Random, home: Home) -> None:
        self.draw, self.folder, self.other = draw, home.folders[0], home.folders[1]
        self.named: set[str] = set()
        ways = [
            self.flip_a_bit, self.cut, self.append, self.delete, self.rename, self.add, self.link,
            self.link_a_folder, self.make_a_folder_of_it, self.swap_a_file, self.take_a_file,
            self.swap_the_folders, self.edit_the_manifest, self.edit_both, self.edit_the_signature,
            self.swap_the_signatures, self.sign_with_another_key, self.remove_all,
        ]  # fmt: skip
        self.way = draw.choice(ways)
        self.way()

    def file(self) -> Path:
        path: Path = self.draw.choice(files_in(self.folder))
        self.name(path)
        return path

    def name(self, path: Path) -> None:
        relative = path.relative_to(self.folder).as_posix()
        self.named.add("manifest" if relative in OWN else relative)

    def flip_a_bit(self) -> None:
        path = self.file()
        content = bytearray(path.read_bytes())
        content[self.draw.randrange(len(content))] ^= 1 << self.draw.randrange(8)
        path.write_bytes(content)

    def cut(self) -> None:
        path = self.file()
        content = path.read_bytes()
        path.write_bytes(content[: self.draw.randrange(len(content))])

    def append(self) -> None:
        path = self.file()
        path.write_bytes(path.read_bytes() + self.draw.choice([b"\n", b" ", b"\0", b"{}"]))

    def delete(self) -> None:
        self.file().unlink()

    def rename(self) -> None:
        path = self.file()
        target = path.with_name(self.draw.choice([f"{path.name}.bak", f".{path.name}", "x"]))
        path.rename(target)
        self.name(target)

    def add(self) -> None:
        name = self.draw.choice(
            ["model.pkl", "code/x.py", ".hidden", "data/.x", f"{MANIFEST_FILE}.old", "x/y/z"]
        )
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.draw.randbytes(self.draw.randrange(4)))
        self.name(path)

    def link(self) -> None:
        path = self.file()
        path.unlink()
        path.symlink_to(self.draw.choice([*files_in(self.other), Path("/dev/null"), Path("gone")]))

    def link_a_folder(self) -> None:
        path = self.folder / "linked"
        path.symlink_to(self.other, target_is_directory=True)
        self.name(path)

    def make_a_folder_of_it(self) -> None:
        path = self.file()
        path.unlink()
        path.mkdir()

    def swap_a_file(self) -> None:
        path = self.file()
        other = self.other / path.relative_to(self.folder)
        if other.exists():
            ours, theirs = path.read_bytes(), other.read_bytes()
            path.write_bytes(theirs)
            other.write_bytes(ours)

    def take_a_file(self) -> None:
        source, path = self.draw.choice(files_in(self.other)), self.file()
        shutil.copyfile(source, path)

    def swap_the_folders(self) -> None:
        aside = self.folder.with_name("aside")
        self.folder.rename(aside)
        self.other.rename(self.folder)
        aside.rename(self.other)
        self.named.add("manifest")

    def edit_the_manifest(self) -> None:
        path = self.folder / MANIFEST_FILE
        content = json.loads(path.read_bytes())
        name = self.draw.choice(["automation", "key", "candidate", "dataset_digest", "v", "files"])
        content[name] = {} if name == "files" else self.draw.choice(["other", 2, None])
        path.write_bytes(self.draw.choice([encode, partial(_spaced)])(content))
        self.named.add("manifest")

    def edit_both(self) -> None:
        """Change a file, and what the manifest says of it, with the signature as it was."""
        path = self.draw.choice([one for one in files_in(self.folder) if one.name not in OWN])
        path.write_bytes(path.read_bytes() + b"\n")
        manifest = self.folder / MANIFEST_FILE
        content = json.loads(manifest.read_bytes())
        digest = sha256(path.read_bytes()).hexdigest()
        content["files"][path.relative_to(self.folder).as_posix()] = digest
        manifest.write_bytes(encode(content))
        self.named.add("manifest")

    def edit_the_signature(self) -> None:
        path = self.folder / SIGNATURE_FILE
        text = path.read_text()
        place = self.draw.randrange(len(text))
        letter = self.draw.choice("ABCxyz+/=!\n \u00e4")
        edited = [text[:place] + letter + text[place + self.draw.randrange(2) :], "", text * 2]
        path.write_text(self.draw.choice(edited))
        self.named.add("manifest")

    def swap_the_signatures(self) -> None:
        shutil.copyfile(self.other / SIGNATURE_FILE, self.folder / SIGNATURE_FILE)
        self.named.add("manifest")

    def sign_with_another_key(self) -> None:
        keys = self.folder.parent / "mallory.key"
        keys.unlink(missing_ok=True)
        sign_with(SigningKey.create(keys, "mallory"), self.folder)
        self.named.add("manifest")

    def remove_all(self) -> None:
        shutil.rmtree(self.folder)
        self.named.add("artefact is missing")


def _spaced(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1).encode()


def sign_with(key: SigningKey, folder: Path) -> None:
    """Sign a manifest as `manifest.sign` does, with a key of one's own."""
    signature = key.public.id + key.sign((folder / MANIFEST_FILE).read_bytes())
    (folder / SIGNATURE_FILE).write_text(base64.b64encode(signature).decode() + "\n")


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

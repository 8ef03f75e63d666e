"""Random acts upon the artefacts of a version, each of which has to be noticed."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from aios.record.canonical import encode
from aios.record.signing import SigningKey
from model_registry.manifest import MANIFEST_FILE, SIGNATURE_FILE
from model_registry.registry import ModelVersion, Registry

OWN = (MANIFEST_FILE, SIGNATURE_FILE)


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

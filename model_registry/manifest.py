"""The signed manifest of a version: what its files are, and that this installation wrote them."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.record.canonical import encode
from aios.record.keyring import Keyring

if TYPE_CHECKING:
    from aios.record.log import Log

MANIFEST_FILE = "aios-manifest.json"
SIGNATURE_FILE = "aios-manifest.sig"
REGISTERED = "model_registered"
"""The kind of leaf that names a version's manifest."""


def sign(directory: Path, log: Log, content: dict[str, Any]) -> str:
    """Write a manifest of all files below a directory, with its signature.

    Args:
        directory: A model directory that is complete.
        log: The record; its first registration makes the key.
        content: What else is signed: whose model, and which.

    Returns:
        SHA-256 of the manifest, hex.

    Raises:
        AiosError: The key is missing, or others may read it.
    """
    keyring = _keyring(log)
    first = not keyring.exists and next(log.entries(kind=REGISTERED), None) is None
    key = keyring.create() if first else keyring.signing_key()
    manifest = encode({"v": 1, **content, "files": _files(directory)})
    (directory / MANIFEST_FILE).write_bytes(manifest)
    (directory / SIGNATURE_FILE).write_text(_text(key.public.id + key.sign(manifest)))
    return sha256(manifest).hexdigest()


def problem(directory: Path, log: Log, automation: str, key: str) -> str | None:
    """Say what is wrong with a version's files; None when they are as they were signed.

    Nothing but the manifest and its signature is read before the signature is checked, and no file
    is loaded before all are compared.

    Args:
        directory: The version's files.
        log: The record; its folder of keys holds those that we trust.
        automation: Whose version it should be.
        key: What it should have been trained for.
    """
    try:
        manifest = (directory / MANIFEST_FILE).read_bytes()
        text = (directory / SIGNATURE_FILE).read_text()
        signature = base64.b64decode(text)
        if text != _text(signature):
            raise ValueError("its signature is not as it was written")
    except (OSError, ValueError) as error:
        return f"it has no signed manifest: {error}"
    known = {one.id: one for one in _keyring(log).public_keys()}
    signer = known.get(signature[:4])
    if signer is None or not signer.verify(signature[4:], manifest):
        return "its manifest is not signed by a key of this installation"
    content = json.loads(manifest)
    if (content["automation"], content["key"]) != (automation, key):
        return f"its manifest is that of {content['automation']}, {content['key']}"
    files = _files(directory)
    for name in sorted(files.keys() | content["files"].keys()):
        if files.get(name) != content["files"].get(name):
            return f"its file {name} changed after registration"
    return None


def leaf_key(automation: str, number: int, key: str, digest: str) -> str:
    """Return the key of the leaf that says which files a version's number stands for."""
    return f"{REGISTERED}/{automation}/{number}/{key}/{digest}"


def digest_of(directory: Path) -> str:
    """Return the SHA-256 of a version's manifest, hex."""
    return sha256((directory / MANIFEST_FILE).read_bytes()).hexdigest()


def _keyring(log: Log) -> Keyring:
    return Keyring(log.keyring.folder, "models")


def _files(directory: Path) -> dict[str, str]:
    names = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*")}
    return {
        name: _digest(path)
        for name, path in sorted(names.items())
        if (path.is_symlink() or not path.is_dir()) and name not in (MANIFEST_FILE, SIGNATURE_FILE)
    }


def _digest(path: Path) -> str:
    # A link may lead to what changes later, or to a folder whose files nobody looks at.
    if path.is_symlink() or not path.is_file():
        return "no plain file"
    return sha256(path.read_bytes()).hexdigest()


def _text(signature: bytes) -> str:
    return f"{base64.b64encode(signature).decode()}\n"

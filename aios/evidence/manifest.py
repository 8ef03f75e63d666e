"""The manifest of an evidence pack: every file with its digest, and the signature over it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from aios.errors import AiosError

if TYPE_CHECKING:
    from aios.record.signing import PublicKey, SigningKey

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
VERSION: Final = 1

CHECKPOINT: Final = "record/checkpoint.txt"
LEAVES: Final = "record/leaves.jsonl"
CHECKPOINTS: Final = "record/checkpoints.jsonl"
ROWS: Final = "record/rows.jsonl"

# The first line keeps a signature over a manifest from passing for one over anything else.
_HEAD: Final = "aios evidence pack v1"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files_in(folder: Path) -> Iterator[str]:
    """Yield everything below a folder that is no folder, as names with `/`, in order."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def is_safe(name: str) -> bool:
    """Tell whether a name stays within the pack and is written in its only form."""
    pure = PurePosixPath(name)
    return (
        bool(pure.parts)
        and not pure.is_absolute()
        and ".." not in pure.parts
        and "\\" not in name
        and "\0" not in name
        and str(pure) == name
        and name not in (MANIFEST, SIGNATURE)
    )


def as_json(value: Any) -> bytes:
    """Return plain data as readable JSON with sorted keys, the same bytes for the same value."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def from_json(content: bytes, where: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        AiosError: It is none.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AiosError(f"it is not JSON: {error}", where=where, fix=_ASK) from None


def entries_of(manifest: Any) -> dict[str, str]:
    """Return name -> SHA-256 in hex of the files that a manifest lists.

    Raises:
        AiosError: It is no manifest of this version, or names a file outside the pack.
    """
    if not isinstance(manifest, Mapping) or manifest.get("version") != VERSION:
        raise AiosError(f"it is no manifest of version {VERSION}", where=MANIFEST, fix=_ASK)
    listed = manifest.get("files")
    if not isinstance(listed, Mapping):
        raise AiosError("it lists no files", where=MANIFEST, fix=_ASK)
    found = {}
    for name, entry in listed.items():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("sha256"), str):
            raise AiosError(f"{name!r} has no digest", where=MANIFEST, fix=_ASK)
        if not is_safe(name):
            raise AiosError(f"{name!r} is no name of a file in a pack", where=MANIFEST, fix=_ASK)
        found[name] = entry["sha256"]
    return found


def sign_manifest(content: bytes, key: SigningKey) -> bytes:
    """Return the signature file over a manifest's bytes: a signed note that names the digest."""
    statement = _statement(content)
    return _note(statement, key.public, key.sign(statement))


def check_signature(content: bytes, signed: bytes, public: PublicKey) -> None:
    """Check the signature file of a manifest.

    Only the one form in which `sign_manifest` writes it passes, so that no byte of it can change.

    Raises:
        AiosError: It is of another key or over other bytes, or is written differently.
    """
    statement = _statement(content)
    if not signed.startswith(statement):
        raise AiosError(
            "the signature is over another manifest", where=SIGNATURE, fix="Get the pack again."
        )
    words = signed[len(statement) :].split()
    try:
        signature = base64.b64decode(words[-1], validate=True)[4:] if words else b""
    except binascii.Error:
        signature = b""
    if signed != _note(statement, public, signature) or not public.verify(signature, statement):
        raise AiosError(
            f"it is not signed by the key {public.name!r} ({public.id.hex()}) that was given",
            where=SIGNATURE,
            fix="Get the record's public key from its owner, by another way than the pack.",
        )


def _statement(content: bytes) -> bytes:
    return f"{_HEAD}\n{sha256(content).hexdigest()}\n".encode()


def _note(statement: bytes, public: PublicKey, signature: bytes) -> bytes:
    coded = base64.b64encode(public.id + signature).decode()
    return statement + f"\n\u2014 {public.name} {coded}\n".encode()


_ASK = "Ask for the pack again; it was damaged or changed on its way."

"""Checking an evidence pack with nothing but its folder and the record's public key.

What a pack that passes shows: its files are those that the holder of the key signed; each leaf
is in the log whose size and root the checkpoint states; each earlier checkpoint is the beginning
of that log; and each sampled row is of the table that a leaf names. What it does not show is in
docs/evidence.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError
from aios.evidence.manifest import (
    CHECKPOINT,
    CHECKPOINTS,
    LEAVES,
    MANIFEST,
    ROWS,
    SIGNATURE,
    check_signature,
    entries_of,
    file_digest,
    files_in,
    from_json,
)
from aios.record import merkle
from aios.record.checkpoint import Checkpoint, open_note
from aios.record.signing import PublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Verification:
    """What was checked, and everything that is wrong.

    Attributes:
        problems: One sentence each; empty where the pack holds.
        files: Files that are as the manifest says.
        leaves: Leaves proven to be in the log.
        rows: Sampled decisions proven to be in the table of their leaf.
        checkpoints: Earlier checkpoints proven to be of the same log.
        checkpoint: Origin, size and root of the log; None where it is not to be trusted.
        manifest: The manifest's content, with automation, period and what is missing; empty
            where it cannot be read.
    """

    problems: list[str] = field(default_factory=list)
    files: int = 0
    leaves: int = 0
    rows: int = 0
    checkpoints: int = 0
    checkpoint: Checkpoint | None = None
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        tree = self.checkpoint
        return {
            "ok": self.ok,
            "problems": self.problems,
            "automation": self.manifest.get("automation"),
            "period": self.manifest.get("period"),
            "missing": self.manifest.get("missing"),
            "checkpoint": tree
            and {"origin": tree.origin, "size": tree.size, "root": tree.root.hex()},
            **{name: getattr(self, name) for name in ("files", "leaves", "rows", "checkpoints")},
        }


def parse_keys(text: str) -> list[PublicKey]:
    """Return the public keys of a text, one a line, oldest first as the record keeps them.

    A log whose key was rotated has several; checkpoints from before were signed with the old one.

    Raises:
        AiosError: A line is no key, or there is none.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise AiosError(
            "there is no public key", where="--key", fix="Give the line name+hash+base64."
        )
    return [PublicKey.parse(line) for line in lines]


def verify_pack(folder: Path, public_key_text: str) -> Verification:
    """Check a pack: files, signature, checkpoints, and every proof.

    Args:
        folder: The pack.
        public_key_text: The record's public key, got by another way than the pack.

    Raises:
        AiosError: The key is none, or the folder does not exist. All else is a problem.
    """
    keys = parse_keys(public_key_text)
    if not folder.is_dir():
        raise AiosError("there is no such folder", where=str(folder), fix="Give a pack's folder.")
    found = Verification()
    with _Noting(found):
        _check_files(found, folder, keys)
    with _Noting(found):
        _check_record(found, folder, keys)
    return found


class _Noting:
    """Turns what goes wrong in a block into a problem; the checks after it go on."""

    def __init__(self, found: Verification) -> None:
        self._found = found

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if isinstance(error, AiosError):
            where = f"{error.where}: " if error.where else ""
            self._found.problems.append(f"{where}{error.what}")
        elif isinstance(error, OSError):
            self._found.problems.append(f"{error.filename}: it cannot be read: {error.strerror}")
        else:
            return False
        return True


def _check_files(found: Verification, folder: Path, keys: Sequence[PublicKey]) -> None:
    content = _read(folder, MANIFEST)
    with _Noting(found):
        _check_signed(content, _read(folder, SIGNATURE), keys)
    manifest = from_json(content, MANIFEST)
    listed = entries_of(manifest)
    found.manifest = dict(manifest)
    for name in [CHECKPOINT, CHECKPOINTS, LEAVES, ROWS]:
        if name not in listed:
            found.problems.append(f"{name}: the manifest does not list it")
    present = set(files_in(folder)) - {MANIFEST, SIGNATURE}
    found.problems += [f"{name}: it is missing" for name in sorted(set(listed) - present)]
    found.problems += [f"{name}: the manifest has none" for name in sorted(present - set(listed))]
    for name in sorted(present & set(listed)):
        path = folder / name
        if path.is_symlink() or not path.is_file():
            found.problems.append(f"{name}: it is no ordinary file")
            continue
        with _Noting(found):
            if file_digest(path) == listed[name]:
                found.files += 1
            else:
                found.problems.append(f"{name}: it is not the file that the manifest names")


def _check_signed(content: bytes, signed: bytes, keys: Sequence[PublicKey]) -> None:
    for key in keys[:-1]:
        try:
            return check_signature(content, signed, key)
        except AiosError:
            continue
    return check_signature(content, signed, keys[-1])


def _check_record(found: Verification, folder: Path, keys: Sequence[PublicKey]) -> None:
    found.checkpoint = open_note(_read_text(folder, CHECKPOINT), keys)
    stated = found.manifest.get("checkpoint")
    tree = found.checkpoint
    if stated != {"origin": tree.origin, "size": tree.size, "root": tree.root.hex()}:
        found.problems.append(f"{CHECKPOINT}: it is not the checkpoint that the manifest states")
    with _Noting(found):
        _check_checkpoints(found, folder, keys, tree)
    roots: dict[int, dict[str, Any]] = {}
    with _Noting(found):
        _check_leaves(found, folder, tree, roots)
    with _Noting(found):
        _check_rows(found, folder, roots)


def _check_checkpoints(
    found: Verification, folder: Path, keys: Sequence[PublicKey], tree: Checkpoint
) -> None:
    for where, line in _lines(found, folder, CHECKPOINTS):

        def check(line: dict[str, Any] = line) -> bool:
            earlier = open_note(line["note"], keys)
            if earlier.origin != tree.origin:
                return False
            if earlier.size == 0:
                return earlier.root == merkle.EMPTY_ROOT
            path = [bytes.fromhex(one) for one in line["path"]]
            return merkle.verify_consistency(earlier.size, tree.size, earlier.root, tree.root, path)

        said = "the log of the pack's checkpoint does not continue the one it states"
        found.checkpoints += _holds(found, where, check, said)
    _compare_count(found, "checkpoints", found.checkpoints)


def _check_leaves(
    found: Verification, folder: Path, tree: Checkpoint, leaves: dict[int, dict[str, Any]]
) -> None:
    last = -1
    for where, line in _lines(found, folder, LEAVES):

        def check(line: dict[str, Any] = line) -> bool:
            leaf, path = line["leaf"].encode(), [bytes.fromhex(one) for one in line["path"]]
            return merkle.verify_inclusion(
                merkle.leaf_hash(leaf), line["index"], tree.size, path, tree.root
            )

        if _holds(found, where, check, "the leaf is not in the log"):
            found.leaves += 1
            if line["index"] <= last:
                found.problems.append(f"{where}: leaf {line['index']} is out of order")
            last = line["index"]
            with _Noting(found):
                leaves[last] = from_json(line["leaf"].encode(), where)
    _compare_count(found, "leaves", found.leaves)


def _check_rows(found: Verification, folder: Path, leaves: dict[int, dict[str, Any]]) -> None:
    for where, line in _lines(found, folder, ROWS):

        def check(line: dict[str, Any] = line) -> bool:
            body, proof = leaves[line["leaf"]]["body"], line["proof"]
            root = bytes.fromhex(body["rows_root"])
            return bool(body["rows"] == proof["rows"]) and merkle.verify_row(proof, root)

        said = "the row is not of the table that its leaf names"
        found.rows += _holds(found, where, check, said)
    _compare_count(found, "rows", found.rows)


def _holds(found: Verification, where: str, check: Callable[[], bool], said: str) -> bool:
    try:
        held = check()
    except (AiosError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        held, said = False, f"{said} ({str(error).splitlines()[0] or type(error).__name__})"
    if not held:
        found.problems.append(f"{where}: {said}")
    return held


def _compare_count(found: Verification, name: str, proven: int) -> None:
    counts = found.manifest.get("proofs")
    stated = counts.get(name) if isinstance(counts, dict) else None
    if stated != proven:
        found.problems.append(f"{MANIFEST}: it states {stated} {name}, {proven} are proven")


def _lines(found: Verification, folder: Path, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, text in enumerate(_read(folder, name).splitlines(), start=1):
        where = f"{name}:{number}"
        with _Noting(found):
            line = from_json(text, where)
            if isinstance(line, dict):
                yield where, line
            else:
                found.problems.append(f"{where}: it is no object")


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise AiosError("it is missing", where=name, fix="Ask for the pack again.") from None


def _read_text(folder: Path, name: str) -> str:
    try:
        return _read(folder, name).decode()
    except UnicodeDecodeError:
        raise AiosError("it is no text", where=name, fix="Ask for the pack again.") from None

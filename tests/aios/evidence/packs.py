"""A small pack made by hand, from the record's primitives alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from aios.evidence.manifest import (
    CHECKPOINT,
    CHECKPOINTS,
    LEAVES,
    MANIFEST,
    ROWS,
    SIGNATURE,
    as_json,
    sign_manifest,
)
from aios.record import merkle
from aios.record.canonical import encode
from aios.record.checkpoint import Checkpoint, sign_note
from aios.record.signing import SigningKey

ORIGIN = "loans-record"
TABLE = [b'{"id":%d,"outcome":"%s"}' % (i, b"block" if i % 3 else b"approve") for i in range(7)]


def salted(row: int) -> bytes:
    return sha256(b"salt %d" % row).digest()[:16]


ROW_HASHES = [merkle.leaf_hash(salted(i) + row) for i, row in enumerate(TABLE)]


def leaf(index: int) -> bytes:
    """Every third leaf is of a batch of decisions, the others are promotions."""
    body: dict[str, Any] = {"version": index, "previous": None}
    if index % 3 == 0:
        body = {"rows": len(TABLE), "rows_root": merkle.root_of(ROW_HASHES).hex()}
    return encode({"v": 1, "kind": "decisions", "body": body, "automation": "loans"})


@dataclass
class Made:
    """A pack on disk and what it was made of, to change and write again."""

    folder: Path
    key: SigningKey
    size: int = 11
    taken: tuple[int, ...] = (0, 3, 4, 7, 10)
    earlier: tuple[int, ...] = (1, 4, 8)
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def public(self) -> str:
        return str(self.key.public)

    def log(self, size: int | None = None) -> list[bytes]:
        return [merkle.leaf_hash(leaf(i)) for i in range(size or self.size)]

    def note(self, size: int, key: SigningKey | None = None) -> str:
        root = merkle.root_of(self.log(size))
        return sign_note(Checkpoint(ORIGIN, size, root), key or self.key)

    def leaf_line(self, index: int) -> dict[str, Any]:
        path = merkle.inclusion_path(self.log(), index)
        return {"index": index, "leaf": leaf(index).decode(), "path": [p.hex() for p in path]}

    def earlier_line(self, size: int) -> dict[str, Any]:
        path = merkle.consistency_path(self.log(), size)
        return {"size": size, "note": self.note(size), "path": [p.hex() for p in path]}

    def row_line(self, index: int, of: int = 3) -> dict[str, Any]:
        path = merkle.inclusion_path(ROW_HASHES, index)
        proof = {
            "index": index,
            "rows": len(TABLE),
            "salt": salted(index).hex(),
            "row": TABLE[index].decode(),
            "path": [p.hex() for p in path],
        }
        return {"leaf": of, "partition": "2024-01-01", "proof": proof}

    def fill(self) -> Made:
        """Choose the content of each file."""
        self.files = {
            "index.html": b"<h1>Evidence pack</h1>\n",
            "oversight.json": as_json({"decisions": 7}),
            "cards/loans-00001.md": b"# loans: logistic\n",
            "cards/loans-00002.md": b"# loans: tree\n",
            CHECKPOINT: self.note(self.size).encode(),
            CHECKPOINTS: lines([self.earlier_line(size) for size in self.earlier]),
            LEAVES: lines([self.leaf_line(index) for index in self.taken]),
            ROWS: lines([self.row_line(1), self.row_line(6)]),
        }
        return self

    def manifest(self, **changes: Any) -> bytes:
        tree = {"origin": ORIGIN, "size": self.size, "root": merkle.root_of(self.log()).hex()}
        content = {
            "version": 1,
            "automation": "loans",
            "checkpoint": tree,
            "proofs": {
                name: self.files.get(file, b"").count(b"\n") for name, file in _COUNTED.items()
            },
            "missing": [],
            "files": {
                name: {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
                for name, content in self.files.items()
            },
        }
        return as_json(content | changes)

    def write(self, **changes: Any) -> Made:
        """Write the files, with a manifest that fits them, signed."""
        return self.write_with(self.manifest(**changes))

    def write_with(self, manifest: bytes, key: SigningKey | None = None) -> Made:
        for name, content in self.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (self.folder / MANIFEST).write_bytes(manifest)
        (self.folder / SIGNATURE).write_bytes(sign_manifest(manifest, key or self.key))
        return self


_COUNTED = {"leaves": LEAVES, "rows": ROWS, "checkpoints": CHECKPOINTS}


def lines(values: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in values).encode()


def parsed(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def new_key(name: str = ORIGIN) -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return SigningKey(name, Ed25519PrivateKey.generate())

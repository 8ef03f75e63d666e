"""Checkpoints: size and root of a log, signed (C2SP tlog-checkpoint in a signed note)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from aios.errors import AiosError
from aios.record.signing import PublicKey, SigningKey

_DASH = "\u2014"


@dataclass(frozen=True)
class Checkpoint:
    """What a log was at one moment.

    Attributes:
        origin: Which log.
        size: Number of its leaves.
        root: Root of the tree over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign_note(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return a checkpoint as a signed note."""
    signature = key.public.id + key.sign(checkpoint.text.encode())
    encoded = base64.b64encode(signature).decode()
    return f"{checkpoint.text}\n{_DASH} {key.name} {encoded}\n"


def open_note(note: str, keys: PublicKey | Iterable[PublicKey]) -> Checkpoint:
    """Return the checkpoint of a note that one of the keys signed.

    Signatures of unknown keys are passed over, as C2SP asks; one of a known key must be right.

    Raises:
        AiosError: The note is malformed, or no known key signed it.
    """
    known = {(key.name, key.id): key for key in ([keys] if isinstance(keys, PublicKey) else keys)}
    try:
        body, signatures = note.split("\n\n", 1)
        origin, size, root = body.split("\n")
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
        canonical = checkpoint.text == f"{body}\n" and checkpoint.size >= 0 and origin
        if not canonical or len(checkpoint.root) != 32:
            raise ValueError("its text is not in canonical form")
        if not signatures.endswith("\n"):
            raise ValueError("its last line is cut")
        lines = [line.split(" ") for line in signatures.removesuffix("\n").split("\n")]
        if any(len(line) != 3 or line[0] != _DASH for line in lines):
            raise ValueError("a signature line is malformed")
        signed = [(name, base64.b64decode(text, validate=True)) for _, name, text in lines]
    except ValueError as error:
        raise _untrusted(f"this is no checkpoint: {error}", note) from error
    ours = [(known[name, one[:4]], one[4:]) for name, one in signed if (name, one[:4]) in known]
    if not ours:
        raise _untrusted("no known key signed this checkpoint", note)
    if not all(key.verify(signature, checkpoint.text.encode()) for key, signature in ours):
        raise _untrusted("the signature is wrong", note)
    return checkpoint


def _untrusted(what: str, note: str) -> AiosError:
    return AiosError(
        what,
        where=" ".join(note.split()[:2])[:80] or "checkpoint",
        fix="Do not trust this copy of the log; compare with a checkpoint kept elsewhere.",
    )

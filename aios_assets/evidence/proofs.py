"""The record's part of a pack: leaves, proofs to one checkpoint, and a sample of decisions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError
from aios.evidence.manifest import (
    CHECKPOINT,
    CHECKPOINTS,
    LEAVES,
    ROWS,
)
from aios.record.batches import file_digest, salt_of
from aios.record.rows import row_proof
from aios_assets.evidence.scope import Folder, Scope

if TYPE_CHECKING:
    from aios.record.checkpoint import Checkpoint
    from aios.record.log import Log
    from aios_assets.evidence.leaves import Leaf, Leaves

SAMPLE = 25
"""Decisions whose rows are proven, drawn by a seed made of the automation and the period."""


def write_checkpoints(folder: Folder, log: Log, earlier: list[str], note: str) -> Checkpoint:
    """Write the pack's checkpoint and a proof that each earlier one is of the same log.

    Raises:
        AiosError: A checkpoint of the second place is not signed by the log's keys.
    """
    from aios.record.checkpoint import open_note

    keys = log.public_keys()
    present = open_note(note, keys)
    folder.write(CHECKPOINT, note.encode())
    opened = {text: open_note(text, keys) for text in dict.fromkeys(earlier) if text != note}
    lines = [
        {
            "size": one.size,
            "note": text,
            "path": [
                step.hex() for step in (log.consistency(one.size, present.size) if one.size else [])
            ],
        }
        for text, one in sorted(opened.items(), key=lambda item: (item[1].size, item[0]))
        if one.size < present.size
    ]
    if not lines:
        folder.lack(
            "earlier checkpoints", "The second place held none before this pack.", CHECKPOINTS
        )
    folder.write_lines(CHECKPOINTS, lines)
    return present


def write_leaves(folder: Folder, log: Log, size: int, leaves: list[Leaf]) -> int:
    """Write leaves, each with its path to the checkpoint, and return how many."""
    if not leaves:
        folder.lack(
            "leaves of the record",
            "It holds nothing of the automation and the period.",
            LEAVES,
            empty=True,
        )
    return folder.write_lines(
        LEAVES,
        (
            {
                "index": one.index,
                "leaf": one.entry.leaf.decode(),
                "path": [step.hex() for step in log.inclusion(one.index, size)],
            }
            for one in leaves
        ),
    )


def write_rows(scope: Scope, folder: Folder, log: Log, leaves: Leaves) -> int:
    """Write a seeded sample of decisions, each proven to be of its leaf's table."""
    count = folder.write_lines(ROWS, list(_rows(scope, folder, log, leaves)))
    if not count:
        folder.lack("row proofs", "No decision of the period is in the record.", ROWS, empty=True)
    return count


def _rows(scope: Scope, folder: Folder, log: Log, leaves: Leaves) -> Iterator[dict[str, Any]]:
    sizes: dict[str, int] = {}
    for key in scope.partitions("decisions"):
        leaf = leaves.of_partition("decisions", scope.name, key)
        if leaf is None:
            folder.lack(f"leaf of the decisions of {key}", "The record has none.", LEAVES)
        elif file_digest(scope.lake().path("decisions", key)) != leaf.body.get("file"):
            folder.lack(
                f"recorded decisions of {key}",
                f"The file is not the one that leaf {leaf.index} names: it was changed since.",
                ROWS,
            )
        else:
            sizes[key] = int(leaf.body["rows"])
    for key, positions in _sample(scope, sizes).items():
        leaf = leaves.of_partition("decisions", scope.name, key)
        assert leaf
        try:
            frame = scope.lake().read("decisions", key)
            salt = salt_of(log, leaf.body["file"])
            for position in positions:
                proof = row_proof(frame, salt, position)
                yield {"leaf": leaf.index, "partition": key, "proof": proof}
        except AiosError as error:
            folder.lack(f"row proofs of {key}", error.what, ROWS)


def _sample(scope: Scope, sizes: dict[str, int]) -> dict[str, list[int]]:
    """Draw rows of all partitions together, each as likely as any other."""
    text = f"{scope.name} {scope.start.isoformat()} {scope.end.isoformat()}"
    draw = random.Random(int.from_bytes(sha256(text.encode()).digest()[:8], "big"))
    total = sum(sizes.values())
    chosen = sorted(draw.sample(range(total), min(SAMPLE, total)))
    found: dict[str, list[int]] = {}
    start = 0
    for key, rows in sizes.items():
        inside = [one - start for one in chosen if start <= one < start + rows]
        if inside:
            found[key] = inside
        start += rows
    return found

"""Batches of decisions in the log: one leaf for each file, and a proof for each of its rows."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError
from aios.lake import Lake
from aios.record import merkle
from aios.record.checkpoint import open_note
from aios.record.leaves import Act, Entry
from aios.record.log import Log
from aios.record.rows import row_proof, rows_root
from aios.record.signing import PublicKey, create_secret, read_secret

if TYPE_CHECKING:
    from sqlalchemy import Connection

DECISIONS = "decisions"
"""The kind of leaf, and the dataset in the lake."""


def record_decisions(
    log: Log,
    lake: Lake,
    automation: str,
    partition: str,
    actor: str,
    follow: Callable[[Connection], object] | None = None,
) -> Entry:
    """Record a partition's decisions as they are in the lake; the same file is recorded once.

    Args:
        log: The record.
        lake: The automation's.
        automation: Its name.
        partition: Which.
        actor: Who decided.
        follow: Writes what follows from the decisions, in the same transaction.

    Raises:
        AiosError: The file cannot be read, or the leaf cannot be written.
    """
    path = lake.path(DECISIONS, partition)
    digest = file_digest(path)
    root = rows_root(lake.stream(DECISIONS, partition), salt_of(log, digest))
    body = {
        "partition": partition,
        "rows": lake.rows(DECISIONS, partition),
        "file": digest,
        "rows_root": root.hex(),
        **_versions(lake, partition),
    }
    key = f"{DECISIONS}/{automation}/{partition}/{digest}"
    with log.transaction() as transaction:
        latest = latest_decisions(log, automation, partition) if log.find(key) else None
        if latest and latest.body["file"] != digest:
            # Decided otherwise meanwhile, and now as before: it is the latest again.
            key = f"{key}/{latest.index}"
        [entry] = transaction.append([Act(DECISIONS, automation, actor, body, key=key)])
        if follow:
            follow(transaction.connection)
    return entry


def latest_decisions(log: Log, automation: str, partition: str) -> Entry | None:
    """Return the newest leaf of a partition's decisions."""
    latest = None
    for entry in log.entries(kind=DECISIONS, automation=automation):
        if entry.body["partition"] == partition:
            latest = entry
    return latest


def prove_decision(
    log: Log, lake: Lake, automation: str, partition: str, row: int
) -> dict[str, Any]:
    """Return what proves one row of a partition's decisions to an outsider.

    Returns:
        `decision` (see `rows.row_proof`), `leaf` and its `index`, the `path` to the root of the
        `checkpoint`, and the `public_key` that signed it.

    Raises:
        AiosError: The decisions were not recorded, or their file has changed since.
    """
    path = lake.path(DECISIONS, partition)
    digest = file_digest(path)
    entry = log.find(f"{DECISIONS}/{automation}/{partition}/{digest}")
    if entry is None:
        raise AiosError(
            "these decisions are not the ones that were recorded",
            where=str(path),
            fix="Run 'aios record verify'; restore the file from a backup.",
        )
    frame = lake.read(DECISIONS, partition)
    if not 0 <= row < frame.height:
        raise AiosError(
            f"there is no row {row}", where=str(path), fix=f"It has {frame.height} rows, from 0."
        )
    decision = row_proof(frame, salt_of(log, digest), row)
    note = log.checkpoint()
    size = int(note.splitlines()[1])
    return {
        "decision": decision,
        "leaf": entry.leaf.decode(),
        "index": entry.index,
        "path": [one.hex() for one in log.inclusion(entry.index, size)],
        "checkpoint": note,
        # Not the newest one: a rotation that was killed left a newer one that signs nothing.
        "public_key": str(log.keyring.signing_key().public),
    }


def check_files(log: Log, lakes: Path) -> list[str]:
    """Compare every file of decisions below a folder of lakes with its latest leaf.

    Returns:
        What is wrong, in words: files that differ, that are missing, or that nobody recorded.
    """
    latest = {
        (str(entry.automation), entry.body["partition"]): entry.body["file"]
        for entry in log.entries(kind=DECISIONS)
    }
    problems = []
    for (automation, partition), digest in sorted(latest.items()):
        path = Lake(lakes / automation).path(DECISIONS, partition)
        if not path.exists():
            problems.append(f"the decisions of {automation} {partition} are gone: {path}")
        elif file_digest(path) != digest:
            problems.append(f"the decisions of {automation} {partition} were changed: {path}")
    for folder in sorted(lakes.glob("*/")):
        problems += [
            f"the decisions of {folder.name} {partition} were never recorded"
            for partition in Lake(folder).partitions(DECISIONS)
            if (folder.name, partition) not in latest
        ]
    return problems


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hex.

    Raises:
        AiosError: It cannot be read.
    """
    digest = sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise AiosError(
            f"the file cannot be read: {error.strerror}",
            where=str(path),
            fix="Materialize the partition, or restore the file from a backup.",
        ) from error
    return digest.hexdigest()


def salt_of(log: Log, digest: str) -> bytes:
    """Return what the salts of a file's rows are made from; the same for the same file.

    Raises:
        AiosError: The secret is missing although rows were recorded with it, or others may read it.
    """
    path = log.keyring.folder / "rows.key"
    if not path.exists() and next(log.entries(kind=DECISIONS), None) is None:
        create_secret(path, 32)
    return hmac.digest(read_secret(path), bytes.fromhex(digest), "sha256")


def verify_proof(proof: dict[str, Any], keys: PublicKey | list[PublicKey]) -> None:
    """Check what `prove_decision` returned, with nothing but the public keys.

    Raises:
        AiosError: Says which link of the chain is broken.
    """
    try:
        note, leaf, index = str(proof["checkpoint"]), proof["leaf"].encode(), proof["index"]
        path = [bytes.fromhex(one) for one in proof["path"]]
        decision = proof["decision"]
        if type(index) is not int or type(decision) is not dict:
            raise TypeError("an index or a decision is of a wrong type")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_proof(f"it is malformed: {error!r}") from error
    checkpoint = open_note(note, keys)
    found = merkle.leaf_hash(leaf)
    if not merkle.verify_inclusion(found, index, checkpoint.size, path, checkpoint.root):
        raise _no_proof(f"leaf {index} is not in the log of the checkpoint")
    content = json.loads(leaf)
    if content["kind"] != DECISIONS:
        raise _no_proof(f"leaf {index} records no decisions, but {content['kind']!r}")
    # A path fits several table heights; the leaf tells the true one.
    root, rows = bytes.fromhex(content["body"]["rows_root"]), content["body"]["rows"]
    if decision.get("rows") != rows or not merkle.verify_row(decision, root):
        raise _no_proof(f"the decision is not in the file of leaf {index}")


def _no_proof(what: str) -> AiosError:
    return AiosError(what, where="proof", fix="Do not rely on it; ask for a new one.")


def _versions(lake: Lake, partition: str) -> dict[str, Any]:
    """Return every version that decided in a partition, by column."""
    found: dict[str, set[Any]] = {}
    for frame in lake.stream(DECISIONS, partition):
        names = [one for one in frame.columns if one.endswith(("_version", "policy_hash"))]
        for name in names:
            found.setdefault(name, set()).update(frame[name].drop_nulls().unique().to_list())
    return {name: sorted(values) for name, values in sorted(found.items())}

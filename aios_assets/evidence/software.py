"""What computed the decisions: the automation's own code and the packages that ran it."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any

import polars as pl

from aios.archive import CODE, made_by
from aios.digest import json_digest
from aios.errors import AiosError
from aios_assets.evidence.scope import Folder, Scope

NAME = "software.json"


def write_software(scope: Scope, folder: Folder, counts: pl.DataFrame) -> dict[str, Any]:
    """Write and return the code versions and environments that decided in the period."""
    decided = counts.group_by("code_version").agg(pl.col("rows").sum()).sort("code_version")
    found = {
        "code": [_code(scope, folder, *row) for row in decided.iter_rows()],
        "environments": _environments(scope, folder),
    }
    if decided.is_empty():
        folder.lack("code in force", "Nothing was decided in the period.", NAME, empty=True)
    folder.write_json(NAME, found)
    return found


def _code(scope: Scope, folder: Folder, version: str, decisions: int) -> dict[str, Any]:
    """Return the digests of the files of a code version; their text stays in the archive."""
    files: dict[str, str] = {}
    try:
        texts = scope.lake().read_json(CODE, version)
        files = {
            name: sha256(text.encode(errors="surrogateescape")).hexdigest()
            for name, text in sorted(texts.items())
        }
    except AiosError as error:
        folder.lack(f"files of code version {version}", error.what, NAME)
    return {"code_version": version, "decisions": decisions, "files": files}


def _environments(scope: Scope, folder: Folder) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    partitions = Counter[str]()
    for key in scope.partitions("decisions"):
        try:
            environment = made_by(scope.lake(), key)
        except AiosError as error:
            folder.lack(f"environment of {key}", error.what, NAME)
            continue
        if not environment:
            folder.lack(f"environment of {key}", "It was not kept.", NAME)
            continue
        digest = json_digest(environment)
        found[digest] = environment
        partitions[digest] += 1
    return [
        {"environment": found[digest], "partitions": partitions[digest]} for digest in sorted(found)
    ]

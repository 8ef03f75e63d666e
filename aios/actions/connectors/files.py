"""Files: each action is a JSON file, put into a folder that a consumer empties."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from aios.actions.connectors.base import (
    NOT_THERE,
    Answer,
    Done,
    Refused,
    Request,
    Unavailable,
    Unsure,
)

TAKEN = "taken"
"""The folder beside the files that a consumer moves to what it took."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"


class Files:
    """Folders below a root that must exist: a share that is not mounted takes nothing.

    Args:
        address: The root.
    """

    def __init__(self, address: str) -> None:
        self._root = Path(address.removeprefix("file://"))

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Write each file aside and rename it; all are on disk when this returns."""
        return [self._write(request) for request in requests]

    def find(self, request: Request) -> Answer:
        """Look for the file, also among what the consumer took."""
        if (folder := self._folder(request)) is None:
            return Unsure("no such folder name")
        try:
            if not self._root.is_dir():
                return Unavailable("the folder is out of reach")
            return _there(folder, request.key) or NOT_THERE
        except OSError as error:
            return Unavailable(_why(error))

    def close(self) -> None:
        """Nothing is kept open."""

    def _folder(self, request: Request) -> Path | None:
        """Return the folder of a request; None where a name would leave the root."""
        names = [part for part in request.to.split("/") if part] if request.to else []
        if not all(re.fullmatch(_PART, name) for name in names) or TAKEN in names:
            return None
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", request.key) or request.to.startswith("/"):
            return None
        folder = self._root.joinpath(*names)
        return folder if folder.resolve().is_relative_to(self._root.resolve()) else None

    def _write(self, request: Request) -> Answer:
        if (folder := self._folder(request)) is None:
            return Refused("no such folder name")
        aside = None
        try:
            if not self._root.is_dir():
                return Unavailable("the folder is out of reach")
            folder.mkdir(parents=True, exist_ok=True)
            if there := _there(folder, request.key):
                return there
            with NamedTemporaryFile(dir=folder, prefix=".", suffix=".part", delete=False) as file:
                aside = Path(file.name)
                file.write(_content(request))
                file.flush()
                os.fchmod(file.fileno(), 0o644)
                os.fsync(file.fileno())
        except OSError as error:
            if aside:
                aside.unlink(missing_ok=True)
            return Unavailable(_why(error))
        try:
            aside.rename(_file(folder, request.key))
            _sync(folder)
        except OSError as error:
            return Unsure(_why(error))
        return Done({"file": f"{request.key}.json", "there": False})


def _content(request: Request) -> bytes:
    told = {
        "key": request.key,
        "type": request.type,
        "payload": request.payload,
        "undoes": request.undoes,
    }
    return json.dumps(told, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"


def _there(folder: Path, key: str) -> Done | None:
    # In this order: a file is moved from the one to the other, never back.
    for place in (folder, folder / TAKEN):
        if _file(place, key).exists():
            return Done({"file": f"{key}.json", "there": True})
    return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _why(error: OSError) -> str:
    return f"disk: {error.strerror or type(error).__name__}"

"""Where checkpoints are kept: a folder or object store that the log's writer cannot rewrite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aios.errors import AiosError

_SUFFIX = ".note"


class OutOfReach(AiosError):
    """The place cannot be read or written at the moment."""


class CheckpointPlace:
    """One file for each checkpoint, named by the log's size.

    Args:
        address: A local folder, or any address that fsspec opens.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def __str__(self) -> str:
        return self.address

    def write(self, size: int, note: str) -> None:
        """Keep a note; one of the same size is replaced only by its like.

        Raises:
            OutOfReach: The place cannot be written.
            AiosError: It holds another note of that size.
        """
        with self._clear_errors():
            files, root = self._open()
            path = f"{root}/{size:015d}{_SUFFIX}"
            if files.exists(path):
                there = files.cat_file(path).decode(errors="replace")
                if there.split("\n\n")[0] != note.split("\n\n")[0]:
                    raise AiosError(
                        f"there is another checkpoint of {size} leaves: two copies of the log "
                        "went apart",
                        where=path,
                        fix="Keep both notes, and find out which copy is the true one.",
                    )
                return
            files.makedirs(root, exist_ok=True)
            if "file" in files.protocol:
                _write_durably(Path(path), note)
            else:
                # An object store shows an object whole or not at all.
                files.pipe_file(path, note.encode())

    def notes(self) -> list[str]:
        """Return every note, in order of size."""
        with self._clear_errors():
            return [self._read(path) for path in self._paths()]

    def last(self) -> str | None:
        """Return the note of the greatest size."""
        with self._clear_errors():
            paths = self._paths()
            return self._read(paths[-1]) if paths else None

    def _read(self, path: str) -> str:
        """Return a note; nothing where it is another size's than its file's."""
        files, _ = self._open()
        note = files.cat_file(path).decode(errors="replace")
        size = note.split("\n")[1:2]
        return (
            note if size == [path.rsplit("/")[-1].removesuffix(_SUFFIX).lstrip("0") or "0"] else ""
        )

    def _paths(self) -> list[str]:
        files, root = self._open()
        if not files.exists(root):
            return []
        return sorted(path for path in files.ls(root, detail=False) if path.endswith(_SUFFIX))

    def _open(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        files, root = url_to_fs(self.address, use_listings_cache=False)
        return files, root.rstrip("/")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ImportError, ValueError) as error:
            raise OutOfReach(
                f"checkpoints cannot be kept here: {error}",
                where=self.address,
                fix="Give the process access to the place that AIOS_CHECKPOINTS names.",
            ) from error


def _write_durably(path: Path, note: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with open(aside, "w") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)

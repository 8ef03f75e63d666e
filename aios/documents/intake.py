"""Documents in: what arrived, what it really is, and whether it can be read at all.

Nothing here raises because of what a document holds: a bad one arrives with the reason in its
`condition`. A document is named by the digest of its content; its type is told by its content.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from aios.documents.document import Document
from aios.documents.limits import Limits
from aios.documents.pdf import inspect
from aios.documents.probe import probe
from aios.errors import AiosError

_FORMATS = {"JPEG": "jpeg", "PNG": "png", "TIFF": "tiff"}
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class Arrival:
    """One document that has arrived.

    Attributes:
        document_id: The row's id, or the file's name without its suffix.
        received_at: When, UTC-naive; a file's time of change.
        name: The file's name, for display; harmless.
        uri: Where the content is: a path, an fsspec URL, or `file.jsonl#12` for a line.
        digest: SHA-256 of the content.
        format: jpeg, png, tiff, pdf or words.
        condition: "readable", or why it is set aside: damaged, empty, encrypted, too_large,
            too_many_pages, too_many_words, unsupported, unsafe_name.
        bytes: Length of the content.
        pages: How many pages; None where that cannot be told.
    """

    document_id: str
    received_at: datetime
    name: str
    uri: str
    digest: str
    format: str
    condition: str
    bytes: int
    pages: int | None

    def dated(self, moment: datetime) -> Arrival:
        """Return the same document, received at another moment."""
        return replace(self, received_at=moment)


def scan(root: str, limits: Limits | None = None) -> list[Arrival]:
    """Return every document of a folder, of one file, or of a JSONL of words and boxes.

    Args:
        root: A local path or an fsspec URL. Hidden files, and `truth.jsonl`, are left out; links
            are not followed.
        limits: What is set aside.

    Raises:
        AiosError: There is nothing at `root`.
    """
    limits = limits or Limits()
    system, path = _filesystem(root)
    if not system.exists(path):
        raise AiosError(
            "there is nothing at this place", where=root, fix="Give a folder, a file or a JSONL."
        )
    if system.isfile(path):
        found = _lines(path, limits) if path.endswith(".jsonl") else [_file(root, path, limits)]
    else:
        names = sorted(system.find(path))
        names = [name for name in names if _wanted(name, path) and _is_plain(system, name)]
        found = [one for name in names for one in _of_folder(root, system, name, limits)]
    return _with_own_ids(found)


def open_content(uri: str) -> bytes:
    """Return the content of a document's file."""
    system, path = _filesystem(uri)
    content: bytes = system.cat_file(path)
    return content


def line(uri: str) -> dict[str, Any]:
    """Return the row of words and boxes at `file.jsonl#12`; lines count from 0."""
    path, _, number = uri.rpartition("#")
    system, plain = _filesystem(path)
    info = system.info(plain)
    rows = _rows(path, str(info.get("mtime") or info.get("LastModified") or info["size"]))
    row: dict[str, Any] = json.loads(rows[int(number)])
    return row


@lru_cache(maxsize=2)
def _rows(path: str, version: str) -> list[bytes]:
    system, plain = _filesystem(path)
    rows: list[bytes] = system.cat_file(plain).split(b"\n")
    return rows


def _filesystem(uri: str) -> tuple[Any, str]:
    import fsspec

    system, path = fsspec.core.url_to_fs(str(uri))
    return system, path


def _of_folder(root: str, system: Any, name: str, limits: Limits) -> list[Arrival]:
    url = system.unstrip_protocol(name) if "://" in root else name
    if name.endswith(".jsonl"):
        return _lines(url, limits)
    return [_file(url, name, limits)]


def _wanted(name: str, root: str) -> bool:
    parts = PurePosixPath(name[len(root) :]).parts
    return not any(part.startswith(".") for part in parts) and parts[-1:] != ("truth.jsonl",)


def _is_plain(system: Any, name: str) -> bool:
    """Tell whether there is a file: no link, and no pipe or device, which may never end."""
    try:
        info = system.info(name)
    except OSError:  # a link to nowhere, or gone since it was listed
        return False
    mode = info.get("mode")
    return not info.get("islink") and (mode is None or stat.S_ISREG(mode))


def _file(uri: str, path: str, limits: Limits) -> Arrival:
    system, _ = _filesystem(uri)
    info, uri = system.info(path), _encodable(uri)
    size, plain = int(info["size"]), PurePosixPath(path).name
    name, moment = _harmless(plain), _moment(info)
    head = Arrival(
        _harmless(PurePosixPath(plain).stem), moment, name, uri, "", "unsupported", "", size, None
    )
    if size > limits.bytes:
        whole = hashlib.sha256(f"{uri} {size}".encode()).hexdigest()
        return replace(head, digest=whole, condition="too_large")
    try:
        content = system.cat_file(path)
    except OSError:
        return replace(head, digest=hashlib.sha256(uri.encode()).hexdigest(), condition="damaged")
    kind, condition, pages = _judge(content, limits)
    condition = "unsafe_name" if name != plain else condition
    digest = hashlib.sha256(content).hexdigest()
    return replace(head, digest=digest, format=kind, condition=condition, pages=pages)


def _judge(content: bytes, limits: Limits) -> tuple[str, str, int | None]:
    """Return format, condition and pages of a file's content."""
    if not content.strip(b"\0 \r\n\t"):
        return "unsupported", "empty", None
    if content[:1024].lstrip().startswith(b"%PDF"):
        condition, pages = inspect(content, limits)
        return "pdf", condition, pages
    found = probe(content, limits)
    return found.format, found.condition, found.pages


def _lines(path: str, limits: Limits) -> list[Arrival]:
    system, plain = _filesystem(path)
    moment, found, number = _moment(system.info(plain)), [], 0
    with system.open(plain, "rb") as file:
        while text := file.readline(limits.bytes + 2):
            rest = text
            while len(rest) > limits.bytes and not rest.endswith(b"\n"):
                rest = file.readline(limits.bytes + 2)  # a line that is too long is not kept
            text = text.removesuffix(b"\n")
            if text.strip():
                found.append(_line(path, number, text, moment, limits))
            number += 1
    return found


def _line(path: str, number: int, text: bytes, moment: datetime, limits: Limits) -> Arrival:
    fallback = f"{PurePosixPath(path).stem}-line-{number + 1}"
    digest = hashlib.sha256(text).hexdigest()
    one = Arrival(
        fallback, moment, fallback, f"{path}#{number}", digest, "words", "readable", len(text), 1
    )
    if len(text) > limits.bytes:
        return replace(one, condition="too_large")
    try:
        row = json.loads(text)
        name = str(row["id"])
        content = [row["words"], row["bboxes"], row["image_size"]]
        words = len(Document.from_lines(row).words)
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError, OverflowError):
        return replace(one, condition="damaged")
    shown = _harmless(name)
    # The words are the content: the same ones under another id are the same document.
    whole = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    condition = "readable"
    if shown != name:
        condition = "unsafe_name"
    elif not words:
        condition = "empty"
    elif words > limits.words:
        condition = "too_many_words"
    return replace(one, document_id=shown, name=shown, digest=whole, condition=condition)


def _harmless(name: str) -> str:
    """Return a name without anything that could lead elsewhere or hide itself."""
    plain = re.sub(r"[^\w .,()&+@=\[\]-]", "_", name.replace("..", "__"))
    return plain.strip()[:120] or "unnamed"


def _encodable(uri: str) -> str:
    """Return a path that can be stored: a name need not be text."""
    return uri.encode(errors="replace").decode()


def _moment(info: dict[str, Any]) -> datetime:
    value = info.get("mtime") or info.get("LastModified") or info.get("created")
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
    return _EPOCH


def _with_own_ids(found: list[Arrival]) -> list[Arrival]:
    """Give every document an id of its own; the first of those that share one keeps it."""
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    named = []
    for one in found:
        id_ = one.document_id
        # A sender may use an id that looks like one given here.
        while id_ in taken:
            seen[one.document_id] += 1
            id_ = f"{one.document_id}-{one.digest[:8]}-{seen[one.document_id] + 1}"
        taken.add(id_)
        named.append(replace(one, document_id=id_))
    return named

"""PDF files, which are only ever opened in a process of their own with bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from aios.documents.document import Word
from aios.documents.limits import Limits
from aios.errors import AiosError

_READER = str(Path(__file__).with_name("pdf_reader.py"))


def inspect(content: bytes, limits: Limits) -> tuple[str, int | None]:
    """Return the condition of a PDF ("readable", "encrypted", ...) and its pages."""
    try:
        found = json.loads(_run(content, limits, "inspect"))
    except AiosError:
        return "damaged", None
    return found["condition"], found["pages"]


def text_words(
    content: bytes, dpi: int, limits: Limits
) -> tuple[list[Word], list[tuple[float, float]]] | None:
    """Return the words of a PDF's text layer with boxes in pixels, and the pages' sizes.

    Returns:
        None where some page has pictures and no text, so that it must be read from a rendering.

    Raises:
        AiosError: The PDF cannot be read within the limits.
    """
    found = json.loads(_run(content, limits, "words", dpi))
    if not all(page["words"] for page in found["pages"]):
        return None
    words = [
        Word(text, (left, top, right, bottom), page=number)
        for number, page in enumerate(found["pages"])
        for text, left, top, right, bottom in page["words"]
    ]
    if len(words) > limits.words:
        raise AiosError("the document has too many words", fix="Send fewer pages.")
    return words, [(page["width"], page["height"]) for page in found["pages"]]


def render(content: bytes, page: int, dpi: int, limits: Limits) -> bytes:
    """Return one page as a PNG.

    Raises:
        AiosError: The PDF cannot be read within the limits.
    """
    return _run(content, limits, "render", dpi, page)


def _run(content: bytes, limits: Limits, *arguments: Any) -> bytes:
    command = [sys.executable, "-I", _READER, json.dumps(vars(limits)), *map(str, arguments)]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=limits.seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _unreadable(f"it took longer than {limits.seconds:g} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _unreadable(said[-1][:200] if said else f"its reader ended with {done.returncode}")
    return done.stdout


def _unreadable(why: str) -> AiosError:
    return AiosError(
        f"the PDF cannot be read: {why}", fix="Ask the sender for it again, or send a scan."
    )

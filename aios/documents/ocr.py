"""Reading pictures with Tesseract: text runs with boxes and confidences, cached by content."""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from aios.documents.document import Document, Word
from aios.documents.images import pages_of, prepared
from aios.documents.limits import Limits
from aios.documents.pdf import render, text_words
from aios.errors import AiosError

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 150  # of rendered PDF pages and of the pixels of a text layer's boxes
SETTINGS = "--oem 1 --psm 4"
GAP = 1.1  # heights of the text: words that are closer make one run
SECONDS = 30  # for one page
LEAST = 0.0
PREPARATION = 1  # counts the changes of `images`: what was read before one is read again


def available() -> bool:
    """Tell whether Tesseract is installed."""
    return shutil.which("tesseract") is not None


def read_document(
    id_: str, content: bytes, kind: str, *, cache_in: Path | None, limits: Limits | None = None
) -> tuple[Document, str]:
    """Read a picture or a PDF.

    Args:
        id_: The document's id.
        content: The file.
        kind: jpeg, png, tiff or pdf.
        cache_in: Folder of what was read before, by content; None for none.
        limits: What is refused.

    Returns:
        The document, and how it was read: "text_layer" or "ocr".

    Raises:
        AiosError: It is too large, damaged, or Tesseract is missing.
    """
    limits = limits or Limits()
    if kind == "pdf":
        layer = text_words(content, DPI, limits)
        if layer:
            return Document(id_, tuple(layer[0]), tuple(layer[1])), "text_layer"
    kept = _kept(content, cache_in)
    found = _recalled(kept) if kept else None
    if found:
        return Document(id_, found.words, found.pages), "ocr"
    document = Document(id_, *_recognise(content, kind, limits))
    if kept:
        _keep(kept, document)
    return document, "ocr"


def _kept(content: bytes, cache_in: Path | None) -> Path | None:
    """Return where the reading of a content is kept, by all that decides what is read."""
    if cache_in is None or not available():
        return None
    how = f"{_version()} {SETTINGS} {GAP} {PREPARATION} "
    digest = hashlib.sha256(how.encode() + content).hexdigest()
    return cache_in / digest[:2] / f"{digest}.json"


def _recalled(path: Path) -> Document | None:
    try:
        return Document.from_json(path.read_text())
    except (OSError, ValueError, KeyError):
        return None  # never read, or damaged since: it is read again


def _keep(path: Path, document: Document) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(document.to_json())
    os.replace(aside, path)


def _recognise(
    content: bytes, kind: str, limits: Limits
) -> tuple[tuple[Word, ...], tuple[tuple[float, float], ...]]:
    if not available():
        raise AiosError(
            "Tesseract is not installed, so pictures cannot be read",
            fix="Install it: apt-get install tesseract-ocr, brew install tesseract, or the "
            "installer for Windows; then materialize the step again.",
        )
    words, sizes = [], []
    for number, page in enumerate(_pages(content, kind, limits)):
        words += _runs(page, number)
        sizes.append((float(page.width), float(page.height)))
        if len(words) > limits.words:
            raise AiosError("the document has too many words", fix="Send fewer pages.")
    return tuple(words), tuple(sizes)


def _pages(content: bytes, kind: str, limits: Limits) -> list[Image]:
    if kind != "pdf":
        return pages_of(content, limits)
    from aios.documents.pdf import inspect

    _, count = inspect(content, limits)
    return [
        pages_of(render(content, number, DPI, limits), limits)[0] for number in range(count or 0)
    ]


def _runs(page: Image, number: int) -> list[Word]:
    """Return the runs of text of a page, in reading order, in the page's own pixels."""
    ready, scale = prepared(page)
    rows: dict[tuple[int, ...], list[Any]] = {}
    for one in _words(ready):
        rows.setdefault(one[0], []).append(one)
    found = []
    for words in rows.values():
        run: list[Any] = []
        for one in words:
            if run and one[2][0] - run[-1][2][2] > GAP * median(w[2][3] - w[2][1] for w in words):
                found.append(_run(run, scale, number))
                run = []
            run.append(one)
        found.append(_run(run, scale, number))
    return found


def _words(page: Image) -> list[Any]:
    """Return line, text, box and confidence of each word that Tesseract finds."""
    import pytesseract

    os.environ["OMP_THREAD_LIMIT"] = "1"  # its threads wait for each other more than they help
    try:
        data = pytesseract.image_to_data(
            page, config=SETTINGS, timeout=SECONDS, output_type=pytesseract.Output.DICT
        )
    except RuntimeError as error:  # its timeout, and what Tesseract says when it fails
        raise AiosError(
            f"Tesseract cannot read the page: {error}", fix="Send a smaller or a cleaner scan."
        ) from error
    found = []
    for at, text in enumerate(data["text"]):
        if text.strip() and float(data["conf"][at]) >= LEAST:
            line = tuple(data[name][at] for name in ("block_num", "par_num", "line_num"))
            left, top = data["left"][at], data["top"][at]
            box = (left, top, left + data["width"][at], top + data["height"][at])
            found.append((line, text.strip(), box, float(data["conf"][at]) / 100))
    return found


def _run(words: list[Any], scale: float, number: int) -> Word:
    boxes = [one[2] for one in words]
    box = (
        min(b[0] for b in boxes) / scale, min(b[1] for b in boxes) / scale,
        max(b[2] for b in boxes) / scale, max(b[3] for b in boxes) / scale,
    )  # fmt: skip
    sure = round(sum(one[3] for one in words) / len(words), 4)
    return Word(" ".join(one[1] for one in words), box, sure, number)


@cache
def _version() -> str:
    import pytesseract

    return str(pytesseract.get_tesseract_version())

"""Reads one PDF from standard input, within limits; run by `aios.documents.pdf`, alone.

It imports nothing of the project: whatever a file does to it ends with this process.
"""

import io
import json
import math
import resource
import sys
from typing import Any

POINTS = 72  # to an inch


def main(limits: dict[str, Any], command: str, *arguments: str) -> bytes:
    """Return the answer to a command about the PDF on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory"], limits["memory"]))
    seconds = math.ceil(limits["seconds"])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # pdfium aborts when memory ends
    import pypdfium2

    content = sys.stdin.buffer.read()
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        condition = "encrypted" if "password" in str(error).lower() else "damaged"
        if command != "inspect":
            raise
        return json.dumps({"condition": condition, "pages": None}).encode()
    if command == "inspect":
        return json.dumps(inspect(document, limits)).encode()
    dpi = int(arguments[0])
    if command == "words":
        pages = [words(document[at], dpi) for at in range(min(len(document), limits["pages"]))]
        return json.dumps({"pages": pages}).encode()
    return render(document[int(arguments[1])], dpi)


def inspect(document: Any, limits: dict[str, Any]) -> dict[str, Any]:
    """Judge a document by its pages' number and size, and by drawing the first one small."""
    pages = len(document)
    condition = "readable" if pages else "empty"
    if pages > limits["pages"]:
        condition = "too_many_pages"
    for at in range(min(pages, limits["pages"])):
        width, height = (side * 200 / POINTS for side in document[at].get_size())
        if max(width, height) > limits["side"] or width * height > limits["pixels"]:
            condition = "too_large"
    if condition == "readable":
        # What cannot be drawn small will not be drawn large: a bomb ends here.
        document[0].render(scale=0.2)
    return {"condition": condition, "pages": pages}


def words(page: Any, dpi: int) -> dict[str, Any]:
    """Return a page's runs of text with their boxes in pixels from the upper left corner."""
    width, height = (math.ceil(side * dpi / POINTS) for side in page.get_size())
    text, found = page.get_textpage(), []
    for at in range(min(text.count_rects(), 5_000)):
        left, bottom, right, top = text.get_rect(at)
        run = text.get_text_bounded(left, bottom, right, top).strip()
        if run:
            corners = ((left, top), (right, bottom))
            xs, ys = zip(*(place(page, width, height, x, y) for x, y in corners), strict=True)
            found.append((" ".join(run.split()), min(xs), min(ys), max(xs), max(ys)))
    return {"words": found, "width": width, "height": height}


def place(page: Any, width: int, height: int, x: float, y: float) -> tuple[float, float]:
    """Return where a point of the page is in its picture, which may be cropped and turned."""
    import ctypes

    from pypdfium2 import raw

    fine = 16  # whole pixels come back: ask for a larger picture than the one that is meant
    across, down = ctypes.c_int(), ctypes.c_int()
    raw.FPDF_PageToDevice(page, 0, 0, width * fine, height * fine, 0, x, y, across, down)
    return across.value / fine, down.value / fine


def render(page: Any, dpi: int) -> bytes:
    """Return a page as a grey PNG."""
    buffer = io.BytesIO()
    page.render(scale=dpi / POINTS, grayscale=True).to_pil().save(buffer, format="PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    sys.stdout.buffer.write(main(json.loads(sys.argv[1]), *sys.argv[2:]))

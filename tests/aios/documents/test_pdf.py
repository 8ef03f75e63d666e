"""A PDF is counted, read and drawn in a process of its own, and its boxes lie on its ink."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aios.documents.limits import Limits
from aios.documents.pdf import inspect, render, text_words
from aios.errors import AiosError

pytestmark = pytest.mark.unit

TEXT = b"BT /F1 24 Tf 172 700 Td (Total 12.50) Tj ET"


def pdf(*contents: bytes) -> bytes:
    """A PDF by hand with one A4 page for each content; pdfium rebuilds its missing table."""
    kids = b" ".join(b"%d 0 R" % (10 + 2 * at) for at in range(len(contents)))
    objects = [
        b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
        b"2 0 obj<</Type/Pages/Count %d/Kids[%s]>>endobj" % (len(contents), kids),
        b"5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj",
    ]
    for at, content in enumerate(contents):
        page, stream = 10 + 2 * at, 11 + 2 * at
        objects.append(
            b"%d 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents %d 0 R"
            b"/Resources<</Font<</F1 5 0 R>>>>>>endobj" % (page, stream)
        )
        objects.append(
            b"%d 0 obj<</Length %d>>stream\n%s\nendstream endobj" % (stream, len(content), content)
        )
    return b"%PDF-1.4\n" + b"\n".join(objects) + b"\ntrailer<</Root 1 0 R>>\n%%EOF"


def test_pages_are_counted() -> None:
    assert inspect(pdf(TEXT, TEXT, TEXT), Limits()) == ("readable", 3)
    assert inspect(pdf(TEXT, TEXT, TEXT), Limits(pages=2)) == ("too_many_pages", 3)
    assert inspect(b"%PDF-1.4\ntrash", Limits()) == ("damaged", None)


@pytest.mark.parametrize("dpi", [72, 150])
def test_the_box_of_a_text_lies_on_its_ink(dpi: int) -> None:
    from PIL import Image

    layer = text_words(pdf(TEXT), dpi, Limits())
    assert layer is not None
    (word,), (size,) = layer
    pixels = np.asarray(Image.open(io.BytesIO(render(pdf(TEXT), 0, dpi, Limits()))))
    rows, columns = np.nonzero(pixels < 128)
    ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert word.text == "Total 12.50"
    assert word.box == pytest.approx(ink, abs=3)
    assert size[::-1] == pytest.approx(pixels.shape, abs=1)


def test_words_know_their_page() -> None:
    layer = text_words(pdf(TEXT, TEXT.replace(b"12.50", b"99.00")), 72, Limits())
    assert layer is not None
    assert [(word.text, word.page) for word in layer[0]] == [("Total 12.50", 0), ("Total 99.00", 1)]


@pytest.mark.parametrize("pages", [(b"9 9 99 99 re f",), (TEXT, b"9 9 99 99 re f")])
def test_a_page_without_text_is_left_to_be_rendered(pages: tuple[bytes, ...]) -> None:
    assert text_words(pdf(*pages), 72, Limits()) is None


@pytest.mark.parametrize("content", [b"%PDF-1.4\ntrash", b"", pdf(TEXT)[:60]])
def test_what_cannot_be_read_says_what_to_do(content: bytes) -> None:
    with pytest.raises(AiosError, match="What to do"):
        text_words(content, 72, Limits())
    with pytest.raises(AiosError, match="What to do"):
        render(content, 0, 72, Limits())


def test_a_page_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AiosError, match="cannot be read"):
        render(pdf(TEXT), 7, 72, Limits())


def test_a_reader_out_of_time_or_memory_is_stopped() -> None:
    begun = time.perf_counter()
    with pytest.raises(AiosError, match=r"longer than 0\.01 s"):
        render(pdf(TEXT), 0, 72, Limits(seconds=0.01))
    with pytest.raises(AiosError, match="cannot be read"):
        render(pdf(TEXT), 0, 30_000, Limits())
    assert time.perf_counter() - begun < 10


def test_the_parent_never_loads_the_library_that_opens_pdfs(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(TEXT))
    code = (
        "import sys; from aios.documents.intake import scan;"
        "from aios.documents.pdf import render, text_words; from aios.documents.limits import *;"
        "content = open(sys.argv[1] + '/a.pdf', 'rb').read(); found = scan(sys.argv[1]);"
        "text_words(content, 72, Limits()); render(content, 0, 72, Limits());"
        "print(found[0].condition, 'pypdfium2' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["readable", "False"]

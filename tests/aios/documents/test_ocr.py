"""Pictures and PDFs are read; what was read before is not read again."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from aios.documents import ocr
from aios.documents.images import prepared, skew
from aios.errors import AiosError
from tests.aios.documents.test_intake import pdf

pytestmark = pytest.mark.unit
needs_tesseract = pytest.mark.skipif(
    not ocr.available(), reason="Tesseract is not installed: apt-get install tesseract-ocr"
)

LINES = ["HARBOUR AND FINCH LTD", "47 Station Road", "Invoice 4711", "Total 1,234.50"]


def drawn(angle: float = 0.0, width: int = 900) -> bytes:
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("L", (width, 1100), 255)
    pen = ImageDraw.Draw(image)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 26)
    for row in range(12):
        pen.text((90, 120 + 70 * row), LINES[row % len(LINES)], fill=0, font=font)
    buffer = io.BytesIO()
    image.rotate(angle, fillcolor=255, resample=Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


@needs_tesseract
@pytest.mark.parametrize("angle", [0.0, 2.5, -3.0])
def test_a_page_is_read_as_runs_of_text_in_their_places(angle: float) -> None:
    document, by = ocr.read_document("x", drawn(angle), "png", cache_in=None)
    assert by == "ocr"
    assert document.pages == ((900.0, 1100.0),)
    found = [word.text for word in document.words]
    for line in LINES:
        assert found.count(line) >= 2, found
    first = next(word for word in document.words if word.text == LINES[0])
    assert first.box[0] == pytest.approx(90, abs=40)
    assert 0.5 < first.confidence <= 1


@needs_tesseract
def test_what_was_read_before_costs_no_ocr(tmp_path: Path, monkeypatch) -> None:
    first, _ = ocr.read_document("a", drawn(), "png", cache_in=tmp_path)

    def forbidden(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(ocr, "_words", forbidden)
    begun = time.perf_counter()
    again, by = ocr.read_document("renamed", drawn(), "png", cache_in=tmp_path)
    assert time.perf_counter() - begun < 0.5
    assert (again.words, again.id, by) == (first.words, "renamed", "ocr")


def test_without_tesseract_it_says_how_to_install_it(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AiosError) as error:
        ocr.read_document("a", drawn(), "png", cache_in=tmp_path)
    assert "Tesseract is not installed" in str(error.value)
    assert "apt-get install tesseract-ocr" in str(error.value)


def test_a_text_layer_is_taken_as_it_is() -> None:
    document, by = ocr.read_document("a", pdf(), "pdf", cache_in=None)
    assert (by, [word.text for word in document.words]) == ("text_layer", ["Total 12.50"])
    left, top, right, bottom = document.words[0].box
    assert left == pytest.approx(72 * ocr.DPI / 72, abs=4)
    assert 0 < top < bottom < document.pages[0][1] / 2
    assert right > left


@pytest.mark.parametrize("angle", [-4.0, -1.0, 0.0, 0.6, 3.2])
def test_the_tilt_of_a_page_is_found(angle: float) -> None:
    from PIL import Image

    page = Image.open(io.BytesIO(drawn(angle)))
    assert skew(page) == pytest.approx(-angle, abs=0.35)


def test_small_pages_are_enlarged_and_large_ones_kept() -> None:
    from PIL import Image

    assert prepared(Image.new("L", (600, 800), 255))[1] == 2.0
    assert prepared(Image.new("L", (1600, 1800), 255))[1] == 1.0

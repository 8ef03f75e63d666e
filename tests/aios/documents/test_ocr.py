"""Pictures and PDFs are read; what was read before is not read again."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from aios.documents import ocr
from aios.documents.images import prepared, skew
from aios.documents.limits import Limits
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


def in_pdf(*pages: bytes | str) -> bytes:
    """Return a PDF of one page for each picture or text."""
    from fpdf import FPDF

    document = FPDF(unit="pt", format=(432, 528))  # drawn() at 150 dots an inch
    document.set_font("helvetica", size=14)
    for page in pages:
        document.add_page()
        if isinstance(page, str):
            document.text(72, 72, page)
        else:
            document.image(io.BytesIO(page), 0, 0, 432, 528)
    return bytes(document.output())


@needs_tesseract
def test_a_pdf_with_a_scanned_page_is_read_from_its_picture() -> None:
    document, by = ocr.read_document("x", in_pdf("Remarks", drawn()), "pdf", cache_in=None)
    assert by == "ocr"
    assert document.pages == (pytest.approx((900, 1100), abs=1),) * 2
    assert [word.text for word in document.words if word.page == 0] == ["Remarks"]
    assert LINES[0] in [word.text for word in document.words if word.page == 1]


def test_every_page_of_a_text_layer_is_read() -> None:
    document, by = ocr.read_document("x", in_pdf("One", "Two"), "pdf", cache_in=None)
    assert (by, [(word.text, word.page) for word in document.words]) == (
        "text_layer",
        [("One", 0), ("Two", 1)],
    )


@needs_tesseract
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_black_letters_on_nothing_are_read_as_on_paper(mode: str) -> None:
    from PIL import Image, ImageOps

    letters = Image.open(io.BytesIO(drawn()))
    page = Image.new("RGBA", letters.size, (0, 0, 0, 0))
    page.putalpha(ImageOps.invert(letters))
    buffer = io.BytesIO()
    page.convert(mode).save(buffer, "PNG")
    document, _ = ocr.read_document("x", buffer.getvalue(), "png", cache_in=None)
    assert LINES[0] in [word.text for word in document.words]


@needs_tesseract
def test_a_photograph_that_lies_on_its_side_is_turned_as_its_camera_says() -> None:
    from PIL import Image

    sideways = Image.open(io.BytesIO(drawn())).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees
    buffer = io.BytesIO()
    sideways.save(buffer, "JPEG", exif=exif, quality=95)
    document, _ = ocr.read_document("x", buffer.getvalue(), "jpeg", cache_in=None)
    assert document.pages == ((900.0, 1100.0),)
    assert LINES[0] in [word.text for word in document.words]


@needs_tesseract
def test_other_content_is_read_anew_and_its_boxes_are_kept(tmp_path: Path) -> None:
    first, _ = ocr.read_document("a", drawn(), "png", cache_in=tmp_path)
    ocr.read_document("b", drawn(width=880), "png", cache_in=tmp_path)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    assert ocr.read_document("a", drawn(), "png", cache_in=tmp_path)[0].pages == first.pages


@needs_tesseract
def test_a_page_that_takes_too_long_says_so(monkeypatch) -> None:
    monkeypatch.setattr(ocr, "SECONDS", 0.01)
    with pytest.raises(AiosError, match="Tesseract cannot read the page"):
        ocr.read_document("x", drawn(), "png", cache_in=None)


@needs_tesseract
def test_more_words_than_are_allowed_are_refused() -> None:
    with pytest.raises(AiosError, match="too many words"):
        ocr.read_document("x", drawn(), "png", cache_in=None, limits=Limits(words=3))


@needs_tesseract
def test_a_blank_page_has_no_words() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (600, 800), 255).save(buffer, "PNG")
    document, by = ocr.read_document("x", buffer.getvalue(), "png", cache_in=None)
    assert (document.words, document.pages, by) == ((), ((600.0, 800.0),), "ocr")

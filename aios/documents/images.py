"""Pictures made ready for reading: upright, level, of even contrast and a size that reads well."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from aios.documents.limits import Limits
from aios.documents.probe import too_large
from aios.errors import AiosError

if TYPE_CHECKING:
    from PIL.Image import Image

HEIGHT_OF_TEXT = 1_700  # pixels of the longer side that read well; smaller pages are enlarged
LARGEST = 3_000
STEEPEST = 5.0  # degrees
WORTH_TURNING = 0.3  # degrees


def pages_of(content: bytes, limits: Limits) -> list[Image]:
    """Return the pages of a picture, upright and grey.

    Raises:
        AiosError: It is damaged, a page has too many pixels, or there are too many pages.
    """
    from PIL import Image, ImageSequence

    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "TIFF")) as image:
            pages = []
            for number, frame in enumerate(ImageSequence.Iterator(image)):
                if number >= limits.pages or too_large(frame.size, limits):
                    raise AiosError("the picture is too large", fix="Send smaller or fewer pages.")
                pages.append(_grey(frame))
            return pages
    except AiosError:
        raise
    except Exception as error:  # Pillow's decoders raise anything on a damaged page
        raise AiosError(
            f"the picture is damaged: {error}", fix="Ask the sender for it again."
        ) from error


def _grey(frame: Image) -> Image:
    """Return a page upright and grey; what can be seen through is white, as paper is."""
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(frame)
    if not upright.has_transparency_data:
        return upright.convert("L")
    paper = Image.new("RGBA", upright.size, "white")
    return Image.alpha_composite(paper, upright.convert("RGBA")).convert("L")


def prepared(page: Image) -> tuple[Image, float]:
    """Return a page levelled and in a size that reads well, and its scale."""
    from PIL import Image

    scale = min(max(HEIGHT_OF_TEXT / max(page.size), 1.0), 2.0)
    scale = min(scale, LARGEST / max(page.size))
    if abs(scale - 1) > 0.05:
        size = (max(round(page.width * scale), 1), max(round(page.height * scale), 1))
        page = page.resize(size, Image.Resampling.BICUBIC)
    else:
        scale = 1.0
    angle = skew(page)
    if abs(angle) >= WORTH_TURNING:
        page = page.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)
    return page, scale


def skew(page: Image) -> float:
    """Return by how many degrees a page must be turned to be level.

    The rows' ink of a level page is the most uneven: lines are dark, gaps are white (projection
    profiles, Postl 1986).
    """
    from PIL import Image

    small = page.copy()
    small.thumbnail((700, 700))
    pixels = np.asarray(small, dtype=np.float32)
    dark = Image.fromarray(np.where(pixels < pixels.mean() - 25, 255, 0).astype(np.uint8))

    def unevenness(angle: float) -> float:
        rows = np.asarray(dark.rotate(angle), dtype=np.float32).sum(axis=1)
        return float(np.square(np.diff(rows)).sum())

    coarse = max(np.arange(-STEEPEST, STEEPEST + 0.1, 1.0), key=unevenness)
    return float(max(np.arange(coarse - 0.8, coarse + 0.9, 0.2), key=unevenness))

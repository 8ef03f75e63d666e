"""What a picture's header says, before anything of it is decoded."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from aios.documents.limits import Limits

_FORMATS = {"JPEG": "jpeg", "PNG": "png", "TIFF": "tiff"}
_KINDS = _FORMATS | {"MPO": "jpeg"}  # what many phones write: a JPEG and its previews


@dataclass(frozen=True)
class Probed:
    """A picture's format, whether it can be read, and its pages."""

    format: str
    condition: str
    pages: int | None


def probe(content: bytes, limits: Limits) -> Probed:
    """Judge a picture by its header, and decode it once where that is cheap to do."""
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of is refused below
        try:
            with Image.open(io.BytesIO(content), formats=tuple(_FORMATS)) as image:
                kind = _KINDS.get(image.format or "", "unsupported")
                if too_large(image.size, limits):
                    return Probed(kind, "too_large", None)
                pages = getattr(image, "n_frames", 1)
                if pages > limits.pages:
                    return Probed(kind, "too_many_pages", pages)
                image.load()
                return Probed(kind, "readable", pages)
        except UnidentifiedImageError:
            return Probed("unsupported", "unsupported", None)
        except Image.DecompressionBombError:
            return Probed("unsupported", "too_large", None)
        except Exception:  # Pillow's decoders raise anything on a damaged file
            return Probed("unsupported", "damaged", None)


def too_large(size: tuple[int, int], limits: Limits) -> bool:
    """Tell whether a page has too many pixels to be read."""
    return max(size) > limits.side or size[0] * size[1] > limits.pixels

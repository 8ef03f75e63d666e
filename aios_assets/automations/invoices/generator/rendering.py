"""Scans: a page drawn, tilted, stamped, blurred and worn, as a scanner would give it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .fonts import font
from .layouts import Sheet

if TYPE_CHECKING:
    from PIL.Image import Image

STAMPS = ("PAID", "RECEIVED", "ENTERED")


def draw(sheet: Sheet) -> Image:
    """Return the page as it was made: black on white."""
    from PIL import Image, ImageDraw

    image = Image.new("L", sheet.size, 255)
    pen = ImageDraw.Draw(image)
    for run in sheet.runs:
        pen.text((run.x, run.y), run.text, fill=20, font=font(run.size))
    return image


def scan(sheet: Sheet, seed: list[int]) -> Image:
    """Return the page as scanned: slightly tilted, uneven, blurred, perhaps stamped."""
    from PIL import Image, ImageDraw, ImageFilter

    chance = np.random.default_rng(seed)
    image = draw(sheet)
    if chance.random() < 0.4:
        stamp = Image.new("L", (360, 90), 255)
        pen = ImageDraw.Draw(stamp)
        pen.rectangle((4, 4, 355, 85), outline=120, width=5)
        pen.text((40, 20), str(chance.choice(STAMPS)), fill=120, font=font(56))
        stamp = stamp.rotate(float(chance.uniform(-20, 20)), expand=True, fillcolor=255)
        at = (int(sheet.size[0] * chance.uniform(0.1, 0.5)), int(sheet.size[1] * 0.78))
        image.paste(stamp, at, stamp.point(lambda value: 255 if value < 200 else 0))
    image = image.rotate(
        float(chance.normal(0, 0.7)), fillcolor=255, resample=Image.Resampling.BILINEAR
    )
    image = image.filter(ImageFilter.GaussianBlur(float(chance.uniform(0.2, 0.8))))
    pixels = np.asarray(image, dtype=np.float32)
    shade = np.linspace(0, float(chance.uniform(0, 25)), pixels.shape[1], dtype=np.float32)
    noise = chance.normal(0, 5, pixels.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels - shade + noise, 0, 255).astype(np.uint8))

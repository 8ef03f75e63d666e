"""Reading pictures: how much of the printed words is found, and in what time, by setting.

    python -m benchmarks.ocr [--receipts 30] [--generated 20] [--settings NAME ...] [--json FILE]

Three sets of pages: the receipts' pictures with the words that people typed, the same pictures
tilted by up to four degrees, and scans of the generator with the words that it drew. `plain`, the
yardstick, is pytesseract with its defaults on the picture as it came; `aios` is
`aios.documents.ocr` as the platform calls it; every other setting differs from it in at most one
thing: the psm that the platform has itself is there again, which shows the noise of the clock.

*recall* is the share of the gold words that were read, each as often as it is printed, letters'
case and punctuation left out; *precision* the share of the read words that are gold; *CER* the
edits from the text read to the gold text, in their order and without blanks, over the gold text's
length, at most 1 a page. The interval after recall is that of the mean over pages, and *beside
aios* that of the difference on the same pages, both at 95 %. Seconds are for a page, with the
picture's decoding: by the clock and, since this machine may be shared, of the processor.

Resemblance: the fingerprints of a receipt read twice, straight and tilted, beside those of two
receipts of one vendor. The receipts need AIOS_DATASETS, all of it needs Tesseract.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytesseract
from PIL import Image, ImageOps
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from aios.documents import images, ocr
from aios.documents.limits import Limits
from aios.documents.similarity import fingerprint, resemblance
from aios_assets.automations.invoices import generator

DATA = Path(os.environ.get("AIOS_DATASETS", "../shared/datasets")) / "sroie_receipts"
STEEPEST = 4.0  # degrees of the tilted pages
COLUMNS = ("setting", "recall %", "beside aios", "prec. %", "CER %", "s p50 p95", "cpu p50 p95")
console = Console()

Reader = Callable[[bytes], list[str]]


@dataclass(frozen=True)
class Page:
    """A picture, the words on it, and who sent it."""

    content: bytes
    gold: list[str]
    vendor: str


@dataclass(frozen=True)
class Reading:
    """What a setting made of one page; seconds by the clock and of the processor."""

    words: list[str]
    recall: float
    precision: float
    errors: float
    clock: float
    processor: float


def receipts(number: int) -> list[Page]:
    """Return the first receipts that have a picture."""
    if not DATA.is_dir():
        console.print(f"{DATA} is no folder: the receipts are left out")
        return []
    found = []
    for line in (DATA / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        path = DATA / "images" / f"{row['id']}.jpg"
        if path.exists():
            found.append(Page(path.read_bytes(), row["words"], row["entities"]["company"]))
    return found[:number]


def tilted(pages: list[Page]) -> Iterator[Page]:
    """Turn pages by angles that are spread evenly, without cutting their corners off."""
    angles = np.random.default_rng(0).uniform(-STEEPEST, STEEPEST, len(pages))
    for page, angle in zip(pages, angles, strict=True):
        image = Image.open(io.BytesIO(page.content)).convert("L")
        turned = image.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=255)
        yield Page(_png(turned), page.gold, page.vendor)


def generated(number: int) -> list[Page]:
    """Return scans of the generator's honest documents, whose words are as drawn."""
    months = [(2025, month) for month in range(1, 13)]
    arrived = [one for month in months for one in generator.arrivals(*month)]
    clean = [one for one in arrived if one.invoice and not one.noisy]
    chosen = clean[:: max(len(clean) // max(number, 1), 1)][:number]
    return [
        Page(
            _png(generator.image(one.uri)),
            [word.text for word in generator.document(one.uri).words],
            one.invoice.vendor.name if one.invoice else "",
        )
        for one in chosen
    ]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def built_in(content: bytes) -> list[str]:
    """Read as the platform does."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    document, _ = ocr.read_document("page", content, kind, cache_in=None)
    return [word.text for word in document.words]


def plain(content: bytes) -> list[str]:
    """Read as pytesseract does by itself."""
    return _tesseract(Image.open(io.BytesIO(content)), "")


def changed(
    content: bytes,
    config: str = ocr.SETTINGS,
    prepare: Callable[[Image.Image], Image.Image] = lambda page: images.prepared(page)[0],
) -> list[str]:
    """Read as the platform does, but for one thing."""
    return _tesseract(prepare(images.pages_of(content, Limits())[0]), config)


def _tesseract(page: Image.Image, config: str) -> list[str]:
    data = pytesseract.image_to_data(page, config=config, output_type=pytesseract.Output.DICT)
    return [text for text in data["text"] if text.strip()]


def not_levelled(page: Image.Image) -> Image.Image:
    """Return a page in the size that reads well, tilted as it came."""
    _, scale = images.prepared(page)
    size = (round(page.width * scale), round(page.height * scale))
    return page.resize(size, Image.Resampling.BICUBIC) if scale != 1 else page


def not_scaled(page: Image.Image) -> Image.Image:
    """Return a page levelled, in the size that it came in."""
    angle = images.skew(page)
    if abs(angle) < images.WORTH_TURNING:
        return page
    return page.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255)


def contrasted(page: Image.Image) -> Image.Image:
    """Stretch the greys of a page."""
    return ImageOps.autocontrast(images.prepared(page)[0], cutoff=1)


def binarised(page: Image.Image) -> Image.Image:
    """Make a page black and white at Otsu's threshold ("A threshold selection method", 1979)."""
    ready = images.prepared(page)[0]
    counts = np.bincount(np.asarray(ready).ravel(), minlength=256).astype(float)
    below, level = counts.cumsum(), np.arange(256)
    weighted = (counts * level).cumsum()
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (weighted[-1] * below - weighted * below[-1]) ** 2 / (below * (below[-1] - below))
    threshold = int(np.nanargmax(apart))
    return ready.point(lambda value: 255 if value > threshold else 0)


SETTINGS: dict[str, Reader] = {
    "plain": plain,
    "aios": built_in,
    "not levelled": partial(changed, prepare=not_levelled),
    "not scaled": partial(changed, prepare=not_scaled),
    "contrast": partial(changed, prepare=contrasted),
    "binarised": partial(changed, prepare=binarised),
    "psm 3": partial(changed, config="--oem 1 --psm 3"),
    "psm 4": partial(changed, config="--oem 1 --psm 4"),
    "psm 6": partial(changed, config="--oem 1 --psm 6"),
    "psm 11": partial(changed, config="--oem 1 --psm 11"),
}


def bare(words: list[str]) -> list[str]:
    """Return the words of lines of text, in capital letters and digits."""
    split = (re.sub(r"[^A-Z0-9]", "", word) for line in words for word in line.upper().split())
    return [word for word in split if word]


def read(reader: Reader, page: Page) -> Reading:
    """Read a page and compare with its gold words."""
    begun, used = time.perf_counter(), _processor()
    words = reader(page.content)
    clock, processor = time.perf_counter() - begun, _processor() - used
    found, gold = bare(words), bare(page.gold)
    common = (Counter(found) & Counter(gold)).total()
    text = "".join(gold)
    return Reading(
        words=words,
        recall=common / max(len(gold), 1),
        precision=common / max(len(found), 1),
        errors=min(Levenshtein.distance("".join(found), text) / max(len(text), 1), 1.0),
        clock=clock,
        processor=processor,
    )


def _processor() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def half_width(values: np.ndarray) -> float:
    """Return half of the 95 % interval of a mean over pages."""
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def compare(name: str, pages: list[Page], chosen: list[str]) -> dict[str, list[Reading]]:
    """Read a set of pages by every setting and print the table."""
    readings = {setting: [read(SETTINGS[setting], page) for page in pages] for setting in chosen}
    table = Table(title=f"{name}: {len(pages)} pages", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column != "setting" else "left", no_wrap=True)
    for setting, found in readings.items():
        table.add_row(setting, *_row(found, readings.get("aios")))
    console.print(table)
    return readings


def _row(found: list[Reading], beside: list[Reading] | None) -> list[str]:
    recall = np.array([one.recall for one in found])
    difference = ""
    if beside and beside is not found:
        apart = 100 * (recall - np.array([one.recall for one in beside]))
        difference = f"{apart.mean():+.1f} ± {half_width(apart):.1f}"
    times = [
        "{:.2f} {:.2f}".format(*np.quantile([getattr(one, kind) for one in found], (0.5, 0.95)))
        for kind in ("clock", "processor")
    ]
    return [
        f"{100 * recall.mean():.1f} ± {100 * half_width(recall):.1f}",
        difference,
        f"{100 * np.mean([one.precision for one in found]):.1f}",
        f"{100 * np.mean([one.errors for one in found]):.1f}",
        *times,
    ]


def hits(pages: list[Page]) -> np.ndarray:
    """Return the seconds of reading pages again that were read before, shape (n,)."""
    seconds = []
    with TemporaryDirectory() as folder:
        for page in pages:
            kind = "png" if page.content.startswith(b"\x89PNG") else "jpeg"
            for _ in range(2):
                begun = time.perf_counter()
                ocr.read_document("page", page.content, kind, cache_in=Path(folder))
            seconds.append(time.perf_counter() - begun)
    return np.array(seconds)


def copies(straight: list[Reading], turned: list[Reading], vendors: list[str]) -> dict[str, Any]:
    """Return quantiles of the resemblance of copies, and of two receipts of one vendor."""
    first, second = (
        [fingerprint("\n".join(one.words)) for one in read] for read in (straight, turned)
    )
    same = [resemblance(a, b) for a, b in zip(first, second, strict=True)]
    other = [
        resemblance(first[a], second[b])
        for a in range(len(first))
        for b in range(len(first))
        if a != b and vendors[a] == vendors[b]
    ]
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {
        name: (len(found), [round(float(one), 2) for one in np.quantile(found, shares)])
        for name, found in (("copies", same), ("one vendor", other))
        if found
    }


def main(arguments: list[str]) -> int:
    """Print the tables; fails where the platform's setting finds less than the plain one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ocr", description=__doc__)
    parser.add_argument("--receipts", type=int, default=30)
    parser.add_argument("--generated", type=int, default=20)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args(arguments)
    if not ocr.available():
        console.print("Tesseract is not installed: apt-get install tesseract-ocr")
        return 1
    os.environ["OMP_THREAD_LIMIT"] = "1"
    straight = receipts(options.receipts)
    sets = {
        "receipts": straight,
        "receipts, tilted": list(tilted(straight)),
        "generated scans": generated(options.generated),
    }
    found = {name: compare(name, pages, options.settings) for name, pages in sets.items() if pages}
    again = hits(next(pages for pages in sets.values() if pages)[:10])
    console.print(f"read before: p50 {1000 * np.median(again):.1f} ms a page")
    if straight and "aios" in options.settings:
        alike = copies(
            found["receipts"]["aios"],
            found["receipts, tilted"]["aios"],
            [page.vendor for page in straight],
        )
        for name, (pairs, quantiles) in alike.items():
            console.print(f"resemblance, {name}: {pairs} pairs, 5 25 50 75 95 %: {quantiles}")
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    name: {setting: [vars(one) for one in read] for setting, read in one.items()}
                    for name, one in found.items()
                }
            )
        )
    return 0 if all(_no_worse(one) for one in found.values()) else 1


def _no_worse(readings: dict[str, list[Reading]]) -> bool:
    if not {"plain", "aios"} <= set(readings):
        return True
    plain_, aios = (np.mean([one.recall for one in readings[name]]) for name in ("plain", "aios"))
    return bool(aios >= plain_)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What pages and files may do that is no attack, and still goes wrong in careless readers."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aios.documents.intake import scan
from aios.documents.limits import Limits
from aios.documents.pdf import render, text_words
from aios.errors import AiosError
from tests.aios.documents.test_pdf import TEXT, pdf

pytestmark = pytest.mark.unit


def png() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((40, 30), 30).save(buffer, format="PNG")
    return buffer.getvalue()


def row(id_: str, word: str = "a", box: Any = (1, 1, 2, 3)) -> str:
    size = {"width": 5, "height": 5}
    return json.dumps({"id": id_, "words": [word], "bboxes": [box], "image_size": size})


def test_a_pipe_and_a_link_to_nothing_do_not_stop_the_scan(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    os.mkfifo(tmp_path / "p.png")
    os.symlink("/nowhere", tmp_path / "broken.png")
    code = (
        "import sys; from aios.documents.intake import scan;"
        "print(*[one.name for one in scan(sys.argv[1])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=10
    )
    assert done.stdout.split() == ["a.png"]


@pytest.mark.parametrize(
    "box", [[10**400, 1, 2, 3], [float("inf"), 1, 2, 3], [float("nan"), 1, 2, 3]]
)
def test_a_box_that_is_no_number_is_damaged_and_the_next_line_arrives(
    tmp_path: Path, box: Any
) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(row("x", box=box) + "\n" + row("y"))
    assert [one.condition for one in scan(str(path))] == ["damaged", "readable"]


def test_a_word_that_cannot_be_stored_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(row("x", "\ud800"))
    assert scan(str(path))[0].condition == "damaged"


def test_ids_stay_apart_when_one_is_made_to_clash(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join([row("a", "1"), row("a", "2")]))
    clash = scan(str(path))[1].document_id
    path.write_text("\n".join([row("a", "1"), row("a", "2"), row(clash, "3")]))
    assert len({one.document_id for one in scan(str(path))}) == 3


def test_a_line_without_end_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with path.open("wb") as file:
        file.write(row("x").encode() + b"\n")
        file.truncate(300_000_000)
    with path.open("ab") as file:
        file.write(b"\n" + row("y").encode())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = scan(str(path), Limits(bytes=1_000_000))
    assert [one.condition for one in found] == ["readable", "too_large", "readable"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    from aios.documents.intake import line

    assert line(found[2].uri)["id"] == "y"


def test_a_phone_photo_is_a_jpeg(tmp_path: Path) -> None:
    from PIL import Image

    image = Image.effect_noise((40, 30), 30)
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image])
    (found,) = scan(str(tmp_path))
    assert (found.format, found.condition) == ("jpeg", "readable")


@pytest.mark.parametrize(
    "page",
    [
        b"/MediaBox[100 100 695 942]", b"/MediaBox[0 0 595 842]/CropBox[100 200 500 800]",
        b"/MediaBox[0 0 595 842]/Rotate 90", b"/MediaBox[0 0 595 842]/Rotate 180",
    ],
)  # fmt: skip
def test_boxes_lie_on_the_ink_of_cropped_and_turned_pages(page: bytes) -> None:
    from PIL import Image

    content = pdf(TEXT).replace(b"/MediaBox[0 0 595 842]", page)
    layer = text_words(content, 100, Limits())
    assert layer is not None
    pixels = np.asarray(Image.open(io.BytesIO(render(content, 0, 100, Limits()))))
    rows, columns = np.nonzero(pixels < 128)
    ink = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert layer[0][0].box == pytest.approx(ink, abs=3)
    assert layer[1][0] == pixels.shape[::-1]


def test_a_text_layer_of_too_many_words_is_refused() -> None:
    text = b"".join(
        b"BT /F1 8 Tf %d %d Td (w%d) Tj ET\n" % (10 + 40 * (i % 14), 830 - 12 * (i // 14), i)
        for i in range(900)
    )
    with pytest.raises(AiosError, match="too many words"):
        text_words(pdf(text), 72, Limits(words=500))

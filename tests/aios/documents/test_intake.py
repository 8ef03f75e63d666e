"""What arrives is named, typed by its content, and set aside with the reason where it must be."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aios.documents.intake import Arrival, line, open_content, scan
from aios.documents.limits import Limits
from aios.errors import AiosError

pytestmark = pytest.mark.unit


def png(width: int = 40, height: int = 30, kind: str = "PNG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.effect_noise((width, height), 30).save(buffer, format=kind)
    return buffer.getvalue()


def pdf(pages: int = 1, box: str = "0 0 595 842", extra: str = "") -> bytes:
    """A small PDF by hand; pdfium rebuilds its missing cross-reference table."""
    kids = " ".join(f"{number + 10} 0 R" for number in range(pages))
    objects = [
        "1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj",
        f"2 0 obj<</Type/Pages/Count {pages}/Kids[{kids}]>>endobj",
        "5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj",
        "6 0 obj<</Length 44>>stream\nBT /F1 24 Tf 72 700 Td (Total 12.50) Tj ET\nendstream endobj",
        extra,
    ]
    objects += [
        f"{number + 10} 0 obj<</Type/Page/Parent 2 0 R/MediaBox[{box}]/Contents 6 0 R"
        "/Resources<</Font<</F1 5 0 R>>>>>>endobj"
        for number in range(pages)
    ]
    return ("%PDF-1.4\n" + "\n".join(objects) + "\ntrailer<</Root 1 0 R>>\n%%EOF").encode()


def words(id_: str, count: int = 3, **more: Any) -> dict[str, Any]:
    boxes = [[10, 20 * at, 90, 20 * at + 15] for at in range(count)]
    size = {"width": 200, "height": 900}
    texts = [f"word {at}" for at in range(count)]
    return {"id": id_, "words": texts, "bboxes": boxes, "image_size": size, **more}


def arrived(folder: Path, name: str, content: bytes) -> Arrival:
    (folder / name).write_bytes(content)
    return next(one for one in scan(str(folder)) if one.uri.endswith(name))


@pytest.mark.parametrize(
    ("name", "content", "kind", "condition"),
    [
        ("a.png", png(), "png", "readable"),
        ("picture.pdf", png(kind="JPEG"), "jpeg", "readable"),
        ("a.tif", png(kind="TIFF"), "tiff", "readable"),
        ("a.pdf", pdf(), "pdf", "readable"),
        ("empty.png", b"", "unsupported", "empty"),
        ("blank.pdf", b"\0" * 500, "unsupported", "empty"),
        ("notes.txt", b"hello, world", "unsupported", "unsupported"),
        ("cut.jpg", png(400, 400, "JPEG")[:900], "unsupported", "damaged"),
        ("cut.pdf", b"%PDF-1.4\ntrash", "pdf", "damaged"),
        ("many.pdf", pdf(pages=31), "pdf", "too_many_pages"),
        ("thousands.pdf", pdf(pages=5000), "pdf", "too_many_pages"),
        ("huge.pdf", pdf(box="0 0 200000 200000"), "pdf", "too_large"),
    ],
)
def test_files_are_judged_by_their_content(
    tmp_path: Path, name: str, content: bytes, kind: str, condition: str
) -> None:
    begun = time.perf_counter()
    found = arrived(tmp_path, name, content)
    assert (found.format, found.condition) == (kind, condition)
    assert found.name == name
    assert found.bytes == len(content)
    assert time.perf_counter() - begun < 10


def test_an_archive_that_calls_itself_a_pdf_is_not_supported(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * 5_000_000)
    assert arrived(tmp_path, "a.pdf", buffer.getvalue()).condition == "unsupported"


def test_an_encrypted_pdf_says_so(tmp_path: Path) -> None:
    encrypt = (
        "7 0 obj<</Filter/Standard/V 1/R 2/P -44/O<" + "ab" * 32 + ">/U<" + "cd" * 32 + ">>>endobj"
    )
    content = pdf(extra=encrypt).replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt 7 0 R/ID[<01><01>]")
    assert arrived(tmp_path, "a.pdf", content).condition == "encrypted"


def test_a_picture_of_20000_pixels_is_not_decoded(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "wide.png"
    Image.new("1", (20_000, 20_000)).save(path)
    # The kernel's own mark of the peak: the one of getrusage counts the parent before the exec.
    code = (
        "import re, sys, time; from aios.documents.intake import scan; begun = time.time();"
        "found = scan(sys.argv[1]); status = open('/proc/self/status').read();"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024;"
        "print(found[0].condition, peak, time.time() - begun)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    condition, megabytes, seconds = done.stdout.split()
    assert condition == "too_large"
    assert int(megabytes) < 300
    assert float(seconds) < 10


def test_a_pdf_whose_stream_never_ends_is_bounded(tmp_path: Path) -> None:
    import zlib

    bomb = zlib.compress(b"q 1 0 0 1 0 0 cm BT /F1 24 Tf (x) Tj ET Q\n" * 3_000_000, 9)
    content = pdf().replace(
        b"<</Length 44>>stream\nBT /F1 24 Tf 72 700 Td (Total 12.50) Tj ET\nendstream",
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(bomb), bomb),
    )
    (tmp_path / "bomb.pdf").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    (found,) = scan(str(tmp_path), Limits(seconds=4, memory=1_000_000_000))
    assert time.perf_counter() - begun < 10
    assert found.condition in ("damaged", "too_large", "readable")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_links_out_of_the_folder_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(png())
    folder = tmp_path / "in"
    folder.mkdir()
    os.symlink(outside, folder / "link.png")
    (folder / ".hidden.png").write_bytes(png())
    (folder / "truth.jsonl").write_text("{}")
    (folder / "a.png").write_bytes(png())
    assert [one.name for one in scan(str(folder))] == ["a.png"]


def test_lines_are_documents_and_no_line_is_lost(tmp_path: Path) -> None:
    good, path = words("r1"), tmp_path / "rows.jsonl"
    rows = [
        json.dumps(good),
        json.dumps(words("../../x")),
        "{not json",
        json.dumps({"id": "r3"}),
        json.dumps(words("r4", count=0)),
        json.dumps(words("r5", count=10_000)),
        json.dumps({**words("r6"), "bboxes": [[1, 2, 3]]}),
        json.dumps(good),
        json.dumps({**words("r1"), "words": ["a", "b", "c"]}),
        "[" * 100_000,
    ]
    path.write_text("\n".join(rows))
    found = scan(str(path))
    assert [one.condition for one in found] == [
        "readable", "unsafe_name", "damaged", "damaged", "empty", "too_many_words", "damaged",
        "readable", "readable", "damaged",
    ]  # fmt: skip
    assert len({one.document_id for one in found}) == len(found)
    assert not any("/" in one.document_id or ".." in one.document_id for one in found)
    assert found[0].digest == found[7].digest != found[8].digest
    assert line(found[0].uri) == good
    assert [one.document_id for one in scan(str(path))] == [one.document_id for one in found]


def test_the_same_content_under_another_name_has_the_same_digest(tmp_path: Path) -> None:
    content = png()
    one, two = arrived(tmp_path, "a.png", content), arrived(tmp_path, "renamed.png", content)
    assert one.digest == two.digest
    assert open_content(one.uri) == content


def test_an_object_store_is_a_folder_like_another() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/box/a.png", png())
    (found,) = scan("memory://box")
    assert (found.document_id, found.format, found.condition) == ("a", "png", "readable")
    assert open_content(found.uri) == png() or len(open_content(found.uri)) == found.bytes


def test_nothing_there_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="nothing at this place"):
        scan(str(tmp_path / "none"))


def test_files_of_subfolders_come_in_order_and_those_of_a_name_are_told_apart(
    tmp_path: Path,
) -> None:
    for folder in ("b", "a", ".git"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "scan.png").write_bytes(png(width=40 + len(folder)))
    found = scan(str(tmp_path))
    assert [Path(one.uri).parent.name for one in found] == ["a", "b"]
    assert found[0].document_id == "scan"
    assert found[1].document_id.startswith("scan-")


def test_one_file_is_a_place_like_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").write_bytes(png())
    (found,) = scan(str(tmp_path / "b.png"))
    assert (found.document_id, found.condition) == ("b", "readable")


def test_it_is_received_when_the_file_changed_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png())
    os.utime(path, (1_709_251_200, 1_709_251_200))
    (found,) = scan(str(tmp_path))
    assert found.received_at == datetime(2024, 3, 1)
    later = found.dated(datetime(2024, 4, 1))
    assert (later.received_at, later.digest) == (datetime(2024, 4, 1), found.digest)


def test_a_file_that_may_not_be_read_is_damaged(tmp_path: Path, monkeypatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    (tmp_path / "a.png").write_bytes(png())

    def refused(*_: object, **__: object) -> bytes:
        raise PermissionError("no")

    monkeypatch.setattr(LocalFileSystem, "cat_file", refused)
    (found,) = scan(str(tmp_path))
    assert found.condition == "damaged"


def test_the_same_words_under_another_id_are_the_same_content(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [words("a"), words("b"), words("c", count=4)])))
    one, two, other = (found.digest for found in scan(str(tmp_path)))
    assert one == two != other


def test_lines_that_changed_are_not_taken_from_memory(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for at, id_ in enumerate(["old", "new"]):
        path.write_text(json.dumps(words(id_)))
        os.utime(path, (1_700_000_000 + at, 1_700_000_000 + at))
        assert line(f"{path}#0")["id"] == id_

"""The manifest names files of the pack only, and its signature has one form."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.evidence.manifest import (
    MANIFEST,
    as_json,
    check_signature,
    entries_of,
    files_in,
    from_json,
    is_safe,
    sign_manifest,
)
from tests.aios.evidence.packs import new_key

pytestmark = pytest.mark.unit

KEY = new_key()
CONTENT = b'{"version": 1}\n'
SIGNED = sign_manifest(CONTENT, KEY)


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../key", "cards/../../key", "", ".", "a//b", "./a", "a/", "a\\b", "a\0b",
     "manifest.json", "manifest.sig"],
)  # fmt: skip
def test_names_that_leave_the_pack_are_refused(name: str) -> None:
    assert not is_safe(name)
    manifest = {"version": 1, "files": {name: {"sha256": "0" * 64}}}
    with pytest.raises(AiosError, match="no name of a file"):
        entries_of(manifest)


@given(st.text(max_size=30))
def test_a_safe_name_stays_below_the_folder(name: str) -> None:
    root = Path("/pack")
    if is_safe(name):
        assert (root / name).relative_to(root).as_posix() == name


@pytest.mark.parametrize(
    "manifest",
    [None, [], "text", {}, {"version": 2, "files": {}}, {"version": 1}, {"version": 1, "files": []},
     {"version": 1, "files": {"a": "digest"}}, {"version": 1, "files": {"a": {"sha256": 3}}}],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(manifest: object) -> None:
    with pytest.raises(AiosError):
        entries_of(manifest)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_an_error_with_a_place(content: bytes) -> None:
    with pytest.raises(AiosError, match=MANIFEST):
        from_json(content, MANIFEST)


def test_the_signature_is_of_this_key_and_this_content() -> None:
    check_signature(CONTENT, SIGNED, KEY.public)
    with pytest.raises(AiosError, match="another manifest"):
        check_signature(CONTENT + b" ", SIGNED, KEY.public)
    with pytest.raises(AiosError, match="not signed by the key"):
        check_signature(CONTENT, SIGNED, new_key().public)


@given(st.data())
def test_no_byte_of_the_signature_can_change(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(SIGNED)))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "end"]))
    changed = bytearray(SIGNED)
    if kind == "flip" and at < len(SIGNED):
        changed[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut" and at < len(SIGNED):
        del changed[at]
    elif kind == "insert":
        changed[at:at] = data.draw(st.sampled_from([b" ", b"\n", b"\r", b"A", b"=", b"\0"]))
    else:
        changed = changed[:at] if at < len(SIGNED) else changed + b"\n"
    with pytest.raises(AiosError):
        check_signature(CONTENT, bytes(changed), KEY.public)


def test_a_signature_of_a_checkpoint_is_none_of_a_manifest() -> None:
    from aios.record.checkpoint import Checkpoint, sign_note

    note = sign_note(Checkpoint("loans", 3, bytes(32)), KEY)
    with pytest.raises(AiosError):
        check_signature(CONTENT, note.encode(), KEY.public)


def test_json_has_one_form_and_no_nan() -> None:
    assert as_json({"b": 1, "a": "é"}) == as_json({"a": "é", "b": 1})
    with pytest.raises(ValueError):
        as_json(float("nan"))


def test_links_are_listed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    pack = tmp_path / "pack"
    (pack / "cards").mkdir(parents=True)
    (pack / "cards" / "a.md").touch()
    (pack / "linked").symlink_to(tmp_path / "outside")
    assert list(files_in(pack)) == ["cards/a.md", "linked"]

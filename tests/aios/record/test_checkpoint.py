from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.record.checkpoint import Checkpoint, open_note, sign_note
from aios.record.signing import PublicKey, SigningKey

pytestmark = pytest.mark.unit

CHECKPOINT = Checkpoint("example.org/log", 20852163, sha256(b"tree").digest())


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "log.key", "example.org/log")


@pytest.fixture
def other(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "other.key", "example.org/log")


def opens(note: str, key: SigningKey | PublicKey) -> Checkpoint | None:
    """Return the checkpoint, or None when it is refused; any other exception is a failure."""
    try:
        return open_note(note, key.public if isinstance(key, SigningKey) else key)
    except AiosError:
        return None


class TestForm:
    def test_it_is_c2sps(self, key: SigningKey) -> None:
        lines = sign_note(CHECKPOINT, key).split("\n")
        root = base64.b64encode(CHECKPOINT.root).decode()
        assert lines[:4] == ["example.org/log", "20852163", root, ""]
        dash, name, signature = lines[4].split(" ")
        raw = base64.b64decode(signature)
        assert (dash, name, lines[5:]) == ("\u2014", "example.org/log", [""])
        assert raw[:4] == key.public.id == bytes.fromhex(str(key.public).split("+")[1])
        assert key.public.verify(raw[4:], ("\n".join(lines[:3]) + "\n").encode())

    @pytest.mark.parametrize("size", [0, 1, 2**40])
    def test_it_opens(self, key: SigningKey, size: int) -> None:
        checkpoint = Checkpoint("log", size, bytes(32))
        assert open_note(sign_note(checkpoint, key), key.public) == checkpoint


class TestRefused:
    def test_another_key_of_the_same_name(self, key: SigningKey, other: SigningKey) -> None:
        assert other.name == key.name
        assert opens(sign_note(CHECKPOINT, other), key) is None
        assert opens(sign_note(CHECKPOINT, key), other) is None

    def test_the_same_key_under_another_name(self, key: SigningKey) -> None:
        renamed = PublicKey("example.org/other", key.public.raw)
        assert opens(sign_note(CHECKPOINT, key), renamed) is None
        note = sign_note(CHECKPOINT, key)
        head, tail = note.rsplit("example.org/log", 1)
        assert opens(f"{head}example.org/other{tail}", renamed) is None

    def test_anothers_signature_under_our_key_hash(
        self, key: SigningKey, other: SigningKey
    ) -> None:
        forged = base64.b64encode(key.public.id + other.sign(CHECKPOINT.text.encode())).decode()
        assert opens(f"{CHECKPOINT.text}\n\u2014 {key.name} {forged}\n", key) is None

    def test_any_truncation(self, key: SigningKey) -> None:
        note = sign_note(CHECKPOINT, key)
        for end in range(len(note)):
            assert opens(note[:end], key) is None, note[:end]

    def test_any_missing_beginning(self, key: SigningKey) -> None:
        note = sign_note(CHECKPOINT, key)
        for start in range(1, len(note)):
            assert opens(note[start:], key) is None, note[start:]

    @settings(max_examples=300, deadline=None)
    @given(place=st.integers(0), letter=st.characters(), kind=st.sampled_from("rid"))
    def test_an_edited_note_says_the_same_or_nothing(
        self, key: SigningKey, place: int, letter: str, kind: str
    ) -> None:
        note = sign_note(CHECKPOINT, key)
        at = place % len(note)
        tail = note[at:] if kind == "i" else note[at + 1 :]
        edited = note[:at] + ("" if kind == "d" else letter) + tail
        assert opens(edited, key) in (None, CHECKPOINT)
        signed = at < len(CHECKPOINT.text)
        assert opens(edited, key) is None or not signed or edited == note

    @pytest.mark.parametrize("size", ["020852163", "+20852163", "20852163 ", "2.0", "-1", "\uff12"])
    def test_a_size_written_otherwise(self, key: SigningKey, size: str) -> None:
        root = base64.b64encode(CHECKPOINT.root).decode()
        text = f"example.org/log\n{size}\n{root}\n"
        assert opens(resigned(text, key), key) is None

    @pytest.mark.parametrize(
        "root", [b"", bytes(31), bytes(33), bytes(64)], ids=["0", "31", "33", "64"]
    )
    def test_a_root_of_another_length(self, key: SigningKey, root: bytes) -> None:
        text = f"example.org/log\n1\n{base64.b64encode(root).decode()}\n"
        assert opens(resigned(text, key), key) is None

    @pytest.mark.parametrize(
        "note", ["", "\n", "\n\n", "\n\n\n", "a\n\nb", "a\n1\n\n\n\u2014 a b\n", "\0" * 100]
    )
    def test_what_is_no_note(self, key: SigningKey, note: str) -> None:
        assert opens(note, key) is None


class TestSeveralSignatures:
    def test_a_doubled_line_changes_nothing(self, key: SigningKey) -> None:
        note = sign_note(CHECKPOINT, key)
        assert opens(note + note.splitlines()[-1] + "\n", key) in (None, CHECKPOINT)

    def test_a_second_line_of_our_key_that_is_wrong(self, key: SigningKey) -> None:
        note = sign_note(CHECKPOINT, key)
        wrong = base64.b64encode(key.public.id + key.sign(b"another text")).decode()
        assert opens(f"{note}\u2014 {key.name} {wrong}\n", key) is None

    def test_an_unknown_key_beside_ours(self, key: SigningKey, other: SigningKey) -> None:
        note = sign_note(CHECKPOINT, key) + sign_note(CHECKPOINT, other).splitlines()[-1] + "\n"
        assert opens(note, key) == CHECKPOINT
        assert opens(note, other) == CHECKPOINT

    def test_an_unknown_key_alone(self, key: SigningKey, other: SigningKey) -> None:
        text, _ = sign_note(CHECKPOINT, key).split("\n\n")
        line = sign_note(CHECKPOINT, other).splitlines()[-1]
        assert opens(f"{text}\n\n{line}\n", key) is None

    def test_text_behind_the_signatures(self, key: SigningKey) -> None:
        note = sign_note(CHECKPOINT, key)
        assert opens(f"{note}and more\n", key) is None
        assert opens(f"{note}\n", key) is None
        assert opens(f"{note}{note}", key) is None

    def test_no_signature(self, key: SigningKey) -> None:
        assert opens(CHECKPOINT.text, key) is None
        assert opens(f"{CHECKPOINT.text}\n", key) is None


def resigned(text: str, key: SigningKey) -> str:
    """Return any text as a note that is signed rightly."""
    signature = base64.b64encode(key.public.id + key.sign(text.encode())).decode()
    return f"{text}\n\u2014 {key.name} {signature}\n"

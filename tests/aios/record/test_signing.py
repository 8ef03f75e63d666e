from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from aios.errors import AiosError
from aios.record.signing import PublicKey, SigningKey
from tests.aios.record.vectors import NOTE_KEY, NOTE_SIGNATURE, NOTE_TEXT

pytestmark = pytest.mark.unit


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return SigningKey.create(tmp_path / "keys" / "log.key", "example.org/log")


class TestPublicKeys:
    def test_the_published_key_and_its_signature(self) -> None:
        public = PublicKey.parse(NOTE_KEY)
        signature = base64.b64decode(NOTE_SIGNATURE)
        assert (public.name, public.id.hex()) == ("PeterNeumann", "c74f20a3")
        assert str(public) == NOTE_KEY
        assert signature[:4] == public.id
        assert public.verify(signature[4:], NOTE_TEXT.encode())
        assert not public.verify(signature[4:], NOTE_TEXT.encode() + b"\n")

    def test_a_line_survives_being_written_and_read(self, key: SigningKey) -> None:
        assert PublicKey.parse(str(key.public)) == key.public
        assert PublicKey.parse(f"{key.public}\n") == key.public

    def test_no_part_of_a_line_is_a_key(self) -> None:
        for start in range(len(NOTE_KEY)):
            for end in range(start, len(NOTE_KEY) + 1):
                if (start, end) != (0, len(NOTE_KEY)):
                    with pytest.raises(AiosError):
                        PublicKey.parse(NOTE_KEY[start:end])

    def test_no_edited_line_is_a_key(self) -> None:
        for place, letter in enumerate(NOTE_KEY):
            with pytest.raises(AiosError):
                PublicKey.parse(NOTE_KEY[:place] + chr(ord(letter) + 1) + NOTE_KEY[place + 1 :])

    @pytest.mark.parametrize("signature", [b"", b"\0" * 63, b"\0" * 64, b"\0" * 65])
    def test_what_is_no_signature(self, key: SigningKey, signature: bytes) -> None:
        assert not key.public.verify(signature, b"data")

    def test_a_point_that_is_not_on_the_curve_verifies_nothing(self) -> None:
        assert not PublicKey("log", b"\xff" * 32).verify(b"\0" * 64, b"data")


class TestKeyFiles:
    def test_only_the_owner_reads_it(self, tmp_path: Path, key: SigningKey) -> None:
        path = tmp_path / "keys" / "log.key"
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o077 == 0
        assert [one.name for one in path.parent.iterdir()] == ["log.key"]

    def test_it_signs_the_same_after_it_is_read_again(
        self, tmp_path: Path, key: SigningKey
    ) -> None:
        again = SigningKey.load(tmp_path / "keys" / "log.key")
        assert (again.name, again.public) == (key.name, key.public)
        assert again.sign(b"data") == key.sign(b"data")
        assert key.public.verify(again.sign(b"data"), b"data")

    def test_a_key_is_never_overwritten(self, tmp_path: Path, key: SigningKey) -> None:
        path = tmp_path / "keys" / "log.key"
        before = path.read_bytes()
        with pytest.raises(AiosError, match="exists"):
            SigningKey.create(path, "other")
        assert path.read_bytes() == before
        assert [one.name for one in path.parent.iterdir()] == ["log.key"]

    @pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "a\u2003b", "tab\tbed"])
    def test_a_name_that_no_note_can_carry(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(AiosError):
            SigningKey.create(tmp_path / "log.key", name)
        assert not (tmp_path / "log.key").exists()

    def test_a_missing_key(self, tmp_path: Path) -> None:
        with pytest.raises(AiosError, match=r"none\.key"):
            SigningKey.load(tmp_path / "none.key")

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
    def test_a_key_that_others_may_read_or_write(
        self, tmp_path: Path, key: SigningKey, mode: int
    ) -> None:
        path = tmp_path / "keys" / "log.key"
        path.chmod(mode)
        with pytest.raises(AiosError, match="chmod 600"):
            SigningKey.load(path)

    def test_the_error_does_not_hold_the_key(self, tmp_path: Path, key: SigningKey) -> None:
        path = tmp_path / "keys" / "log.key"
        lines = path.read_text().splitlines()
        secret = max(lines, key=len)
        path.write_text("\n".join(lines[:-1]))
        with pytest.raises(AiosError) as found:
            SigningKey.load(path)
        assert secret[10:40] not in str(found.value)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\n",
            b"log",
            b"log\n",
            os.urandom(200),
            b"log\n-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ],
        ids=["empty", "newline", "name", "name and newline", "random", "short"],
    )
    def test_garbage(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "log.key"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(AiosError, match=r"log\.key"):
            SigningKey.load(path)

    def test_keys_of_another_kind(self, tmp_path: Path) -> None:
        other = ec.generate_private_key(ec.SECP256R1())
        locked = ed25519.Ed25519PrivateKey.generate()
        contents = [
            other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            locked.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
        ]
        path = tmp_path / "log.key"
        for content in contents:
            path.write_bytes(b"log\n" + content)
            path.chmod(0o600)
            with pytest.raises(AiosError, match=r"log\.key"):
                SigningKey.load(path)

    def test_a_folder_in_place_of_a_key(self, tmp_path: Path) -> None:
        with pytest.raises(AiosError):
            SigningKey.load(tmp_path)
        (tmp_path / "file").write_text("")
        with pytest.raises(AiosError):
            SigningKey.create(tmp_path / "file" / "log.key", "log")

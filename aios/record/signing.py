"""Ed25519 keys on disk, and public keys as one line of text (C2SP signed-note verifier keys)."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from aios.errors import AiosError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_ED25519 = b"\x01"


@dataclass(frozen=True)
class PublicKey:
    """What others need to check a signature.

    Attributes:
        name: Who signs; a part of the key's identity.
        raw: The 32 bytes of the Ed25519 key.
    """

    name: str
    raw: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys apart, as C2SP's signed-note defines them."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.raw).digest()[:4]

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether the signature over the data is this key's."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read a verifier key, `name+hash+base64`.

        Raises:
            AiosError: It is no such line, or its hash does not fit its key.
        """
        try:
            name, identity, encoded = text.strip().split("+", 2)
            content = base64.b64decode(encoded, validate=True)
            key = cls(name, content[1:])
            if not name or content[:1] != _ED25519 or len(key.raw) != 32:
                raise ValueError("it is no Ed25519 key")
            if key.id.hex() != identity:
                raise ValueError("its hash does not fit")
        except ValueError as error:
            raise AiosError(
                f"this is no public key: {error}",
                where=text[:80],
                fix="Give the line that 'aios record show --key' prints: name+hash+base64.",
            ) from error
        return key


@dataclass(frozen=True)
class SigningKey:
    """A private key with the name it signs under."""

    name: str
    private: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        """The key that others check with."""
        return PublicKey(self.name, self.private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of a signature."""
        return self.private.sign(data)

    @classmethod
    def create(cls, path: Path, name: str) -> SigningKey:
        """Make a key and write it to a new file that only its owner reads.

        Raises:
            AiosError: A note cannot carry the name, or the file exists or cannot be written.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        if not name or "+" in name or name.split() != [name]:
            raise AiosError(
                f"{name!r} is no name for a key",
                where=str(path),
                fix="Give a name without spaces and without '+'.",
            )
        private = Ed25519PrivateKey.generate()
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_secret(path, name.encode() + b"\n" + pem)
        return cls(name, private)

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key.

        Raises:
            AiosError: The file is missing, readable by others, or no key.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        name, _, pem = read_secret(path).partition(b"\n")
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise AiosError(
                f"the file holds no key: {error}", where=str(path), fix="Restore it from a backup."
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise AiosError("it is no Ed25519 key", where=str(path), fix="Restore it.")
        return cls(name.decode(errors="replace"), private)


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner reads; whole, or not at all.

    Raises:
        AiosError: It exists already, or cannot be written.
    """
    # Of its own for each call: two threads that both make the key must not mix theirs.
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(aside, path)
            _sync_folder(path.parent)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise AiosError("the key exists already", where=str(path), fix="Use it.") from error
        raise AiosError(
            f"the key cannot be written: {error.strerror}",
            where=str(path),
            fix="Free some disk, or give the process write access.",
        ) from error


def _sync_folder(folder: Path) -> None:
    """Bring a new name to disk: what the key signs must not outlive it."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def create_secret(path: Path, size: int) -> None:
    """Write random bytes to a file that only its owner reads, unless it is there.

    Raises:
        AiosError: It cannot be written.
    """
    if path.exists():
        return
    try:
        write_secret(path, secrets.token_bytes(size))
    except AiosError:
        # Another process may have been faster; then all use its secret.
        if not path.exists():
            raise


def read_secret(path: Path) -> bytes:
    """Read a file that nobody but its owner may read.

    Raises:
        AiosError: It is missing, or others may read it.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read()
    except OSError as error:
        raise AiosError(
            f"the key cannot be read: {error.strerror}",
            where=str(path),
            fix="Restore it from a backup; without it nothing can be signed.",
        ) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AiosError(
            f"others may read the key (mode {stat.filemode(mode)})",
            where=str(path),
            fix=f"chmod 600 {path}, and rotate the key if others were on this machine.",
        )
    return content

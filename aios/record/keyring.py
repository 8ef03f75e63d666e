"""The keys of one purpose: the private one in use, and the public ones of all times."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aios.errors import AiosError
from aios.record.signing import PublicKey, SigningKey


class Keyring:
    """A folder's keys of one purpose, such as `record` or `models`.

    `<purpose>.key` is the private key, for its owner alone; `<purpose>.pub` holds a line for each
    public key, oldest first.
    """

    def __init__(self, folder: Path, purpose: str) -> None:
        self.folder, self.purpose = folder, purpose
        self._private = folder / f"{purpose}.key"
        self._public = folder / f"{purpose}.pub"

    @property
    def exists(self) -> bool:
        """Tell whether a key was ever made."""
        return self._public.exists() or self._private.exists()

    def signing_key(self) -> SigningKey:
        """Return the key in use.

        Raises:
            AiosError: It is missing, readable by others, or none of the public keys is its own.
        """
        key = SigningKey.load(self._private)
        if key.public not in self.public_keys():
            raise AiosError(
                "the private key belongs to none of the public keys",
                where=str(self._private),
                fix=f"Restore both {self._private.name} and {self._public.name} from one backup.",
            )
        return key

    def public_keys(self) -> list[PublicKey]:
        """Return every public key, oldest first.

        Raises:
            AiosError: The file is missing or damaged.
        """
        try:
            lines = self._public.read_text().splitlines()
        except OSError as error:
            raise AiosError(
                f"the public keys cannot be read: {error.strerror}",
                where=str(self._public),
                fix="Restore the file from a backup, or from a copy that you gave to others.",
            ) from error
        keys = [PublicKey.parse(line) for line in lines if line.strip()]
        if not keys:
            raise AiosError("it holds no key", where=str(self._public), fix="Restore it.")
        return keys

    def create(self) -> SigningKey:
        """Make the first key, under a name that no other installation has; or return it."""
        with self._alone():
            if self._public.exists():
                return self.signing_key()
            # A process killed here once left the private key without its public one.
            if self._private.exists():
                key = SigningKey.load(self._private)
            else:
                name = f"aios-{self.purpose}-{secrets.token_hex(6)}"
                key = SigningKey.create(self._private, name)
            self._write_public([key.public])
            return key

    def rotate(self, announce: Callable[[PublicKey, PublicKey, str], object]) -> PublicKey:
        """Put a new key in use, and return it; the old private key is gone afterwards.

        Args:
            announce: Told the old key, the new one, and the old one's signature of the new before
                the new one is in use; where it fails, the old one stays.
        """
        with self._alone():
            old = self.signing_key()
            following = self._private.with_suffix(".next")
            following.unlink(missing_ok=True)
            new = SigningKey.create(following, old.name)
            signature = base64.b64encode(old.sign(str(new.public).encode())).decode()
            announce(old.public, new.public, signature)
            # The public key first: a process killed in between leaves the old one in use.
            self._write_public([*self.public_keys(), new.public])
            os.replace(following, self._private)
            return new.public

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = self.folder / f".{self.purpose}.lock"
            with open(os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise AiosError(
                f"the keys cannot be written: {error.strerror}",
                where=str(self.folder),
                fix="Free some disk, or give the process write access.",
            ) from error

    def _write_public(self, keys: list[PublicKey]) -> None:
        aside = self._public.with_name(f".{self._public.name}.{os.getpid()}")
        with open(aside, "w") as file:
            file.write("".join(f"{key}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self._public)

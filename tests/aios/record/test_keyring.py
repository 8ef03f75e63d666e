"""The keys of one purpose: made once, put out of use in order, whole after a kill anywhere."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aios.errors import AiosError
from aios.record.keyring import Keyring
from aios.record.signing import PublicKey
from aios.settings import PROJECT

pytestmark = pytest.mark.unit

Announced = tuple[PublicKey, PublicKey, str]


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys", "models")


def rotate(keyring: Keyring) -> PublicKey:
    return keyring.rotate(lambda *_: None)


class TestCreation:
    def test_it_is_made_once(self, keyring: Keyring) -> None:
        assert not keyring.exists
        key = keyring.create()
        assert keyring.exists
        assert keyring.create().public == keyring.signing_key().public == key.public
        assert keyring.public_keys() == [key.public]
        assert (keyring.folder / "models.key").stat().st_mode & 0o777 == 0o600

    def test_purposes_and_installations_have_keys_of_their_own(self, tmp_path: Path) -> None:
        rings = [
            Keyring(tmp_path / folder, purpose)
            for folder in ("one", "two")
            for purpose in ("models", "record")
        ]
        made = [ring.create().public for ring in rings]
        assert len({one.name for one in made}) == len({one.raw for one in made}) == 4

    def test_all_that_begin_at_once_have_the_same(self, tmp_path: Path) -> None:
        found: list[PublicKey] = []
        wrong: list[AiosError] = []
        for attempt in range(10):
            together = threading.Barrier(4)

            def begin(attempt: int = attempt, together: threading.Barrier = together) -> None:
                own = Keyring(tmp_path / str(attempt), "record")
                together.wait()
                try:
                    found.append(own.create().public)
                except AiosError as error:
                    wrong.append(error)

            threads = [threading.Thread(target=begin) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert wrong == []
        assert len(found) == 40
        assert len(set(found)) == 10

    def test_killed_before_the_public_key_was_written(self, keyring: Keyring) -> None:
        key = keyring.create()
        (keyring.folder / "models.pub").unlink()
        assert keyring.create().public == key.public
        assert keyring.public_keys() == [key.public]

    @pytest.mark.parametrize("content", ["", "\n", "nonsense\n"])
    def test_damaged_public_keys_are_not_made_anew(self, keyring: Keyring, content: str) -> None:
        keyring.create()
        (keyring.folder / "models.pub").write_text(content)
        for attempt in (keyring.create, keyring.signing_key, keyring.public_keys):
            with pytest.raises(AiosError, match=r"models\.pub|public key"):
                attempt()
        assert (keyring.folder / "models.pub").read_text() == content

    def test_a_lost_private_key_is_missed_not_replaced(self, keyring: Keyring) -> None:
        keyring.create()
        (keyring.folder / "models.key").unlink()
        for attempt in (keyring.create, keyring.signing_key, lambda: rotate(keyring)):
            with pytest.raises(AiosError, match=r"models\.key.*cannot be read"):
                attempt()
        assert not (keyring.folder / "models.key").exists()

    def test_a_private_key_of_others_signs_nothing(self, keyring: Keyring, tmp_path: Path) -> None:
        keyring.create()
        other = Keyring(tmp_path / "other", "models")
        other.create()
        shutil.copy(other.folder / "models.key", keyring.folder / "models.key")
        with pytest.raises(AiosError, match="belongs to none of the public keys"):
            keyring.signing_key()


class TestRotation:
    def test_the_old_key_vouches_for_the_new_one(self, keyring: Keyring) -> None:
        old = keyring.create().public
        told: list[Announced] = []
        new = keyring.rotate(lambda *one: told.append(one))
        ((before, after, signature),) = told
        assert (before, after) == (old, new)
        assert old.verify(base64.b64decode(signature), str(new).encode())
        assert not new.verify(base64.b64decode(signature), str(new).encode())
        assert keyring.public_keys() == [old, new]
        assert keyring.signing_key().public == new
        assert new.name == old.name

    def test_of_the_old_private_key_nothing_is_left(self, keyring: Keyring) -> None:
        keyring.create()
        private = (keyring.folder / "models.key").read_bytes().splitlines()[2]
        rotate(keyring)
        for path in keyring.folder.iterdir():
            assert private not in path.read_bytes(), path
            assert path.suffix == ".pub" or path.stat().st_mode & 0o077 == 0

    def test_where_it_cannot_be_announced_the_old_one_stays(self, keyring: Keyring) -> None:
        old = keyring.create().public

        def fail(*_: object) -> None:
            raise AiosError("the log is locked")

        with pytest.raises(AiosError, match="locked"):
            keyring.rotate(fail)
        assert keyring.signing_key().public == old
        assert keyring.public_keys() == [old]
        new = rotate(keyring)
        assert keyring.public_keys() == [old, new]

    def test_of_two_at_once_the_second_waits(self, keyring: Keyring) -> None:
        old = keyring.create().public
        later: list[PublicKey] = []
        other = threading.Thread(
            target=lambda: later.append(rotate(Keyring(keyring.folder, "models")))
        )

        def meanwhile(*_: object) -> None:
            other.start()
            other.join(0.2)

        new = keyring.rotate(meanwhile)
        other.join()
        assert keyring.public_keys() == [old, new, *later]
        assert [keyring.signing_key().public] == later

    @pytest.mark.parametrize("killed_at", ["announce", "_write_public", "replace"])
    def test_killed_anywhere_it_can_be_used_and_rotated(
        self, keyring: Keyring, killed_at: str
    ) -> None:
        old = keyring.create().public
        script = (
            "import os, signal, sys\n"
            "from pathlib import Path\n"
            "from aios.record.keyring import Keyring\n"
            "ring = Keyring(Path(sys.argv[1]), 'models')\n"
            "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
            "announce = lambda *_: None\n"
            f"{'announce = die' if killed_at == 'announce' else ''}\n"
            f"{'Keyring._write_public = die' if killed_at == '_write_public' else ''}\n"
            "replace = os.replace\n"
            "def second(a, b): die() if str(b).endswith('.key') else replace(a, b)\n"
            f"{'os.replace = second' if killed_at == 'replace' else ''}\n"
            "ring.rotate(announce)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script, str(keyring.folder)],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
        )
        assert done.returncode == -9, done.stderr.decode()
        assert keyring.signing_key().public == old
        assert keyring.public_keys()[0] == old
        new = rotate(keyring)
        assert keyring.signing_key().public == new
        assert {old, new} <= set(keyring.public_keys())
        assert sorted(path.suffix for path in keyring.folder.iterdir() if path.stat().st_size) == [
            ".key",
            ".pub",
        ]

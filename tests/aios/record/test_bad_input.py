"""The log on full disks, under locks, with wrong clocks, lost keys and restored backups."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aios import clock
from aios.errors import AiosError
from aios.record.leaves import Act
from aios.record.places import CheckpointPlace
from aios.record.rotation import rotate
from aios.record.signing import SigningKey
from aios.settings import PROJECT
from tests.loops.test_record import act, opened

pytestmark = pytest.mark.loop

HOUR = timedelta(hours=1)

FULL_DISK = """
import json, os, sys
from pathlib import Path
from aios.errors import AiosError
from tests.loops.test_record import act, opened

home, promised, refused = Path(sys.argv[1]), [], ""
with opened(home) as log:
    for number in range(20_000):
        try:
            promised.append(log.append(act(number)).index)
        except AiosError as error:
            refused = str(error)
            break
    before = log.size()
    try:
        log.checkpoint()
    except AiosError as error:
        refused += str(error)
with opened(home) as log:
    result = {"promised": promised, "size": log.size(), "before": before, "refused": refused}
    result["problems"] = log.verify().problems
ROOM
with opened(home) as log:
    result["next"] = log.append(act(0)).index
    log.checkpoint()
    result["after"] = log.verify().problems
print(json.dumps(result))
"""


def run(script: str, *arguments: str, before: list[str] | None = None) -> dict[str, Any]:
    command = [*(before or []), sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_survived(found: dict[str, Any]) -> None:
    """The full disk was told, nothing promised was lost, and there was a way on."""
    assert "What to do" in found["refused"]
    assert found["promised"] == list(range(found["size"]))
    assert found["size"] == found["before"] > 0
    assert (found["problems"], found["after"]) == ([], [])
    assert found["next"] == found["size"]


class TestFullDisk:
    def test_no_file_may_grow(self, tmp_path: Path) -> None:
        limit = (
            "import resource\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        )
        room = "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)"
        assert_survived(run(limit + FULL_DISK.replace("ROOM", room), str(tmp_path)))

    def test_no_room_on_the_disk(self, tmp_path: Path) -> None:
        unshare = ["unshare", "--user", "--map-root-user", "--mount"]
        mount = f"mount -t tmpfs -o size=1m none {tmp_path}"
        if subprocess.run([*unshare, "sh", "-c", mount], capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        # Half of the disk is taken, and given back afterwards.
        script = (
            "import subprocess, sys\n"
            f"subprocess.run({mount.split()!r}, check=True)\n"
            "open(sys.argv[1] + '/ballast', 'wb').write(bytes(400_000))\n"
        )
        room = "os.unlink(home / 'ballast')"
        found = run(script + FULL_DISK.replace("ROOM", room), str(tmp_path), before=unshare)
        assert_survived(found)

    def test_a_batch_is_all_or_nothing(self, tmp_path: Path) -> None:
        script = (
            "import json, resource, sys\n"
            "from pathlib import Path\n"
            "from aios.errors import AiosError\n"
            "from tests.loops.test_record import act, opened\n"
            "with opened(Path(sys.argv[1])) as log:\n"
            "    log.append(act(0))\n"
            "    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
            "    try:\n"
            "        log.append_all([act(number) for number in range(5_000)])\n"
            "    except AiosError:\n"
            "        print(json.dumps({'size': log.size(), 'next': log.append(act(1)).index}))\n"
        )
        assert run(script, str(tmp_path)) == {"size": 1, "next": 1}


class TestLocked:
    @pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
    def test_by_another_connection(self, tmp_path: Path, lock: str) -> None:
        with opened(tmp_path, patience=0.3) as log:
            log.append(act(0))
            with closing(sqlite3.connect(tmp_path / "record/record.db")) as other:
                other.execute(lock)
                with pytest.raises(AiosError, match="locked"):
                    log.append(act(1))
                other.rollback()
            assert log.append(act(1)).index == 1
            assert log.verify().problems == []

    def test_before_it_was_opened(self, tmp_path: Path) -> None:
        with opened(tmp_path) as log:
            log.append(act(0))
        with closing(sqlite3.connect(tmp_path / "record/record.db")) as other:
            other.execute("PRAGMA locking_mode=EXCLUSIVE")
            other.execute("BEGIN EXCLUSIVE")
            with opened(tmp_path, patience=0.3) as log, pytest.raises(AiosError, match="locked"):
                log.append(act(1))
            other.rollback()

    def test_by_a_writer_that_does_not_end(self, tmp_path: Path) -> None:
        with opened(tmp_path) as slow, opened(tmp_path, patience=0.3) as log:
            with slow.transaction() as transaction:
                transaction.append([act(0)])
                start = time.monotonic()
                with pytest.raises(AiosError, match=r"0\.3 s"):
                    log.append(act(1))
                assert time.monotonic() - start < 2
                assert log.size() == 0
            assert log.append(act(1)).index == 1

    def test_reading_waits_for_nobody(self, tmp_path: Path) -> None:
        with opened(tmp_path) as log:
            log.append_all([act(number) for number in range(10)])
            with log.transaction() as transaction:
                transaction.append([act(10)])
                assert (log.size(), len(list(log.entries()))) == (10, 10)
                assert log.verify().problems == []

    def test_a_transaction_that_fails_leaves_nothing(self, tmp_path: Path) -> None:
        with opened(tmp_path) as log:
            log.append(act(0))
            with suppress(ZeroDivisionError), log.transaction() as transaction:
                transaction.append([act(number) for number in range(300)])
                _ = 1 / 0
            with pytest.raises(AiosError):
                log.append_all([act(1), act(2, key="k"), Act("x", None, "y", {"z": float("nan")})])
            assert (log.size(), log.find("k")) == (1, None)
            assert log.append(act(3)).index == 1
            assert log.verify().problems == []


class TestKeys:
    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        with opened(tmp_path) as log:
            log.append(act(0))
            log.checkpoint()
        return tmp_path

    @pytest.mark.parametrize("harm", ["missing", "readable", "garbage", "another", "both gone"])
    def test_nothing_is_signed_and_nothing_lost(self, home: Path, harm: str) -> None:
        private, public = home / "keys" / "record.key", home / "keys" / "record.pub"
        if harm == "readable":
            private.chmod(0o644)
        elif harm == "garbage":
            private.write_bytes(b"aios\nnonsense")
        else:
            private.unlink()
        if harm == "another":
            SigningKey.create(private, "another")
        if harm == "both gone":
            public.unlink()
        with opened(home) as log:
            before = log.checkpoints()
            assert log.append(act(1)).index == 1
            with pytest.raises(AiosError, match="record"):
                log.checkpoint()
            assert log.checkpoints() == before
            assert not list((home / "keys").glob("*.key")) or harm in (
                "readable",
                "garbage",
                "another",
            )

    def test_the_public_keys_are_damaged(self, home: Path) -> None:
        public = home / "keys" / "record.pub"
        for content in ("", "nonsense\n", public.read_text()[:-8] + "\n"):
            public.write_text(content)
            with opened(home) as log:
                with pytest.raises(AiosError, match=r"record\.pub|public key"):
                    log.checkpoint()
                with pytest.raises(AiosError, match=r"record\.pub|public key"):
                    log.verify()

    def test_a_rotated_key(self, home: Path) -> None:
        with opened(home) as log:
            old = log.public_keys()[0]
            new = rotate(log, "person:alice", "a laptop was lost")
            (leaf,) = log.entries(kind="key_rotated")
            signature = base64.b64decode(leaf.body["signature"])
            assert old.verify(signature, leaf.body["new"].encode())
            assert (leaf.body["new"], log.public_keys()) == (str(new), [old, new])
            found = log.verify()
            assert (found.problems, found.checkpoints, found.size) == ([], 2, 2)


class TestClock:
    def test_set_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        start = datetime(2026, 5, 1, 12)
        with opened(tmp_path) as log:
            for hours in (0, 3, -48, 1, 4):
                monkeypatch.setattr(clock, "wall", lambda hours=hours: start + hours * HOUR)
                log.append(act(hours))
                assert log.now() >= log.get(log.size() - 1).recorded_at
            times = [(entry.recorded_at - start) / HOUR for entry in log.entries()]
            assert times == [0, 3, 3, 3, 4]
            assert log.verify().problems == []


class TestSecondPlace:
    @pytest.mark.parametrize(
        "address", ["/dev/full", "/dev/full/x", "/proc/none", "nope://bucket", "HOME/file"]
    )
    def test_out_of_reach(self, tmp_path: Path, address: str) -> None:
        (tmp_path / "file").write_text("")
        with opened(tmp_path) as log:
            log.place = CheckpointPlace(address.replace("HOME", str(tmp_path)))
            assert log.append(act(0)).index == 0
            with pytest.raises(AiosError, match="AIOS_CHECKPOINTS"):
                log.checkpoint()
            log.place = CheckpointPlace(str(tmp_path / "checkpoints"))
            log.checkpoint()
            assert log.verify().problems == []

    def test_a_backup_older_than_the_last_checkpoint(self, tmp_path: Path) -> None:
        with opened(tmp_path) as log:
            log.append_all([act(number) for number in range(10)])
            log.checkpoint()
        shutil.copytree(tmp_path / "record", tmp_path / "backup")
        with opened(tmp_path) as log:
            log.append_all([act(number) for number in range(10, 20)])
            log.checkpoint()
        shutil.move(tmp_path / "record", tmp_path / "newest")
        shutil.copytree(tmp_path / "backup", tmp_path / "record")
        with opened(tmp_path) as log:
            assert any("cut" in problem for problem in log.verify().problems)
            with pytest.raises(AiosError, match="older copy"):
                log.checkpoint()
            with pytest.raises(AiosError, match="older copy"):
                log.append(act(20))
            assert log.size() == 10
        shutil.rmtree(tmp_path / "record")
        shutil.move(tmp_path / "newest", tmp_path / "record")
        with opened(tmp_path) as log:
            assert log.append(act(20)).index == 20
            log.checkpoint()
            assert log.verify().problems == []


class TestDatabase:
    @pytest.mark.parametrize("content", [b"", b"nonsense" * 1_000])
    def test_what_is_no_database(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "record").mkdir()
        (tmp_path / "record/record.db").write_bytes(content)
        with opened(tmp_path) as log:
            if content:
                with pytest.raises(AiosError, match=r"record\.db"):
                    log.append(act(0))
            else:
                assert log.append(act(0)).index == 0

    def test_made_by_a_later_version(self, tmp_path: Path) -> None:
        with opened(tmp_path) as log:
            log.append(act(0))
        with closing(sqlite3.connect(tmp_path / "record/record.db")) as other, other:
            other.execute("UPDATE alembic_version SET version_num = '9999'")
        with opened(tmp_path) as log, pytest.raises(AiosError, match="9999"):
            log.append(act(1))

    def test_in_a_place_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "record").write_text("a file, not a folder")
        with opened(tmp_path) as log, pytest.raises(AiosError, match="record"):
            log.append(act(0))

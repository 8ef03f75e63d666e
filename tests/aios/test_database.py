"""The platform's own database: one writer at a time, whole after kills, clear when it cannot."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from aios.database import Database, open_database
from aios.errors import AiosError
from aios.settings import PROJECT
from tests.aios.record.fresh import fresh_log
from tests.servers import Postgres

pytestmark = pytest.mark.unit

ROWS = sa.text("SELECT count(*) FROM record_subjects")
ADD = sa.text("INSERT INTO record_subjects (subject, key) VALUES (:subject, :key)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A migrated database that nobody has open."""
    fresh_log(tmp_path)
    return tmp_path / "record.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = open_at(path)
    yield opened
    opened.engine.dispose()


def open_at(path: Path, patience: float = 0.3) -> Database:
    return Database(f"sqlite:///{path}", patience=patience)


def add(database: Database, *subjects: str) -> None:
    with database.writing() as connection:
        for subject in subjects:
            connection.execute(ADD, {"subject": subject, "key": b"x" * 100})


def count(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(ROWS).scalar_one())


def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


class TestWriting:
    def test_all_of_it_or_nothing(self, database: Database) -> None:
        add(database, "a")
        with suppress(ZeroDivisionError), database.writing() as connection:
            connection.execute(ADD, {"subject": "b", "key": b""})
            _ = 1 / 0
        with pytest.raises(AiosError, match="UNIQUE"):
            add(database, "c", "a")
        assert count(database) == 1

    def test_a_look_does_not_move_while_others_write(self, path: Path, database: Database) -> None:
        other = open_at(path)
        with database.reading() as connection:
            assert connection.execute(ROWS).scalar_one() == 0
            add(other, "a")
            assert connection.execute(ROWS).scalar_one() == 0
        assert count(database) == 1
        other.engine.dispose()

    def test_one_after_the_other(self, path: Path, database: Database) -> None:
        _ = database.engine
        order: list[str] = []

        def write(name: str) -> None:
            own = open_at(path, patience=10)
            with own.writing():
                order.append(f"{name} begins")
                time.sleep(0.02)
                order.append(f"{name} ends")
            own.engine.dispose()

        threads = [threading.Thread(target=write, args=(str(n),)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [line.split()[1] for line in order] == ["begins", "ends"] * 5
        assert all(
            a.split()[0] == b.split()[0] for a, b in zip(order[::2], order[1::2], strict=True)
        )


OPEN_NEW = """
import sys, time
from aios import database
database._migrate = lambda engine: None  # what follows the first look would pull them apart
print(flush=True)
begin = float(sys.stdin.readline())
for number in range(100):
    time.sleep(max(0, begin + number / 100 - time.time()))
    database.Database(f"sqlite:///{sys.argv[1]}/{number}.db").engine.dispose()
"""


def test_a_new_one_is_opened_by_many_at_once(tmp_path: Path) -> None:
    """SQLite lets only one of them change the mode of a new file, and does not wait for it."""
    openers = [start(OPEN_NEW, str(tmp_path)) for _ in range(6)]
    for one in openers:
        assert one.stdout
        one.stdout.readline()
    begin = f"{time.time() + 0.1}\n".encode()
    for one in openers:
        assert one.stdin
        one.stdin.write(begin)
        one.stdin.flush()
    problems = [one.communicate(timeout=60)[1].decode() for one in openers]
    assert [one.returncode for one in openers] == [0] * 6, problems


class TestLocked:
    def test_by_a_writer_of_ours(self, path: Path, database: Database) -> None:
        other = open_at(path)
        with other.writing():
            begun = time.monotonic()
            with pytest.raises(AiosError, match=r"has been writing for 0\.3 s") as error:
                add(database, "a")
            assert time.monotonic() - begun < 2
        assert str(path) in str(error.value)
        assert "nothing was changed" in error.value.fix
        add(database, "a")
        assert count(database) == 1
        other.engine.dispose()

    def test_by_another_program(self, path: Path, database: Database) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(AiosError, match="database is locked"):
                add(database, "a")
            assert count(database) == 0
            other.execute("ROLLBACK")
        add(database, "a")
        assert count(database) == 1

    def test_by_one_that_migrates(self, tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        holder = open_at(path)
        with holder._lock("migrating"), pytest.raises(AiosError, match="has been migrating"):
            add(open_at(path), "a")
        later = open_at(path)
        add(later, "a")
        later.engine.dispose()

    def test_by_one_that_was_killed(self, path: Path) -> None:
        script = (
            "import sys\n"
            "from aios.database import Database\n"
            "with Database('sqlite:///' + sys.argv[1]).writing() as connection:\n"
            "    connection.exec_driver_sql(\"INSERT INTO record_subjects VALUES ('a', x'00')\")\n"
            "    print('writing', flush=True)\n"
            "    sys.stdin.read()\n"
        )
        with start(script, str(path)) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"writing\n"
            writer.send_signal(signal.SIGKILL)
        database = open_at(path)
        assert count(database) == 0
        add(database, "a")
        assert count(database) == 1
        database.engine.dispose()


FULL = """
import json, resource, sys
from aios.database import Database
from aios.errors import AiosError

database = Database('sqlite:///' + sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
written, said = 0, ""
for number in range(2000):
    try:
        with database.writing() as connection:
            connection.exec_driver_sql(
                "INSERT INTO record_subjects VALUES (?, zeroblob(500))", (str(number),)
            )
        written += 1
    except AiosError as error:
        said = str(error)
        break
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
with database.writing() as connection:
    connection.exec_driver_sql("INSERT INTO record_subjects VALUES ('last', x'00')")
with database.reading() as connection:
    kept = connection.exec_driver_sql("SELECT count(*) FROM record_subjects").scalar()
print(json.dumps({"written": written, "kept": kept, "said": said}))
"""


class TestFullDisk:
    @pytest.mark.parametrize("limit", [200_000, 400_000])
    def test_what_was_promised_stays_and_it_goes_on(self, path: Path, limit: int) -> None:
        found = finished(start(FULL, str(path), str(limit)))
        assert found["written"] > 10
        assert found["kept"] == found["written"] + 1
        assert "the database cannot be used" in found["said"]
        assert "What to do: Free some disk" in found["said"]

    def test_before_there_are_tables(self, tmp_path: Path) -> None:
        path = tmp_path / "new.db"
        script = (
            "import json, resource, sys\n"
            "from aios.database import Database\n"
            "from aios.errors import AiosError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
            "try:\n"
            "    Database('sqlite:///' + sys.argv[1]).engine\n"
            "except AiosError as error:\n"
            "    print(json.dumps({'said': str(error)}))\n"
        )
        assert "What to do: Free some disk" in finished(start(script, str(path)))["said"]
        database = open_at(path)
        assert count(database) == 0
        database.engine.dispose()


def finished(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    output, wrong = process.communicate(timeout=60)
    assert process.returncode == 0, wrong.decode()
    found: dict[str, Any] = json.loads(output)
    return found


class TestMigrating:
    def test_by_processes_that_begin_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "record.db"
        script = (
            "import json, sys\n"
            "import alembic.command, alembic.config, sqlalchemy\n"
            "from aios.database import Database\n"
            "print('ready', flush=True)\n"
            "sys.stdin.readline()\n"
            "database = Database('sqlite:///' + sys.argv[1])\n"
            "with database.writing() as connection:\n"
            "    connection.exec_driver_sql(\n"
            "        'INSERT INTO record_subjects VALUES (?, ?)', (sys.argv[2], b''))\n"
            "print('{}')\n"
        )
        processes = [start(script, str(path), str(number)) for number in range(3)]
        for process in processes:
            assert process.stdout
            process.stdout.readline()
        for process in processes:
            assert process.stdin
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in processes:
            finished(process)
        database = open_at(path)
        assert count(database) == 3
        with database.reading() as connection:
            versions = connection.execute(sa.text("SELECT version_num FROM alembic_version")).all()
        assert len(versions) == 1
        database.engine.dispose()

    def test_killed_half_way_it_begins_again(self, tmp_path: Path) -> None:
        path = tmp_path / "record.db"
        script = (
            "import os, signal, sys\n"
            "from alembic.operations import Operations\n"
            "from aios.database import Database\n"
            "make = Operations.create_table\n"
            "def die(self, name, *columns, **rest):\n"
            "    if name == 'champion_changes':\n"
            "        os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return make(self, name, *columns, **rest)\n"
            "import alembic.op\n"
            "alembic.op.create_table = lambda *a, **k: die(alembic.op._proxy, *a, **k)\n"
            "Database('sqlite:///' + sys.argv[1]).engine\n"
        )
        with start(script, str(path)) as process:
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        database = open_at(path)
        add(database, "a")
        assert count(database) == 1
        database.engine.dispose()

    @pytest.mark.parametrize("revision", ["9999", "0009", "nonsense"])
    def test_a_database_of_a_later_version_is_left_alone(self, path: Path, revision: str) -> None:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        before = path.read_bytes()
        for _ in range(2):
            with pytest.raises(AiosError, match=f"later version.*{revision}") as error:
                add(open_at(path), "a")
            assert "restore a backup" in error.value.fix
        assert path.read_bytes() == before


class TestAddress:
    @pytest.mark.parametrize("content", [b"nonsense" * 1000, b"SQLite format 3\0" + b"\1" * 4000])
    def test_what_is_no_database(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "record.db"
        path.write_bytes(content)
        with pytest.raises(AiosError, match=r"record\.db.*cannot be used"):
            add(open_at(path), "a")
        assert path.read_bytes() == content

    def test_a_place_that_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(AiosError, match="cannot be used"):
            add(open_at(tmp_path / "file" / "record.db"), "a")

    @pytest.mark.parametrize("url", ["nonsense", "nodatabase://ann:s3cr3t@nowhere/aios"])
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(AiosError, match="no address of a database") as error:
            add(Database(url), "a")
        assert "s3cr3t" not in str(error.value)

    def test_a_process_has_one_for_each_address(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path}/record.db"
        assert open_database(url) is open_database(url)
        assert open_database(url) is not open_database(f"{url}2")


class TestPostgres:
    def test_what_was_written_outlives_a_crash(self, postgres: Postgres) -> None:
        database = Database(postgres.create("crash"))
        for number in range(3):
            add(database, f"s{number}")
            postgres.stop("immediate")
            postgres.start()
            database.engine.dispose()
            with database.reading() as connection:
                assert connection.execute(ROWS).scalar() == number + 1
        database.engine.dispose()

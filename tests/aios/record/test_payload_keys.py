"""The keys of payloads, and payloads that somebody edited: noticed, and closed by default."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from aios.errors import AiosError
from aios.record.log import Log
from aios.record.payloads import Payloads
from tests.aios.record.fresh import close, fresh_log
from tests.aios.record.persons import CONTENT, SUBJECT, edit, keep
from tests.model_registry.opening import log_in

pytestmark = pytest.mark.unit


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = fresh_log(tmp_path)
    yield opened
    close(opened)


@pytest.fixture
def payloads(log: Log) -> Payloads:
    return Payloads(log)


class TestTampering:
    @pytest.mark.parametrize("people", [(SUBJECT, SUBJECT), (SUBJECT, "another")])
    @pytest.mark.parametrize("columns", [["content"], ["content", "subject"], ["subject"]])
    def test_payloads_that_changed_places_are_noticed(
        self, log: Log, payloads: Payloads, people: tuple[str, str], columns: list[str]
    ) -> None:
        one, two = (keep(payloads, who, {"of": who, "n": n}) for n, who in enumerate(people))
        names = ", ".join(columns)
        path = log.database.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection, connection:
            rows = {
                digest: values
                for digest, *values in connection.execute(
                    f"SELECT digest, {names} FROM record_payloads"
                )
            }
            marks = ", ".join(f"{name} = ?" for name in columns)
            for digest, other in ((one, two), (two, one)):
                connection.execute(
                    f"UPDATE record_payloads SET {marks} WHERE digest = ?", (*rows[other], digest)
                )
        if rows[one] == rows[two]:
            assert payloads.read(one) == {"of": SUBJECT, "n": 0}
            return
        for digest in (one, two):
            with pytest.raises(AiosError):
                payloads.read(digest)

    def test_no_byte_of_it_can_be_changed_or_cut(self, log: Log, payloads: Payloads) -> None:
        digest = keep(payloads, content={"n": 1})
        path = log.database.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection:
            ((sealed,),) = connection.execute("SELECT content FROM record_payloads").fetchall()
        flipped = [
            sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
            for place in range(0, len(sealed), 3)
        ]
        for content in [*flipped, sealed[:-1], sealed[:20], sealed[:5], b""]:
            edit(log, "UPDATE record_payloads SET content = ?", content)
            with pytest.raises(AiosError, match="cannot be decrypted"):
                payloads.read(digest)
        edit(log, "UPDATE record_payloads SET content = ?", sealed)
        assert payloads.read(digest) == {"n": 1}

    def test_the_database_alone_reads_nothing(
        self, log: Log, payloads: Payloads, tmp_path: Path
    ) -> None:
        digest = keep(payloads)
        (tmp_path / "keys" / "payloads.key").unlink()
        for attempt in (
            lambda: payloads.read(digest),
            lambda: keep(payloads),
            lambda: payloads.erase(SUBJECT, "person:aud", "asked for"),
        ):
            with pytest.raises(AiosError, match=r"payloads\.key.*cannot be read"):
                attempt()
        assert not (tmp_path / "keys" / "payloads.key").exists()
        assert log.size() == 1


class TestKeyFile:
    def test_only_its_owner_reads_it(self, payloads: Payloads, tmp_path: Path) -> None:
        keep(payloads)
        path = tmp_path / "keys" / "payloads.key"
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        with pytest.raises(AiosError, match="others may read the key") as error:
            keep(payloads)
        assert "chmod 600" in error.value.fix

    @pytest.mark.parametrize("content", [b"", b"short", b"x" * 16, b"x" * 32, b"x" * 33])
    def test_another_key_neither_adds_nor_erases(
        self, log: Log, payloads: Payloads, tmp_path: Path, content: bytes
    ) -> None:
        digest = keep(payloads)
        path = tmp_path / "keys" / "payloads.key"
        right = path.read_bytes()
        path.write_bytes(content)
        for attempt in (
            lambda: payloads.read(digest),
            lambda: keep(payloads),
            lambda: keep(payloads, "another"),
            # It would say that there was nothing to erase.
            lambda: payloads.erase(SUBJECT, "person:aud", "asked for"),
        ):
            with pytest.raises(AiosError, match=r"payloads\.key|cannot be decrypted"):
                attempt()
        assert log.size() == 1
        path.write_bytes(right)
        assert payloads.read(digest) == CONTENT

    def test_processes_that_begin_at_once_share_one(self, log: Log, tmp_path: Path) -> None:
        _ = log.database.engine
        wrong: list[BaseException] = []
        together = threading.Barrier(6)

        def begin(number: int) -> None:
            own = log_in(tmp_path)
            together.wait()
            try:
                keep(Payloads(own), f"person {number}")
            except AiosError as error:
                wrong.append(error)
            finally:
                close(own)

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        found = [entry.body["payload"] for entry in log.entries(kind="override")]
        assert [Payloads(log).read(digest) for digest in found] == [CONTENT] * 6

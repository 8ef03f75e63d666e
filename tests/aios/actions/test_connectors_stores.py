"""Connectors of tables, files, mail and queues, against the real servers."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from aios.actions.connectors.base import (
    NOT_THERE,
    Done,
    Failed,
    Refused,
    Request,
    Unavailable,
    Unsure,
)
from aios.actions.connectors.email import Email
from aios.actions.connectors.files import Files
from aios.actions.connectors.redis import Redis
from aios.actions.connectors.sql import Sql
from tests.servers import Postgres, free_port, listens, redis_server, wait_for

pytestmark = pytest.mark.unit

TABLE = (
    "CREATE TABLE payments (key TEXT PRIMARY KEY, type TEXT NOT NULL CHECK (type <> 'never'),"
    " payload TEXT NOT NULL, undoes TEXT)"
)


def request(key: str = "k1", to: str = "payments", type: str = "pay", **more: Any) -> Request:
    return Request(key, type, to, {"claim": "C-7", "amount": 120.5}, **more)


class TestSql:
    @pytest.fixture(params=["sqlite", "postgres"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/receiver.db"
        else:
            server: Postgres = request.getfixturevalue("postgres")
            url = server.create(f"sql_{abs(hash(tmp_path))}")
        self.execute(url, TABLE)
        return url

    def execute(self, url: str, statement: str) -> list[Any]:
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            found = connection.exec_driver_sql(statement)
            rows = list(found) if found.returns_rows else []
        engine.dispose()
        return rows

    def test_a_row_a_key_and_the_receipt_says_whether_it_was_there(self, url: str) -> None:
        with closing(Sql(url, 5.0)) as connector:
            assert connector.send([request("k1"), request("k2", undoes="k1")]) == [
                Done({"key": "k1", "there": False}),
                Done({"key": "k2", "there": False}),
            ]
            assert connector.send([request("k3"), request("k1")]) == [
                Done({"key": "k3", "there": False}),
                Done({"key": "k1", "there": True}),
            ]
            assert connector.find(request("k1")) == Done({"key": "k1", "there": True})
            assert connector.find(request("k9")) == NOT_THERE
        rows = self.execute(url, "SELECT * FROM payments ORDER BY key")
        assert [tuple(row) for row in rows] == [
            ("k1", "pay", '{"amount":120.5,"claim":"C-7"}', None),
            ("k2", "pay", '{"amount":120.5,"claim":"C-7"}', "k1"),
            ("k3", "pay", '{"amount":120.5,"claim":"C-7"}', None),
        ]

    def test_a_large_batch(self, url: str) -> None:
        batch = [request(f"k{number}") for number in range(5_000)]
        with closing(Sql(url, 10.0)) as connector:
            connector.send(batch[:100])
            answers = connector.send(batch)
        assert [one.receipt["there"] for one in answers] == [True] * 100 + [False] * 4_900
        assert self.execute(url, "SELECT count(*) FROM payments") == [(5_000,)]

    def test_one_bad_row_does_not_take_the_others_with_it(self, url: str) -> None:
        with closing(Sql(url, 5.0)) as connector:
            good, bad, last = connector.send(
                [request("k1"), request("k2", type="never"), request("k3")]
            )
        assert (good, last) == (
            Done({"key": "k1", "there": False}),
            Done({"key": "k3", "there": False}),
        )
        assert isinstance(bad, Refused)
        assert self.execute(url, "SELECT key FROM payments ORDER BY key") == [("k1",), ("k3",)]

    def test_a_name_is_no_way_into_the_statement(self, url: str) -> None:
        with closing(Sql(url, 5.0)) as connector:
            for to in ("payments; DROP TABLE payments", 'payments" --', "a.b.c", ""):
                assert connector.send([request(to=to)]) == [Refused("no such table name")]
        assert self.execute(url, "SELECT count(*) FROM payments") == [(0,)]

    def test_a_receiver_that_is_locked_takes_nothing(self, url: str) -> None:
        engine = sa.create_engine(url)
        sqlite = engine.dialect.name == "sqlite"
        with engine.connect() as holder, closing(Sql(url, 1.0)) as connector:
            holder.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE payments")
            assert isinstance(connector.send([request()])[0], Unavailable)
            holder.rollback()
            assert connector.send([request()]) == [Done({"key": "k1", "there": False})]
        engine.dispose()

    def test_a_server_that_comes_back(self, postgres: Postgres, tmp_path: Path) -> None:
        url = postgres.create(f"sql_{abs(hash(tmp_path))}")
        self.execute(url, TABLE)
        with closing(Sql(url, 5.0)) as connector:
            connector.send([request("k1")])
            postgres.stop()
            try:
                assert isinstance(connector.send([request("k2")])[0], Unavailable)
                assert isinstance(connector.find(request("k1")), Unavailable)
            finally:
                postgres.start()
            assert connector.find(request("k1")) == Done({"key": "k1", "there": True})
            assert connector.send([request("k2")]) == [Done({"key": "k2", "there": False})]


class TestFiles:
    def test_a_file_a_key(self, tmp_path: Path) -> None:
        connector = Files(str(tmp_path))
        assert connector.find(request(to="letters")) == NOT_THERE
        sent = connector.send([request(to="letters"), request(to="letters"), request("k2", "")])
        assert [one.receipt["there"] for one in sent] == [False, True, False]
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == {
            "letters/k1.json",
            "k2.json",
        }
        assert json.loads((tmp_path / "letters/k1.json").read_text()) == {
            "key": "k1",
            "type": "pay",
            "payload": {"claim": "C-7", "amount": 120.5},
            "undoes": None,
        }

    def test_what_a_consumer_took_is_not_written_again(self, tmp_path: Path) -> None:
        connector = Files(str(tmp_path))
        connector.send([request(to="letters")])
        (tmp_path / "letters/taken").mkdir()
        (tmp_path / "letters/k1.json").rename(tmp_path / "letters/taken/k1.json")
        assert connector.find(request(to="letters")) == Done({"file": "k1.json", "there": True})
        assert connector.send([request(to="letters")]) == [Done({"file": "k1.json", "there": True})]
        assert not (tmp_path / "letters/k1.json").exists()

    @pytest.mark.parametrize(
        ("key", "to"),
        [
            ("../k1", "letters"),
            ("k1/../../x", "letters"),
            ("k1", "../letters"),
            ("k1", "/letters"),
            ("k1", "a/../../b"),
            ("k1", "letters/taken"),
            ("k1", ".hidden"),
            ("k1", "out"),
            ("", "letters"),
        ],
    )
    def test_no_name_leaves_the_root(self, tmp_path: Path, key: str, to: str) -> None:
        root = tmp_path / "root"
        root.mkdir()
        (tmp_path / "elsewhere").mkdir()
        (root / "out").symlink_to(tmp_path / "elsewhere")
        connector = Files(str(root))
        assert connector.send([request(key, to)]) == [Refused("no such folder name")]
        assert isinstance(connector.find(request(key, to)), Unsure)
        assert list(tmp_path.rglob("*.json")) == []

    def test_a_root_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        connector = Files(f"{tmp_path}/share")
        assert isinstance(connector.send([request(to="letters")])[0], Unavailable)
        assert isinstance(connector.find(request(to="letters")), Unavailable)
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_takes_no_file_leaves_no_part(self, tmp_path: Path) -> None:
        (tmp_path / "letters").write_text("a file where the folder should be")
        assert isinstance(Files(str(tmp_path)).send([request(to="letters")])[0], Unavailable)
        assert [path.name for path in tmp_path.iterdir()] == ["letters"]


class TestRedis:
    def test_an_entry_a_key(self, redis_url: str) -> None:
        import redis

        with closing(Redis(redis_url, 5.0)) as connector:
            first, second = connector.send([request("k1", "stream"), request("k1", "stream")])
            assert isinstance(first, Done)
            assert isinstance(second, Done)
            assert (first.receipt["there"], second.receipt["there"]) == (False, True)
            assert first.receipt["entry"] == second.receipt["entry"]
            assert connector.find(request("k1", "stream")) == second
            assert connector.find(request("k2", "stream")) == NOT_THERE
            connector.send([request(f"n{number}", "stream") for number in range(2_000)])
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            entries: Any = client.xrange("stream")
        assert len(entries) == 2_001
        assert entries[0] == (
            first.receipt["entry"],
            {"key": "k1", "type": "pay", "payload": '{"amount":120.5,"claim":"C-7"}', "undoes": ""},
        )

    def test_a_refused_entry_leaves_no_mark(self, redis_url: str) -> None:
        import redis

        with (
            redis.Redis.from_url(redis_url) as client,
            closing(Redis(redis_url, 5.0)) as connector,
        ):
            client.set("text", "not a stream")
            assert isinstance(connector.send([request("k1", "text")])[0], Refused)
            assert connector.find(request("k1", "text")) == NOT_THERE

    def test_a_server_that_stands_still_and_one_that_is_gone(self) -> None:
        with redis_server() as (url, server), closing(Redis(url, 0.3)) as connector:
            assert isinstance(connector.send([request("k1", "s")])[0], Done)
            server.send_signal(signal.SIGSTOP)
            assert isinstance(connector.find(request("k1", "s")), Unavailable)
            server.send_signal(signal.SIGCONT)
            assert isinstance(connector.find(request("k1", "s")), Done)
            server.kill()
            server.wait()
            assert isinstance(connector.send([request("k2", "s")])[0], Unavailable)


@contextmanager
def smtp(handler: Any) -> Iterator[str]:
    """Run a mail server; yield its address."""
    from aiosmtpd.controller import Controller

    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{controller.port}?from=claims@insurer.example"
    finally:
        controller.stop()


class Mailbox:
    """What a mail server took; addresses that begin with `busy` or `nobody` it does not take."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def handle_RCPT(self, _s: Any, _n: Any, envelope: Any, to: str, _o: Any) -> str:
        if to.startswith(("busy", "nobody")):
            return "450 later" if to.startswith("busy") else "550 no such mailbox"
        envelope.rcpt_tos.append(to)
        return "250 OK"

    async def handle_DATA(self, _s: Any, _n: Any, envelope: Any) -> str:
        if b"spam" in envelope.content:
            return "554 we do not want this"
        await asyncio.sleep(0)
        self.messages.append(envelope.content)
        return "250 kept"


def mail(key: str, to: str = "anna@example.org", text: str = "We pay.") -> Request:
    return Request(key, "tell", to, {"subject": "Your claim", "text": text})


class TestEmail:
    def test_a_message_with_the_key_as_its_id(self) -> None:
        box = Mailbox()
        with smtp(box) as address, closing(Email(address, 5.0)) as connector:
            answers = connector.send([mail("k1"), mail("k2", text="Gr\u00fc\u00dfe\n.\nend")])
        assert answers == [
            Done({"message_id": "<k1@insurer.example>", "status": 250}),
            Done({"message_id": "<k2@insurer.example>", "status": 250}),
        ]
        assert b"Message-ID: <k1@insurer.example>" in box.messages[0]
        assert b"To: anna@example.org" in box.messages[0]
        assert len(box.messages) == 2

    def test_what_is_refused_is_surely_not_sent(self) -> None:
        box = Mailbox()
        with smtp(box) as address, closing(Email(address, 5.0)) as connector:
            assert connector.send(
                [
                    mail("k1", "busy@example.org"),
                    mail("k2", "nobody@example.org"),
                    mail("k3", text="spam"),
                    mail("k4"),
                ]
            ) == [
                Failed("SMTP 450"),
                Refused("SMTP 550"),
                Refused("SMTP 554"),
                Done({"message_id": "<k4@insurer.example>", "status": 250}),
            ]
        assert len(box.messages) == 1

    @pytest.mark.parametrize(
        "bad",
        [
            mail("k1", "anna@example.org\nBcc: all@example.org"),
            mail("k1", "anna@example.org, all@example.org"),
            Request("k1\nBcc: all@example.org", "tell", "a@b.example", {"subject": "", "text": ""}),
            Request("k1", "tell", "a@b.example", {"subject": "x\nBcc: all@b.example", "text": ""}),
            Request("k1", "tell", "a@b.example", {"text": "no subject"}),
            Request("k1", "tell", "", {"subject": "", "text": "to nobody"}),
        ],
    )
    def test_no_header_is_smuggled_in(self, bad: Request) -> None:
        box = Mailbox()
        with smtp(box) as address, closing(Email(address, 5.0)) as connector:
            assert isinstance(connector.send([bad])[0], Refused)
        assert box.messages == []

    def test_cut_before_the_text_nothing_was_sent_cut_after_it_nobody_knows(self) -> None:
        for words, expected in ((2, Unavailable), (3, Unsure), (4, Unsure)):
            with cutting(words) as port:
                address = f"smtp://127.0.0.1:{port}?from=claims@insurer.example"
                with closing(Email(address, 2.0)) as connector:
                    assert isinstance(connector.send([mail("k1")])[0], expected), words

    def test_a_connection_that_ended_while_idle_is_opened_again(self) -> None:
        box = Mailbox()
        with smtp(box) as address, closing(Email(address, 5.0)) as connector:
            connector.send([mail("k1")])
            assert connector._server is not None
            connector._server.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
            assert isinstance(connector.send([mail("k2")])[0], Done)
        assert len(box.messages) == 2

    def test_mail_cannot_be_asked_for(self) -> None:
        address = "smtp://127.0.0.1:1?from=a@b.example"
        assert isinstance(Email(address, 1.0).find(mail("k1")), Unsure)


@contextmanager
def cutting(words: int) -> Iterator[int]:
    """Serve one client of mail; hang up instead of answering its word after `words`, or the text.

    The words are EHLO, MAIL, RCPT, DATA.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client, client.makefile("rwb", buffering=0) as stream:
                stream.write(b"220 here\r\n")
                for _ in range(words):
                    word = stream.readline()
                    stream.write(b"354 go on\r\n" if word[:4].lower() == b"data" else b"250 OK\r\n")
                if words == 4:
                    while stream.readline() != b".\r\n":
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_the_test_servers_end_with_their_tests() -> None:
    with redis_server() as (url, server):
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        wait_for(lambda: listens(port), "redis")
        assert isinstance(server, subprocess.Popen)
    assert not listens(port)

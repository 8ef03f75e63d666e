"""Connections to receivers: HTTP against a real server, and what each outcome means."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aios.actions.connectors import connect
from aios.actions.connectors.base import (
    NOT_THERE,
    Answer,
    Done,
    Failed,
    Refused,
    Request,
    Unavailable,
    Unsure,
)
from aios.actions.connectors.http import Http
from aios.actions.declared import Receiver
from aios.errors import AiosError
from tests.servers import Insurer, free_port, insurer

pytestmark = pytest.mark.unit

SECRET = "a key of the signatures"


def request(key: str = "k1", to: str = "/payments", **more: Any) -> Request:
    return Request(key, "pay", to, {"claim": "C-7", "amount": 120}, **more)


def http(url: str, *, secret: str | None = None, timeout: float = 5.0, parallel: int = 8) -> Http:
    return Http(url, secret, "/effects/{key}", timeout, parallel)


def sent(url: str, one: Request | None = None, **how: Any) -> Answer:
    with closing(http(url, **how)) as connector:
        return connector.send([one or request()])[0]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Insurer]:
    with insurer(tmp_path_factory.mktemp("insurer"), secret=SECRET) as running:
        yield running


@contextmanager
def scripted(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve with one function; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def status(code: int, body: bytes = b"", **headers: str) -> Callable[..., None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class TestHttp:
    def test_an_effect_happens_once_however_often_it_is_sent(self, receiver: Insurer) -> None:
        with closing(http(receiver.url, secret=SECRET)) as connector:
            first, second = connector.send([request("once")] * 2)
            assert first == second
            assert isinstance(first, Done)
            assert connector.find(request("once")).receipt["number"] == first.receipt["number"]
        assert [one["body"] for one in receiver.effects() if one["key"] == "once"] == [
            {"claim": "C-7", "amount": 120}
        ]

    def test_a_batch_answers_in_its_order(self, receiver: Insurer) -> None:
        batch = [request(f"batch{number}") for number in range(40)]
        with closing(http(receiver.url, secret=SECRET)) as connector:
            answers = connector.send(batch)
        numbers = {one["key"]: one["number"] for one in receiver.effects()}
        assert answers == [Done({"number": numbers[one.key]}) for one in batch]

    def test_a_compensation_names_what_it_undoes(self, receiver: Insurer) -> None:
        one = request("back", "/reversals", undoes="once")
        assert isinstance(sent(receiver.url, one, secret=SECRET), Done)
        assert receiver.effects()[-1]["undoes"] == "once"

    def test_without_the_right_secret_nothing_is_done(self, receiver: Insurer) -> None:
        before = len(receiver.effects())
        for secret in (None, "another"):
            answer = sent(receiver.url, request("forged"), secret=secret)
            assert answer == Refused("HTTP 401 bad_signature")
        assert len(receiver.effects()) == before

    def test_the_signature_covers_time_and_body(self) -> None:
        seen: list[Any] = []

        def keep(handler: BaseHTTPRequestHandler) -> None:
            seen.append(handler.headers)
            status(200)(handler)

        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        with scripted(keep) as url:
            assert sent(url, request(trace=trace), secret=SECRET) == Done({"status": 200})
        at, code = seen[0]["Aios-Signature"].removeprefix("t=").split(",v1=")
        signed = f'{at}.{{"amount":120,"claim":"C-7"}}'.encode()
        assert code == hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert abs(int(at) - time.time()) < 60
        assert (seen[0]["Idempotency-Key"], seen[0]["traceparent"]) == ("k1", trace)

    def test_a_key_that_was_used_for_something_else_is_refused(self, receiver: Insurer) -> None:
        sent(receiver.url, request("reused"), secret=SECRET)
        other = Request("reused", "pay", "/payments", {"amount": 9})
        assert sent(receiver.url, other, secret=SECRET) == Refused("HTTP 422 key_reused")

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            (201, Done({"status": 201})),
            (302, Refused("HTTP 302")),
            (400, Refused("HTTP 400")),
            (404, Refused("HTTP 404")),
            (408, Unsure("HTTP 408")),
            (409, Unsure("HTTP 409")),
            (429, Unavailable("HTTP 429")),
            (500, Unsure("HTTP 500")),
            (502, Unsure("HTTP 502")),
            (503, Unavailable("HTTP 503")),
            (504, Unsure("HTTP 504")),
        ],
    )
    def test_what_a_status_means(self, code: int, expected: Answer) -> None:
        with scripted(status(code, Location="http://127.0.0.1:1/")) as url:
            assert sent(url) == expected

    def test_a_receiver_says_how_long_to_rest(self) -> None:
        with scripted(status(503, Retry_After="90")) as url:
            assert sent(url) == Unavailable("HTTP 503", timedelta(seconds=90))
        later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        with scripted(status(429, Retry_After=later)) as url:
            answer = sent(url)
        assert isinstance(answer, Unavailable)
        assert answer.rest is not None
        assert timedelta(seconds=90) < answer.rest <= timedelta(seconds=100)

    def test_nobody_listens(self) -> None:
        assert sent(f"http://127.0.0.1:{free_port()}") == Unavailable("no connection")

    def test_no_answer_in_time_is_no_failure(self, tmp_path: Path) -> None:
        with insurer(tmp_path, slow=1, seconds=1) as running:
            assert sent(running.url, timeout=0.2) == Unsure("no answer in time")
            running.behave(slow=0)
            time.sleep(1)
            assert len(running.effects()) == 1

    def test_a_cut_connection_tells_nothing_but_the_receiver_does(self, tmp_path: Path) -> None:
        with insurer(tmp_path, drop_after=1) as running, closing(http(running.url)) as connector:
            assert connector.send([request()]) == [Unsure("the connection was cut")]
            assert isinstance(connector.find(request()), Done)
            running.behave(drop_after=0, drop_before=1)
            assert connector.send([request("k2")]) == [Unsure("the connection was cut")]
            assert connector.find(request("k2")) == NOT_THERE
            running.behave(down=1)
            assert connector.find(request()) == Unavailable("HTTP 503 down", timedelta(seconds=1))

    def test_a_receiver_without_a_status_cannot_be_asked(self) -> None:
        with closing(Http("http://127.0.0.1:1", None, None, 1.0, 1)) as connector:
            assert isinstance(connector.find(request()), Unsure)

    def test_an_endless_answer_is_not_read(self) -> None:
        def pour(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(bytes(10_000))

        def drip(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(b" ")
                time.sleep(0.05)

        for answer, expected in (
            (pour, Done({"status": 200})),
            (drip, Unsure("the answer was cut short")),
        ):
            with scripted(_until_gone(answer)) as url:
                start = time.monotonic()
                assert sent(url, timeout=0.3) == expected
                assert time.monotonic() - start < 2

    def test_a_cut_receipt_is_asked_for_where_that_is_possible(self) -> None:
        def cut(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()

        with scripted(cut) as url:
            assert sent(url) == Unsure("the answer was cut short")
            with closing(Http(url, None, None, 5.0, 1)) as connector:
                assert connector.send([request()]) == [Done({"status": 200})]

    def test_where_to_cannot_lead_to_another_host(self, receiver: Insurer) -> None:
        for to in ("@127.0.0.1:1/payments", "//127.0.0.1:1/payments", "http://127.0.0.1:1/"):
            answer = sent(receiver.url, request("away", to), secret=SECRET)
            assert answer in (Refused("HTTP 404 no_such_path"), Unavailable("no connection"))

    def test_prose_of_the_receiver_is_not_kept(self) -> None:
        with scripted(status(422, b'{"error": "Anna Muster has no policy"}')) as url:
            assert sent(url) == Refused("HTTP 422")


def _until_gone(answer: Callable[..., None]) -> Callable[..., None]:
    def guarded(handler: BaseHTTPRequestHandler) -> None:
        try:
            answer(handler)
        except OSError:
            handler.close_connection = True

    return guarded


class TestConnect:
    def test_addresses_and_secrets_come_from_the_environment(self, receiver: Insurer) -> None:
        declared = Receiver(
            kind="http", address="${INSURER}", secret="INSURER_KEY", status="/effects/{key}"
        )
        environ = {"INSURER": receiver.url, "INSURER_KEY": SECRET}
        with closing(connect(declared, environ)) as connector:
            assert isinstance(connector.send([request("declared")])[0], Done)

    @pytest.mark.parametrize("missing", ["INSURER", "INSURER_KEY"])
    def test_a_missing_one_is_named(self, missing: str) -> None:
        declared = Receiver(kind="http", address="${INSURER}", secret="INSURER_KEY")
        environ = {"INSURER": "http://127.0.0.1:1", "INSURER_KEY": SECRET}
        del environ[missing]
        with pytest.raises(AiosError, match=missing):
            connect(declared, environ)

    @pytest.mark.parametrize(
        ("kind", "address"),
        [
            ("sql", "mysql://host/db"),
            ("sql", "no address"),
            ("email", "smtp://host"),
            ("email", "http://host?from=a@b"),
            ("email", "smtp://${USER}:${PASSWORD}@host?from=a@b"),
        ],
    )
    def test_a_wrong_address_says_so(self, kind: Any, address: str) -> None:
        with pytest.raises(AiosError, match="What to do"):
            connect(Receiver(kind=kind, address=address), {"USER": "u", "PASSWORD": "p"})

    def test_nothing_is_opened_before_something_is_sent(self) -> None:
        for kind, address in (
            ("http", "http://127.0.0.1:1"),
            ("sql", "postgresql+psycopg://nobody@127.0.0.1:1/none"),
            ("files", "/no/such/folder"),
            ("email", "smtp://127.0.0.1:1?from=a@b.example"),
            ("redis", "redis://127.0.0.1:1/0"),
        ):
            connector = connect(Receiver(kind=kind, address=address), {})
            to = {"sql": "effects", "email": "c@d.example"}.get(kind, "there")
            one = Request("k", "t", to, {"subject": "s", "text": "t"})
            assert isinstance(connector.send([one])[0], Unavailable), kind
            found = connector.find(one)
            assert isinstance(found, Unavailable | Unsure), kind
            assert not isinstance(found, Failed)
            connector.close()

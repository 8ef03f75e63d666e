"""A stand-in for an insurer: it pays and takes back, keeps a ledger, and misbehaves when told.

`python -m tests.insurer --port 8801 --data insurer.db` starts one; `--help` says how it can be
made slow, flaky, lying, late, duplicating or down. A ledger outlives a kill of the process.

| request | does |
|---|---|
| `POST /payments`, `/investigations`, `/reversals` | an effect, once for each `Idempotency-Key` |
| `GET /payments/KEY` (or `/reversals/`, `/effects/`) | what became of a key: 200 or 404 |
| `GET /` | how many effects of each kind, and how many calls came |
| `GET /behave`, `POST /behave` | how it behaves; `{"down": 1}` changes it, `{}` keeps it |
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import hmac
import json
import os
import random
import re
import socket
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KINDS = {"payments": "payment", "investigations": "investigation", "reversals": "reversal"}
FRESH = 300
"""Seconds that a signature is good for."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, kind TEXT NOT NULL,
    undoes TEXT, body TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS effects_key ON effects (key);
"""


@dataclass
class Behaviour:
    """How it behaves: shares of the requests, from 0 to 1, and times in seconds."""

    slow: float = 0.0
    seconds: float = 1.0
    drop_before: float = 0.0
    drop_after: float = 0.0
    lie: float = 0.0
    lie_done: float = 0.0
    late: float = 0.0
    late_by: float = 1.0
    duplicate: float = 0.0
    refuse: float = 0.0
    down: float = 0.0
    naive: float = 0.0


SAID = {
    "slow": "answered only after --seconds",
    "seconds": "how long slow answers take",
    "drop_before": "connection cut, and nothing done",
    "drop_after": "done, then connection cut without an answer",
    "lie": "done, then answered with 500",
    "lie_done": "answered with 200, and nothing done",
    "late": "connection cut, and done only --late-by seconds later",
    "late_by": "how much later",
    "duplicate": "handled twice, as by a network that repeats",
    "refuse": "of the keys: always refused with 422",
    "down": "answered with 503, also when asked what became of a key",
    "naive": "1 does what it is told each time, also for a key that it has seen",
}


class Ledger:
    """What was done, in SQLite: there when `do` returns, even if the process is killed then."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(
            f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000;{SCHEMA}"
        )

    def do(self, key: str, kind: str, undoes: str | None, body: str, *, again: bool) -> int | None:
        """Note an effect; return its number, None where the key was used for another body."""
        with self._lock:
            known = None if again else self._known(key)
            if known:
                return int(known[0]) if (known[1], known[3]) == (kind, body) else None
            done = self._connection.execute(
                "INSERT INTO effects (key, kind, undoes, body, at) VALUES (?, ?, ?, ?, ?)",
                (key, kind, undoes, body, time.time()),
            )
            return done.lastrowid

    def find(self, key: str) -> dict[str, Any] | None:
        """Return what was done for a key."""
        with self._lock:
            known = self._known(key)
        return {"number": known[0], "kind": known[1], "undoes": known[2]} if known else None

    def counts(self) -> dict[str, int]:
        """Return how many effects there are of each kind."""
        with self._lock:
            return dict(
                self._connection.execute("SELECT kind, count(*) FROM effects GROUP BY kind")
            )

    def _known(self, key: str) -> tuple[Any, ...] | None:
        found: tuple[Any, ...] | None = self._connection.execute(
            "SELECT number, kind, undoes, body FROM effects WHERE key = ?", (key,)
        ).fetchone()
        return found


class Insurer(ThreadingHTTPServer):
    """The server, with its ledger, its behaviour and its chance."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, port: int, ledger: Ledger, behaviour: Behaviour, secret: str | None, seed: int
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.ledger, self.behaviour, self.secret = ledger, behaviour, secret
        self.chance, self.calls = random.Random(seed), 0

    def handle_error(self, request: Any, address: Any) -> None:
        """Be quiet about clients that went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, address)

    def happens(self, share: float) -> bool:
        """Draw whether something with this share happens now."""
        return share > 0 and self.chance.random() < share


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Insurer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = 60

    def log_message(self, *_: Any) -> None:
        """Write no line a request."""

    def do_GET(self) -> None:
        """Answer what became of a key, the counts, or the behaviour."""
        parts = self.path.strip("/").split("/")
        if parts == ["behave"]:
            return self._answer(200, dataclasses.asdict(self.server.behaviour))
        if parts == [""]:
            counts = self.server.ledger.counts()
            return self._answer(200, {"effects": counts, "calls": self.server.calls})
        if self._hindered(b""):
            return None
        if len(parts) != 2 or parts[0] not in (*KINDS, "effects"):
            return self._answer(404, {"error": "no_such_path"})
        found = self.server.ledger.find(parts[1])
        return self._answer(200, found) if found else self._answer(404, {"error": "no_such_key"})

    def do_POST(self) -> None:
        """Do what is asked, as far as it behaves."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/behave":
            return self._behave(body)
        if self._hindered(body):
            return None
        kind, key = KINDS.get(self.path.strip("/")), self.headers.get("Idempotency-Key")
        if kind is None:
            return self._answer(404, {"error": "no_such_path"})
        if not key or not re.fullmatch(r"[\w-]{1,200}", key):
            return self._answer(400, {"error": "no_key"})
        if not _is_object(body):
            return self._answer(400, {"error": "no_json_object"})
        share = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 2**32
        if share < self.server.behaviour.refuse:
            return self._answer(422, {"error": "unknown_policy"})
        return self._effect(key, kind, body.decode())

    def _effect(self, key: str, kind: str, body: str) -> None:
        server, how = self.server, self.server.behaviour
        told = (key, kind, self.headers.get("Aios-Undoes"), body)
        again = how.naive >= 1
        if server.happens(how.drop_before):
            return self._cut()
        if server.happens(how.late):
            later = threading.Timer(how.late_by, server.ledger.do, told, {"again": again})
            later.daemon = True
            later.start()
            return self._cut()
        if server.happens(how.lie_done):
            return self._answer(200, {"number": -1})
        number = server.ledger.do(*told, again=again)
        if server.happens(how.duplicate):
            number = server.ledger.do(*told, again=again)
        if number is None:
            return self._answer(422, {"error": "key_reused"})
        if server.happens(how.drop_after):
            return self._cut()
        if server.happens(how.lie):
            return self._answer(500, {"error": "internal"})
        return self._answer(200, {"number": number})

    def _behave(self, body: bytes) -> None:
        told = json.loads(body) if _is_object(body) else None
        known = {field.name for field in dataclasses.fields(Behaviour)}
        if told is None or not set(told) <= known:
            return self._answer(400, {"error": "no_such_behaviour"})
        self.server.behaviour = dataclasses.replace(self.server.behaviour, **told)
        return self._answer(200, dataclasses.asdict(self.server.behaviour))

    def _hindered(self, body: bytes) -> bool:
        """Be slow, be down, and let nobody in without a signature; return whether that was all."""
        server, how = self.server, self.server.behaviour
        server.calls += 1
        if server.happens(how.slow):
            time.sleep(how.seconds)
        if server.happens(how.down):
            self._answer(503, {"error": "down"}, {"Retry-After": "1"})
            return True
        if server.secret is not None and not self._signed(server.secret, body):
            self._answer(401, {"error": "bad_signature"})
            return True
        return False

    def _signed(self, secret: str, body: bytes) -> bool:
        found = re.fullmatch(
            r"t=(\d{1,12}),v1=([0-9a-f]{64})", self.headers.get("Aios-Signature") or ""
        )
        if not found or abs(time.time() - int(found[1])) > FRESH:
            return False
        code = hmac.new(secret.encode(), f"{found[1]}.".encode() + body, hashlib.sha256)
        return hmac.compare_digest(code.hexdigest(), found[2])

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(
        description="A stand-in for an insurer, for tests and for trying out the claims.",
        epilog="Shares are from 0 to 1. POST /behave changes them while it runs.",
    )
    parser.add_argument("--port", type=int, default=8801, help="0 takes a free one")
    parser.add_argument("--data", default=":memory:", help="file of the ledger")
    parser.add_argument(
        "--secret",
        default=os.environ.get("INSURER_SECRET"),
        help="key of the signatures; by default INSURER_SECRET of the environment, without it "
        "none is asked for",
    )
    parser.add_argument("--seed", type=int, default=0)
    for field in dataclasses.fields(Behaviour):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=float, default=field.default, help=SAID[field.name])
    told = parser.parse_args()
    how = Behaviour(**{name: getattr(told, name) for name in SAID})
    server = Insurer(told.port, Ledger(told.data), how, told.secret, told.seed)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()

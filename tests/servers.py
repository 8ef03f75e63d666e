"""Real servers for tests, each a private process: Postgres, Redis, mail, and the insurer.

Where a server is not installed, the tests that need it are skipped, and say what is missing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from aios.settings import PROJECT

PATIENCE = 20.0
"""Seconds that a server may take to start."""


def binary(name: str, package: str) -> str:
    """Return the path of a server's program; skip the test where it is missing."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or next(map(str, places), None)
    if found is None:
        pytest.skip(f"{name} is missing: install {package}")
    return found


def free_port() -> int:
    """Return a port that nobody takes by chance while its server is down, as outgoing ones are."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder with a short path, which a socket's may not exceed."""
    path = Path(tempfile.mkdtemp(prefix="aios"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def wait_for(ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} does not start")
        time.sleep(0.02)


class Postgres:
    """A Postgres of its own, on a socket in its own folder.

    Args:
        home: Its folder, to which its user must have access.
        settings: Such as `fsync=off`, where only processes die, and no power is cut.
    """

    def __init__(self, home: Path, *settings: str) -> None:
        self._home, self._data = home, home / "data"
        self._settings = ["listen_addresses=", f"unix_socket_directories={home}", *settings]
        if os.geteuid() == 0:
            shutil.chown(home, "postgres", "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "aios", "-A", "trust", "-N", "-E", "UTF8")

    def url(self, name: str = "postgres") -> str:
        return f"postgresql+psycopg://aios@/{name}?host={self._home}"

    def start(self) -> None:
        told = " ".join(f"-c {one}" for one in self._settings)
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-s", "-l", log, "-o", told, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; `immediate` leaves it as a crash would."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-s", "-m", mode, "stop")

    def create(self, name: str) -> str:
        """Make a database; return its address."""
        self._run("createdb", "-h", str(self._home), "-U", "aios", name)
        return self.url(name)

    def _run(self, name: str, *words: str) -> None:
        # Postgres refuses to run as root.
        other: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
        who = other if os.geteuid() == 0 else {}
        command = [binary(name, "postgresql"), *words]
        # To a file: a server that is left running would keep a pipe open.
        with (self._home / "output").open("a+") as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, cwd="/", check=False, **who
            )
            if done.returncode:
                output.seek(0)
                raise RuntimeError(f"{name}: {output.read()[-2000:]}")


@contextmanager
def postgres_server(*settings: str) -> Iterator[Postgres]:
    """Run a Postgres."""
    binary("initdb", "postgresql")
    with folder() as home:
        server = Postgres(home, *settings)
        server.start()
        try:
            yield server
        finally:
            with suppress(RuntimeError):
                server.stop()


@contextmanager
def redis_server() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Redis; yield its address and its process."""
    program = binary("redis-server", "redis-server")
    with folder() as home:
        port = free_port()
        words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]
        with process([program, *words], stdout=subprocess.DEVNULL) as server:
            wait_for(lambda: listens(port), "redis-server")
            yield f"redis://127.0.0.1:{port}/0", server


@contextmanager
def process(command: list[str], **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(command, cwd=PROJECT, **how)
    try:
        yield running
    finally:
        # One that a test stopped would not end.
        for name in (signal.SIGCONT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                running.send_signal(name)
        running.wait()
        if running.stdout:
            running.stdout.close()


def listens(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
        return True
    return False


class Insurer:
    """The stand-in insurer as a process; see `tests/insurer.py` for how it behaves.

    Args:
        home: Where its ledger is.
        behaviour: Shares, such as `lie=0.1`, and `secret`.
    """

    def __init__(self, home: Path, **behaviour: Any) -> None:
        self.data, self.port = home / "insurer.db", free_port()
        self._behaviour = behaviour
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        told = [f"--{name.replace('_', '-')}={value}" for name, value in self._behaviour.items()]
        command = [sys.executable, "-m", "tests.insurer", f"--port={self.port}"]
        command += [f"--data={self.data}", *told]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), "the insurer did not start"

    def kill(self) -> None:
        """End it at once; its ledger stays."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None

    def behave(self, **behaviour: float) -> None:
        """Change how it behaves; a later start keeps it."""
        self._behaviour |= behaviour
        assert self.process is not None
        assert self.process.poll() is None, f"the insurer ended: {self.process.returncode}"
        content = json.dumps(behaviour).encode()
        urllib.request.urlopen(f"{self.url}/behave", data=content, timeout=PATIENCE).close()

    def calls(self) -> int:
        """Return how many calls came since it was started."""
        with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:
            return int(json.load(answer)["calls"])

    def effects(self) -> list[dict[str, Any]]:
        """Return the ledger in order: number, key, kind, undoes, body."""
        with closing(sqlite3.connect(self.data)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute("SELECT * FROM effects ORDER BY number")
            return [{**row, "body": json.loads(row["body"])} for row in map(dict, found)]


@contextmanager
def insurer(home: Path, **behaviour: Any) -> Iterator[Insurer]:
    """Run an insurer."""
    running = Insurer(home, **behaviour)
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres that all tests of a run share; each makes a database of its own."""
    with postgres_server("fsync=off") as server:
        yield server


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a Redis that all tests of a run share."""
    with redis_server() as (url, _):
        yield url

"""How the console is run: its address, its limits and its clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from aios import clock
from aios.errors import AiosError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
"""Hosts that only this machine reaches."""


@dataclass(frozen=True)
class Options:
    """How one console is run.

    Attributes:
        url: `AIOS_CONSOLE_UI`, the address that browsers use; empty on the machine itself.
        metrics: `AIOS_CONSOLE_METRICS`, the bearer token that may read `/metrics`; empty for off.
        idle: After how long without a request a session ends.
        longest: After how long a session ends in any case.
        body: Bytes of a request's body at most.
        writes: Writes of one session in a minute at most.
        attempts: Attempts to sign in from one address, or with one token, in a minute at most.
        refusals: Refusals of one address that are put on record in a minute at most.
        now: The time of the machine, UTC without tzinfo.
        say: Tells the person at the terminal something.
    """

    url: str = ""
    metrics: str = field(default="", repr=False)
    idle: timedelta = timedelta(minutes=30)
    longest: timedelta = timedelta(hours=12)
    body: int = 64 * 1024
    writes: int = 120
    attempts: int = 10
    refusals: int = 60
    now: Callable[[], datetime] = clock.wall
    say: Callable[[str], object] = lambda _: None

    @classmethod
    def from_env(cls, say: Callable[[str], object] = lambda _: None) -> Options:
        """Read the console's settings from the process environment.

        Raises:
            AiosError: The address is none.
        """
        url = os.environ.get("AIOS_CONSOLE_UI", "").rstrip("/")
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path):
            raise AiosError(
                f"'{url}' is no address of a console",
                where="AIOS_CONSOLE_UI",
                fix="Give scheme and host alone, such as https://aios.example.org.",
            )
        # On the machine itself any port will do: only links elsewhere need to know it.
        own = "" if parts.hostname in LOOPBACK else url
        return cls(url=own, metrics=os.environ.get("AIOS_CONSOLE_METRICS", ""), say=say)

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by https alone."""
        return self.url.startswith("https://")

    def knows(self, host: str) -> bool:
        """Tell whether a Host header is the console's own."""
        if self.url:
            return host == urlsplit(self.url).netloc
        return host.rpartition(":")[0] in LOOPBACK or host in LOOPBACK

    def origin(self, host: str) -> str:
        """Return the origin that its own pages have, where they were asked for under a host."""
        return self.url or f"http://{host}"

"""What a connector is: it sends requests to a receiver, and says what surely became of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """One action as it is sent.

    Attributes:
        key: The idempotency key: the same key never has a second effect.
        type: What it does, in the words of the receiver.
        to: Where at the receiver: path, table, folder, e-mail address, stream.
        payload: Plain data.
        undoes: The key of the action that this one compensates.
        attempt: 1 for the first call.
        trace: A W3C `traceparent`.
    """

    key: str
    type: str
    to: str
    payload: dict[str, Any]
    undoes: str | None = None
    attempt: int = 1
    trace: str | None = None


@dataclass(frozen=True)
class Done:
    """The effect is there; `receipt` is what the receiver said, as plain data."""

    receipt: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """Surely not done, and never will be as it stands."""

    why: str


@dataclass(frozen=True)
class Failed:
    """Surely not done; it may be tried again, and counts as an attempt."""

    why: str


@dataclass(frozen=True)
class Unavailable:
    """Surely not done, and not for a reason of the action: the receiver takes nothing now.

    `rest` is how long it asked to be left alone.
    """

    why: str
    rest: timedelta | None = None


@dataclass(frozen=True)
class Unsure:
    """It may have been done: ask the receiver before anything else."""

    why: str


Answer = Done | Refused | Failed | Unavailable | Unsure

NOT_THERE = Failed("not there")
"""What `find` answers where the receiver knows nothing of the key."""


class Connector(Protocol):
    """One way to a receiver; used by one thread at a time."""

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Send a batch; one answer each, in the same order. Raises nothing."""

    def find(self, request: Request) -> Answer:
        """Ask what became of a key.

        Returns:
            `Done`, `NOT_THERE`, `Unsure` where it cannot be told or asked, or `Unavailable`.
        """

    def close(self) -> None:
        """Let go of connections."""


def text_of(request: Request) -> str:
    """Return the payload as canonical JSON: the same action always sends the same text."""
    return json.dumps(
        request.payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )

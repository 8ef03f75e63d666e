"""Connectors: one small class for each kind of receiver."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aios.actions.connectors.base import Connector
from aios.actions.declared import Receiver
from aios.errors import AiosError


def connect(receiver: Receiver, environ: Mapping[str, str]) -> Connector:
    """Return the connector of a receiver; nothing is opened before something is sent.

    Args:
        receiver: As declared.
        environ: Where `${NAME}` of the address, and the secret, are taken from.

    Raises:
        AiosError: A variable is missing; its actions wait until it is there.
    """
    address = re.sub(r"\$\{(\w+)\}", lambda found: _value(environ, found[1]), receiver.address)
    seconds = receiver.timeout.total_seconds()
    match receiver.kind:
        case "http":
            from aios.actions.connectors.http import Http

            secret = _value(environ, receiver.secret) if receiver.secret else None
            return Http(address, secret, receiver.status, seconds, receiver.parallel)
        case "sql":
            from aios.actions.connectors.sql import Sql

            return Sql(address, seconds)
        case "files":
            from aios.actions.connectors.files import Files

            return Files(address)
        case "email":
            from aios.actions.connectors.email import Email

            return Email(address, seconds)
        case "redis":
            from aios.actions.connectors.redis import Redis

            return Redis(address, seconds)


def _value(environ: Mapping[str, str], name: str) -> str:
    try:
        return environ[name]
    except KeyError:
        raise AiosError(
            f"there is no {name} in the environment",
            where="actions.receivers",
            fix=f"Set {name} for the worker; what is pending stays pending until then.",
        ) from None

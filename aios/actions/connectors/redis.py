"""Redis Streams: each action is an entry of a stream, and its key is kept beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aios.actions.connectors.base import (
    NOT_THERE,
    Answer,
    Done,
    Failed,
    Refused,
    Request,
    Unavailable,
    Unsure,
    text_of,
)

if TYPE_CHECKING:
    import redis

# The entry before its mark: where the first is refused, the second must not be there.
_ADD = """
local there = redis.call('GET', KEYS[1])
if there then return {there, 1} end
local entry = redis.call('XADD', KEYS[2], '*', 'key', ARGV[1], 'type', ARGV[2],
    'payload', ARGV[3], 'undoes', ARGV[4])
redis.call('SET', KEYS[1], entry)
return {entry, 0}
"""


class Redis:
    """Streams of a Redis server; a mark for each key stays there and makes repeats harmless.

    Args:
        address: `redis://host:6379/0`, or `rediss` with TLS.
        timeout: Seconds for connecting and for an answer.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self._address, self._timeout = address, timeout

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """Add all in one pipeline; each looks for its mark, adds and marks as one script."""
        from redis.exceptions import RedisError

        try:
            self._client.ping()
        except RedisError as error:
            return [Unavailable(_why(error))] * len(requests)
        pipeline = self._client.pipeline(transaction=False)
        for one in requests:
            told = [one.key, one.type, text_of(one), one.undoes or ""]
            pipeline.eval(_ADD, 2, _mark(one), one.to, *told)
        try:
            found = pipeline.execute(raise_on_error=False)
        except RedisError as error:
            return [Unsure(_why(error))] * len(requests)
        return [_answer(one) for one in found]

    def find(self, request: Request) -> Answer:
        """Look for the mark of the key."""
        from redis.exceptions import RedisError

        try:
            entry: Any = self._client.get(_mark(request))
        except RedisError as error:
            return Unavailable(_why(error))
        return NOT_THERE if entry is None else Done({"entry": entry, "there": True})

    def close(self) -> None:
        """Close connections."""
        if client := vars(self).pop("_client", None):
            client.close()

    @cached_property
    def _client(self) -> redis.Redis:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        # What is sent again is the worker's to say, who counts it.
        return redis.Redis.from_url(
            self._address,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )


def _mark(request: Request) -> str:
    # The braces keep mark and stream on one node of a cluster, as a script needs.
    return f"aios:{{{request.to}}}:{request.key}"


def _answer(found: Any) -> Answer:
    from redis.exceptions import ConnectionError as Disconnected
    from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

    if isinstance(found, OutOfMemoryError | ReadOnlyError):
        return Unavailable(_why(found))
    if isinstance(found, ResponseError):
        return Refused(_why(found)) if "WRONGTYPE" in str(found) else Failed(_why(found))
    if isinstance(found, Disconnected | RedisError):
        return Unsure(_why(found))
    entry, there = found
    return Done({"entry": entry, "there": bool(there)})


def _why(error: Exception) -> str:
    return f"redis: {type(error).__name__}"

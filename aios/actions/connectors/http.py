"""HTTP: each action is a signed POST with an idempotency key; the receiver is asked with GET."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aios.actions.connectors.base import (
    NOT_THERE,
    Answer,
    Done,
    Refused,
    Request,
    Unavailable,
    Unsure,
    text_of,
)

if TYPE_CHECKING:
    from httpx import Client, Response

_LONGEST = 64 * 1024
"""Bytes of an answer that are read."""

_ANSWERS_LATER = {408, 409, 425}
"""The receiver may be at it: 409 while it works on the key (the Idempotency-Key draft)."""


class Http:
    """A receiver of JSON over HTTP.

    Args:
        address: `https://host/base`; `to` of a request is appended.
        secret: Key of the signature; None sends none.
        status: Path that answers what became of a key, with `{key}`; None cannot be asked.
        timeout: Seconds for one call.
        parallel: Calls at once.
    """

    def __init__(
        self, address: str, secret: str | None, status: str | None, timeout: float, parallel: int
    ) -> None:
        self._address, self._secret, self._status = address.rstrip("/"), secret, status
        self._timeout, self._parallel = timeout, parallel

    def send(self, requests: Sequence[Request]) -> list[Answer]:
        """POST each request, `parallel` at once. Redirects are not followed."""
        if len(requests) == 1:
            return [self._post(requests[0])]
        return list(self._pool.map(self._post, requests))

    def find(self, request: Request) -> Answer:
        """GET the status of a key: 200 is done, 404 not there, anything else tells nothing."""
        if self._status is None:
            return Unsure("the receiver has no status to ask")
        path = self._status.replace("{key}", quote(request.key, safe=""))
        answer = self._call("GET", self._url(path), None, self._headers(request, b""))
        if isinstance(answer, Refused):
            return NOT_THERE if answer.why.startswith("HTTP 404") else Unsure(answer.why)
        return answer

    def close(self) -> None:
        """Close connections and threads."""
        for name in ("_pool", "_client"):
            made = vars(self).pop(name, None)
            if name == "_pool" and made:
                made.shutdown()
            elif made:
                made.close()

    @cached_property
    def _client(self) -> Client:
        import httpx

        limits = httpx.Limits(max_connections=self._parallel)
        return httpx.Client(timeout=self._timeout, limits=limits, follow_redirects=False)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        _ = self._client  # Made once, before threads ask for it.
        return ThreadPoolExecutor(self._parallel, thread_name_prefix="http")

    def _url(self, path: str) -> str:
        # The slash keeps `to` a path: it can neither change the host nor hold credentials.
        return f"{self._address}/{path.lstrip('/')}" if path else self._address

    def _post(self, request: Request) -> Answer:
        body = text_of(request).encode()
        return self._call("POST", self._url(request.to), body, self._headers(request, body))

    def _headers(self, request: Request, body: bytes) -> dict[str, str]:
        headers = {"Idempotency-Key": request.key, "Aios-Action": request.type}
        if body:
            headers["Content-Type"] = "application/json"
        if request.undoes:
            headers["Aios-Undoes"] = request.undoes
        if request.trace:
            headers["traceparent"] = request.trace
        if self._secret is not None:
            headers["Aios-Signature"] = signature(self._secret, body, int(time.time()))
        return headers

    def _call(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        import httpx

        end = time.monotonic() + self._timeout
        try:
            with self._client.stream(method, url, content=body, headers=headers) as response:
                content = _content(response, end)
                if content is None and response.is_success and self._status:
                    # It was done, but what came back may be needed to undo it: ask for it.
                    return Unsure("the answer was cut short")
                return _answer(response, content)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
            return Unavailable("no connection")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Refused(f"no address: {type(error).__name__}")
        except httpx.TimeoutException:
            return Unsure("no answer in time")
        except httpx.HTTPError:
            return Unsure("the connection was cut")


def signature(secret: str, body: bytes, at: int) -> str:
    """Return the value of `Aios-Signature`: the time, and the HMAC-SHA256 of `time.body`."""
    code = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={code}"


def _content(response: Response, end: float) -> bytes | None:
    """Read the body; nothing of one that is too long, and None where it is too slow or cut."""
    import httpx

    content = b""
    try:
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LONGEST:
                return b""
            if time.monotonic() > end:
                return None
    except httpx.HTTPError:
        return None
    return content


def _answer(response: Response, content: bytes | None) -> Answer:
    status = response.status_code
    parsed = _parsed(content)
    if 200 <= status < 300:
        return Done(parsed or {"status": status})
    why = f"HTTP {status}"
    code = parsed.get("error") if parsed else None
    # Only a code: prose may name a person, and incidents are grouped by it.
    if isinstance(code, str) and re.fullmatch(r"[a-z][a-z0-9_.-]{0,60}", code):
        why = f"{why} {code}"
    if status in (429, 503):
        return Unavailable(why, _rest(response.headers.get("Retry-After")))
    if status >= 500 or status in _ANSWERS_LATER:
        return Unsure(why)
    return Refused(why)


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    try:
        parsed = json.loads(content or b"")
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _rest(value: str | None) -> timedelta | None:
    """Return what `Retry-After` asks for: seconds or a date."""
    if value is None:
        return None
    if value.isdecimal():
        return timedelta(seconds=min(int(value), 86_400))
    try:
        rest = parsedate_to_datetime(value) - datetime.now(UTC)
    except (ValueError, TypeError):
        return None
    return max(timedelta(0), min(rest, timedelta(days=1)))

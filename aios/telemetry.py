"""Traces that follow one event from its ingestion to the last receipt, over processes and crashes.

The trace id and the id of the root span follow from automation, event id and revision, and so does
whether the event is sampled. Every process that touches an event therefore joins the same trace,
and drops the same events, with nothing passed between them.

Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` or `AIOS_TRACES` is set; OpenTelemetry is imported with the
first sampled span. A span holds no payload: its attributes are those of `ATTRIBUTES`, and of an
error only its type. A receiver that is down costs spans, never work.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError
from aios.identity.tables import micros

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

SHARE = 0.01
"""Share of events that is traced where `AIOS_TRACES` names none."""

ATTRIBUTES = frozenset(
    (
        *("partition", "dataset", "stage", "step", "rows", "outcome", "rule", "model_version"),
        *("verdict", "type", "receiver", "state", "attempt", "status", "breaker", "rehearsed"),
    )
)
"""What a span may say, beside the automation."""

_LONGEST = 200
_TIMEOUT = 2.0

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Trace:
    """The trace of one event.

    Attributes:
        automation: Whose event.
        id: Of the trace, 16 bytes.
        root: Of the root span, 8 bytes.
        place: Where the event stands between 0 and 1; it is sampled below the share.
    """

    automation: str
    id: bytes
    root: bytes
    place: float

    @property
    def sampled(self) -> bool:
        """Whether the event is among those that are traced, in every process with this share."""
        return self.place < share()

    @property
    def traceparent(self) -> str:
        """The header of W3C Trace Context, with the root span as the parent."""
        return self.header(self.root)

    def header(self, parent: bytes) -> str:
        """Return the header with another span as the parent."""
        return f"00-{self.id.hex()}-{parent.hex()}-{int(self.sampled):02x}"


@dataclass(frozen=True)
class _Current:
    trace: Trace
    span: bytes


_current: ContextVar[_Current | None] = ContextVar("aios_span", default=None)


def share() -> float:
    """Return the share of events that is traced; 0 where traces are off.

    Raises:
        AiosError: `AIOS_TRACES` is no share.
    """
    declared = os.environ.get("AIOS_TRACES", "")
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return 0.0
    if not declared:
        return SHARE if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") else 0.0
    return _share_in(declared)


@lru_cache(maxsize=8)
def _share_in(declared: str) -> float:
    try:
        value = float(declared)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise AiosError(
            f"{declared!r} is no share of events", where="AIOS_TRACES", fix="Give one from 0 to 1."
        )
    return value


def trace(automation: str, event: object, revision: int = 0) -> Trace:
    """Return the trace of an event; the id counts by its text."""
    digest = _digest(automation, event, revision)
    return Trace(automation, digest[:16], digest[16:24], _place(digest))


def _digest(automation: str, event: object, revision: int) -> bytes:
    # The lengths go first, so that no two different events are written alike.
    name = str(event)
    text = f"{len(automation)}:{automation},{len(name)}:{name},{revision}"
    return blake2b(text.encode(), digest_size=32).digest()


def _place(digest: bytes) -> float:
    return (int.from_bytes(digest[24:]) >> 11) / 2**53


def trace_of(decision: str) -> Trace:
    """Return the trace of the event of a decision, `automation/partition/event@revision`."""
    automation, _, rest = decision.partition("/")
    event, at, revision = rest.partition("/")[2].rpartition("@")
    if not (automation and at and revision.isdecimal()):
        raise AiosError(f"{decision!r} is no id of a decision", where="telemetry")
    return trace(automation, event, int(revision))


def traceparent(automation: str, event: object, revision: int = 0) -> str:
    """Return the header `traceparent` of an event, 55 characters, whether sampled or not."""
    return trace(automation, event, revision).traceparent


@contextmanager
def span(
    name: str,
    *,
    automation: str,
    event: object,
    revision: int = 0,
    start: datetime | None = None,
    **attributes: Value,
) -> Iterator[str]:
    """Send a span of the block, inside the one that is open for the same event.

    Args:
        name: What is done.
        automation: Whose event.
        event: Its id.
        revision: Its revision.
        start: When it began, UTC-naive; else now.
        attributes: Some of `ATTRIBUTES`.

    Yields:
        `traceparent` of this span, for who is called inside.
    """
    with open_span(name, trace(automation, event, revision), start, **attributes) as header:
        yield header


@contextmanager
def open_span(
    name: str, of: Trace, start: datetime | None = None, **attributes: Value
) -> Iterator[str]:
    """Send a span of the block; as `span`, of a trace."""
    _check(attributes)
    if not of.sampled:
        yield of.traceparent
        return
    outer = _current.get()
    parent = outer.span if outer and outer.trace.id == of.id else of.root
    began, own = _nanos(start), os.urandom(8)
    token = _current.set(_Current(of, own))
    error: str | None = None
    try:
        yield of.header(own)
    except BaseException as caught:
        error = type(caught).__name__
        raise
    finally:
        _current.reset(token)
        _send(name, of, own, parent, (began, _nanos()), attributes, error)


def emit(
    name: str,
    *,
    automation: str,
    events: Iterable[tuple[object, int]],
    start: datetime | None = None,
    end: datetime | None = None,
    root: bool = False,
    **attributes: Value | Sequence[Value],
) -> int:
    """Send one span for each sampled event of a batch.

    Args:
        name: What was done.
        automation: Whose events.
        events: Id and revision of each.
        start: When the batch began, UTC-naive; else now.
        end: When it ended; else now.
        root: Whether these are the root spans, that all others of an event hang from.
        attributes: Some of `ATTRIBUTES`; a list, or a column, has one value an event.

    Returns:
        How many were sampled.
    """
    _check(attributes)
    limit = share()
    if not limit:
        return 0
    times, sent = (_nanos(start), _nanos(end)), 0
    for i, (event, revision) in enumerate(events):
        if _place(_digest(automation, event, revision)) < limit:
            of = trace(automation, event, revision)
            own = {key: _of_row(value, i) for key, value in attributes.items()}
            _send(name, of, of.root if root else os.urandom(8), None if root else of.root,
                  times, own)  # fmt: skip
            sent += 1
    return sent


def emit_for(
    name: str,
    decisions: Iterable[str],
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    **attributes: Value,
) -> int:
    """Send one span for each sampled event of some decisions, by their ids; return how many."""
    _check(attributes)
    if not share():
        return 0
    sampled = [of for of in map(trace_of, decisions) if of.sampled]
    for of in sampled:
        _send(name, of, os.urandom(8), of.root, (_nanos(start), _nanos(end)), attributes)
    return len(sampled)


def flush() -> None:
    """Send what waits, if anything was ever sent."""
    if _pipeline.cache_info().currsize:
        _pipeline().force_flush()


def _check(attributes: Mapping[str, object]) -> None:
    unknown = sorted(set(attributes) - ATTRIBUTES)
    if unknown:
        raise AiosError(
            f"a span says nothing of {', '.join(unknown)}",
            where="telemetry",
            fix="Name one of ATTRIBUTES; what events and payloads hold stays out of traces.",
        )


def _of_row(value: Value | Sequence[Value], row: int) -> Value:
    return value if isinstance(value, str | int | float | None) else value[row]


def _nanos(moment: datetime | None = None) -> int:
    return time.time_ns() if moment is None else micros(moment) * 1000


def _send(
    name: str,
    of: Trace,
    own: bytes,
    parent: bytes | None,
    times: tuple[int, int],
    attributes: Mapping[str, Value],
    error: str | None = None,
) -> None:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, TraceFlags
    from opentelemetry.trace.status import Status, StatusCode

    def context(id_: bytes, *, remote: bool) -> SpanContext:
        flags = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(int.from_bytes(of.id), int.from_bytes(id_), remote, flags)

    said: dict[str, str | int | float | bool] = {
        "aios.automation": of.automation,
        "process.pid": os.getpid(),
    }
    for key, value in attributes.items():
        if value is not None:
            said[f"aios.{key}"] = value[:_LONGEST] if isinstance(value, str) else value
    _pipeline().on_end(
        ReadableSpan(
            name,
            context(own, remote=False),
            context(parent, remote=True) if parent else None,
            _resource(),
            said,
            status=Status(StatusCode.ERROR, error) if error else Status(),
            start_time=times[0],
            end_time=max(times),
        )
    )


@lru_cache(maxsize=1)
def _resource() -> Any:
    from opentelemetry.sdk.resources import Resource

    name = os.environ.get("OTEL_SERVICE_NAME") or "aios"
    return Resource.create({"service.name": name})


@lru_cache(maxsize=1)
def _pipeline() -> BatchSpanProcessor:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The end of a process does not wait longer than this for a receiver that is gone.
    timeout = None if os.environ.get("OTEL_EXPORTER_OTLP_TIMEOUT") else _TIMEOUT
    processor = BatchSpanProcessor(
        OTLPSpanExporter(timeout=timeout), max_queue_size=20_000, schedule_delay_millis=1000
    )
    atexit.register(processor.shutdown)
    return processor

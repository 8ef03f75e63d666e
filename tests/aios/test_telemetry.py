"""Traces: one event, one trace, whatever processes touch it; nothing sent unless asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from aios import telemetry
from aios.errors import AiosError
from tests.aios.collector import collecting

pytestmark = pytest.mark.unit

MARCH = datetime(2026, 3, 2, 9)
OFF = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "AIOS_TRACES",
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OFF:
        monkeypatch.delenv(name, raising=False)


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    known = {name: value for name, value in os.environ.items() if name not in OFF}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=known | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def followed() -> Iterator[tuple[list[dict[str, Any]], dict[str, int]]]:
    """What four processes sent of one event; the third was killed before it could end."""
    stages = {
        "ingest": "t.emit('events', automation='loans', events=[(7, 0)], root=True, rows=1)",
        "decide": "t.emit('decisions', automation='loans', events=[(7, 0), (8, 0)], "
        "outcome=['approve', 'block'])",
        "killed": "\nwith t.span('send', automation='loans', event=7, attempt=1):\n"
        "  t.flush(); os.kill(os.getpid(), 9)",
        "send": "\nwith t.open_span('send', t.trace_of('loans/2026-03-01/7@0'), attempt=2) as h:\n"
        "  print(h)\n"
        "  with t.span('call', automation='loans', event=7): pass\n",
    }
    with collecting() as (address, spans):
        codes = {}
        for name, code in stages.items():
            done = run(f"import os; from aios import telemetry as t; {code}",
                       OTEL_EXPORTER_OTLP_ENDPOINT=address, AIOS_TRACES="1")  # fmt: skip
            codes[name] = done.returncode
            assert done.stderr == ""
        yield spans, codes


def test_every_process_joins_the_trace_of_its_event(followed: Any) -> None:
    spans, codes = followed
    mine = [one for one in spans if one["trace"] == telemetry.trace("loans", 7).id.hex()]
    assert codes == {"ingest": 0, "decide": 0, "killed": -9, "send": 0}
    assert {one["name"] for one in mine} == {"events", "decisions", "send", "call"}
    root = next(one for one in mine if one["name"] == "events")
    assert (root["id"], root["parent"]) == (telemetry.trace("loans", 7).root.hex(), "")
    sent = next(one for one in mine if one["name"] == "send")
    parents = {one["name"]: one["parent"] for one in mine}
    assert parents["decisions"] == parents["send"] == root["id"]
    assert parents["call"] == sent["id"]
    assert len({one["said"]["process.pid"] for one in mine}) == 3


def test_a_batch_says_of_each_event_its_own(followed: Any) -> None:
    spans, _ = followed
    decided = {
        one["trace"]: one["said"]["aios.outcome"] for one in spans if one["name"] == "decisions"
    }
    assert decided == {
        telemetry.trace("loans", 7).id.hex(): "approve",
        telemetry.trace("loans", 8).id.hex(): "block",
    }


def test_a_trace_follows_from_automation_event_and_revision_alone() -> None:
    header = telemetry.traceparent("loans", 7, 2)
    assert header == telemetry.trace_of("loans/2026-03-01/7@2").traceparent
    assert header == telemetry.traceparent("loans", "7", 2)
    assert len(header) == 55
    others = {
        telemetry.traceparent(*one) for one in [("loan", "s7", 2), ("loans", 7, 1), ("loans", 8)]
    }
    assert len({header, *others}) == 4
    assert telemetry.trace_of("loans/2026-03-01/a/b@c@1") == telemetry.trace("loans", "a/b@c", 1)


@pytest.mark.parametrize("decision", ["", "loans", "loans/2026", "loans/2026/7@x", "a/b/7"])
def test_what_is_no_decision_has_no_trace(decision: str) -> None:
    with pytest.raises(AiosError, match="no id of a decision"):
        telemetry.trace_of(decision)


def test_the_declared_share_of_events_is_sampled_and_a_larger_share_keeps_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    traces = [telemetry.trace("loans", i) for i in range(20_000)]
    monkeypatch.setenv("AIOS_TRACES", "0.01")
    few = {one.id for one in traces if one.sampled}
    monkeypatch.setenv("AIOS_TRACES", "0.05")
    more = {one.id for one in traces if one.sampled}
    assert 150 <= len(few) <= 250
    assert few < more


def test_off_until_asked_for_and_at_a_hundredth_where_only_a_receiver_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert telemetry.share() == 0
    assert telemetry.emit("events", automation="loans", events=[(1, 0)]) == 0
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert telemetry.share() == telemetry.SHARE
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert telemetry.share() == 0


@pytest.mark.parametrize("declared", ["1.5", "-1", "some", "nan"])
def test_a_share_that_is_none_is_refused(declared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOS_TRACES", declared)
    with pytest.raises(AiosError, match="no share"):
        telemetry.share()


def test_nothing_of_opentelemetry_is_loaded_while_nothing_is_sampled() -> None:
    code = (
        "import sys; from aios import telemetry as t\n"
        "with t.span('send', automation='loans', event=7): pass\n"
        "t.flush(); print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert run(code).stdout.strip() == "[]"
    assert run(code, AIOS_TRACES="0").stdout.strip() == "[]"


def test_a_span_holds_no_payload() -> None:
    with pytest.raises(AiosError, match="says nothing of amount"):
        telemetry.emit("events", automation="loans", events=[], amount=3.0)
    with (
        pytest.raises(AiosError, match="says nothing of payload"),
        telemetry.span("send", automation="loans", event=1, payload="x"),
    ):
        pass


def test_of_an_error_only_its_type_is_sent_and_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from aios import telemetry as t\n"
        "try:\n"
        "  with t.span('send', automation='loans', event=7): raise ValueError('a secret')\n"
        "except ValueError as error: print(error)"
    )
    with collecting() as (address, spans):
        done = run(code, OTEL_EXPORTER_OTLP_ENDPOINT=address, AIOS_TRACES="1")
        assert done.stdout.strip() == "a secret"
        assert [one["error"] for one in spans] == ["ValueError"]
        assert "a secret" not in str(spans)


def test_a_receiver_that_is_down_costs_spans_and_no_work() -> None:
    code = (
        "from aios import telemetry as t\n"
        "print(t.emit('events', automation='loans', events=[(i, 0) for i in range(1000)]))"
    )
    started = time.monotonic()
    done = run(code, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", AIOS_TRACES="1")
    assert (done.returncode, done.stdout.strip()) == (0, "1000")
    assert time.monotonic() - started < 20

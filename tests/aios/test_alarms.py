"""Alarms: once for each automation, kind and key; readable whatever happened to the file."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from aios import clock
from aios.alarms import alarms, raise_alarm

pytestmark = pytest.mark.unit


def test_an_alarm_is_raised_once(tmp_path: Path) -> None:
    home = tmp_path / "new"
    assert alarms(home) == []
    with clock.at(datetime(2024, 5, 1, 12)):
        assert raise_alarm(home, "claims", "drift", "2024-04-01", "make: 0.3")
    assert not raise_alarm(home, "claims", "drift", "2024-04-01", "said otherwise")
    assert alarms(home) == [
        {
            "at": "2024-05-01T12:00:00",
            "automation": "claims",
            "kind": "drift",
            "key": "2024-04-01",
            "message": "make: 0.3",
        }
    ]


def test_another_automation_kind_or_key_is_another_alarm(tmp_path: Path) -> None:
    for given in [("a", "k", "1"), ("b", "k", "1"), ("a", "l", "1"), ("a", "k", "2")]:
        assert raise_alarm(tmp_path, *given, "line one\nline two, é")
    assert len(alarms(tmp_path)) == 4
    assert [(one["kind"], one["key"]) for one in alarms(tmp_path, "b")] == [("k", "1")]
    assert alarms(tmp_path)[0]["message"] == "line one\nline two, é"


def test_a_line_cut_short_hides_neither_those_before_nor_those_after(tmp_path: Path) -> None:
    raise_alarm(tmp_path, "a", "k", "1", "")
    path = tmp_path / "alarms.jsonl"
    path.write_bytes(path.read_bytes() + b'{"at": "2024-')
    assert raise_alarm(tmp_path, "a", "k", "2", "")
    assert [one["key"] for one in alarms(tmp_path)] == ["1", "2"]


def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aios.alarms import raise_alarm\n"
        "for n in range(30): raise_alarm(Path(sys.argv[1]), sys.argv[2], 'k', str(n), 'x' * 2000)"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert len(alarms(tmp_path)) == 60

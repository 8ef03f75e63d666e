"""Alarms: what a person should look at, appended to one file under `AIOS_HOME`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from aios import clock


def raise_alarm(home: Path, automation: str, kind: str, key: str, message: str) -> bool:
    """Append an alarm unless one of the same automation, kind and key is there.

    Returns:
        Whether it is new.
    """
    if any(
        (one["automation"], one["kind"], one["key"]) == (automation, kind, key)
        for one in alarms(home)
    ):
        return False
    path = home / "alarms.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    alarm = {
        "at": clock.now().isoformat(timespec="seconds"),
        "automation": automation,
        "kind": kind,
        "key": key,
        "message": message,
    }
    # One write of one line with O_APPEND: writers in several processes do not mix lines. It begins
    # a line of its own, because the one before may have been cut short.
    with open(path, "ab", buffering=0) as file:
        file.write(b"\n" + json.dumps(alarm).encode() + b"\n")
        os.fsync(file.fileno())
    return True


def alarms(home: Path, automation: str | None = None) -> list[dict[str, Any]]:
    """Return the alarms of one automation or of all, oldest first."""
    path = home / "alarms.jsonl"
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # a line cut short by a kill; the sensor raises its alarm again
    return [one for one in found if automation in (None, one["automation"])]

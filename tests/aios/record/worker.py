"""A process that writes to a log, and says on its output what was promised to it.

`python -m tests.aios.record.worker HOME NAME COUNT [--keys] [--batch N] [--checkpoint]`
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from aios.database import Database
from aios.record.keyring import Keyring
from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.places import CheckpointPlace


def log_of(home: Path, *, patience: float = 20.0) -> Log:
    database = Database(f"sqlite:///{home}/record/record.db", patience=patience)
    keys, place = Keyring(home / "keys", "record"), CheckpointPlace(str(home / "checkpoints"))
    return Log(database, keys, place)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("name")
    parser.add_argument("count", type=int)
    parser.add_argument("--keys", action="store_true")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--checkpoint", type=int, default=0, help="after every N appends")
    told = parser.parse_args()
    log = log_of(told.home)
    say({"ready": told.name})
    if not told.keys:
        sys.stdin.readline()
    for number in range(0, told.count, told.batch):
        acts = [
            Act(
                "override",
                "claims",
                f"service:{told.name}",
                {"number": one},
                key=f"{told.name}/{one}" if told.keys else None,
            )
            for one in range(number, min(number + told.batch, told.count))
        ]
        for act, entry in zip(acts, log.append_all(acts), strict=True):
            say({"index": entry.index, "number": act.body["number"]})
        if told.checkpoint and number % told.checkpoint == 0:
            log.checkpoint()
    say({"done": told.name})


def say(what: dict[str, object]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()

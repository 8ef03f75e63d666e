"""Run every benchmark, one after the other: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys

NAMES = [
    "point_in_time", "partition", "drift", "scoring", "rehearsal", "tables", "sroie", "ocr",
    "record", "replay", "judge", "rollouts", "console", "actions",
]  # fmt: skip

if __name__ == "__main__":
    for name in NAMES:
        print(f"\n== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)

"""A lock between the processes of one machine: a file, which ends with who holds it."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aios.errors import AiosError

_LONGEST_PAUSE = 0.005


@contextmanager
def held(path: Path, patience: float, late: Callable[[], AiosError]) -> Iterator[None]:
    """Hold the lock of a file.

    Args:
        path: The file; made where it is missing, in a folder that exists.
        patience: Seconds to wait for another process.
        late: Returns what to raise after that.

    Raises:
        OSError: The file cannot be opened.
    """
    with path.open("a") as file:
        deadline, pause = time.monotonic() + patience, 0.0002
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise late() from None
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        yield

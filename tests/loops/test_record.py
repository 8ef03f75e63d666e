"""The log among many writers, killed ones, full disks and wrong clocks."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aios.record.leaves import Act
from aios.record.log import Log
from aios.settings import PROJECT
from tests.aios.record.worker import log_of

pytestmark = pytest.mark.loop

PROCESSES = 8


@contextmanager
def opened(home: Path, *, patience: float = 20.0) -> Iterator[Log]:
    log = log_of(home, patience=patience)
    try:
        yield log
    finally:
        if "engine" in vars(log.database):
            log.database.engine.dispose()


def act(number: int, *, key: str | None = None) -> Act:
    return Act("override", "claims", "person:alice", {"number": number}, key=key)


def worker(home: Path, name: str, count: int, *more: str, stdout: Any = subprocess.PIPE) -> Any:
    command = [sys.executable, "-m", "tests.aios.record.worker", str(home), name, str(count), *more]
    return subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=stdout)


def told(output: bytes) -> list[dict[str, Any]]:
    """Return what a worker was promised; a last line that was cut by a kill is none."""
    lines = output.split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


def promises(output: bytes) -> dict[int, int]:
    """Return the index that a worker was given for each of its numbers."""
    return {one["number"]: one["index"] for one in told(output) if "number" in one}


def race(home: Path, count: int, *more: str) -> dict[str, dict[int, int]]:
    """Let 8 processes append at once, from their first act on; return what each was promised."""
    workers = {
        f"w{number}": worker(home, f"w{number}", count, *more) for number in range(PROCESSES)
    }
    for process in workers.values():
        process.stdout.readline()
    for process in workers.values():
        process.stdin.write(b"\n")
        process.stdin.flush()
    found = {}
    for name, process in workers.items():
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        found[name] = promises(output)
    return found


def assert_kept(log: Log, promised: dict[str, dict[int, int]]) -> None:
    """Every promise is in the log, where its writer was told."""
    for name, numbers in promised.items():
        for number, index in numbers.items():
            entry = log.get(index)
            assert (entry.actor, entry.body["number"]) == (f"service:{name}", number)


class TestManyWriters:
    def test_single_acts_of_8_processes(self, tmp_path: Path) -> None:
        promised = race(tmp_path, 60)
        with opened(tmp_path) as log:
            indexes = sorted(index for numbers in promised.values() for index in numbers.values())
            assert indexes == list(range(PROCESSES * 60))
            assert_kept(log, promised)
            times = [entry.recorded_at for entry in log.entries()]
            assert times == sorted(times)
            log.checkpoint()
            assert log.verify().problems == []

    def test_batches_stay_together(self, tmp_path: Path) -> None:
        promised = race(tmp_path, 400, "--batch", "40")
        with opened(tmp_path) as log:
            assert log.size() == PROCESSES * 400
            for numbers in promised.values():
                for start in range(0, 400, 40):
                    places = [numbers[number] for number in range(start, start + 40)]
                    assert places == list(range(places[0], places[0] + 40))
            assert log.verify().problems == []

    def test_checkpoints_by_all_of_them(self, tmp_path: Path) -> None:
        promised = race(tmp_path, 20, "--checkpoint", "4")
        with opened(tmp_path) as log:
            assert_kept(log, promised)
            assert len(log.public_keys()) == 1
            found = log.verify()
            assert (found.problems, found.size) == ([], PROCESSES * 20)
            assert found.checkpoints > 1

    def test_the_same_keys_by_all_of_them(self, tmp_path: Path) -> None:
        workers = [worker(tmp_path, "same", 80, "--keys") for _ in range(PROCESSES)]
        outputs = [process.communicate(timeout=120)[0] for process in workers]
        assert {process.returncode for process in workers} == {0}
        assert all(promises(output) == promises(outputs[0]) for output in outputs)
        with opened(tmp_path) as log:
            assert log.size() == 80
            assert log.verify().problems == []

    def test_threads_of_one_process(self, tmp_path: Path) -> None:
        with opened(tmp_path) as log:
            found: list[int] = []

            def write(name: int) -> None:
                acts = [act(number, key=f"{name}/{number}") for number in range(40)]
                found.extend(log.append(one).index for one in acts)
                log.checkpoint()

            threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(found) == list(range(240))
            assert log.verify().problems == []

    def test_children_forked_from_a_writer(self, tmp_path: Path) -> None:
        script = (
            "import os, sys, warnings\n"
            "from pathlib import Path\n"
            "from tests.loops.test_record import act, log_of\n"
            "warnings.simplefilter('ignore')\n"
            "log = log_of(Path(sys.argv[1]))\n"
            "log.append(act(0))\n"
            "children = []\n"
            "for child in range(4):\n"
            "    if not (pid := os.fork()):\n"
            "        for number in range(30):\n"
            "            log.append(act(number, key=f'{child}/{number}'))\n"
            "        os._exit(0)\n"
            "    children.append(pid)\n"
            "for number in range(30):\n"
            "    log.append(act(number, key=f'parent/{number}'))\n"
            "log.database.engine.dispose()\n"
            "sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))\n"
        )
        for attempt in range(3):
            home = tmp_path / str(attempt)
            done = subprocess.run(
                [sys.executable, "-c", script, str(home)], cwd=PROJECT, timeout=60
            )
            assert done.returncode == 0
            with opened(home) as log:
                keys = {entry.content["key"] for entry in log.entries()}
                assert len(keys) == log.size() == 151
                assert log.verify().problems == []


class TestKilled:
    @pytest.mark.parametrize("seed", range(3))
    def test_killed_anywhere_and_run_again(self, tmp_path: Path, seed: int) -> None:
        """Writers with keys are killed, again and again, and run to their end at last."""
        chance = random.Random(seed)
        promised: dict[str, dict[int, int]] = {f"w{number}": {} for number in range(3)}
        for round_ in range(6):
            workers = {
                name: worker(tmp_path, name, 120, "--keys", "--batch", str(1 + 6 * (name == "w2")))
                for name in promised
            }
            if round_ < 5:
                workers["w0"].stdout.readline()
                time.sleep(chance.random() * 0.25)
                for process in workers.values():
                    process.send_signal(signal.SIGKILL)
            for name, process in workers.items():
                output, _ = process.communicate(timeout=60)
                for number, index in promises(output).items():
                    assert promised[name].setdefault(number, index) == index
        with opened(tmp_path) as log:
            assert log.size() == 360
            assert {len(numbers) for numbers in promised.values()} == {120}
            assert_kept(log, promised)
            log.checkpoint()
            assert log.verify().problems == []

    def test_killed_while_the_first_key_is_made(self, tmp_path: Path) -> None:
        """The key is half made wherever the kill comes; the next process goes on."""
        for attempt in range(12):
            home = tmp_path / str(attempt)
            process = worker(home, "w", 200, "--keys", "--checkpoint", "1")
            process.stdout.readline()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and not list(home.glob("keys/*")):
                pass
            time.sleep(attempt * 0.0005)
            process.kill()
            process.communicate()
            with opened(home) as log:
                log.append(act(0))
                log.checkpoint()
                assert log.verify().problems == []

    def test_a_kill_between_commit_and_answer_is_made_good(self, tmp_path: Path) -> None:
        """What was committed before the answer could be given is found by its key."""
        script = (
            "import os, sys\n"
            "from pathlib import Path\n"
            "from tests.loops.test_record import act, log_of\n"
            "log = log_of(Path(sys.argv[1]))\n"
            "log.append(act(0))\n"
            "log.database._to_disk = lambda *_: os.kill(os.getpid(), 9)\n"
            "log.append(act(1, key='one'))\n"
        )
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT, timeout=60)
        with opened(tmp_path) as log:
            assert log.append(act(1, key="one")).index == 1
            assert log.append(act(2, key="two")).index == 2
            assert log.verify().problems == []

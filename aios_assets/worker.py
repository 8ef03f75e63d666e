"""The long-running worker: actions as they become due, and cases that nobody decided in time."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable

from aios.actions.worker import Worker
from aios.automation import Automation, automation_folders
from aios.errors import AiosError
from aios.identity.access import Access
from aios.record.log import open_log
from aios.review.desk import Desk
from aios.settings import Settings

TIMELY = 10.0
"""Seconds between two looks for cases that are overdue, and for what keeps receivers waiting."""

Say = Callable[[str], object]


def work(settings: Settings, *, once: bool, say: Say) -> None:
    """Send actions and close overdue cases, until told to stop; once, until nothing is due.

    Raises:
        AiosError: No automation declares actions or reviews, or the database cannot be used.
    """
    automations = _automations(settings, say)
    if not any(one.spec.actions or one.spec.review for one in automations):
        raise AiosError(
            "no automation declares 'actions' or 'review'",
            where=str(settings.automations),
            fix="Declare them, see docs/declaration.md.",
        )
    log, access = open_log(settings), Access.load(settings.access)
    reviewed = {one.name: one for one in automations if one.spec.review}
    desk = Desk(log, access, reviewed, settings.home)
    name = f"{socket.gethostname()}-{os.getpid()}"[:40]
    worker = Worker(log, access, automations, name=name)
    try:
        if once:
            sent, late = worker.drain(), desk.time_out()
            say(f"{sent:,} actions were sent or asked after, {late:,} overdue cases decided.")
            _say_problems(worker, {}, say)
        else:
            _until_stopped(worker, desk, say)
    finally:
        worker.close()


def _until_stopped(worker: Worker, desk: Desk, say: Say) -> None:
    stop = threading.Event()
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: stop.set())
    sending = threading.Thread(target=worker.run, args=(stop,), name="actions")
    sending.start()
    say("Working. Stop with Ctrl-C.")
    said: dict[str, str] = {}
    while not stop.is_set():
        try:
            if late := desk.time_out():
                say(f"{late:,} cases were decided for want of a verdict")
        except AiosError as error:
            say(f"overdue cases wait: {error}")
        said = _say_problems(worker, said, say)
        stop.wait(TIMELY)
    sending.join()


def _say_problems(worker: Worker, said: dict[str, str], say: Say) -> dict[str, str]:
    """Say what is new of what keeps actions from being sent."""
    found = dict(worker.problems)
    for lane in sorted(found.keys() | said.keys()):
        if found.get(lane) != said.get(lane):
            say(f"{lane}: {found.get(lane, 'takes actions again')}")
    return found


def _automations(settings: Settings, say: Say) -> list[Automation]:
    found = []
    for folder in automation_folders(settings):
        try:
            found.append(Automation.load(folder, settings))
        except AiosError as error:
            say(f"{folder.name} is left out: {error}")
    return found

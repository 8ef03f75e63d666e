"""The worker: takes what is due to its receivers, as one of many that share an outbox."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from random import Random, SystemRandom
from typing import TYPE_CHECKING

from aios import clock
from aios.actions.claims import Lane
from aios.actions.connectors import connect
from aios.actions.connectors.base import Connector
from aios.actions.courier import Courier
from aios.errors import AiosError
from aios.identity.actors import WORKER
from aios.identity.guard import Guard

if TYPE_CHECKING:
    from aios.automation import Automation
    from aios.identity.access import Access
    from aios.record.log import Log

_IDLE = (0.1, 1.0)
_TROUBLE = (1.0, 30.0)


class Worker:
    """One of any number of workers; each may be killed at any moment.

    An automation that declares `dry_run` is left alone, whatever is in its outbox.

    Args:
        log: The record; its database has the outbox.
        access: The rules.
        automations: Whose actions.
        name: For people; leases begin with it.
        now: UTC without tzinfo.
        rng: Of the jitter.
        connectors: Makes the connector of a lane; from the declared address by default.
        batch: Actions of one claim at most; of receivers that take one call an action, at most 8
            for each of `parallel`.

    Raises:
        Denied: The rules do not let the worker act for an automation.
    """

    def __init__(
        self,
        log: Log,
        access: Access,
        automations: Iterable[Automation],
        *,
        name: str = "worker",
        now: Callable[[], datetime] = clock.wall,
        rng: Random | None = None,
        connectors: Callable[[Lane], Connector] | None = None,
        batch: int = 500,
    ) -> None:
        guard = Guard(WORKER, access, log)
        rng = rng or SystemRandom()
        self._couriers: list[Courier] = []
        for automation in automations:
            actions = automation.spec.actions
            if actions is None or actions.dry_run:
                continue
            guard.check("act", automation.resource)
            for receiver, declared in actions.receivers.items():
                self._couriers.append(
                    Courier(
                        log,
                        automation,
                        Lane(automation.name, receiver, declared),
                        name=name,
                        now=now,
                        rng=rng,
                        connect=connectors or _declared,
                        batch=batch,
                    )
                )
        self._troubles: dict[Lane, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """Why nothing can be sent, by `automation/receiver`."""
        found = {courier.lane: courier.problem for courier in self._couriers if courier.problem}
        known = {**self._troubles, **found}
        return {f"{lane.automation}/{lane.receiver}": said for lane, said in known.items()}

    def step(self) -> int:
        """Make one round over all receivers; return how many actions were sent or asked after.

        Raises:
            AiosError: The database cannot be used.
        """
        return sum(courier.step() for courier in self._couriers)

    def drain(self) -> int:
        """Work until nothing is due any more; return how many were sent or asked after.

        What is due later, such as after a failure, is left for the next time. A slow receiver holds
        up no other.

        Raises:
            AiosError: The database cannot be used.
        """
        handled = 0
        if not self._couriers:
            return 0
        with ThreadPoolExecutor(len(self._couriers), thread_name_prefix="courier") as pool:
            while new := sum(pool.map(_drained, self._couriers)):
                handled += new
        return handled

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; what is under way is settled first.

        A database that is down is waited for.
        """
        threads = [
            threading.Thread(target=self._run, args=(courier, stop), name=courier.lane.receiver)
            for courier in self._couriers
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            stop.set()

    def close(self) -> None:
        """Let go of all connectors."""
        for courier in self._couriers:
            courier.close()

    def _run(self, courier: Courier, stop: threading.Event) -> None:
        idle, trouble = _IDLE[0], _TROUBLE[0]
        while not stop.is_set():
            try:
                handled = courier.step()
                self._troubles.pop(courier.lane, None)
                trouble = _TROUBLE[0]
            except AiosError as error:
                self._troubles[courier.lane] = str(error)
                stop.wait(trouble)
                trouble = min(trouble * 2, _TROUBLE[1])
                continue
            idle = _IDLE[0] if handled else min(idle * 1.5, _IDLE[1])
            if not handled:
                stop.wait(idle)


def _drained(courier: Courier) -> int:
    handled = 0
    while new := courier.step():
        handled += new
    return handled


def _declared(lane: Lane) -> Connector:
    return connect(lane.declared, os.environ)

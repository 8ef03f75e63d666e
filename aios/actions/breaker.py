"""The breaker of a receiver: left alone after failures in a row, then probed by one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from aios.actions.connectors.base import Answer, Done, Failed, Refused, Unavailable, Unsure
from aios.actions.declared import Breaker

Position = Literal["closed", "open", "probing"]
_MICRO = timedelta(microseconds=1)


@dataclass(frozen=True)
class Circuit:
    """Where a breaker stands; every worker sees the same.

    Attributes:
        breaker: `closed`: calls pass. `open`: none do. `probing`: one is under way.
        failures: Failed calls in a row.
        trips: How often it opened since a call last succeeded.
        open_until: Microseconds; until then no call passes, nor another probe.
    """

    breaker: Position = "closed"
    failures: int = 0
    trips: int = 0
    open_until: int = 0

    def passes(self, now: int) -> bool:
        """Tell whether any call may be made; one only, unless it is closed."""
        return self.breaker == "closed" or now >= self.open_until

    def probe(self, until: int) -> Circuit:
        """Let one call pass, and no other before `until`."""
        return replace(self, breaker="probing", open_until=until)

    def heard(
        self,
        answers: Sequence[Answer],
        declared: Breaker,
        now: int,
        *,
        probed_until: int | None,
        asked: bool,
    ) -> Circuit:
        """Return where it stands after answers.

        Args:
            answers: In the order of the calls.
            declared: When it opens, and for how long.
            now: Microseconds.
            probed_until: What the probe whose answers these are had set; None of other calls,
                which change nothing once it is open.
            asked: The calls asked only; then not to know is no failure.
        """
        if probed_until is not None:
            if self.breaker != "probing" or self.open_until != probed_until:
                return self
            back = any(isinstance(one, Done | Refused | Failed) for one in answers)
            return Circuit() if back else self._open(declared, now, _rest_of(answers))
        if self.breaker != "closed":
            return self
        circuit = self
        for answer in answers:
            if isinstance(answer, Unavailable) or (isinstance(answer, Unsure) and not asked):
                circuit = replace(circuit, failures=circuit.failures + 1)
            elif isinstance(answer, Done | Refused) and circuit.failures:
                circuit = replace(circuit, failures=0)
            if circuit.failures >= declared.failures or _rest_of([answer]):
                return circuit._open(declared, now, _rest_of(answers))
        return circuit

    def _open(self, declared: Breaker, now: int, asked_for: timedelta | None) -> Circuit:
        # 2**20 rests are longer than any `longest`, and do not overflow.
        rest = max(declared.rest * 2 ** min(self.trips, 20), asked_for or timedelta())
        until = now + min(rest, declared.longest) // _MICRO
        return Circuit("open", self.failures, self.trips + 1, until)


def _rest_of(answers: Sequence[Answer]) -> timedelta | None:
    rests = [one.rest for one in answers if isinstance(one, Unavailable) and one.rest]
    return max(rests, default=None)

"""An arming: equal versions and broken ones rolled out over an automation's own history."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from aios import clock
from aios.automation import Automation
from aios.identity.guard import Guard
from aios.record.batches import file_digest
from aios_assets.arming.faults import Fault, all_faults
from aios_assets.arming.figures import Tried, of_equals, summary
from aios_assets.arming.history import History, read_history
from aios_assets.arming.trials import Trial, play
from aios_assets.arming.versions import Version, Workshop
from aios_assets.arming.windows import block_length, draw, longest

if TYPE_CHECKING:
    from aios.identity.actors import Actor
    from aios_assets.resources import Platform

DATASET: Final = "arming"
TRIALS: Final = 200
POOL: Final = 24
"""Sound versions that are trained; champion and challenger of a trial are two of them."""
BROKEN: Final = 4
"""Versions that are trained with a fault in their training."""
PER_FAULT: Final = 10
"""Rollouts of equal versions for one of a fault."""
IMPORTANT: Final = 2
"""Columns that are broken because much depends on them, beside one on which little does."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Equals:
    """Rollouts of versions that are equal in expectation, and which the gate failed."""

    trials: list[Trial]
    refused: list[bool]


def arm(
    automation: Automation,
    platform: Platform,
    actor: Actor,
    *,
    trials: int = TRIALS,
    seed: int = 0,
    progress: Progress = lambda *_: None,
) -> dict[str, Any]:
    """Measure what gate, drift verdict and rollout make of equal and of broken versions.

    Writes the result to the lake, a page among the reports, and a leaf of the record; touches
    nothing else of the automation.

    Args:
        automation: Whose gates.
        platform: Where everything is.
        actor: Who has them measured.
        trials: Rollouts of equal versions; of each fault there are a tenth as many.
        seed: Of all that is drawn. Timings are measured anew each time.
        progress: Told how far it is.

    Returns:
        The result as plain data.

    Raises:
        Denied: The rules do not let the actor run its jobs.
        AiosError: There is no rollout to arm, no champion, too little history, or training failed.
    """
    from aios_assets.arming.page import write_page
    from model_registry import armed

    Guard(actor, platform.access, platform.log).check("run", automation.resource)
    began = clock.wall()
    history = read_history(automation, platform)
    measured = measure(history, trials=trials, seed=seed, progress=progress)
    targets = history.declared.targets
    detection, false_rollback = measured["detection"], measured["equal"]["false_rollback"]
    result = {
        "automation": automation.name,
        "at": f"{began:%Y-%m-%d %H:%M:%S}",
        "by": str(actor),
        "code_version": automation.code_version,
        "champion": history.champion,
        "recipe": history.candidate.name,
        **measured,
        "targets": targets.model_dump() if targets else None,
        "below_target": armed.shortfall(detection, false_rollback, targets) if targets else None,
        "seconds": round((clock.wall() - began).total_seconds(), 1),
    }
    name = f"{began:%Y%m%dT%H%M%S%f}Z"
    path = platform.lake(automation.name).write_json(DATASET, name, result)
    write_page(result, platform.reports(automation.name), name)
    body = {
        "detection": _short(detection),
        "false_rollback": _short(false_rollback),
        **{one: result[one] for one in ("trials", "seed", "champion", "code_version")},
        "file": file_digest(path),
    }
    armed.record(platform.log, automation.name, str(actor), body)
    return result | {"page": str(platform.reports(automation.name).path(DATASET, name, "html"))}


def _short(rate: dict[str, Any]) -> dict[str, Any]:
    return {name: rate[name] for name in ("value", "low", "high", "n")}


def measure(
    history: History, *, trials: int, seed: int, progress: Progress = lambda *_: None
) -> dict[str, Any]:
    """Roll out equal and broken versions over a history; return the figures as plain data."""
    declared, spec = history.declared, history.automation.spec
    workshop = Workshop(history, seed)
    pool = _pool(workshop, min(POOL, max(trials, 2)), progress)
    importance = workshop.importance(pool[0])
    features = chosen_features(importance)
    numbers = [name for name, kind in spec.feature_columns.items() if kind == "number"]
    faults = all_faults(features, numbers)
    bench = _Bench(history, workshop, pool, seed)
    equals = bench.equals(trials, progress)
    tried = list(bench.broken(faults, max(trials // PER_FAULT, 1), progress))
    by_fault = [list(one) for _, one in groupby(tried, key=lambda one: one.fault)]
    kinds = dict.fromkeys(one.fault.kind for one in tried)
    return {
        "trials": trials,
        "seed": seed,
        "history": {
            "fitted": history.fit.height,
            "held": history.held.height,
            "partitions": [part.key for part in history.parts],
            "rows": history.live.height,
            "longest": bench.length,
            "block": bench.block,
        },
        "importance": {name: importance[name] for name in features},
        "equal": of_equals(equals.trials, equals.refused),
        "detection": summary(tried, declared)["detection"],
        "all": summary(tried, declared),
        "kinds": {
            kind: summary([one for one in tried if one.fault.kind == kind], declared)
            for kind in kinds
        },
        "faults": [
            {"kind": one[0].fault.kind, "feature": one[0].fault.feature, **summary(one, declared)}
            for one in by_fault
        ],
    }


def chosen_features(importance: dict[str, float]) -> list[str]:
    """Return the most important features, and the least important one that is read at all.

    Args:
        importance: By name, most important first.
    """
    names = list(importance)
    read = [name for name in names[IMPORTANT:] if importance[name]]
    rest = read or names[IMPORTANT:]
    return names[:IMPORTANT] + sorted(rest, key=lambda name: abs(importance[name]))[:1]


def _pool(workshop: Workshop, size: int, progress: Progress) -> list[Version]:
    trained = []
    for number in range(size):
        progress("training equal versions", number, size)
        trained.append(workshop.train(number))
    progress("training equal versions", size, size)
    return workshop.timed(trained)


class _Bench:
    """Draws who is rolled out against whom, in which window, and asks gate and drift verdict."""

    def __init__(
        self, history: History, workshop: Workshop, pool: Sequence[Version], seed: int
    ) -> None:
        self.history, self.workshop, self.pool = history, workshop, pool
        self.rng = np.random.default_rng([seed, 1])
        self.length = longest(history.declared, history.parts[0].length)
        self.block = block_length(len(history.parts), self.length)

    def equals(self, trials: int, progress: Progress) -> Equals:
        """Roll out versions that differ from the champion by what they were trained on alone."""
        found = Equals([], [])
        for number in range(trials):
            progress("rolling out equal versions", number, trials)
            champion, challenger = self._two()
            found.refused.append(self._failed(champion, challenger))
            found.trials.append(self._play(champion, challenger, self._window()))
        progress("rolling out equal versions", trials, trials)
        return found

    def broken(self, faults: Sequence[Fault], trials: int, progress: Progress) -> Iterator[Tried]:
        """Roll out versions with faults, each so many times."""
        said = "rolling out broken versions"
        for position, fault in enumerate(faults):
            versions = self._versions(fault, trials)
            drifted = self.workshop.drifted(fault)
            for number in range(trials):
                progress(said, position * trials + number, len(faults) * trials)
                base, challenger = versions[number % len(versions)]
                others = [index for index in range(len(self.pool)) if index != base]
                champion = self.pool[int(self.rng.choice(others))]
                window = self._window()
                yield Tried(
                    fault,
                    self._play(champion, challenger, window),
                    self._failed(champion, challenger) if fault.offline else None,
                    self._confirmed([drifted[position] for position in window]),
                )
        progress(said, len(faults) * trials, len(faults) * trials)

    def _versions(self, fault: Fault, trials: int) -> list[tuple[int, Version]]:
        """Return versions with a fault, each with the sound version that it comes from (or -1)."""
        count = min(BROKEN, trials)
        if "training" not in fault.places:
            return [(n, self.workshop.with_fault(self.pool[n], fault)) for n in range(count)]
        taught = [self.workshop.train(POOL + n, fault) for n in range(count)]
        # Timed beside the same reference as the sound ones.
        return [(-1, one) for one in self.workshop.timed([self.pool[0], *taught])[1:]]

    def _two(self) -> tuple[Version, Version]:
        first, second = self.rng.choice(len(self.pool), size=2, replace=False)
        return self.pool[int(first)], self.pool[int(second)]

    def _window(self) -> list[int]:
        return draw(self.rng, len(self.history.parts), self.length)

    def _play(self, champion: Version, challenger: Version, window: list[int]) -> Trial:
        return play(self.history, champion, challenger, window, self.rng)

    def _confirmed(self, drifted: Sequence[bool]) -> int | None:
        """Return after how many partitions drift was seen often enough in a row."""
        row, needed = 0, self.history.automation.spec.drift.confirm
        for number, one in enumerate(drifted[: self.history.declared.patience], start=1):
            row = row + 1 if one else 0
            if row == needed:
                return number
        return None

    def _failed(self, champion: Version, challenger: Version) -> bool:
        """Tell whether the offline gate fails a version on the held-out rows."""
        from model_registry.gate import gate

        spec = self.history.automation.spec
        verdict = gate(
            spec.task,
            self.history.held["label"].to_numpy(),
            {"challenger": challenger.held},
            champion.held,
            metric=spec.gate.metric,
            floor=spec.gate.floor,
            margin=spec.gate.margin,
            confidence=spec.gate.confidence,
            min_rows=spec.gate.min_rows,
            min_per_class=spec.training.min_per_class,
        )
        return verdict.candidates["challenger"].status == "fail"

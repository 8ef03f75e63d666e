"""The versions that an arming rolls out: the champion's recipe, trained on resampled rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from aios.statistics.drift import drift_verdict
from aios.statistics.profile import Profile
from aios_assets.arming.faults import Fault
from aios_assets.lifecycle.predictions import TIMED_ROWS, TIMED_SLICES, Tolerant
from aios_assets.lifecycle.training import fit

if TYPE_CHECKING:
    from aios_assets.arming.history import History
    from model_registry.formats import Scorer

TIMED_ROUNDS: Final = 2
REPEATS: Final = 3
"""Permutations of a column that its importance is the mean of."""


@dataclass(frozen=True, eq=False)
class Version:
    """A trained version, and all that a replayed rollout needs to know of it.

    Attributes:
        scorer: The model.
        held: Scores of the held-out rows as its offline evaluation shows them.
        scores: Of the rows of each replayed partition; NaN where it fails.
        outcomes: What the policy makes of these scores.
        pace: Time for a row as a multiple of what a reference took for it in the same turn, shape
            (rounds, slices): what else the machine did then counts for both.
    """

    scorer: Scorer
    held: np.ndarray
    scores: list[np.ndarray]
    outcomes: list[pl.Series]
    pace: np.ndarray


class Workshop:
    """Trains versions on a history and lets them score what it replays."""

    def __init__(self, history: History, seed: int) -> None:
        self.history, self.seed = history, seed
        self._parts = [part.rows for part in history.parts]

    def train(self, number: int, fault: Fault | None = None) -> Version:
        """Train the champion's recipe on rows drawn again, with a seed of its own.

        Args:
            number: Of the version: another number draws other rows and another seed.
            fault: What is wrong with it; nothing where None.

        Raises:
            AiosError: Training failed.
        """
        fault, seed = fault or Fault(), self.seed + number
        (rows,) = fault.put("training", [self.history.fit], seed)
        rng = np.random.default_rng([self.seed, number])
        scorer = self._fit(rows[rng.integers(0, rows.height, rows.height)], seed)
        plain = Version(scorer, np.empty(0), [], [], np.empty((0, 0)))
        return self.with_fault(plain, fault)

    def with_fault(self, version: Version, fault: Fault) -> Version:
        """Return a trained version that meets a fault where it is not learned."""
        (held,) = fault.put("held out", [self.history.held], self.seed)
        live = pl.concat(fault.put("live", self._parts, self.seed))
        scores = Tolerant(0, version.scorer).score(live)
        return replace(
            version,
            held=Tolerant(0, version.scorer).score(held),
            scores=self._by_part(scores),
            outcomes=self._by_part(self._outcomes(scores)),
            pace=version.pace * fault.slower,
        )

    def timed(self, versions: Sequence[Version]) -> list[Version]:
        """Return the versions with their pace, measured in turns; the first is the reference."""
        rows = self._parts[0].head(TIMED_ROWS)
        size = max(-(-rows.height // TIMED_SLICES), 1)
        slices = [part for _ in range(TIMED_ROUNDS) for part in rows.iter_slices(size)]
        seconds = np.empty((len(versions), len(slices)))
        for position, part in enumerate(slices):
            for index, version in enumerate(versions):
                began = time.perf_counter()
                Tolerant(0, version.scorer).score(part)
                seconds[index, position] = (time.perf_counter() - began) / part.height
        return [
            replace(version, pace=own.reshape(TIMED_ROUNDS, -1))
            for version, own in zip(versions, seconds / seconds[0], strict=True)
        ]

    def importance(self, version: Version) -> dict[str, float]:
        """Return how much the squared error on the held-out rows grows when a column is mixed up.

        Permutation importance (Breiman 2001), most important first.
        """
        held = self.history.held
        label = held["label"].to_numpy()
        rng = np.random.default_rng(self.seed)
        usual = np.mean((version.scorer.score(held) - label) ** 2)
        found = {}
        for name in self.history.columns:
            mixed = [
                np.mean((version.scorer.score(_mixed(held, name, rng)) - label) ** 2)
                for _ in range(REPEATS)
            ]
            found[name] = float(np.mean(mixed) - usual)
        return dict(sorted(found.items(), key=lambda one: -one[1]))

    def drifted(self, fault: Fault) -> list[bool]:
        """Tell for each partition whether the drift verdict names the column with the fault.

        Where it names the column without the fault too, it is the data that drifted.
        """
        spec = self.history.automation.spec
        if not fault.feature or fault.feature in spec.drift.ignore:
            return [False] * len(self._parts)
        watched = [name for name in self.history.columns if name not in spec.drift.ignore]
        (taught,) = fault.put("training", [self.history.fit], self.seed)
        broken = fault.put("live", self._parts, self.seed)

        def named(reference: Profile, part: pl.DataFrame) -> bool:
            verdict = drift_verdict(
                reference,
                part,
                columns=watched,
                false_alarm_rate=spec.drift.false_alarm_rate,
                min_effect=spec.drift.min_effect,
                min_rows=spec.drift.min_rows,
            )
            return fault.feature in verdict.drifted

        reference = Profile.of(taught, watched)
        return [
            named(reference, part) and not named(self._profile, clean)
            for part, clean in zip(broken, self._parts, strict=True)
        ]

    @cached_property
    def _profile(self) -> Profile:
        return Profile.of(self.history.fit, self.history.columns)

    def _fit(self, rows: pl.DataFrame, seed: int) -> Scorer:
        from threadpoolctl import threadpool_limits

        from model_registry.formats import in_memory

        automation, candidate = self.history.automation, self.history.candidate
        # Many small fits: on one thread each, whatever a training of this size would take.
        with threadpool_limits(1):
            model = fit(automation, candidate, rows, seed=seed)
        columns = automation.spec.feature_columns
        return in_memory(model, automation.spec.task, columns, name=f"{candidate.name}, resampled")

    def _outcomes(self, scores: np.ndarray) -> pl.Series:
        policy = self.history.automation.policy
        inputs = [name for name in policy.inputs if name != "score"]
        score = pl.Series("score", scores, nan_to_null=True)
        return policy.decide(self.history.live.select(inputs).with_columns(score))["outcome"]

    def _by_part(self, values: Any) -> list[Any]:
        return [values[a:b] for a, b in pairwise(self.history.bounds)]


def _mixed(rows: pl.DataFrame, name: str, rng: np.random.Generator) -> pl.DataFrame:
    return rows.with_columns(rows[name].gather(rng.permutation(rows.height)))

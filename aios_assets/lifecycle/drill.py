"""Drills: the rollback of a learner rehearsed and timed, while who decides stays who decides."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from aios import clock
from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.errors import AiosError, Stale
from aios.identity.actors import ROLLOUT
from aios.lake import Lake
from aios.learner import Learner, ModelStep
from aios.record.batches import file_digest
from aios.record.leaves import Act, size_of
from aios.record.log import Log
from aios.record.transaction import Transaction
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    markdown_table,
    stage,
)
from aios_assets.lifecycle.golden import golden_check
from aios_assets.lifecycle.plots import as_markdown, history_line
from aios_assets.resources import Platform
from model_registry import ledger, rollout, standby
from model_registry.standby import DRILLS, timed

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion, Registry

ROUNDS = 20
LIMIT = 1.0
"""Seconds that half of the rounds must stay under."""

STAGES = ("files", "load", "signature", "golden", "lock", "change", "alias")
SCRATCH = "drill"
"""The alias that is set in MLflow instead of the champion's."""

SHOWN = 30
"""Drills in the plot."""


@dataclass(frozen=True)
class Drill:
    """What a drill found.

    Attributes:
        at: When, by the wall clock, UTC-naive.
        version: Who would decide after a rollback; None where there is nobody to return to.
        problems: What keeps it from deciding, in words; a drill without any is passed.
        rounds: Seconds of each stage in each round, the first with nothing in memory.
    """

    at: datetime
    version: int | None
    problems: tuple[str, ...]
    rounds: tuple[dict[str, float], ...]

    @property
    def ok(self) -> bool:
        """Tell whether it passed."""
        return not self.problems

    @property
    def said(self) -> str:
        """The outcome in words."""
        if self.problems:
            return f"return to version {self.version}: {'; '.join(self.problems)}"
        if self.version is None:
            return "there is nothing to return to"
        return f"version {self.version} could decide"

    def percentiles(self, name: str | None = None) -> dict[str, float | None]:
        """Return p50, p95 and max of a stage or of whole rounds, seconds, without the first."""
        values = [one[name] if name else sum(one.values()) for one in self.rounds[1:]]
        if not values:
            return dict.fromkeys(("p50", "p95", "max"))
        p50, p95, most = np.quantile(values, [0.5, 0.95, 1.0]).round(6).tolist()
        return {"p50": p50, "p95": p95, "max": most}

    def as_json(self) -> dict[str, Any]:
        """Return what is kept of it; seconds throughout, `cold` those of the first round."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "version": self.version,
            "ok": self.ok,
            "said": self.said,
            "problems": list(self.problems),
            "rounds": len(self.rounds),
            "cold": round(sum(self.rounds[0].values()), 6) if self.rounds else None,
            **self.percentiles(),
            "stages": {name: self.percentiles(name) for name in STAGES},
        }


def run_drill(learner: Learner, platform: Platform, rounds: int = ROUNDS) -> Drill:
    """Rehearse a learner's rollback, keep and record the outcome; one that fails is an alarm.

    Nothing of a rehearsed rollback stays: its change of the ledger is taken back with its
    transaction, and the alias that it sets is a scratch one, deleted again.

    Raises:
        AiosError: The champion changed meanwhile, or the outcome cannot be recorded.
    """
    found = rehearse(learner, platform, rounds)
    kept, name = found.as_json(), f"{found.at:%Y%m%dT%H%M%S%f}Z"
    path = platform.lake(learner.name).write_json(DRILLS, name, kept)
    if not found.ok:
        message = f"the rollback drill failed, rollouts are blocked: {found.said}"
        raise_alarm(platform.settings.home, learner.name, "drill", name, message)
    body = {one: kept[one] for one in ("version", "ok", "problems", "p50", "p95")}
    body["file"] = file_digest(path)
    act = Act("drill", learner.name, str(ROLLOUT), body, key=f"drill/{learner.name}/{name}")
    platform.log.append(act)
    return found


def rehearse(learner: Learner, platform: Platform, rounds: int) -> Drill:
    """Rehearse a learner's rollback in some rounds; keeps nothing but the golden predictions.

    Raises:
        Stale: The champion changed meanwhile, so this would be the rollback of another.
    """
    from model_registry.champion import history, previous

    at, registry = clock.wall(), platform.registry
    changes = history(registry, learner.name)
    line = ledger.line(changes)
    if len(line) < 2:
        return Drill(at, None, (), ())
    problems: list[str] = []
    seconds: list[dict[str, float]] = []
    marker, first = f"drill {at.isoformat()}", registry.log.size()
    log = _TakenBack(registry.log)
    own = not isinstance(learner, ModelStep)
    features = learner.belongs_to.spec.feature_columns if own else None
    standby.forget()
    try:
        version = previous(registry, learner.name)
        assert version
        for _ in range(rounds):
            ready = standby.readiness(
                registry,
                version,
                features=features,
                golden=golden_check(learner, platform, version),
            )
            problems += ready.problems
            if problems:
                break
            seconds.append(ready.seconds | _change(registry, log, version, changes, marker))
        problems += _traces(registry.log, learner.name, marker, first)
    except Stale:
        raise
    except AiosError as error:
        problems.append(f"it could not be rehearsed: {error.what}")
    drill = Drill(at, line[-2], tuple(problems), tuple(seconds))
    return _in_time(drill)


class _Undone(Exception):
    """Takes back a transaction that went well."""


class _TakenBack(Log):
    """A log whose transactions are taken back, once all that they do is done."""

    def __init__(self, log: Log) -> None:
        super().__init__(log.database, log.keyring, log.place)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with super().transaction() as transaction:
            before = size_of(transaction.connection)
            yield transaction
            if size_of(transaction.connection) > before:
                raise _Undone


def _change(
    registry: "Registry",
    log: Log,
    version: "ModelVersion",
    changes: "list[ledger.Change]",
    marker: str,
) -> dict[str, float]:
    """Do what a rollback does to ledger and alias; return the seconds, keep nothing."""
    name, seconds = version.automation, dict[str, float]()
    body = {
        "version": version.number,
        "previous": changes[-1].version,
        "kind": "rollback",
        "reason": marker,
        "evidence": "",
        "evidence_digest": "",
        "approved_by": [],
    }
    moved = [one.at for one in rollout.moves(log, name)]
    at = max([clock.now(), changes[-1].at, *moved])
    with ExitStack() as held:
        with timed(seconds, "lock"):
            held.enter_context(registry.writing(name))
        with timed(seconds, "change"), suppress(_Undone):
            ledger.add(log, name, len(changes), str(ROLLOUT), at, body, rollout.follow)
        try:
            with timed(seconds, "alias"):
                registry.client.set_registered_model_alias(name, SCRATCH, str(version.number))
        finally:
            registry.client.delete_registered_model_alias(name, SCRATCH)
    return seconds


def _traces(log: Log, name: str, marker: str, first: int) -> list[str]:
    """Say what a rehearsal left behind, or what is wrong with the record; nothing is right."""
    kept = [
        f"leaf {one.index} of the rehearsal stayed in the record"
        for one in log.entries(kind=["rollback", rollout.MOVED], automation=name, first=first)
        if one.body["reason"] == marker
    ]
    wrong = [*log.verify().problems, *ledger.check(log), *rollout.check(log)]
    return [*kept, *(f"the record does not verify: {one}" for one in wrong)]


def _in_time(drill: Drill) -> Drill:
    p50 = drill.percentiles()["p50"]
    if p50 is None or p50 <= LIMIT:
        return drill
    slow = f"half of the rounds took {p50:.2f} s or longer, the limit is {LIMIT:g} s"
    return replace(drill, problems=(*drill.problems, slow))


def build_rollback_drill(automation: Automation, learner: Learner) -> dg.AssetsDefinition:
    """Build the `rollback_drill` asset of an automation or of one of its model steps."""
    noun = learner.asset("rollback_drill")
    options = {
        name: value
        for name, value in asset_options(automation, noun, kinds={"mlflow"}).items()
        if name != "partitions_def"
    }

    @dg.asset(
        **options,
        deps=[[automation.name, learner.asset("gate")]],
        description="The rollback rehearsed: the version that would decide is as registered, "
        "loads, fits the declared features and gives its golden predictions; the change of the "
        "ledger is timed and taken back. Who decides stays who decides.",
        check_specs=[
            check_spec(
                automation,
                noun,
                "recovers",
                f"The champion before the present one could decide, within {LIMIT:g} s. While "
                "this fails, rollouts are blocked.",
            )
        ],
    )
    def rollback_drill(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage(noun):
            found = run_drill(learner, platform)
        return dg.MaterializeResult(
            metadata=_metadata(found, platform.lake(learner.name)),
            check_results=[check_result("recovers", found.ok, error=True, outcome=found.said)],
        )

    return rollback_drill


def table(found: Drill) -> list[list[str]]:
    """Return p50, p95 and max of the whole and of each stage in milliseconds, as text."""
    rows = [("recovery", found.percentiles()), *((one, found.percentiles(one)) for one in STAGES)]
    return [
        [name, *("-" if one is None else f"{1000 * one:.1f}" for one in values.values())]
        for name, values in rows
    ]


def _metadata(found: Drill, lake: Lake) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "outcome": found.said,
        "recovery time": markdown_table(["stage", "p50 ms", "p95 ms", "max ms"], table(found)),
    }
    drills = [lake.read_json(DRILLS, key) for key in lake.partitions(DRILLS, "json")[-SHOWN:]]
    measured = {one["at"][5:16].replace("T", " "): one for one in drills if one["p95"] is not None}
    if measured:
        values = [1000 * one["p95"] for one in measured.values()]
        failed = [key for key, one in measured.items() if not one["ok"]]
        plot = history_line(list(measured), values, "p95 of the recovery, ms; red: failed", failed)
        metadata["history"] = as_markdown(plot, "recovery time, drill by drill")
    return metadata

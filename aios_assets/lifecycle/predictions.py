"""Predictions: the champion scores a partition in chunks, challengers beside it."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import polars as pl

from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.assignment import Assignment, assign, in_rollout, keep
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    mean_of,
    row_columns,
    row_metadata,
    stage,
    traced_windows,
)
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.formats import Scorer

TIMED_ROWS, TIMED_SLICES = 1_600, 50


class ScoringConfig(dg.Config):
    """Which version scores in place of the champion of that time, if any."""

    version: int | None = None


@dataclass(frozen=True)
class Scored:
    """What one partition's scoring did.

    Attributes:
        assignment: Who decides.
        challengers: Those that were scored beside the champion.
        rows: Rows of the partition.
        canary: Rows that the challenger in its canary decides.
        missing: Rows without a score of who decides them.
        lost: Why a champion or challengers were left out: they do not load, or do not score.
    """

    window: Window
    assignment: Assignment
    challengers: tuple[int, ...]
    rows: int
    canary: int
    missing: int
    lost: tuple[str, ...] = ()


def score_window(
    automation: Automation,
    lake: Lake,
    window: Window,
    champion: "tuple[int, Scorer] | None",
    challengers: "Sequence[tuple[int, Scorer]]",
    assignment: Assignment | None = None,
) -> Scored:
    """Score the features of a window and store the predictions.

    Columns: id, entity, `event_time`, `known_at`, `revision`, `score` and `model_version` of who
    decides the row (null without a champion), `score_v<N>` for each challenger and, where a
    rollout is under way, for the champion, `feature_digest`. A row of the canary that its
    challenger cannot score is decided by the champion.
    """
    names = list(automation.spec.feature_columns)
    row = row_columns(automation)
    assignment = assignment or Assignment(champion[0] if champion else None)
    tally: Counter[str] = Counter()
    safe = [(number, Tolerant(number, scorer)) for number, scorer in challengers]
    with lake.writer("predictions", window.key) as write:
        for chunk in lake.stream(
            "features", window.key, [*dict.fromkeys([*row, *names]), "feature_digest"]
        ):
            predictions = _score_chunk(chunk, row, champion, safe, assignment)
            tally["rows"] += chunk.height
            tally["missing"] += predictions["score"].null_count()
            tally["canary"] += int(
                (predictions["model_version"] == (assignment.challenger or 0)).sum()
            )
            write(predictions)
    return Scored(
        window,
        assignment,
        tuple(number for number, _ in challengers),
        tally["rows"],
        tally["canary"],
        tally["missing"],
        tuple(one.failure for _, one in safe if one.failure),
    )


def _score_chunk(
    chunk: pl.DataFrame,
    row: list[str],
    champion: "tuple[int, Scorer] | None",
    challengers: "Sequence[tuple[int, Scorer]]",
    assignment: Assignment,
) -> pl.DataFrame:
    scores = {number: scorer.score(chunk) for number, scorer in challengers}
    score = np.full(chunk.height, np.nan)
    version = np.zeros(chunk.height, dtype=np.int32)
    if champion:
        score, version = champion[1].score(chunk).astype(np.float64), version + champion[0]
        if assignment.challenger in scores:
            given = scores[assignment.challenger]
            chosen = assignment.canary(chunk) & np.isfinite(given)
            scores[champion[0]] = score
            score = np.where(chosen, given, score)
            version = np.where(chosen, assignment.challenger, version)
    return chunk.select(
        *row,
        pl.Series("score", score, dtype=pl.Float64, nan_to_null=True),
        pl.Series(
            "model_version", [None] * chunk.height if champion is None else version, pl.Int32
        ),
        *(
            pl.Series(f"score_v{number}", values, dtype=pl.Float64)
            for number, values in scores.items()
        ),
        "feature_digest",
    )


class Tolerant:
    """A challenger's scorer: where it fails there is no score, and the champion goes on."""

    def __init__(self, number: int, scorer: "Scorer") -> None:
        self.number, self.scorer, self.failure = number, scorer, ""

    def score(self, features: pl.DataFrame) -> np.ndarray:
        """Return scores of shape (n,); NaN where the model fails."""
        try:
            return np.asarray(self.scorer.score(features), dtype=np.float64)
        except Exception as error:
            self.failure = f"version {self.number} does not score: {error}"
            return np.full(features.height, np.nan)


def score_partition(
    automation: Automation, platform: Platform, window: Window, named: int | None = None
) -> Scored:
    """Score a window with the champion in force at its end and the challengers of that time.

    Where the champion does not load, the one before it decides. A challenger that does not load is
    left out.

    Args:
        automation: Whose.
        platform: Where everything is.
        window: Of which partition.
        named: A version to score with in place of the champion of that time.

    Raises:
        AiosError: The named version did not pass the gate, or was trained on data that was not
            known at the window's end.
    """
    from model_registry.challengers import challengers_at
    from model_registry.formats import load

    registry, lake = platform.registry, platform.lake(automation.name)
    assignment, decided = assign(automation, registry, lake, window)
    if named is not None:
        instead_of = asdict(assignment) if decided else None
        assignment, decided = _as_named(automation, platform, window, named), True
        assignment = replace(assignment, instead_of=instead_of)
    champion, lost = _champion(platform, automation.name, assignment, decided)
    if champion and champion[0] != assignment.champion:
        assignment = in_rollout(automation, registry, champion[0], window)
    beside = {one.number: one for one in challengers_at(registry, automation.name, window.end)}
    if assignment.challenger:
        beside[assignment.challenger] = registry.get(automation.name, assignment.challenger)
    challengers = []
    for number, version in sorted(beside.items()):
        if champion and number == champion[0]:
            continue
        try:
            challengers.append((number, load(registry, version)))
        except AiosError as error:
            lost.append(str(error))
    keep(lake, window, assignment)
    scored = score_window(automation, lake, window, champion, challengers, assignment)
    _time_slices(automation, lake, window, champion, challengers, assignment)
    return replace(scored, lost=(*lost, *scored.lost))


def _as_named(
    automation: Automation, platform: Platform, window: Window, number: int
) -> Assignment:
    from model_registry.verdicts import passed

    version = platform.registry.get(automation.name, number)
    if not passed(platform.log, version):
        raise AiosError(
            "it did not pass the gate",
            where=version.label,
            fix="Name a version that did; see 'aios models'.",
        )
    if version.trained_until > window.end:
        raise AiosError(
            f"it was trained on data up to {version.trained_until:%Y-%m-%d}, the partition ends on "
            f"{window.end:%Y-%m-%d}: it would know what it is to predict",
            where=version.label,
            fix="Name a version that was trained before, or none: the champion of that time.",
        )
    return Assignment(number, named=True)


def _champion(
    platform: Platform, name: str, assignment: Assignment, decided: bool
) -> "tuple[tuple[int, Scorer] | None, list[str]]":
    """Return who scores a window, loaded, and why a champion after it does not."""
    from model_registry.formats import load
    from model_registry.loading import load_or_before

    registry = platform.registry
    if assignment.champion is None:
        return None, []
    version = registry.get(name, assignment.champion)
    if decided:
        return (version.number, load(registry, version)), []
    deciding, scorer, lost = load_or_before(registry, version, load)
    for why in lost:
        raise_alarm(platform.settings.home, name, "model", why, why)
    return (deciding.number, scorer), lost


def _time_slices(
    automation: Automation,
    lake: Lake,
    window: Window,
    champion: "tuple[int, Scorer] | None",
    challengers: "Sequence[tuple[int, Scorer]]",
    assignment: Assignment,
) -> None:
    """Store how long champion and challenger take for slices of the same rows, in turns.

    Apart from the scoring that decides: the sizes of what is scored at once must not change it.
    """
    challenger = dict(challengers).get(assignment.challenger or 0)
    if champion is None or challenger is None or lake.has("timing", f"shadow-{window.key}", "json"):
        return
    names = list(automation.spec.feature_columns)
    rows = next(lake.stream("features", window.key, names)).head(TIMED_ROWS)
    size = max(-(-rows.height // TIMED_SLICES), 1)
    seconds: dict[str, list[float]] = {"champion": [], "challenger": []}
    scorers = {"champion": champion[1], "challenger": Tolerant(0, challenger)}
    for part in rows.iter_slices(size):
        for who, scorer in scorers.items():
            began = time.perf_counter()
            scorer.score(part)
            seconds[who].append((time.perf_counter() - began) / part.height)
    lake.write_json("timing", f"shadow-{window.key}", seconds)


def build_predictions(automation: Automation) -> dg.AssetsDefinition:
    """Build the `predictions` asset."""

    @dg.asset(
        **asset_options(automation, "predictions", kinds={"mlflow", "polars"}),
        deps=[[automation.name, "features"]],
        description="The score of the champion that was in force at the end of the partition, or "
        "of the challenger for its share of a canary, and of every challenger beside it. Without "
        "a champion the score is null.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(
                automation, "predictions", "scored", "A champion in force scored every event."
            )
        ],
    )
    def predictions(
        context: dg.AssetExecutionContext,
        config: ScoringConfig,
        platform: dg.ResourceParam[Platform],
    ) -> dg.MaterializeResult:
        with stage("predictions"):
            lake = platform.lake(automation.name)
            windows = traced_windows(context, automation, lake, "predictions")
            parts = [
                score_partition(automation, platform, window, config.version) for window in windows
            ]
        frame = lake.read("predictions", parts[-1].window.key)
        return dg.MaterializeResult(
            metadata=_metadata(parts, frame), check_results=[_scored(parts)]
        )

    return predictions


def _metadata(parts: list[Scored], frame: pl.DataFrame) -> dict[str, Any]:
    last, champion = parts[-1], parts[-1].assignment.champion
    who = f"version {champion}" if champion else "none in force"
    by_name = ", asked for by name: not who was in force then"
    return {
        **row_metadata(frame.head(0), sum(part.rows for part in parts)),
        "champion": who + by_name if last.assignment.named else who,
        "canary": f"{last.canary} rows decided by version {last.assignment.challenger}"
        if last.canary
        else "none",
        "challengers": ", ".join(f"version {n}" for n in last.challengers) or "none",
        "models that do not load": "; ".join(last.lost) or "none",
        "mean_score": mean_of(frame["score"]),
    }


def _scored(parts: list[Scored]) -> dg.AssetCheckResult:
    missing = sum(part.missing for part in parts)
    without = [part.window.key for part in parts if part.assignment.champion is None]
    return check_result(
        "scored",
        not missing,
        rows_without_score=missing,
        partitions_without_champion=", ".join(without) or "none",
    )

"""Predictions: the champion scores a partition in chunks, challengers beside it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from aios.alarms import raise_alarm
from aios.automation import Automation
from aios.errors import AiosError
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.common import (
    asset_options,
    check_result,
    check_spec,
    mean_of,
    row_metadata,
    stage,
    windows_of,
)
from aios_assets.resources import Platform

if TYPE_CHECKING:
    from model_registry.formats import Scorer


@dataclass(frozen=True)
class Scored:
    """What one partition's scoring did.

    Attributes:
        champion: None where none was in force.
        challengers: Those that were scored beside it.
        rows: Rows of the partition.
        missing: Rows without a score of the champion.
        lost: Why a champion or challengers were left out: they do not load.
    """

    window: Window
    champion: int | None
    challengers: tuple[int, ...]
    rows: int
    missing: int
    lost: tuple[str, ...] = ()


def score_window(
    automation: Automation,
    lake: Lake,
    window: Window,
    champion: "tuple[int, Scorer] | None",
    challengers: "Sequence[tuple[int, Scorer]]",
) -> Scored:
    """Score the features of a window and store the predictions.

    Columns: id, entity, `event_time`, `known_at`, `revision`, `score` and `model_version` of the
    champion (null without one), `score_v<N>` for each challenger, `feature_digest`.
    """
    names = list(automation.spec.feature_columns)
    row = [automation.spec.id, automation.spec.entity, "event_time", "known_at", "revision"]
    row = list(dict.fromkeys(row))
    rows = missing = 0
    with lake.writer("predictions", window.key) as write:
        for chunk in lake.stream(
            "features", window.key, [*dict.fromkeys([*row, *names]), "feature_digest"]
        ):
            scores = {f"score_v{number}": scorer.score(chunk) for number, scorer in challengers}
            score = champion[1].score(chunk) if champion else None
            predictions = chunk.select(
                *row,
                pl.lit(pl.Series("score", score, dtype=pl.Float64, nan_to_null=True))
                if score is not None
                else pl.lit(None, dtype=pl.Float64).alias("score"),
                pl.lit(champion[0] if champion else None, dtype=pl.Int32).alias("model_version"),
                *(pl.Series(name, values, dtype=pl.Float64) for name, values in scores.items()),
                "feature_digest",
            )
            rows, missing = rows + chunk.height, missing + predictions["score"].null_count()
            write(predictions)
    numbers = tuple(number for number, _ in challengers)
    return Scored(window, champion[0] if champion else None, numbers, rows, missing)


def score_partition(automation: Automation, platform: Platform, window: Window) -> Scored:
    """Score a window with the champion in force at its end and the challengers of that time.

    Where the champion does not load, the one before it decides. A challenger that does not load is
    left out.
    """
    from model_registry.challengers import challengers_at
    from model_registry.formats import load

    registry = platform.registry
    champion, lost = _champion(automation, platform, window)
    challengers = []
    for version in challengers_at(registry, automation.name, window.end):
        try:
            challengers.append((version.number, load(registry, version)))
        except AiosError as error:
            lost.append(str(error))
    scored = score_window(
        automation,
        platform.lake(automation.name),
        window,
        champion,
        challengers,
    )
    return replace(scored, lost=tuple(lost))


def _champion(
    automation: Automation, platform: Platform, window: Window
) -> "tuple[tuple[int, Scorer] | None, list[str]]":
    """Return who scores a window, loaded, and why a champion after it does not."""
    from model_registry.champion import champion_at, standing_in
    from model_registry.formats import load
    from model_registry.loading import load_or_before

    registry = platform.registry
    champion = champion_at(registry, automation.name, window.end)
    if champion is None:
        return None, []
    # Who scored it once is kept: the partition run again must leave the same bytes.
    if scored_by := _scored_by(platform.lake(automation.name), window):
        return (scored_by, load(registry, registry.get(automation.name, scored_by))), []
    champion = standing_in(registry, automation.name, champion)
    deciding, scorer, lost = load_or_before(registry, champion, load)
    for why in lost:
        raise_alarm(platform.settings.home, automation.name, "model", why, why)
    return (deciding.number, scorer), lost


def _scored_by(lake: Lake, window: Window) -> int | None:
    if not lake.has("predictions", window.key):
        return None
    return next(lake.stream("predictions", window.key, ["model_version"]))["model_version"].max()  # type: ignore[return-value]


def build_predictions(automation: Automation) -> dg.AssetsDefinition:
    """Build the `predictions` asset."""

    @dg.asset(
        **asset_options(automation, "predictions", kinds={"mlflow", "polars"}),
        deps=[[automation.name, "features"]],
        description="The score of the champion that was in force at the end of the partition, "
        "and of every challenger beside it. Without a champion the score is null.",
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[
            check_spec(
                automation, "predictions", "scored", "A champion in force scored every event."
            )
        ],
    )
    def predictions(
        context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        with stage("predictions"):
            parts = [
                score_partition(automation, platform, window)
                for window in windows_of(context, automation)
            ]
        frame = platform.lake(automation.name).read("predictions", parts[-1].window.key)
        return dg.MaterializeResult(
            metadata=_metadata(parts, frame), check_results=[_scored(parts)]
        )

    return predictions


def _metadata(parts: list[Scored], frame: pl.DataFrame) -> dict[str, Any]:
    last = parts[-1]
    return {
        **row_metadata(frame.head(0), sum(part.rows for part in parts)),
        "champion": f"version {last.champion}" if last.champion else "none in force",
        "challengers": ", ".join(f"version {n}" for n in last.challengers) or "none",
        "models that do not load": "; ".join(last.lost) or "none",
        "mean_score": mean_of(frame["score"]),
    }


def _scored(parts: list[Scored]) -> dg.AssetCheckResult:
    missing = sum(part.missing for part in parts)
    without = [part.window.key for part in parts if part.champion is None]
    return check_result(
        "scored",
        not missing,
        rows_without_score=missing,
        partitions_without_champion=", ".join(without) or "none",
    )

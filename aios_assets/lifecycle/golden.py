"""Golden predictions: what a version answered on held-out rows of its own training.

They are made once, from files that are as registered, and their digest is recorded. Later the
version must give the same answers again: other libraries, other code of the automation or another
machine could change them while every file is as it was.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from aios.digest import frame_digest
from aios.errors import AiosError
from aios.identity.actors import ROLLOUT
from aios.lake import Lake
from aios.learner import Learner, ModelStep
from aios.record.leaves import Act
from aios_assets.lifecycle.extraction import extract
from aios_assets.resources import Platform
from model_registry import standby

if TYPE_CHECKING:
    from model_registry.registry import ModelVersion

GOLDEN = "golden"
"""The dataset, one file a version, and the kind of the leaf that says what is in it."""

ROWS = 200
"""Most rows of a version; spread evenly over the held-out ones."""

DOCUMENTS = 10
"""Most documents of a model step's version, which reads them one at a time."""

TOLERANCE = 1e-6
"""Largest accepted change of a number, relative and absolute; texts must be the same."""

_ANSWER = "answer."
"""What the columns of answers begin with; the others are what the version is asked with."""

Answer = Callable[[pl.DataFrame], pl.DataFrame]


def golden_check(learner: Learner, platform: Platform, version: "ModelVersion") -> standby.Check:
    """Return what compares a loaded version's answers with its golden ones."""

    def check(loaded: standby.Loaded) -> list[str]:
        try:
            answer = _answers(learner, loaded)
            kept = keep_golden(learner, platform, version, loaded)
            found = answer(kept.select(one for one in kept.columns if not one.startswith(_ANSWER)))
        except AiosError:
            raise
        except Exception as error:  # the functions of a model step are the automation's own
            raise AiosError(
                f"it does not answer its golden rows: {type(error).__name__}: {error}",
                where=version.label,
                fix="make the automation's code take versions of that day again",
            ) from error
        return differences(kept, found)

    return check


def keep_golden(
    learner: Learner, platform: Platform, version: "ModelVersion", loaded: standby.Loaded
) -> pl.DataFrame:
    """Return a version's golden rows with its answers; makes and records them the first time.

    Args:
        learner: Whose version.
        platform: Where everything is.
        version: Which.
        loaded: The version, from files that are as registered.

    Returns:
        What the version is asked with, and its answers as columns `answer.<name>`.

    Raises:
        AiosError: They are not what was recorded, or the rows of its training are gone.
    """
    lake, partition = platform.lake(learner.name), str(version.number)
    made = not lake.has(GOLDEN, partition)
    kept = _make(learner, lake, version, loaded) if made else lake.read(GOLDEN, partition)
    digest = frame_digest(kept)
    recorded = platform.log.find(f"{GOLDEN}/{learner.name}/{version.number}/{version.digest}")
    if recorded and recorded.body["digest"] != digest:
        raise AiosError(
            "its golden predictions were lost, and made again they are others"
            if made
            else "its golden predictions changed after they were recorded",
            where=version.label,
            fix=f"restore {lake.path(GOLDEN, partition)} from a backup",
        )
    if made:
        lake.write(GOLDEN, partition, kept)
    if not recorded:
        body = {"version": version.number, "rows": kept.height, "digest": digest}
        key = f"{GOLDEN}/{learner.name}/{version.number}/{version.digest}"
        platform.log.append(Act(GOLDEN, learner.name, str(ROLLOUT), body, key=key))
    return kept


def differences(golden: pl.DataFrame, found: pl.DataFrame) -> list[str]:
    """Say in which columns answers differ from the golden ones, on how many rows, by how much.

    Args:
        golden: Answers as `keep_golden` returns them.
        found: The same rows' answers today, named as they are.
    """
    wrong = []
    for name in (one.removeprefix(_ANSWER) for one in golden.columns if one.startswith(_ANSWER)):
        before = golden[f"{_ANSWER}{name}"]
        now = found[name] if name in found.columns else None
        if now is None or now.dtype != before.dtype:
            wrong.append(f"it gives no {name} as {before.dtype} any more")
            continue
        other, by = _other(before, now)
        if other.any():
            wrong.append(
                f"its {name} differs from the golden one on {other.sum()} of {len(other)} rows{by}"
            )
    return wrong


def _other(before: pl.Series, now: pl.Series) -> tuple[np.ndarray, str]:
    """Return which values differ, shape (n,), and by how much in words."""
    if not before.dtype.is_numeric():
        return before.ne_missing(now).to_numpy(), ""
    old, new = (one.cast(pl.Float64).fill_null(np.nan).to_numpy() for one in (before, now))
    other = ~np.isclose(new, old, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    apart = np.abs(new - old)[other]
    return other, f", by up to {np.nanmax(apart):.3g}" if np.isfinite(apart).any() else ""


def _make(
    learner: Learner, lake: Lake, version: "ModelVersion", loaded: standby.Loaded
) -> pl.DataFrame:
    partition = version.tags.get("aios.partition", "")
    if not lake.has("training_set", partition):
        raise AiosError(
            f"the rows that it was trained on are gone: training_set {partition or 'unknown'}",
            where=version.label,
            fix="restore the training set from a backup; without it nothing proves the version",
        )
    held = lake.read("training_set", partition).filter("holdout")
    if held.is_empty():
        raise AiosError(
            "no row was held out of its training, so it has no golden predictions",
            where=version.label,
            fix="retrain with training.holdout above 0",
        )
    if isinstance(loaded, dict):
        assert isinstance(learner, ModelStep)
        names, most = learner.step.inputs, DOCUMENTS
    else:
        names, most = list(loaded.columns), ROWS
    spread = np.linspace(0, held.height - 1, min(held.height, most)).astype(int)
    rows = held.select(names)[spread]
    answers = _answers(learner, loaded)(rows)
    return rows.hstack(answers.rename(lambda name: f"{_ANSWER}{name}"))


def _answers(learner: Learner, loaded: standby.Loaded) -> Answer:
    if isinstance(loaded, dict):
        assert isinstance(learner, ModelStep)
        function = learner.automation.function(learner.spec.load)(dict(loaded))
        names = list(learner.step.columns)
        return lambda rows: extract(learner, function, rows).select(names)
    return lambda rows: pl.DataFrame({"score": loaded.score(rows)})

"""A partition made again, stage after stage, by the lifecycle's own functions in an empty house.

Each stage gets what the stages before it made again, not what is stored, so a stored value that
was edited differs in its own stage alone. Two things are taken as stored: what cannot be made
again, and the other answer of a query step, since the decision was made on the stored one.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, tee

import numpy as np
import polars as pl

from aios.automation import Automation
from aios.digest import row_digests
from aios.errors import AiosError
from aios.halts import RULE, halted_before
from aios.lake import Lake
from aios.record.batches import latest_decisions
from aios.record.log import open_log
from aios.steps import Step
from aios.windows import Window
from aios_assets.lifecycle.assignment import Assignment, kept
from aios_assets.lifecycle.decisions import decide_window
from aios_assets.lifecycle.features import make_features
from aios_assets.lifecycle.predictions import score_window
from aios_assets.lifecycle.steps import run_step
from aios_assets.replay.difference import Tally, blocks, same_rows
from aios_assets.replay.house import House, Houses

# What a step says when the machine, not its function, ended it.
_BY_TIME = ("it took longer than", "ProcessExpired")


def make_again(
    houses: Houses, house: House, window: Window, model: int | None, tally: Tally
) -> None:
    """Make a partition again and compare every stage with what is stored.

    Args:
        houses: Where models are loaded.
        house: Of the code version that decided.
        window: The partition.
        model: The recorded model version; None where there was no champion.
        tally: What is found.
    """
    key, automation = window.key, house.automation
    house.furnish(key)
    try:
        _check_events(house, key, tally)
        for step in automation.spec.steps:
            _step(house, step, window, tally)
        make_features(automation, house.platform, window)
        _compare(house, "features", key, tally)
        _compare_views(house, key, tally)
        _score(houses, house, window, model)
        _compare(house, "predictions", key, tally)
        decide_window(automation, house.lake, window, _halted_then(house, key))
        _compare(house, "decisions", key, tally)
    except AiosError as error:
        tally.lose(slice(None), f"{error.where}: {error.what}" if error.where else error.what)
    except pl.exceptions.PolarsError as error:
        tally.lose(slice(None), f"what is stored of {key} does not fit together: {error}")
    finally:
        house.clear(key)


def _score(houses: Houses, house: House, window: Window, model: int | None) -> None:
    """Score a window with who decided it: the champion, and a challenger for its share."""
    assignment = kept(house.stored, window.key) or Assignment(model)
    canary = houses.scorer(assignment.challenger) if assignment.share else None
    champion = houses.scorer(assignment.champion)
    challengers = [canary] if canary else []
    score_window(house.automation, house.lake, window, champion, challengers, assignment)


def _halted_then(house: House, key: str) -> Callable[[], bool]:
    """Return what says of each chunk of decisions whether a halt sent it to review.

    That is so where it is stored so, and a halt is on record before the decisions are.
    """
    log, name = open_log(house.platform.settings), house.automation.name
    leaf = latest_decisions(log, name, key)
    if leaf is None or not halted_before(log, name, leaf.index):
        return lambda: False
    chunks = blocks(house.stored, "decisions", key, ["rule"])
    return lambda: all((chunk["rule"] == RULE).all() for chunk in islice(chunks, 1))


def gives_features(houses: Houses, code_version: str, window: Window) -> bool:
    """Tell whether another code version makes exactly the features that are stored."""
    key = window.key
    with Houses(houses.name, houses.settings) as others:
        try:
            house = others.of(code_version)
            house.furnish(key)
            for step in house.automation.spec.steps:
                house.link(step.name, key)
            make_features(house.automation, house.platform, window)
            return same_rows(
                blocks(house.stored, "features", key), blocks(house.lake, "features", key)
            )
        except AiosError:
            return False


def content_columns(automation: Automation) -> list[str]:
    """Return the columns of an event that its `content_digest` covers."""
    times = {"known_at", automation.spec.known_at}
    return [name for name in automation.spec.contract.columns if name not in times]


def _check_events(house: House, key: str, tally: Tally) -> None:
    """Compare each event with the digest that it had when it arrived."""
    columns, identity = content_columns(house.automation), house.automation.spec.id
    wanted = list(dict.fromkeys([*columns, identity, "revision", "content_digest"]))

    def again(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(row_digests(frame.select(columns)).alias("content_digest"))

    stored, given = tee(blocks(house.stored, "events", key, wanted))
    tally.compare("events", identity, stored, map(again, given))


def _compare(house: House, stage: str, key: str, tally: Tally) -> None:
    """Compare a stage's file aside with the stored one; challengers' scores decide nothing."""
    stored, again = aligned(house, stage, key, tally), blocks(house.lake, stage, key)
    names = list(pl.read_parquet_schema(house.lake.path(stage, key)))
    old = blocks(stored, stage, key, names if stage == "predictions" else None)
    tally.compare(stage, house.automation.spec.id, old, again)


def _compare_views(house: House, key: str, tally: Tally) -> None:
    """Compare the views' rows, which the features of later partitions look at."""
    for view in house.automation.spec.features:
        name = f"views/{view.name}"
        if not house.stored.has(name, key):
            tally.notes.append(f"{name} of {key} is missing: {house.stored.path(name, key)}")
        elif not same_rows(blocks(house.stored, name, key), blocks(house.lake, name, key)):
            tally.notes.append(
                f"{name} of {key} is not what its events give: {house.stored.path(name, key)} was "
                "changed; features of later partitions look at it"
            )


def aligned(house: House, dataset: str, key: str, tally: Tally) -> Lake:
    """Return a lake that has a stored dataset in the order of the events.

    That is the real lake, unless rows were added, removed or moved: these are counted, and the
    others are brought in order aside.
    """
    spec, stored = house.automation.spec, house.stored
    identity = [spec.id, "revision"]
    pairs = zip(
        blocks(stored, dataset, key, identity),
        blocks(stored, "events", key, identity),
        strict=False,
    )
    rows = stored.rows(dataset, key)
    if rows == stored.rows("events", key) and all(one.equals(other) for one, other in pairs):
        return stored
    events = stored.read("events", key, identity)
    frame = stored.read(dataset, key)
    extra = frame.join(events, on=identity, how="anti").height
    frame = frame.unique(identity, keep="first", maintain_order=True).with_row_index("_place")
    extra += rows - frame.height
    found = events.join(frame, on=identity, how="left", maintain_order="left")
    place = found["_place"].cast(pl.Int64)
    moved = place < place.fill_null(-1).cum_max()
    tally.miss(dataset, "row", place.is_null().to_numpy())
    tally.miss(dataset, "order", moved.fill_null(False).to_numpy())
    if extra:
        tally.extra[dataset] = extra
    aside = Lake(house.lake.root / "aligned")
    aside.write(dataset, key, found.select(stored.read(dataset, key).columns))
    return aside


def _step(house: House, step: Step, window: Window, tally: Tally) -> None:
    """Run a step again, compare, and leave for the later stages what they are to work on."""
    key, identity = window.key, house.automation.spec.id
    source = aligned(house, step.name, key, tally)
    stored = source.read(step.name, key)
    try:
        again = _run_again(house, step, window, tally, stored)
    except AiosError as error:
        where = f"{error.where}: " if error.where else ""
        tally.lose(slice(None), f"step {step.name}: {where}{error.what}")
        house.lake.write(step.name, key, stored)
        return
    _lose_what_cannot_be_repeated(step, stored, again, tally)
    before = tally.different.copy()
    tally.compare(step.name, identity, iter([stored]), iter([again]))
    kept = tally.lost | ~tally.chosen
    if step.kind == "query":
        kept |= tally.different & ~before
    if stored.schema == again.schema:
        mask = pl.Series(kept)
        again = again.select(stored[name].zip_with(mask, again[name]) for name in again.columns)
    house.lake.write(step.name, key, again)


def _run_again(
    house: House, step: Step, window: Window, tally: Tally, stored: pl.DataFrame
) -> pl.DataFrame:
    """Run a step on the rows that are looked at; the others keep what is stored."""
    key, name = window.key, step.name
    # A model step runs with the version that its stored rows name.
    house.lake.write(name, key, stored)
    if step.lookback or tally.chosen.all():
        run_step(house.automation, house.platform, step, window)
        return house.lake.read(name, key)
    names = ["events", *(one.name for one in house.automation.spec.steps)]
    before, chosen = names[: names.index(name) + 1], pl.Series(tally.chosen)
    with house.narrow(key, before, chosen) as platform:
        run_step(house.automation, platform, step, window)
        part = platform.lake(house.automation.name).read(name, key)
    places = np.where(
        tally.chosen, np.cumsum(tally.chosen) - 1, part.height + np.arange(len(chosen))
    )
    return pl.concat([part, stored], how="vertical_relaxed")[places]


def _lose_what_cannot_be_repeated(
    step: Step, stored: pl.DataFrame, again: pl.DataFrame, tally: Tally
) -> None:
    """Mark rows that a time-out ended, then or now, and those that cannot be done any more."""
    status, problem = f"{step.name}_status", f"{step.name}_problem"
    if status not in stored.columns or problem not in stored.columns:
        return
    both = pl.DataFrame(
        {
            "was": stored[status],
            "is": again[status],
            "said": stored[problem],
            "says": again[problem],
        }
    ).with_row_index("row")
    differs = pl.col("was").ne_missing(pl.col("is")) | pl.col("said").ne_missing(pl.col("says"))
    for row, was, _, said, says in both.filter(differs).iter_rows():
        if (said or "").startswith(_BY_TIME):
            tally.lose(np.array([row]), f"step {step.name} was ended by time: {said}")
        elif was == "done" or (says or "").startswith(_BY_TIME):
            tally.lose(np.array([row]), f"step {step.name} cannot be done again: {says}")

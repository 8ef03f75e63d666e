"""Replay: stored decisions made again with the versions that they name, and compared bit by bit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from aios import clock
from aios.archive import POLICIES, archived_policy, archived_versions
from aios.errors import AiosError
from aios.lake import Lake
from aios.settings import Settings
from aios.windows import Window, window_of
from aios_assets.replay.difference import Difference, Tally
from aios_assets.replay.explain import Finding, explain, notes
from aios_assets.replay.house import House, Houses
from aios_assets.replay.ids import locate
from aios_assets.replay.stages import gives_features, make_again

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Part:
    """What became of one partition.

    Attributes:
        partition: Its key.
        rows: Decisions looked at: those that are `equal` in every stage, those that are
            `different` in one, and those that were `not_replayed`, wholly or in part.
        code_version: That its decisions name.
        policy_hash: The same.
        model_version: The same; None without a champion.
        archived: Whether the code came from the archive.
        reasons: Why rows were not replayed, with their number.
        findings: Why rows differ.
        differences: The first of them, value by value.
        notes: What else is not as it was.
    """

    partition: str
    rows: int
    equal: int
    different: int
    not_replayed: int
    code_version: str | None = None
    policy_hash: str | None = None
    model_version: int | None = None
    archived: bool = False
    reasons: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Replay:
    """What became of a replay.

    Attributes:
        automation: Whose decisions.
        asked: What was asked for, in words; names the seed of a sample.
        parts: By partition.
        seconds: All of it.
    """

    automation: str
    asked: str
    parts: list[Part]
    seconds: float

    @property
    def rows(self) -> int:
        """Decisions looked at."""
        return sum(part.rows for part in self.parts)

    @property
    def equal(self) -> int:
        """Decisions that came out as they are stored, in every stage."""
        return sum(part.equal for part in self.parts)

    @property
    def different(self) -> int:
        """Decisions of which something came out otherwise."""
        return sum(part.different for part in self.parts)

    @property
    def not_replayed(self) -> int:
        """Decisions that could not be made again."""
        return sum(part.not_replayed for part in self.parts)

    @property
    def holds(self) -> bool:
        """Whether there were decisions, and all of them came out as they are stored."""
        return self.rows > 0 and self.equal == self.rows

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"holds": self.holds, **counts, **asdict(self)}

    def as_text(self) -> str:
        """Return the result in lines for people."""
        lines = [f"{self.automation}, {self.asked}: {self.equal:,} of {self.rows:,} decisions "
                 f"replayed bit by bit; {self.different:,} differ, "
                 f"{self.not_replayed:,} not replayed ({self.seconds:.1f} s)"]  # fmt: skip
        for part in self.parts:
            said = [f"  {one.rows:,} differ ({one.kind}): {one.text}" for one in part.findings]
            said += [
                f"  {rows:,} not replayed: {why}"
                for why, rows in list(part.reasons.items())[:_LISTED]
            ]
            if len(part.reasons) > _LISTED:
                said.append(f"  and {len(part.reasons) - _LISTED:,} more reasons")
            if said:
                lines += [f"{part.partition}: {part.equal:,} of {part.rows:,} equal", *said]
        noted: dict[str, list[str]] = {}
        for part in self.parts:
            for note in part.notes:
                noted.setdefault(note, []).append(part.partition)
        for note, keys in noted.items():
            span = keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]}"
            lines.append(f"note ({span}): {note}")
        return "\n".join(lines)


_LISTED = 10
_COUNTS = ("rows", "equal", "different", "not_replayed")


def replay(
    automation: str | None,
    settings: Settings,
    *,
    decision_id: str | None = None,
    partition: str | None = None,
    sample: int | None = None,
    seed: int | None = None,
    progress: Progress = lambda done, total, what: None,
) -> Replay:
    """Make decisions again and compare them, and every stage before them, with what is stored.

    Nothing in the home is changed.

    Args:
        automation: Whose decisions; not needed with `decision_id`.
        settings: Where state lives.
        decision_id: One decision (see `aios_assets.replay.ids`).
        partition: One partition; all of them without any of the three.
        sample: So many decisions, drawn evenly from all.
        seed: Of the draw; a new one by default, which the result names.
        progress: Called with partitions done, partitions in all, and what is being done.

    Raises:
        AiosError: There is no such decision or partition, or nothing was asked for.
    """
    begun = time.perf_counter()
    if decision_id is not None:
        one = locate(decision_id, settings)
        automation, asked = one.automation, f"decision {one}"
        chosen: dict[str, np.ndarray | None] = {one.partition: np.array([one.row])}
    else:
        if automation is None:
            raise AiosError(
                "nothing to replay is named", fix="Give a decision's id, or an automation."
            )
        chosen, asked = _asked(automation, settings, partition, sample, seed)
    parts = []
    with Houses(automation, settings) as houses:
        for position, (key, rows) in enumerate(sorted(chosen.items())):
            progress(position, len(chosen), key)
            parts.append(_replay_partition(houses, key, rows))
    progress(len(chosen), len(chosen), "done")
    return Replay(automation, asked, parts, time.perf_counter() - begun)


def _asked(
    automation: str, settings: Settings, partition: str | None, sample: int | None, seed: int | None
) -> tuple[dict[str, np.ndarray | None], str]:
    """Return which rows of which partitions; None for all of one."""
    lake = Lake(settings.home / "lake" / automation)
    keys = lake.partitions("decisions")
    if partition is not None:
        if partition not in keys:
            raise AiosError(
                f"there are no decisions of partition {partition}",
                where=automation,
                fix=f"There are some of: {', '.join(keys) or 'none'}.",
            )
        keys = [partition]
    if not keys:
        raise AiosError(
            "it has decided nothing yet", where=automation, fix=f"aios rehearse {automation}"
        )
    if sample is None:
        return dict.fromkeys(keys), f"partition {partition}" if partition else "all partitions"
    if sample < 1:
        raise AiosError(f"a sample of {sample} decisions is none", fix="Give 1 or more.")
    seed = int(np.random.SeedSequence().entropy % 2**32) if seed is None else seed  # type: ignore[operator]
    heights = [lake.rows("decisions", key) for key in keys]
    total = sum(heights)
    drawn = np.random.default_rng(seed).choice(total, min(sample, total), replace=False)
    ends = np.cumsum(heights)
    place = np.searchsorted(ends, drawn, side="right")
    chosen: dict[str, np.ndarray | None] = {
        keys[i]: np.sort(drawn[place == i]) - (ends[i] - heights[i]) for i in np.unique(place)
    }
    return chosen, f"a sample of {len(drawn):,} of {total:,} (seed {seed})"


def _replay_partition(houses: Houses, key: str, rows: np.ndarray | None) -> Part:
    lake = houses.platform.lake(houses.name)
    height = lake.rows("decisions", key) if rows is None else len(rows)
    try:
        code, policy, model = _recorded(lake, key)
    except AiosError as error:
        return Part(key, height, 0, 0, height, reasons={error.what: height})
    named = Part(key, height, 0, 0, height, code, policy, model)
    try:
        house = houses.of(code)
        window = window_of(house.automation.spec.cadence, key)
        chosen, gone = _chosen(lake, house.automation.spec.id, key, rows)
    except AiosError as error:
        why = f"{error.where}: {error.what}" if error.where else error.what
        return replace(named, reasons={why: height})
    tally = Tally(len(chosen), chosen)
    with clock.at(window.end):
        make_again(houses, house, window, model, tally)
    reasons = Counter(tally.reasons)
    if gone:
        reasons["the decision's event is not stored"] = gone
    different = int((tally.different & chosen).sum())
    lost = int((tally.lost & ~tally.different & chosen).sum()) + gone
    total = int(chosen.sum()) + gone
    said = notes(house, window, policy, tally)
    if lake.has(POLICIES, policy, "yaml"):
        try:
            archived_policy(lake, policy)
        except AiosError as error:
            said.append(f"{error.where}: {error.what}")
    return replace(
        named,
        rows=total,
        equal=total - different - lost,
        different=different,
        not_replayed=lost,
        archived=house.archived,
        reasons=dict(reasons),
        findings=explain(house, window, tally, _made_by_other_code(houses, house, window, tally)),
        differences=tally.differences,
        notes=said,
    )


def _made_by_other_code(houses: Houses, house: House, window: Window, tally: Tally) -> str | None:
    """Return the archived code version that gives the stored features, where the own does not.

    A partition may be decided again, after a change, on features that were made before it.
    """
    if not any(stage == "features" for stage, _ in tally.causes):
        return None
    for version in archived_versions(house.stored):
        if version != house.automation.code_version and gives_features(houses, version, window):
            return version
    return None


def _recorded(lake: Lake, key: str) -> tuple[str, str, int | None]:
    """Return the versions that most decisions of a partition name: one run decides all of it."""
    names = ["code_version", "policy_hash", "model_version"]
    table = pl.scan_parquet(lake.path("decisions", key), glob=False)
    try:
        counts = table.select(names).group_by(names).len().sort("len", *names).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise AiosError(f"the stored decisions cannot be read: {error}") from error
    if counts.is_empty():
        raise AiosError("no decision is stored")
    code, policy, model, _ = counts.row(-1)
    return code, policy, model


def _chosen(lake: Lake, identity: str, key: str, rows: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Return which events' decisions are looked at, and the number whose event is not stored."""
    columns = [identity, "revision"]
    events = lake.read("events", key, columns)
    decided = lake.read("decisions", key, columns)
    if rows is None:
        gone = 0 if decided.equals(events) else decided.join(events, on=columns, how="anti").height
        return np.ones(events.height, dtype=bool), gone
    wanted = decided[rows]
    if wanted.equals(events[rows] if rows.max() < events.height else events.clear()):
        chosen = np.zeros(events.height, dtype=bool)
        chosen[rows] = True
        return chosen, 0
    there = events.with_row_index("_row").join(wanted, on=columns, how="semi")["_row"]
    chosen = np.zeros(events.height, dtype=bool)
    chosen[there.to_numpy()] = True
    return chosen, wanted.join(events, on=columns, how="anti").height

"""Who decides which events of a partition: the champion, and a challenger in its canary."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from aios.automation import Automation
from aios.lake import Lake
from aios.rollouts import places
from aios.windows import Window

if TYPE_CHECKING:
    from model_registry.registry import Registry

DATASET = "assignment"


@dataclass(frozen=True)
class Assignment:
    """Who decides a partition.

    Attributes:
        champion: None where none was in force.
        challenger: The version in rollout; None where none was.
        share: Share of the units that the challenger decides; 0 in shadow.
        salt: Of the sticky hash; the same for the whole rollout.
        unit: The column whose values stay with one model.
        named: Whether the version was asked for by name, in place of the champion of that time.
        instead_of: The fields of who decided it before that; None where nobody had.
    """

    champion: int | None
    challenger: int | None = None
    share: float = 0.0
    salt: str = ""
    unit: str = ""
    named: bool = False
    instead_of: dict[str, Any] | None = None

    def canary(self, rows: pl.DataFrame) -> np.ndarray:
        """Tell for each row whether the challenger is to decide it; shape (n,)."""
        if not self.share:
            return np.zeros(rows.height, dtype=bool)
        chosen: np.ndarray = places(rows[self.unit].to_list(), self.salt) < self.share
        return chosen


def assign(
    automation: Automation, registry: "Registry", lake: Lake, window: Window
) -> tuple[Assignment, bool]:
    """Return who decides a window, and whether it was decided before.

    Who decided it once is kept: the partition run again must leave the same bytes. What is decided
    for the first time, late, is not decided by a version that was withdrawn since.
    """
    from model_registry.champion import champion_at, standing_in

    before = kept(lake, window.key) if lake.has("predictions", window.key) else None
    if before and before.named:
        before = Assignment(**before.instead_of) if before.instead_of else None
    if before:
        return before, True
    champion = champion_at(registry, automation.name, window.end)
    if champion is None:
        return Assignment(None), False
    number = standing_in(registry, automation.name, champion).number
    return in_rollout(automation, registry, number, window), False


def in_rollout(
    automation: Automation, registry: "Registry", champion: int, window: Window
) -> Assignment:
    """Return the champion's assignment with the version that was in rollout beside it."""
    from model_registry.rollout import moves
    from model_registry.stages import latest, under_way, watched

    declared = automation.spec.rollout
    if not declared:
        return Assignment(champion)
    known = moves(registry.log, automation.name)
    before = [move for move in known if move.at < window.end]
    stood = under_way(before)
    if not stood or stood.version == champion:
        arrived = watched(before, declared.reopen, window.end)
        # The one that it replaced goes on beside it, for as long as it may come back.
        beside = arrived.champion if arrived and arrived.version == champion else None
        return Assignment(champion, beside)
    share = stood.share if stood.state == "canary" else 0.0
    if latest(known)[stood.version].state not in ("canary", "champion"):
        share = 0.0
    unit = automation.spec.id if declared.unit == "id" else automation.spec.entity
    return Assignment(champion, stood.version, share, f"{automation.name}/{stood.version}", unit)


def keep(lake: Lake, window: Window, assignment: Assignment) -> None:
    """Store who decides a window."""
    lake.write_json(DATASET, window.key, asdict(assignment))


def kept(lake: Lake, key: str) -> Assignment | None:
    """Return who decided a partition; None where that is not stored."""
    if not lake.has(DATASET, key, "json"):
        return None
    return Assignment(**lake.read_json(DATASET, key))

"""Which versions a rollout's report judges at the end of a partition, and on which partitions."""

from typing import TYPE_CHECKING

from aios.automation import Automation
from aios.lake import Lake
from aios.windows import Window
from aios_assets.lifecycle.assignment import kept
from aios_assets.lifecycle.hindsight import dataset_of
from aios_assets.lifecycle.rollout_evidence import Subject

if TYPE_CHECKING:
    from model_registry.stages import Move


def subjects(
    automation: Automation, lake: Lake, known: "list[Move]", window: Window
) -> list[Subject]:
    """Return the version under way at a window's end, and the champion whose rollout may reopen.

    Args:
        automation: Whose rollout.
        lake: Its lake.
        known: Every move; later ones do not count.
        window: Of which partition.
    """
    from model_registry.stages import under_way, watched

    declared = automation.spec.rollout
    assert declared
    before = [move for move in known if move.at < window.end]
    found = (under_way(before), watched(before, declared.reopen, window.end))
    return [_subject(automation, lake, before, one, window) for one in found if one]


def _subject(
    automation: Automation, lake: Lake, before: "list[Move]", here: "Move", window: Window
) -> Subject:
    from model_registry.stages import stage_of, under_way

    run = stage_of(before, here.version)
    pair = {here.version, here.champion}
    keys, current = [], []
    for key in lake.partitions("shadow"):
        end = automation.window(key).end
        if key > window.key or end <= run[0].at or not lake.rows("shadow", key):
            continue
        assigned = kept(lake, key)
        if assigned is None or {assigned.champion, assigned.challenger} != pair:
            continue
        keys.append(key)
        stood = under_way([move for move in before if move.at < end])
        if here.state == "champion":
            current += [key] if assigned.champion == here.version else []
        elif stood is not None and stood.leaf == here.leaf:
            current.append(key)
    looked_back = dataset_of(here.version)
    earlier = [
        key
        for key in lake.partitions(looked_back)
        if automation.window(key).end <= run[0].at and lake.rows(looked_back, key)
    ]
    return Subject(run, earlier, keys, current)

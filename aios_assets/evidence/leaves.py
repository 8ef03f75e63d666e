"""The leaves of the record that a pack holds, found by what they speak of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios.record.leaves import Entry
    from aios.record.log import Log
    from aios_assets.evidence.scope import Scope

# What a leaf may say of a version that was trained or promoted before the period.
_OF_VERSIONS = {
    *("model_registered", "promotion", "rollback"),
    *("approval_requested", "approval", "refusal", "approval_expired"),
}

_OF_PARTITIONS = ("decisions", "gate")


@dataclass(frozen=True)
class Leaf:
    """One leaf, parsed."""

    entry: Entry
    content: Mapping[str, Any]

    @property
    def index(self) -> int:
        """Its place in the log."""
        return self.entry.index

    @property
    def kind(self) -> str:
        """What was done."""
        return self.entry.kind

    @property
    def body(self) -> Mapping[str, Any]:
        """What was recorded of the act itself."""
        found: Mapping[str, Any] = self.content.get("body") or {}
        return found

    @property
    def at(self) -> datetime:
        """From when it counts, UTC-naive."""
        return datetime.fromisoformat(self.content["at"])

    def shown(self) -> dict[str, Any]:
        """Return it as the pack's tables show it."""
        return {
            "leaf": self.index,
            "kind": self.kind,
            "automation": self.entry.automation,
            "actor": self.entry.actor,
            "at": self.content["at"],
            "recorded_at": self.content["recorded_at"],
            "body": self.body,
        }


class Leaves:
    """The leaves of one scope, below a size of the log.

    A leaf belongs to the pack when it speaks of the automation, one of its model steps or the
    platform as a whole, and counts in the period; when it is of the decisions or of the gate of
    one of the period's partitions; or when it is about a model version that decided or was gated
    in it.
    """

    def __init__(self, scope: Scope, log: Log, size: int) -> None:
        self._scope, self._log, self._size = scope, log, size

    @cached_property
    def all(self) -> list[Leaf]:
        """Every leaf of the automation, of its steps and of the platform, in order."""
        names = {self._scope.name, *(one.name for one in self._scope.learners)}
        return [Leaf(one, one.content) for one in self._read() if one.automation in {None, *names}]

    @property
    def newest(self) -> datetime:
        """When the newest of them was recorded, UTC-naive; without any, the end of the period."""
        times = [datetime.fromisoformat(one.content["recorded_at"]) for one in self.all[-1:]]
        return times[0] if times else self._scope.end

    def of(self, *kinds: str) -> list[Leaf]:
        """Return the leaves of some kinds that count in the period."""
        return [one for one in self.all if one.kind in kinds and self._scope.holds(one.at)]

    def of_versions(self, versions: Mapping[str, Collection[int]]) -> list[Leaf]:
        """Return what is recorded about model versions, given by learner, at any time."""
        return [
            one
            for one in self.all
            if one.kind in _OF_VERSIONS
            and one.body.get("version") in versions.get(one.entry.automation or "", ())
        ]

    def of_partition(self, kind: str, automation: str, key: str) -> Leaf | None:
        """Return the latest leaf of a partition's `decisions` or `gate`."""
        found = self._of_partitions.get((kind, automation, key))
        return found[-1] if found else None

    @cached_property
    def _of_partitions(self) -> dict[tuple[str, str, str], list[Leaf]]:
        found: dict[tuple[str, str, str], list[Leaf]] = {}
        for one in self.all:
            if one.kind in _OF_PARTITIONS:
                name = (one.kind, one.entry.automation or "", str(one.body.get("partition")))
                found.setdefault(name, []).append(one)
        return found

    def in_pack(
        self, versions: Mapping[str, Collection[int]], named: Collection[int]
    ) -> list[Leaf]:
        """Return all that the pack holds, in order of their index; those `named` too."""
        chosen = [
            one for one in self.all if one.kind not in _OF_PARTITIONS and self._scope.holds(one.at)
        ]
        keys = {*self._scope.keys}
        chosen += [
            one for name, batch in self._of_partitions.items() if name[-1] in keys for one in batch
        ]
        chosen += [*self.of_versions(versions), *(one for one in self.all if one.index in named)]
        return [leaf for _, leaf in sorted({one.index: one for one in chosen}.items())]

    def _read(self) -> Iterator[Entry]:
        for entry in self._log.entries():
            if entry.index >= self._size:
                return
            yield entry

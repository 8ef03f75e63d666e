"""What a pack's files say, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aios.record.checkpoint import Checkpoint
    from aios_assets.evidence.scope import Scope


@dataclass(frozen=True)
class Content:
    """The content of each file, for what is made from several of them."""

    scope: Scope
    checkpoint: Checkpoint
    sheet: dict[str, Any]
    gates: dict[str, list[dict[str, Any]]]
    versions: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    approvals: list[dict[str, Any]]
    monitoring: dict[str, dict[str, list[dict[str, Any]]]]
    oversight: dict[str, Any]
    reviews: dict[str, Any]
    actions: dict[str, Any]
    incidents: dict[str, Any]
    controls: list[dict[str, Any]]
    access: list[str]
    policies: list[dict[str, Any]]
    software: dict[str, Any]
    leaves: int
    rows: int
    bill: dict[str, Any]
    articles: list[dict[str, Any]]

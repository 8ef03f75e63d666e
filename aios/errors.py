"""The error every layer raises for bad input: what is wrong, where, and what to do."""

from __future__ import annotations


class AiosError(Exception):
    """A failure that a person can act on.

    Args:
        what: What is wrong, with the offending value.
        where: File, column, partition or version that it concerns.
        fix: What to do next.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        parts = [f"{where}: {what}" if where else what]
        if fix:
            parts.append(f"What to do: {fix}")
        super().__init__("\n".join(parts))


class Stale(AiosError):
    """What a change was decided on is no longer so; nothing was changed."""

"""Decision ids: `<automation>/<partition>/<event id>[@revision]`, whole or in part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl

from aios.errors import AiosError
from aios.lake import Lake
from aios.settings import Settings

_PARTITION = re.compile(r"\d{4}-\d{2}-\d{2}$")
_REVISION = re.compile(r"(.+)@(\d+)$")
_LISTED = 10


@dataclass(frozen=True)
class Located:
    """A stored decision.

    Attributes:
        automation: Whose.
        partition: In which partition.
        event: The id of its event, in the type of the lake.
        revision: Which revision of the event.
        row: Its place in the partition's file.
        column: The name of the id's column.
    """

    automation: str
    partition: str
    event: Any
    revision: int
    row: int
    column: str

    def __str__(self) -> str:
        return f"{self.automation}/{self.partition}/{self.event}@{self.revision}"


def locate(decision_id: str, settings: Settings) -> Located:
    """Find one stored decision.

    Args:
        decision_id: `<automation>/<partition>/<event id>`, `<automation>/<event id>` or
            `<event id>`, each with `@<revision>` where an event was corrected.
        settings: Where the lakes are.

    Raises:
        AiosError: There is none, or several; lists them then.
    """
    found = [one for text, revision in _readings(decision_id) for one in _find(text, settings)
             if revision is None or one.revision == revision]  # fmt: skip
    found = list(dict.fromkeys(found))
    if len(found) == 1:
        return found[0]
    if not found:
        raise AiosError(
            f"there is no decision {decision_id!r}",
            where=str(settings.home / "lake"),
            fix="Give <automation>/<partition>/<event id>, such as claims/2024-03-01/1234.",
        )
    shown = ", ".join(str(one) for one in found[:_LISTED])
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    raise AiosError(
        f"{decision_id!r} names {len(found)} decisions", fix=f"Choose one of: {shown}{more}."
    )


def decisions_of(one: Located, settings: Settings) -> list[Located]:
    """Return every decision about the same event, oldest first."""
    return _search(one.automation, str(one.event), settings)


def _readings(text: str) -> list[tuple[str, int | None]]:
    """What the text may mean: an event's own id may hold an @ too."""
    match = _REVISION.match(text)
    return [(text, None), *([(match[1], int(match[2]))] if match else [])]


def _find(text: str, settings: Settings) -> list[Located]:
    names = {path.parent.name for path in (settings.home / "lake").glob("*/decisions")}
    found = []
    first, _, rest = text.partition("/")
    if rest and first in names:
        partition, _, event = rest.partition("/")
        if event and _PARTITION.match(partition):
            found += _search(first, event, settings, partition)
        found += _search(first, rest, settings)
    if not found:
        found = [one for name in sorted(names) for one in _search(name, text, settings)]
    return found


def _search(
    automation: str, event: str, settings: Settings, partition: str | None = None
) -> list[Located]:
    lake = Lake(settings.home / "lake" / automation)
    keys = lake.partitions("decisions")
    keys = [key for key in keys if partition in (None, key)]
    if not keys:
        return []
    found = []
    for key in keys:
        table = pl.scan_parquet(lake.path("decisions", key), glob=False)
        # The id comes first; the declaration may be gone or have another one by now.
        column, dtype = next(iter(table.collect_schema().items()))
        try:
            value = int(event) if dtype.is_integer() else event
            wanted = pl.lit(value, dtype=dtype)
        except (ValueError, OverflowError, pl.exceptions.PolarsError):
            return []  # no id of this column's type, so of no event here
        rows = table.select(column, "revision").with_row_index("row")
        rows = rows.filter(pl.col(column) == wanted)
        for row, _, revision in rows.collect().iter_rows():
            found.append(Located(automation, key, value, revision, row, column))
    return found

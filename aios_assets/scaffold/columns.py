"""The columns: what each holds, what feature it becomes or why none, and the groups to report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from aios.errors import AiosError
from aios.values import ColumnType
from aios_assets.scaffold.names import TAKEN, TAKEN_BY_ROWS, feature_name, speakable
from aios_assets.scaffold.table import Table
from aios_assets.scaffold.values import CODE, read_as, readable, type_of

Kind = Literal["number", "category", "days"]

MESSY = 0.95
"""Share of a text column's known values that must be numbers for it to become one."""
MAX_CATEGORIES = 200
WORDS_FOR_MISSING = ["", "?", "-", ".", "na", "n/a", "nan", "nil", "none", "null", "missing", "inf"]
CALENDAR = {"event_hour": "hour", "event_weekday": "weekday"}


@dataclass(frozen=True)
class Column:
    """What the table shows about one column.

    Attributes:
        name: Its name at the source.
        type: Its type in the contract.
        kind: What feature it becomes; None for none.
        why_not: Why it is no feature, or "".
        values: What it holds, in its type; null where nothing.
    """

    name: str
    type: ColumnType
    kind: Kind | None
    why_not: str
    values: pl.Series


def read_column(table: Table, name: str) -> Column:
    """Infer a column's type and what feature it becomes."""
    raw = table.frame[name]
    kind = type_of(raw)
    if name == table.time:
        kind = "time"
    elif name in {table.id, table.entity} and kind != "integer":
        kind = "text"
    values = read_as(kind, raw)
    if name in {table.id, table.time}:
        return Column(name, kind, None, "", values)
    if name == table.entity:
        return Column(name, kind, None, "is the entity", values)
    feature, why_not = _feature_of(table, kind, values)
    return Column(name, "category" if feature == "category" else kind, feature, why_not, values)


def why_unusable(table: Table, name: str) -> str:
    """Why a column cannot stand in the contract at all, or ""."""
    if name in TAKEN and name != table.time:
        return "is a name that the platform itself uses: rename it in the table to have it"
    if not speakable(name):
        return "has a name that cannot be used: rename it in the table to have it"
    if not readable(table.frame.schema[name]):
        return f"holds {table.frame.schema[name]}, which is neither text, number nor time"
    return ""


def named_features(table: Table, columns: list[Column]) -> dict[str, Column]:
    """Return the columns that become features, by the names of the features.

    Raises:
        AiosError: There are none.
    """
    features: dict[str, Column] = {}
    for column in columns:
        if column.kind:
            # DuckDB does not tell names apart by case.
            others = {one.lower() for one in table.frame.columns if one != column.name}
            wanted = f"{column.name} days before" if column.kind == "days" else column.name
            features[feature_name(wanted, others | {*features, *CALENDAR})] = column
    if not features:
        raise AiosError(
            "no column can be a feature: "
            + "; ".join(f"'{one.name}' {one.why_not}" for one in columns if one.why_not),
            where=str(table.data),
            fix="Add columns that describe the row and repeat or measure something.",
        )
    return features


def calendar(table: Table) -> dict[str, str]:
    """Return features of the event time that differ between rows: name -> part of the time.

    A month is none of them: in fewer than some three years it names a period, not a season.
    """
    times = table.times.drop_nulls().dt
    return {name: part for name, part in CALENDAR.items() if getattr(times, part)().n_unique() > 1}


def slices(columns: list[Column]) -> list[str]:
    """Return at most three columns with a few values, of which the second is not rare."""
    few = []
    for column in columns:
        grouping = column.kind and column.type in ("category", "boolean")
        if grouping and column.name.lower() not in TAKEN_BY_ROWS:
            counts = column.values.drop_nulls().value_counts(sort=True)["count"]
            if 2 <= counts.len() <= 6 and counts[1] >= 0.05 * column.values.len():
                few.append(column.name)
    return few[:3]


def _feature_of(table: Table, kind: ColumnType, values: pl.Series) -> tuple[Kind | None, str]:
    if values.null_count() == values.len():
        return None, "is empty"
    if values.n_unique() == 1:
        return None, "is the same in every row"
    if _repeats_target(table, values):
        return None, f"says the same as '{table.target}' in every row"
    if kind == "time":
        later = int((values > table.times).sum())
        if later:
            return None, f"lies after the event in {later} rows: it may not be known by then"
        same = (values == table.times).all()
        return (None, "is the time of the event") if same else ("days", "")
    if kind in ("integer", "number"):
        if not values.null_count() and (values.diff().drop_nulls() > 0).all():
            return None, "only numbers the rows in order of time"
        return "number", ""
    if kind == "boolean":
        return "number", ""
    known = values.filter(~values.str.to_lowercase().is_in(WORDS_FOR_MISSING))
    numbers = read_as("number", known).drop_nulls()
    amounts = numbers.n_unique() > 1 and not known.str.contains(CODE).any()
    if amounts and numbers.len() >= MESSY * known.len():
        return "number", ""
    distinct = values.drop_nulls().n_unique()
    if distinct > min(MAX_CATEGORIES, values.len() // 10):
        return None, f"is text with {distinct} different values"
    return "category", ""


def _repeats_target(table: Table, values: pl.Series) -> bool:
    """Whether a column holds the target itself, or its two classes under other names."""
    both = pl.DataFrame({"value": values, "label": table.labels}).drop_nulls("label")
    if values.dtype.is_numeric() and (both["value"] == both["label"]).all():
        return not both["value"].null_count()
    pairs = both.unique()
    return pairs.height == both["label"].n_unique() == both["value"].n_unique() == 2

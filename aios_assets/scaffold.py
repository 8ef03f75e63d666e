"""`aios new`: a complete automation folder from a CSV or Parquet table.

What the table shows is written down as a declaration that a person can read and correct. Where
the data leave a doubt the contract stays open: a later row must not be quarantined for being new.
"""

from __future__ import annotations

import json
import keyword
import os
import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from string import Template
from typing import Any, Literal, cast, get_args

import polars as pl
import yaml
from pydantic import TypeAdapter, ValidationError

from aios.declaration import load_spec
from aios.errors import AiosError
from aios.policy import load_policy
from aios.sources import label_values, read_table, typed
from aios.spec import ColumnType, Duration
from aios.windows import Cadence, window_at

Task = Literal["classification", "regression"]
Kind = Literal["number", "category", "days"]

MIN_ROWS = 200
DAMAGED = 0.01
"""Largest share of rows without a readable time or id; the platform quarantines those rows."""
MESSY = 0.95
"""Share of a text column's known values that must be numbers for it to become one."""
MAX_CATEGORIES = 200
WORDS_FOR_MISSING = ["", "?", "-", ".", "na", "n/a", "nan", "nil", "none", "null", "missing", "inf"]
BOOLEANS = [{"yes", "no"}, {"true", "false"}, {"y", "n"}, {"t", "f"}]
CODE = r"^[+-]?0\d"
"""A leading zero: digits that name something."""
EXACT = 2**53
"""Integers from here on are no longer exact as floats, which is how the contract reads them."""

# What the stages themselves add to events; a column of that name would be lost.
TAKEN = {"event_time", "known_at", "revision", "content_digest", "rules"}
TAKEN_BY_ROWS = TAKEN | {
    "event_timestamp", "facts", "feature_digest", "scored_digest", "label", "label_known_at",
    "holdout", "score", "model_version", "file_index", "file_row_number",
}  # fmt: skip
TEMPLATES = Path(__file__).parent / "templates"
FILES = ("defs.yaml", "policy.yaml", "features.py", "models.py", "README.md")


@dataclass(frozen=True)
class Column:
    """What the table shows about one column.

    Attributes:
        name: Its name at the source.
        type: Its type in the contract.
        kind: What feature it becomes; None for none.
        why_not: Why it is no feature, or "".
        held: What it held, in a few words.
        distinct: How many different values it held.
        minority: The share of its second most frequent value.
        has_nulls: Whether a value was missing.
        non_negative: Whether it counts something: integers, none of them negative.
    """

    name: str
    type: ColumnType
    kind: Kind | None
    why_not: str
    held: str
    distinct: int
    minority: float
    has_nulls: bool
    non_negative: bool


@dataclass(frozen=True)
class Table:
    """The table with the roles of its columns, rows in order of time.

    Attributes:
        data: The file.
        frame: The rows as the file has them.
        id: Column that is different in each row.
        entity: Column with what a row is about.
        time: Column with the event's time.
        target: Column with the outcome.
        times: The event times; null where they cannot be read.
        labels: The outcomes as numbers; null where they are not known.
    """

    data: Path
    frame: pl.DataFrame
    id: str
    entity: str
    time: str
    target: str
    times: pl.Series
    labels: pl.Series

    @property
    def roles(self) -> set[str]:
        """The columns that are not ordinary ones."""
        return {self.id, self.entity, self.time, self.target}

    @property
    def first(self) -> datetime:
        """When the first event happened."""
        return cast("datetime", self.times.min())

    @property
    def last(self) -> datetime:
        """When the last event happened."""
        return cast("datetime", self.times.max())


def scaffold(
    name: str,
    *,
    data: Path,
    entity: str,
    time: str,
    target: str,
    task: Task | None,
    cadence: Cadence = "weekly",
    label_delay: str = "0d",
    automations: Path,
    id: str | None = None,
) -> Path:
    """Write the folder of a new automation.

    Args:
        name: Of the automation and its folder.
        data: A CSV file with a header, or a Parquet file.
        entity: Column with what a row is about; also the event's id where it never repeats.
        time: Column with the time of the event, UTC.
        target: Column with the outcome; empty where it is not known yet.
        task: What to learn; None infers it from the target.
        cadence: How long a partition is.
        label_delay: How long after the event its outcome is known: 7d, 12h, 30m.
        automations: The folder of all automations.
        id: Column that is different in each row; None takes the entity.

    Returns:
        The new folder, with every file that the automation needs.

    Raises:
        AiosError: The table or a choice does not allow an automation; nothing is written.
    """
    folder = _new_folder(name, automations)
    delay = _delay(label_delay)
    if cadence not in get_args(Cadence):
        raise AiosError(
            f"there is no cadence '{cadence}'", where="--cadence", fix="daily, weekly or monthly."
        )
    table = _read(data, id or entity, entity, time, target)
    task = _task(table, task)
    _enough(table, delay, label_delay)
    columns = [_column(table, one) for one in table.frame.columns if _usable(table, one)]
    features = _feature_names(table, columns)
    if not features:
        raise AiosError(
            "no column can be a feature: "
            + "; ".join(f"'{one.name}' {one.why_not}" for one in columns if one.why_not),
            where=str(data),
            fix="Add columns that describe the row and repeat or measure something.",
        )
    values = _values(name, table, columns, features, task, cadence, label_delay)
    values["table"] = _quoted(os.path.relpath(data.resolve(), automations.resolve() / name))
    _write(folder, values)
    return folder


def _new_folder(name: str, automations: Path) -> Path:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or keyword.iskeyword(name):
        raise AiosError(
            f"'{name}' cannot name an automation",
            where="NAME",
            fix="Use a small letter, then small letters, digits and _, at most 63, "
            "and no word of Python.",
        )
    folder = automations / name
    if folder.exists() or folder.is_symlink():
        raise AiosError(
            "there is already something of that name; nothing was changed",
            where=str(folder),
            fix="Choose another name, or move the folder away.",
        )
    return folder


def _delay(text: str) -> timedelta:
    try:
        return TypeAdapter(Duration).validate_python(text)
    except (ValidationError, OverflowError) as error:
        raise AiosError(
            f"'{text}' is no delay",
            where="--label-delay",
            fix="Give a whole number and a unit: 30d, 12h or 90m.",
        ) from error


def _read(data: Path, identity: str, entity: str, time: str, target: str) -> Table:
    if not data.is_file():
        raise AiosError("there is no such file", where=str(data), fix="Give an existing file.")
    if data.suffix != ".parquet" and data.suffix.lower() != ".csv":
        raise AiosError(
            f"a table is a CSV or Parquet file, not '{data.suffix or data.name}'",
            where=str(data),
            fix="Convert it, and name it .csv or .parquet.",
        )
    if not data.stat().st_size:
        raise AiosError("the table is empty", where=str(data), fix="Give a table with rows.")
    frame = read_table(data)
    if frame.is_empty():
        raise AiosError("the table is empty", where=str(data), fix="Give a table with rows.")
    _check_roles(data, frame, identity, entity, time, target)
    times = _times(data, frame[time])
    order = times.to_frame().with_row_index().sort("value", maintain_order=True)["index"]
    frame, times = frame[order], times[order]
    _check_ids(data, frame, identity)
    return Table(data, frame, identity, entity, time, target, times, _labels(data, frame[target]))


def _check_roles(
    data: Path, frame: pl.DataFrame, identity: str, entity: str, time: str, target: str
) -> None:
    roles = {"--entity": entity, "--time": time, "--target": target, "--id": identity}
    for flag, name in roles.items():
        if name not in frame.columns:
            raise _missing_column(data, frame.columns, flag, name)
    if target in {entity, identity, time}:
        raise AiosError(
            f"'{target}' cannot be the target and also the entity, id or time",
            where="--target",
            fix="Name the column with the outcome.",
        )
    if time in {entity, identity}:
        raise AiosError(
            f"'{time}' cannot be the time and also the entity or id",
            where="--time",
            fix="Name the column with the time of the event.",
        )
    allowed = {time: {"event_time", "known_at"}, target: TAKEN_BY_ROWS - {"known_at"}}
    for flag, name in roles.items():
        if not _speakable(name) or name in TAKEN_BY_ROWS - allowed.get(name, set()):
            raise AiosError(
                f"'{name}' is a name that the platform itself uses or cannot use",
                where=flag,
                fix="Rename the column in the table.",
            )


def _missing_column(data: Path, columns: list[str], flag: str, name: str) -> AiosError:
    by_lower = {column.lower(): column for column in columns}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    fix = f"Did you mean '{by_lower[near[0]]}'?" if near else "Name one of these columns."
    if len(columns) == 1 and re.search(r"[;\t|]", columns[0]):
        fix = "The header is not separated by commas: write the file with commas."
    shown = ", ".join(columns)
    return AiosError(f"there is no column '{name}' in {data}; it has {shown}", where=flag, fix=fix)


def _times(data: Path, column: pl.Series) -> pl.Series:
    times = _typed("time", column)
    text = _typed("text", column)
    wrong = column.filter(times.is_null() & text.is_not_null())
    missing = text.null_count()
    if (wrong.len() + missing) / column.len() > DAMAGED:
        what = [f"{wrong.len()} of {column.len()} rows are no time"] if wrong.len() else []
        example = f", such as {str(wrong[0])!r}" if wrong.len() else ""
        what += [f"{missing} of {column.len()} rows have none"] if missing else []
        raise AiosError(
            f"column '{column.name}': {' and '.join(what)}{example}",
            where=str(data),
            fix="Write times in UTC as YYYY-MM-DD or YYYY-MM-DD HH:MM:SS.",
        )
    return times


def _check_ids(data: Path, frame: pl.DataFrame, name: str) -> None:
    ids = _typed("text", frame[name])
    if ids.null_count() / ids.len() > DAMAGED:
        raise AiosError(
            f"column '{name}': {ids.null_count()} of {ids.len()} rows have no id",
            where=str(data),
            fix="Fill it, or name another column with --id.",
        )
    known = ids.drop_nulls()
    repeated = known.filter(known.is_duplicated())
    if repeated.len():
        unique = [c for c in frame.columns if c != name and _identifies(frame[c])]
        other = f" such as {', '.join(unique[:3])}" if unique else ""
        raise AiosError(
            f"duplicate ids: column '{name}' repeats in {repeated.len()} rows, "
            f"such as {repeated[0]!r}",
            where=str(data),
            fix=f"Name a column that is different in each row with --id{other}, or take the "
            "repeated rows out of the table.",
        )


def _identifies(column: pl.Series) -> bool:
    """Whether a column is filled, never repeats, and can stand for a row."""
    if not _readable(column.dtype) or column.dtype.is_float() or column.dtype.is_temporal():
        return False
    text = _typed("text", column)
    return not text.null_count() and text.n_unique() == text.len()


def _labels(data: Path, column: pl.Series) -> pl.Series:
    if not _readable(column.dtype):
        raise AiosError(
            f"the target '{column.name}' holds {column.dtype}, not numbers or words",
            where=str(data),
            fix="Write the outcome as a number or as yes and no.",
        )
    labels = pl.select(label=label_values(pl.lit(column)).fill_nan(None)).to_series()
    text = _typed("text", column)
    unread = text.filter(labels.is_null() & text.is_not_null())
    unread = unread.filter(unread.str.to_lowercase() != "nan")
    if unread.len():
        words = text.drop_nulls().unique(maintain_order=True)
        shown = ", ".join(repr(word) for word in words[:5])
        fix = "Write 1 or yes for the outcome to predict, and 0 or no for the other."
        if words.len() > 2:
            fix = "Write the outcome as a number, or as yes and no; leave unknown ones empty."
        raise AiosError(
            f"the target '{column.name}' has {words.len()} values ({shown}"
            f"{', ...' if words.len() > 5 else ''}) and {unread.len()} rows that are not "
            "understood; understood are numbers, yes and no, true and false, 1 and 0",
            where=str(data),
            fix=fix,
        )
    return labels


def _task(table: Table, task: Task | None) -> Task:
    values = table.labels.drop_nulls().unique().sort()
    where, shown = f"{table.data}, column '{table.target}'", ", ".join(f"{v:g}" for v in values[:5])
    if values.len() < 2:
        raise AiosError(
            f"the target has one value only ({shown})" if shown else "the target is empty",
            where=where,
            fix="Give rows with different outcomes: from one alone nothing can be learned.",
        )
    if task == "regression" or values.to_list() == [0.0, 1.0]:
        return task or "classification"
    if task is None and values.len() > 20:
        return "regression"
    if values.len() == 2:
        raise AiosError(
            f"the target has the two classes {shown}; understood are 1 and 0, yes and no, "
            "true and false",
            where=where,
            fix="Write 1 for the outcome to predict and 0 for the other.",
        )
    raise AiosError(
        f"the target has {values.len()} values ({shown}, ...): a classification has two classes, "
        "more are not supported yet",
        where=where,
        fix="Make a yes/no column of the class that matters, or add '--task regression' if the "
        "values are amounts.",
    )


def _enough(table: Table, delay: timedelta, shown: str) -> None:
    labelled = table.labels.count()
    if labelled < MIN_ROWS:
        raise AiosError(
            f"{labelled} rows with a known '{table.target}' are too few, {MIN_ROWS} are needed",
            where=str(table.data),
            fix="Collect more rows first.",
        )
    if delay > table.last - table.first:
        raise AiosError(
            f"with a delay of {shown} no outcome is known before the table ends: it spans "
            f"{table.last - table.first}",
            where="--label-delay",
            fix="Give how long after its event an outcome is known.",
        )


def _usable(table: Table, name: str) -> bool:
    """Whether a column can stand in the contract at all."""
    if name == table.target or (name in TAKEN and name != table.time):
        return False
    return _speakable(name) and _readable(table.frame.schema[name])


def _speakable(name: str) -> bool:
    """Whether a name means one column: Polars reads `*` and `^...$` as patterns, Arrow no NUL."""
    pattern = name == "*" or (name.startswith("^") and name.endswith("$"))
    return bool(name.strip()) and not pattern and "\0" not in name


def _readable(dtype: pl.DataType) -> bool:
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def _column(table: Table, name: str) -> Column:
    values = table.frame[name]
    kind = _type_of(values)
    if name == table.time:
        kind = "time"
    elif name in {table.id, table.entity} and kind != "integer":
        kind = "text"
    known = _typed(kind, values)
    present = known.drop_nulls()
    counts = present.value_counts(sort=True)["count"]
    second = int(counts[1]) / table.frame.height if counts.len() > 1 else 0.0
    feature, why_not = (None, "") if name in table.roles else _feature_of(table, name, kind, known)
    if kind == "text" and feature == "category":
        kind = "category"
    return Column(
        name=name,
        type=kind,
        kind=feature,
        why_not=why_not,
        held=_held(kind, known),
        distinct=counts.len(),
        minority=second,
        has_nulls=bool(known.null_count()),
        non_negative=kind == "integer" and cast("int", present.min()) >= 0,
    )


def _type_of(values: pl.Series) -> ColumnType:
    """The narrowest type in which every value can be read."""
    text = _typed("text", values).drop_nulls()
    if values.dtype.is_float():
        return "number"
    if values.dtype == pl.Boolean or set(text.str.to_lowercase().unique()) in BOOLEANS:
        return "boolean"
    if text.is_empty() or text.str.contains(CODE).any():
        return "text"
    whole = _typed("integer", text)
    if not (whole.null_count() or text.str.contains(".", literal=True).any()):
        return "integer" if whole.abs().max() < EXACT else "number"  # type: ignore[operator]
    if not _typed("number", text).null_count():
        return "number"
    return "text" if _typed("time", text).null_count() else "time"


def _feature_of(
    table: Table, name: str, kind: ColumnType, known: pl.Series
) -> tuple[Kind | None, str]:
    present = known.drop_nulls()
    if present.is_empty():
        return None, "is empty"
    if present.n_unique() == 1 and not known.null_count():
        return None, "is the same in every row"
    if _repeats_target(table, known):
        return None, f"says the same as '{table.target}' in every row"
    if kind == "time":
        later = int((known > table.times).sum())
        if later:
            return None, f"lies after the event in {later} rows: it may not be known by then"
        same = (known == table.times).all()
        return (None, "is the time of the event") if same else ("days", "")
    if kind in ("integer", "number"):
        if present.n_unique() == table.frame.height and (known.diff().drop_nulls() > 0).all():
            return None, "only numbers the rows in order of time"
        return "number", ""
    if kind == "boolean":
        return "number", ""
    values = known.filter(~known.str.to_lowercase().is_in(WORDS_FOR_MISSING))
    numbers = _typed("number", values).drop_nulls()
    amounts = numbers.n_unique() > 1 and not values.str.contains(CODE).any()
    if amounts and numbers.len() >= MESSY * values.len():
        return "number", ""
    distinct = present.n_unique()
    if distinct > min(MAX_CATEGORIES, table.frame.height // 10):
        return None, f"is text with {distinct} different values"
    return "category", ""


def _repeats_target(table: Table, known: pl.Series) -> bool:
    """Whether a column holds the target itself, or its two classes under other names."""
    both = pl.DataFrame({"value": known, "label": table.labels}).filter(
        pl.col("label").is_not_null()
    )
    if known.dtype.is_numeric() and (both["value"] == both["label"]).all():
        return not both["value"].null_count()
    pairs = both.unique()
    return pairs.height == both["label"].n_unique() == both["value"].n_unique() == 2


def _held(kind: ColumnType, known: pl.Series) -> str:
    present = known.drop_nulls()
    low, high = cast("Any", present.min()), cast("Any", present.max())
    empty = f", {known.null_count() / known.len():.2%} empty" if known.null_count() else ""
    if present.is_empty():
        return "always empty"
    if kind in ("integer", "number"):
        return f"{low:g} to {high:g}{empty}"
    if kind == "boolean":
        return f"{float(cast('Any', present.mean())):.1%} true{empty}"
    if kind == "time":
        return f"{low:%Y-%m-%d} to {high:%Y-%m-%d}{empty}"
    common = present.value_counts(sort=True)["value"].to_list()
    shown = _plain(", ".join(str(value)[:30] for value in sorted(common[:4])))
    return f"{len(common)} values: {shown}{', ...' if len(common) > 4 else ''}{empty}"


def _feature_names(table: Table, columns: list[Column]) -> dict[str, Column]:
    """Give every feature a name that is an identifier and means nothing else anywhere."""
    names: dict[str, Column] = {}
    sources = {name.lower() for name in table.frame.columns}
    taken = TAKEN_BY_ROWS | {"event_hour", "event_weekday"}
    for position, column in enumerate(columns, start=1):
        if column.kind is None:
            continue
        # DuckDB does not tell names apart by case.
        others = taken | (sources - {column.name.lower()}) | set(names)
        if sum(name.lower() == column.name.lower() for name in table.frame.columns) > 1:
            others |= {column.name.lower()}
        base = _identifier(column.name) or f"column_{position}"
        base += "_days_before" if column.kind == "days" else ""
        name, number = base, 1
        while name in others or re.match(r"score_v\d", name) or keyword.iskeyword(name):
            name, number = f"{base}_value{number if number > 1 else ''}", number + 1
        names[name] = column
    return names


def _identifier(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = "_".join(re.findall(r"[a-z0-9]+", ascii_name.lower()))[:60].rstrip("_")
    return f"x_{words}" if words[:1].isdigit() else words


def _calendar(table: Table) -> dict[str, str]:
    """Calendar features of the event time that differ between rows: name -> expression.

    A month is none of them: in fewer than some three years it names a period, not a season.
    """
    times, found = table.times.drop_nulls(), {}
    if times.dt.hour().n_unique() > 1:
        found["event_hour"] = "hour"
    if times.dt.weekday().n_unique() > 1:
        found["event_weekday"] = "weekday"
    return found


def _slices(table: Table, columns: list[Column]) -> list[str]:
    """At most three columns with a few values, of which the second is not rare."""
    few = [
        column.name
        for column in columns
        if column.type in ("category", "boolean")
        and column.kind
        and 2 <= column.distinct <= 6
        and column.minority >= 0.05
        and column.name.lower() not in TAKEN_BY_ROWS
    ]
    return few[:3]


def _values(
    name: str,
    table: Table,
    columns: list[Column],
    features: dict[str, Column],
    task: Task,
    cadence: Cadence,
    delay: str,
) -> dict[str, str]:
    """What the templates have to be filled with."""
    rows, calendar = table.frame.height, _calendar(table)
    min_rows, gate_rows = _evidence(table, task)
    classification = task == "classification"
    metric, floor = ("roc_auc", "0.55") if classification else ("r2", "0.0")
    start = window_at(cadence, table.first).start.date()
    end = window_at(cadence, table.last).end.date()
    slices = _slices(table, columns)
    kinds = {one: "category" if c.kind == "category" else "number" for one, c in features.items()}
    kinds |= dict.fromkeys(calendar, "number")
    purpose = f"Predict {table.target} of each row of {table.data.name}."
    # One candidate: to choose among several by a small holdout costs more than it brings.
    candidate = "blend" if classification else "blend_regression"
    return {
        "name": name,
        "description": _quoted(purpose),
        "purpose": _plain(purpose),
        "owner": _quoted(f"team:{name}"),
        "task": task,
        "start": str(start),
        "end": str(end),
        "first": f"{table.first:%Y-%m-%d}",
        "last": f"{table.last:%Y-%m-%d}",
        "rows": f"{rows:,}",
        "id": _quoted(table.id),
        "entity": _quoted(table.entity),
        "time": _quoted(table.time),
        "target": _quoted(table.target),
        "cadence": cadence,
        "delay": delay,
        "slices": ", ".join(map(_quoted, slices)),
        "columns": "\n".join(f"      {_contract_line(table, columns, one)}" for one in columns),
        "features": "\n".join(f"        {_quoted(one)}: {kind}" for one, kind in kinds.items()),
        "candidates": f'    - {{name: {candidate}, train: "models:{candidate}"}}',
        "min_rows": str(min_rows),
        "gate_rows": str(gate_rows),
        "drift_rows": str(min(200, max(20, rows // 20))),
        "ignore": "event_weekday" if cadence == "daily" and "event_weekday" in calendar else "",
        "cooldown": {"daily": "7d", "weekly": "14d", "monthly": "28d"}[cadence],
        "metric": metric,
        "floor": floor,
        "threshold": "0.5" if classification else f"{table.labels.quantile(0.9):.4g}",
        "target_word": _plain(table.target),
        "id_literal": _literal(table.id),
        "numbers": _mapping(features, "number"),
        "categories": _mapping(features, "category"),
        "days": _mapping(features, "days"),
        "calendar": "".join(
            f'\n        pl.col("event_time").dt.{part}().cast(pl.Float64).alias("{one}"),'
            for one, part in calendar.items()
        ),
        "time_name": _plain(table.time),
        "target_name": _plain(table.target),
        "facts": _facts(table, columns, features, calendar, task),
        "left_out": _left_out(table, columns),
        "gate_text": _gate_text(task),
    }


def _evidence(table: Table, task: Task) -> tuple[int, int]:
    """Rows for the first training and rows for the gate: what the table can give.

    The gate sees the newest quarter. Where a class is rare, training waits until that quarter is
    likely to hold some fifteen of it.
    """
    labels = table.labels.drop_nulls()
    wanted = 400.0
    if task == "classification":
        share = float(labels.mean())  # type: ignore[arg-type]
        wanted = max(wanted, 60 / min(share, 1 - share))
    min_rows = int(min(wanted, labels.len() // 2))
    return min_rows, max(20, min(100, min_rows // 4))


def _contract_line(table: Table, columns: list[Column], column: Column) -> str:
    """One column of the contract, with what it held as a comment.

    A column is required when the table leaves no doubt: it was never empty, and by the rule of
    three (none in n rows: at most 3/n) all such columns together cost at most 5 % of later rows.
    """
    filled = sum(not one.has_nulls for one in columns)
    sure = not column.has_nulls and 3 * filled / table.frame.height <= 0.05
    required = sure or column.name in {table.id, table.time}
    parts = [f"type: {column.type}"]
    parts += ["required: true"] if required else []
    parts += ["min: 0"] if column.non_negative and column.name not in table.roles else []
    return f"{_quoted(column.name)}: {{{', '.join(parts)}}}  # {column.held}"


def _facts(
    table: Table,
    columns: list[Column],
    features: dict[str, Column],
    calendar: Mapping[str, str],
    task: Task,
) -> str:
    labels = table.labels.drop_nulls()
    low, high = cast("Any", labels.min()), cast("Any", labels.max())
    unknown = table.frame.height - labels.len()
    outcome = (
        f"{float(labels.mean()):.1%} yes"  # type: ignore[arg-type]
        if task == "classification"
        else f"{low:g} to {high:g}, mean {cast('Any', labels.mean()):g}"
    )
    renamed = [
        f"`{_plain(column.name)}` is feature `{name}`"
        for name, column in features.items()
        if name != column.name
    ]
    lines = [
        f"- {table.frame.height:,} rows from {table.first} to {table.last}",
        f"- {task} of `{_plain(table.target)}`: {outcome}"
        + (f"; {unknown:,} rows without one are not yet labelled" if unknown else ""),
        f"- {len(features)} columns as features"
        + (f", and {' and '.join(f'`{one}`' for one in calendar)}" if calendar else ""),
    ]
    lines += [f"- {', '.join(renamed)}: a feature's name is an identifier"] if renamed else []
    damaged = table.times.null_count()
    lines += [f"- {damaged} rows without a readable time go to quarantine"] if damaged else []
    return "\n".join(lines)


def _left_out(table: Table, columns: list[Column]) -> str:
    lines = [f"- `{_plain(one.name)}` {one.why_not}" for one in columns if one.why_not]
    if table.entity != table.id:
        lines.append(f"- `{_plain(table.entity)}` is the entity")
    known = {one.name for one in columns} | {table.target}
    lines += [
        f"- `{_plain(name)}` {_unusable_because(table, name)}"
        for name in table.frame.columns
        if name not in known
    ]
    return "\n".join(lines) or "- none"


def _unusable_because(table: Table, name: str) -> str:
    if name in TAKEN:
        return "is a name that the platform itself uses: rename it in the table to have it"
    if not _speakable(name):
        return "has a name that cannot be used: rename it in the table to have it"
    return f"holds {table.frame.schema[name]}, which is neither text, number nor time"


def _gate_text(task: Task) -> str:
    if task == "classification":
        return (
            "a ROC-AUC of at least 0.55 (0.5 is chance) on the newest quarter of the labelled "
            "rows, and not more than 0.02 below the champion's on the same rows."
        )
    return (
        "an R2 of at least 0 on the newest quarter of the labelled rows (0 is as good as always "
        "saying their own mean), and not more than 0.02 below the champion's on the same rows. "
        "R2 has no unit, so the bar is the same for every target."
    )


def _mapping(features: dict[str, Column], kind: Kind) -> str:
    """A dictionary as Python source, feature -> column, one entry a line."""
    lines = [
        f"    {_literal(one)}: {_literal(c.name)},\n"
        for one, c in features.items()
        if c.kind == kind
    ]
    return "{\n" + "".join(lines) + "}" if lines else "{}"


def _write(folder: Path, values: Mapping[str, str]) -> None:
    """Write all files aside, check them, and put the folder in place at once."""
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        for name in FILES:
            template = (TEMPLATES / f"{name}.template").read_text()
            filled = template if name == "models.py" else Template(template).substitute(values)
            (aside / name).write_text(filled)
        load_spec(aside)
        load_policy(aside / "policy.yaml")
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _typed(kind: ColumnType, values: pl.Series) -> pl.Series:
    """A column in a type of the contract, exactly as the contract reads it."""
    return pl.select(value=typed(kind, pl.lit(values))).to_series()


def _quoted(text: str) -> str:
    """A text as a YAML scalar that reads back as this text, also inside braces."""
    style = None if text.isprintable() else '"'  # the other styles break lines instead of \\n
    dumped = yaml.safe_dump([text], default_flow_style=True, default_style=style, width=10**9)
    return dumped.rstrip("\n").removeprefix("[").removesuffix("]")


def _literal(text: str) -> str:
    """A text as Python source; what JSON writes, Python reads as the same text."""
    return json.dumps(text, ensure_ascii=False)


def _plain(text: str) -> str:
    """A text on one line, with nothing that a YAML comment or Markdown would not bear."""
    return "".join(c if c.isprintable() else " " for c in text).replace("`", "'").strip()

"""Profiles: what is kept of a reference frame to compare later frames with, in bounded size."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from aios.errors import AiosError

GRID: Final = 4096
CATEGORIES: Final = 1000


@dataclass(frozen=True)
class NumericProfile:
    """What is kept of a reference column of numbers or times.

    Attributes:
        nulls: Rows that are null, NaN or infinite.
        points: At most `GRID` of its finite values, rising, first and last included.
        below: Finite values below each point.
        upto: Finite values at or below each point.
    """

    nulls: int
    points: np.ndarray
    below: np.ndarray
    upto: np.ndarray


@dataclass(frozen=True)
class CategoricalProfile:
    """What is kept of a reference column of text, categories or booleans.

    Attributes:
        nulls: Rows without a value.
        counts: Rows of each of the `CATEGORIES` most frequent values, most frequent first.
        rest: Rows of all other values.
    """

    nulls: int
    counts: dict[str, int]
    rest: int


@dataclass(frozen=True)
class Profile:
    """A frame's distribution, column by column, in bounded size.

    A numeric column keeps at most 4,096 of its order statistics with their exact ranks. The
    distance found with them is exact for a column of up to 4,096 distinct values, and otherwise
    less than 1/4,000 below the distance to all rows. A categorical column keeps its 1,000 most
    frequent values; changes among its rarer values are seen only as a change of their total.
    """

    n: int
    columns: dict[str, NumericProfile | CategoricalProfile]

    @classmethod
    def of(cls, frame: pl.DataFrame, columns: Sequence[str] | None = None) -> Profile:
        """Profile a frame.

        Args:
            frame: Reference rows.
            columns: Columns to profile; all by default.

        Raises:
            AiosError: A column is missing, or nested.
        """
        names = list(frame.columns if columns is None else columns)
        return cls(frame.height, {name: _profile(profiled_column(frame, name)) for name in names})

    def write(self, path: Path) -> None:
        """Write to one .npz file, aside and then renamed; equal profiles give equal bytes."""
        arrays: dict[str, np.ndarray] = {}
        header: list[tuple[str, str, dict[str, object]]] = []
        for name, column in self.columns.items():
            if isinstance(column, NumericProfile):
                for part in ("points", "below", "upto"):
                    arrays[f"{part}_{len(header)}"] = getattr(column, part)
                header.append((name, "numeric", {"nulls": column.nulls}))
            else:
                header.append((name, "categorical", vars(column)))
        text = json.dumps({"n": self.n, "columns": header}).encode()
        buffer = io.BytesIO()
        arrays["header"] = np.frombuffer(text, dtype=np.uint8)
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        aside = path.with_name(path.name + ".partial")
        aside.write_bytes(buffer.getvalue())
        aside.replace(path)

    @classmethod
    def read(cls, path: Path) -> Profile:
        """Read what `write` wrote; no pickle is ever loaded.

        Raises:
            AiosError: The file is missing or is not a profile.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                header = json.loads(stored["header"].tobytes())
                columns: dict[str, NumericProfile | CategoricalProfile] = {}
                for index, (name, kind, fields) in enumerate(header["columns"]):
                    if kind == "numeric":
                        parts = {p: stored[f"{p}_{index}"] for p in ("points", "below", "upto")}
                        columns[name] = NumericProfile(**fields, **parts)
                    else:
                        columns[name] = CategoricalProfile(**fields)
                return cls(header["n"], columns)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise AiosError(
                f"not a readable profile ({error})",
                where=str(path),
                fix="build it again from the training rows with Profile.of(frame).write(path)",
            ) from error


def profiled_column(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a column that can be profiled, or raise an AiosError that says why not."""
    if name not in frame.columns:
        raise AiosError(
            f"no column {name!r}", where="drift", fix=f"choose from {', '.join(frame.columns)}"
        )
    column = frame[name]
    if column.dtype.is_nested() or column.dtype in (pl.Object, pl.Binary):
        raise AiosError(
            f"column {name!r} has type {column.dtype}",
            where="drift",
            fix="compare numbers, booleans, times and text; leave this column out",
        )
    return column


def _profile(column: pl.Series) -> NumericProfile | CategoricalProfile:
    if is_numeric(column):
        values, nulls = sorted_values(column)
        points = _order_statistics(values)
        below, upto = (np.searchsorted(values, points, side) for side in ("left", "right"))
        return NumericProfile(nulls, points, below, upto)
    counts, nulls = category_counts(column)
    kept = dict(list(counts.items())[:CATEGORIES])
    return CategoricalProfile(nulls, kept, sum(counts.values()) - sum(kept.values()))


def is_numeric(column: pl.Series) -> bool:
    """Tell whether a column is compared as numbers (times are) or as categories."""
    return column.dtype.is_numeric() or column.dtype.is_temporal()


def sorted_values(column: pl.Series) -> tuple[np.ndarray, int]:
    """Finite values, rising, and the number of rows without one."""
    values = column.to_physical().cast(pl.Float64).drop_nulls().to_numpy()
    values = np.sort(values[np.isfinite(values)])
    return values, len(column) - len(values)


def _order_statistics(values: np.ndarray) -> np.ndarray:
    if not len(values):
        return values
    distinct = values[np.r_[True, values[1:] != values[:-1]]]
    if len(distinct) <= GRID:
        return distinct
    return np.unique(values[np.linspace(0, len(values) - 1, GRID).round().astype(np.int64)])


def category_counts(column: pl.Series) -> tuple[dict[str, int], int]:
    """Rows of each value, most frequent first, then by name; and the number of nulls."""
    table = column.cast(pl.String).drop_nulls().alias("value").value_counts(name="rows")
    table = table.sort("rows", "value", descending=[True, False])
    return dict(zip(table["value"].to_list(), table["rows"].to_list(), strict=True)), (
        column.null_count()
    )

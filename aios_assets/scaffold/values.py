"""How the values of a column are read: its type, and the values in that type."""

from __future__ import annotations

import polars as pl

from aios.sources import typed
from aios.values import ColumnType

CODE = r"^[+-]?0\d"
"""A leading zero: digits that name something."""
EXACT = 2**53
"""Integers from here on are no longer exact as floats, which is what a feature is."""
BOOLEANS = [{"yes", "no"}, {"true", "false"}, {"y", "n"}, {"t", "f"}]


def read_as(kind: ColumnType, values: pl.Series) -> pl.Series:
    """Return a column in a type of the contract, exactly as the contract reads it."""
    return pl.select(value=typed(kind, pl.lit(values))).to_series()


def readable(dtype: pl.DataType) -> bool:
    """Whether single values of a column can be read at all."""
    return not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)


def type_of(values: pl.Series) -> ColumnType:
    """Return the narrowest type in which every value can be read."""
    text = read_as("text", values).drop_nulls()
    if values.dtype.is_float():
        return "number"
    if values.dtype == pl.Boolean or set(text.str.to_lowercase().unique()) in BOOLEANS:
        return "boolean"
    if text.is_empty() or text.str.contains(CODE).any():
        return "text"
    whole = read_as("integer", text)
    if not (whole.null_count() or text.str.contains(".", literal=True).any()):
        return "integer" if whole.abs().max() < EXACT else "number"  # type: ignore[operator]
    if not read_as("number", text).null_count():
        return "number"
    return "text" if read_as("time", text).null_count() else "time"

"""Features as models see them, the same in training and in scoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import polars as pl

from aios.errors import AiosError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "category"]


def to_model_frame(frame: pl.DataFrame, columns: Mapping[str, Kind]) -> pd.DataFrame:
    """The feature columns as models see them, in training and in scoring alike.

    Args:
        frame: Rows with at least `columns`.
        columns: Feature names, in the order the model is to see them. A `number` comes from a
            numeric or boolean column and becomes float64 with NaN for null. A `category` comes
            from text, integers or booleans and becomes objects: text, and NaN for null. A column
            of nulls alone can be either.

    Raises:
        AiosError: A column is missing, or cannot be what it is said to be.
    """
    import pandas as pd

    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise AiosError(
            f"missing feature columns: {', '.join(missing)}",
            where="features",
            fix=f"have the feature function return them; there are: {', '.join(frame.columns)}",
        )
    return pd.DataFrame(
        {
            name: _numbers(frame[name]) if kind == "number" else _categories(frame[name])
            for name, kind in columns.items()
        },
        copy=False,
    )


def _numbers(values: pl.Series) -> np.ndarray:
    if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise _wrong_kind(values, "number")
    return values.cast(pl.Float64).to_numpy()


def _categories(values: pl.Series) -> np.ndarray:
    """Objects with NaN for null, one shared object for each distinct text."""
    dtype = values.dtype
    if dtype.is_float() or dtype.is_temporal() or dtype.is_decimal() or dtype.is_nested():
        raise _wrong_kind(values, "category")
    texts = values.cast(pl.String)
    known = texts.drop_nulls().unique(maintain_order=True)
    objects = np.array([*known.to_list(), np.nan], dtype=object)
    coded = texts.cast(pl.Enum(known)).to_physical().cast(pl.Int64).fill_null(known.len())
    return cast("np.ndarray", objects[coded.to_numpy()])


def _wrong_kind(values: pl.Series, kind: Kind) -> AiosError:
    return AiosError(
        f"feature column {values.name!r} is {values.dtype}, the model takes a {kind} there",
        where="features",
        fix="return numbers or booleans for a number, text for a category; "
        "for a time derive its hour, weekday or age",
    )

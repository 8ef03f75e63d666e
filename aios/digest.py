"""Digests that are the same on every machine, version and run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import polars as pl

_NULL = np.uint64(0x9E3779B97F4A7C15)


def text_digest(value: str | bytes) -> str:
    """Return the first 16 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).hexdigest()[:16]


def json_digest(value: Any) -> str:
    """Return the digest of plain data, whatever the order of its keys."""
    return text_digest(json.dumps(value, sort_keys=True, default=str, separators=(",", ":")))


def row_digests(frame: pl.DataFrame) -> pl.Series:
    """Return one 64-bit digest for each row, over all columns in order of name.

    Integers and times enter as 64-bit integers, other numbers as IEEE doubles (all NaN alike,
    `-0.0` as `0.0`; so 1 and 1.0 differ), strings by their SHA-256, nulls by a mark of their own;
    each step is the splitmix64 finaliser, which Steele, Lea and Flood (OOPSLA 2014) show to
    avalanche.

    Args:
        frame: Columns of numbers, booleans, strings, dates or datetimes.

    Returns:
        `UInt64` series named `digest`, as long as the frame.
    """
    digest = np.zeros(frame.height, dtype=np.uint64)
    for name in sorted(frame.columns):
        salt = np.uint64(int(text_digest(name), 16))
        digest = _mix(digest ^ (_bits(frame[name]) + salt))
    return pl.Series("digest", digest, dtype=pl.UInt64)


def frame_digest(frame: pl.DataFrame) -> str:
    """Return the digest of a whole frame: its schema and its rows in order."""
    schema = json.dumps([(name, str(dtype)) for name, dtype in frame.schema.items()])
    return text_digest(schema.encode() + row_digests(frame).to_numpy().tobytes())


def _mix(value: np.ndarray) -> np.ndarray:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _bits(column: pl.Series) -> np.ndarray:
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        return _text_bits(column.cast(pl.String))
    if column.dtype.is_temporal():
        column = column.to_physical()
    if column.dtype.is_integer():
        bits = column.fill_null(0).cast(pl.Int64, wrap_numerical=True).to_numpy().view(np.uint64)
    else:
        values = column.cast(pl.Float64).fill_null(0.0).to_numpy()
        bits = np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
    return _with_nulls(bits, column)


def _text_bits(column: pl.Series) -> np.ndarray:
    distinct = column.unique()
    digests = [0 if text is None else int(text_digest(text), 16) for text in distinct]
    table = pl.DataFrame({"text": distinct, "bits": pl.Series(digests, dtype=pl.UInt64)})
    joined = column.to_frame("text").join(
        table, on="text", how="left", nulls_equal=True, maintain_order="left"
    )
    return _with_nulls(joined["bits"].to_numpy(), column)


def _with_nulls(bits: np.ndarray, column: pl.Series) -> np.ndarray:
    return np.where(column.is_null().to_numpy(), _NULL, bits) if column.null_count() else bits

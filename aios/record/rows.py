"""The rows of a table as leaves of a tree of their own, so that one can be proven without the rest.

A row's leaf is its salt and its canonical JSON. The salt keeps a sibling's hash in a proof from
being guessed back to the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import polars as pl

from aios.errors import AiosError
from aios.record import merkle
from aios.record.canonical import encode

_ESCAPED = r'["\\\x00-\x1f]'
_EXACT = 2**53 - 1
_SUBTREE = 256


def canonical_rows(frame: pl.DataFrame) -> list[bytes]:
    """Return the RFC 8785 JSON of each row, one object with a member for each column.

    Times are ISO 8601 text with microseconds; null and NaN are null; `UInt64` is decimal text,
    because JSON's numbers are exact up to 2**53 - 1 only.

    Raises:
        AiosError: A number has no canonical form.
    """
    names = sorted(frame.columns, key=lambda name: name.encode("utf-16-be"))
    if not names:
        return []
    parts: list[pl.Expr | pl.Series] = []
    for name in names:
        before = "," if parts else "{"
        parts += [pl.lit(f"{before}{encode(name).decode()}:"), _values(frame[name])]
    lines = frame.select(pl.concat_str(*parts, pl.lit("}")).alias("row"))["row"]
    return [line.encode() for line in lines.to_list()]


def rows_root(frames: pl.DataFrame | Iterable[pl.DataFrame], salt: bytes) -> bytes:
    """Return the root of the tree over a table's rows, in their order.

    Args:
        frames: The table, or its parts; of parts, only one is held at a time.
        salt: What the rows' salts are made from, up to 64 bytes.
    """
    roots: list[bytes] = []
    rest: list[bytes] = []
    done = 0
    for frame in [frames] if isinstance(frames, pl.DataFrame) else frames:
        hashes = [*rest, *_leaves(canonical_rows(frame), salt, first=done)]
        done += frame.height
        whole = len(hashes) // _SUBTREE * _SUBTREE
        roots += [merkle.root_of(hashes[at : at + _SUBTREE]) for at in range(0, whole, _SUBTREE)]
        rest = hashes[whole:]
    return merkle.root_of([*roots, merkle.root_of(rest)] if rest else roots)


def row_proof(frame: pl.DataFrame, salt: bytes, index: int) -> dict[str, Any]:
    """Return what proves one row: `index`, `rows`, `salt`, `row` (JSON text) and `path`, in hex."""
    rows = canonical_rows(frame)
    path = merkle.inclusion_path(_leaves(rows, salt), index)
    return {
        "index": index,
        "rows": len(rows),
        "salt": _row_salt(salt, index).hex(),
        "row": rows[index].decode(),
        "path": [one.hex() for one in path],
    }


def _leaves(rows: Sequence[bytes], salt: bytes, first: int = 0) -> list[bytes]:
    return [merkle.leaf_hash(_row_salt(salt, i) + row) for i, row in enumerate(rows, first)]


def _row_salt(salt: bytes, index: int) -> bytes:
    return blake2b(index.to_bytes(8, "big"), key=salt, digest_size=merkle.SALT).digest()


def _values(column: pl.Series) -> pl.Series:
    """Return the values as JSON texts, whole columns at a time where that is the same."""
    kind = column.dtype
    if isinstance(kind, pl.Datetime) and (kind.time_zone or kind.time_unit == "ns"):
        raise AiosError(
            f"times of type {kind} have no canonical form",
            where=f"column {column.name!r}",
            fix='Give UTC-naive times in microseconds, pl.Datetime("us").',
        )
    if kind in (pl.Datetime, pl.Date):
        column = column.dt.to_string("%Y-%m-%d" if kind == pl.Date else "%Y-%m-%dT%H:%M:%S%.6f")
    elif kind == pl.UInt64:
        column = column.cast(pl.String)
    if kind.is_float():
        texts = pl.Series([_float(value) for value in column.cast(pl.Float64).to_list()])
    elif kind in (pl.Categorical, pl.Enum) or column.dtype == pl.String:
        column = column.cast(pl.String)
        odd = column.str.contains(_ESCAPED).any()
        texts = _each(column) if odd else pl.select('"' + column + '"').to_series()
    elif kind == pl.Boolean or (kind.is_integer() and _exact(column)):
        texts = column.cast(pl.String)
    else:
        texts = _each(column)
    return texts.cast(pl.String).fill_null("null").alias("")


def _each(column: pl.Series) -> pl.Series:
    return pl.Series([encode(value).decode() for value in column.to_list()], dtype=pl.String)


def _exact(column: pl.Series) -> bool:
    least, most = column.min(), column.max()
    return least is None or bool(least >= -_EXACT and most <= _EXACT)  # type: ignore[operator]


def _float(value: float | None) -> str | None:
    if value is None or value != value:
        return None
    text = repr(value)
    # Python and ECMAScript write the same digits; they differ in exponents and whole numbers.
    if "e" not in text and "n" not in text and not text.endswith(".0"):
        return text
    return encode(value).decode()

"""Canonical JSON: one value, one sequence of bytes (RFC 8785)."""

from __future__ import annotations

from typing import Any

import orjson
import rfc8785

from aios.errors import AiosError


def encode(value: Any) -> bytes:
    """Return the canonical form of plain data: objects with text keys, lists, text, numbers.

    Raises:
        AiosError: A value has no canonical form: NaN, an integer beyond 2**53 - 1, a lone
            surrogate, or a type that JSON does not have.
    """
    try:
        # Without floats and with ASCII keys orjson writes the same bytes, 50 times faster.
        if _is_plain(value):
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER)
        return rfc8785.dumps(value)
    except (
        orjson.JSONEncodeError,
        rfc8785.CanonicalizationError,
        UnicodeEncodeError,
        RecursionError,
    ) as error:
        raise AiosError(
            f"it has no canonical JSON: {error}",
            where="record",
            fix="Give text, integers up to 2**53 - 1, finite numbers, lists and objects.",
        ) from error


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is dict:
        for key, one in value.items():
            if type(key) is not str or not key.isascii() or not _is_plain(one):
                return False
        return True
    if kind is list:
        for one in value:  # noqa: SIM110  a loop takes half of a generator's time
            if not _is_plain(one):
                return False
        return True
    return False

"""RFC 6962 as it is written, recursion and all: the oracle of the property tests."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def split(size: int) -> int:
    """Return the largest power of two below `size` (the RFC's k)."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def tree_hash(data: Sequence[bytes]) -> bytes:
    """MTH(D[n]) of section 2.1."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = split(len(data))
    return sha256(b"\x01" + tree_hash(data[:k]) + tree_hash(data[k:])).digest()


def audit_path(index: int, data: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of section 2.1.1."""
    if len(data) == 1:
        return []
    k = split(len(data))
    if index < k:
        return [*audit_path(index, data[:k]), tree_hash(data[k:])]
    return [*audit_path(index - k, data[k:]), tree_hash(data[:k])]


def consistency_proof(first: int, data: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n]) of section 2.1.2."""
    return _subproof(first, data, complete=True)


def _subproof(first: int, data: Sequence[bytes], *, complete: bool) -> list[bytes]:
    if first == len(data):
        return [] if complete else [tree_hash(data)]
    k = split(len(data))
    if first <= k:
        return [*_subproof(first, data[:k], complete=complete), tree_hash(data[k:])]
    return [*_subproof(first - k, data[k:], complete=False), tree_hash(data[:k])]

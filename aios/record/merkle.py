"""The Merkle tree of RFC 6962: hashes, proofs that a leaf is in, and that a log only grew.

A `Nodes` function gives the hash of a complete subtree: `nodes(level, position)` covers the
leaves from `position * 2**level` up to `(position + 1) * 2**level`, exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any

Nodes = Callable[[int, int], bytes]

EMPTY_ROOT = sha256(b"").digest()

SALT = 16
"""Bytes of a row's salt."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256 of 0x00 and its bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node: SHA-256 of 0x01 and its two children."""
    return sha256(b"\x01" + left + right).digest()


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the level above an even number of nodes."""
    return [
        sha256(b"\x01" + left + right).digest()
        for left, right in zip(hashes[::2], hashes[1::2], strict=True)
    ]


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; of none, the hash of nothing."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        odd = [level.pop()] if len(level) % 2 else []
        level = [*parents(level), *odd]
    return level[0]


def inclusion_path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of the leaf at `index` in the tree over all the hashes."""
    return inclusion(index, len(hashes), nodes_of(hashes))


def consistency_path(hashes: Sequence[bytes], first: int) -> list[bytes]:
    """Return the proof that the tree of the first `first` hashes is the beginning of this one."""
    return consistency(first, len(hashes), nodes_of(hashes))


def nodes_of(hashes: Sequence[bytes]) -> Nodes:
    """Return the nodes over leaf hashes that are at hand."""
    return lambda level, at: root_of(hashes[at << level : (at + 1) << level])


def inclusion(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the audit path of a leaf in the tree of `size` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} of {size}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_root(middle, end, nodes))
            end = middle
        else:
            path.append(range_root(start, middle, nodes))
            start = middle
    return path[::-1]


def consistency(first: int, second: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that the tree of `first` leaves begins that of `second` (2.1.2)."""
    if not 0 < first <= second:
        raise IndexError(f"{first} of {second} leaves")
    start, end, path, whole = 0, second, [], True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(range_root(middle, end, nodes))
            end = middle
        else:
            path.append(range_root(start, middle, nodes))
            start, whole = middle, False
    if not whole:
        path.append(range_root(start, end, nodes))
    return path[::-1]


def range_root(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the root over the leaves from `start` to `end`, where a subtree of a tree begins."""
    count = end - start
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(count)
    return node_hash(range_root(start, middle, nodes), range_root(middle, end, nodes))


def grown(first: int, nodes: Nodes, hashes: Iterable[bytes]) -> bytes:
    """Return the root of a tree of `first` leaves after more leaf hashes were added."""
    edge: list[tuple[int, bytes]] = []
    start = 0
    for level in range(first.bit_length() - 1, -1, -1):
        if first >> level & 1:
            edge.append((level, nodes(level, start >> level)))
            start += 1 << level
    for added in hashes:
        level, found = 0, added
        while edge and edge[-1][0] == level:
            level, found = level + 1, node_hash(edge.pop()[1], found)
        edge.append((level, found))
    if not edge:
        return EMPTY_ROOT
    root = edge.pop()[1]
    while edge:
        root = node_hash(edge.pop()[1], root)
    return root


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Tell whether the path leads from a leaf's hash to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_row(proof: dict[str, Any], root: bytes) -> bool:
    """Tell whether the proof leads from its row to the root of a table's rows; garbage does not.

    A path alone fits several table heights: compare `rows` with the leaf of the partition.
    """
    try:
        salt, row, path = bytes.fromhex(proof["salt"]), proof["row"].encode(), proof["path"]
        hashes = [bytes.fromhex(one) for one in path]
        index, height = proof["index"], proof["rows"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    # Of another length, it could take the row's first bytes for its own, or lend it some.
    if len(salt) != SALT or type(index) is not int or type(height) is not int:
        return False
    return verify_inclusion(leaf_hash(salt + row), index, height, hashes, root)


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Tell whether the path proves the first tree to begin the second (RFC 9162, 2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    proof = [first_root, *path] if first & (first - 1) == 0 else list(path)
    if not proof:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = proof[0]
    for sibling in proof[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(count: int) -> int:
    """Return the largest power of two below a count of at least two."""
    return 1 << ((count - 1).bit_length() - 1)

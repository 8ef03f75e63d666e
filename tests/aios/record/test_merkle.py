from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.record.merkle import (
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from tests.aios.record import naive
from tests.aios.record.vectors import (
    CONSISTENCY,
    EMPTY_ROOT,
    INCLUSION,
    INPUTS,
    LEAF_HASHES,
    ROOTS,
)

pytestmark = pytest.mark.unit

HASHES = [leaf_hash(data) for data in INPUTS]


def tree(size: int) -> tuple[list[bytes], list[bytes]]:
    """Return `size` inputs and their leaf hashes."""
    data = [number.to_bytes(4, "big") for number in range(size)]
    return data, [leaf_hash(one) for one in data]


def flipped(data: bytes, bit: int) -> bytes:
    whole = bytearray(data)
    whole[bit // 8 % len(whole)] ^= 1 << bit % 8
    return bytes(whole)


class TestPublishedVectors:
    def test_leaf_hashes(self) -> None:
        assert [one.hex() for one in HASHES] == LEAF_HASHES

    def test_the_root_of_nothing(self) -> None:
        assert root_of([]).hex() == EMPTY_ROOT

    @pytest.mark.parametrize("size", range(1, 9))
    def test_roots(self, size: int) -> None:
        assert root_of(HASHES[:size]).hex() == ROOTS[size - 1]

    @pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
    def test_audit_paths(self, index: int, size: int, path: list[str]) -> None:
        found = inclusion_path(HASHES[:size], index)
        assert [one.hex() for one in found] == path
        root = bytes.fromhex(ROOTS[size - 1])
        assert verify_inclusion(HASHES[index], index, size, found, root)

    @pytest.mark.parametrize(("first", "second", "path"), CONSISTENCY)
    def test_consistency_proofs(self, first: int, second: int, path: list[str]) -> None:
        found = consistency_path(HASHES[:second], first)
        assert [one.hex() for one in found] == path
        old, new = bytes.fromhex(ROOTS[first - 1]), bytes.fromhex(ROOTS[second - 1])
        assert verify_consistency(first, second, old, new, found)

    def test_the_oracle_itself_agrees_with_them(self) -> None:
        for size in range(1, 9):
            assert naive.tree_hash(INPUTS[:size]).hex() == ROOTS[size - 1]
        for index, size, path in INCLUSION:
            assert [one.hex() for one in naive.audit_path(index, INPUTS[:size])] == path
        for first, second, path in CONSISTENCY:
            assert [one.hex() for one in naive.consistency_proof(first, INPUTS[:second])] == path


class TestAgainstTheRfc:
    @pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64, 65, 127, 255, 256, 257, 300])
    def test_every_path_of_every_leaf_verifies(self, size: int) -> None:
        data, hashes = tree(size)
        root = naive.tree_hash(data)
        assert root_of(hashes) == root
        for index in range(size):
            assert verify_inclusion(hashes[index], index, size, inclusion_path(hashes, index), root)

    @settings(max_examples=80, deadline=None)
    @given(size=st.integers(1, 300), at=st.integers(0))
    def test_paths_and_proofs_are_the_rfcs(self, size: int, at: int) -> None:
        data, hashes = tree(size)
        index, first = at % size, at % size + 1
        assert inclusion_path(hashes, index) == naive.audit_path(index, data)
        assert consistency_path(hashes, first) == naive.consistency_proof(first, data)

    @settings(max_examples=80, deadline=None)
    @given(data=st.lists(st.binary(max_size=70), max_size=40))
    def test_roots_of_any_data(self, data: list[bytes]) -> None:
        assert root_of([leaf_hash(one) for one in data]) == naive.tree_hash(data)

    def test_all_consistency_proofs_up_to_40(self) -> None:
        data, hashes = tree(40)
        roots = [naive.tree_hash(data[:size]) for size in range(41)]
        for second in range(1, 41):
            for first in range(1, second + 1):
                path = consistency_path(hashes[:second], first)
                assert path == naive.consistency_proof(first, data[:second])
                assert verify_consistency(first, second, roots[first], roots[second], path)


class TestWhatMustNotVerify:
    def test_a_node_is_not_a_leaf(self) -> None:
        left, right = HASHES[:2]
        assert node_hash(left, right) == sha256(b"\x01" + left + right).digest()
        assert leaf_hash(left + right) != node_hash(left, right)

    @settings(max_examples=60, deadline=None)
    @given(size=st.integers(1, 200), at=st.integers(0), bit=st.integers(0, 10**6))
    def test_any_flipped_bit_breaks_inclusion(self, size: int, at: int, bit: int) -> None:
        _, hashes = tree(size)
        index = at % size
        path, root = inclusion_path(hashes, index), root_of(hashes)
        assert not verify_inclusion(flipped(hashes[index], bit), index, size, path, root)
        assert not verify_inclusion(hashes[index], index, size, path, flipped(root, bit))
        for place in range(len(path)):
            wrong = [*path[:place], flipped(path[place], bit), *path[place + 1 :]]
            assert not verify_inclusion(hashes[index], index, size, wrong, root)
        for other in {0, index - 1, index + 1, size - 1, size, size + 1, 2 * size} - {index}:
            assert not verify_inclusion(hashes[index], other, size, path, root)
        assert not verify_inclusion(hashes[index], index, size, [*path, root], root)
        if path:
            assert not verify_inclusion(hashes[index], index, size, path[:-1], root)
            assert not verify_inclusion(hashes[index], index, size, path[1:], root)

    @settings(max_examples=60, deadline=None)
    @given(size=st.integers(2, 200), at=st.integers(0), bit=st.integers(0, 10**6))
    def test_any_flipped_bit_breaks_consistency(self, size: int, at: int, bit: int) -> None:
        _, hashes = tree(size)
        first = at % (size - 1) + 1
        path = consistency_path(hashes, first)
        old, new = root_of(hashes[:first]), root_of(hashes)
        assert verify_consistency(first, size, old, new, path)
        assert not verify_consistency(first, size, flipped(old, bit), new, path)
        assert not verify_consistency(first, size, old, flipped(new, bit), path)
        for place in range(len(path)):
            wrong = [*path[:place], flipped(path[place], bit), *path[place + 1 :]]
            assert not verify_consistency(first, size, old, new, wrong)
        assert not verify_consistency(first, size, old, new, path[:-1])
        assert not verify_consistency(first, size, old, new, [*path, new])

    def test_the_edges_of_consistency(self) -> None:
        _, hashes = tree(5)
        three, five = root_of(hashes[:3]), root_of(hashes)
        assert verify_consistency(5, 5, five, five, [])
        assert not verify_consistency(5, 5, five, three, [])
        assert not verify_consistency(5, 5, five, five, [three])
        assert not verify_consistency(5, 3, five, three, consistency_path(hashes, 3))
        assert not verify_consistency(-1, 5, five, five, [])
        assert not verify_consistency(0, 5, three, five, [])
        assert not verify_consistency(0, 5, root_of([]), five, [three])

    def test_an_index_outside_of_the_tree(self) -> None:
        _, hashes = tree(3)
        assert not verify_inclusion(hashes[0], 0, 0, [], root_of([]))
        assert not verify_inclusion(hashes[0], -1, 3, inclusion_path(hashes, 0), root_of(hashes))
        assert not verify_inclusion(hashes[0], 3, 3, inclusion_path(hashes, 0), root_of(hashes))

    def test_a_fork_has_no_proof(self) -> None:
        _, hashes = tree(20)
        forked = [*hashes[:7], leaf_hash(b"other"), *hashes[8:]]
        for first in range(8, 20):
            for path in (consistency_path(hashes, first), consistency_path(forked, first)):
                old, new = root_of(hashes[:first]), root_of(forked)
                assert not verify_consistency(first, 20, old, new, path)

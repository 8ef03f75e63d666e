from __future__ import annotations

import json
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.record.canonical import encode
from tests.aios.record.vectors import DOCUMENTS, NOT_NUMBERS, NUMBERS

pytestmark = pytest.mark.unit


def number(bits: str) -> float:
    return struct.unpack(">d", bytes.fromhex(bits))[0]


SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE, SAFE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


class TestRfc8785:
    @pytest.mark.parametrize(("bits", "text"), NUMBERS)
    def test_numbers(self, bits: str, text: str) -> None:
        assert encode(number(bits)) == text.encode()
        assert encode([number(bits)]) == f"[{text}]".encode()

    @pytest.mark.parametrize("bits", NOT_NUMBERS)
    def test_what_is_no_number_is_refused(self, bits: str) -> None:
        with pytest.raises(AiosError):
            encode({"score": number(bits)})

    @pytest.mark.parametrize(("text", "canonical"), DOCUMENTS)
    def test_documents(self, text: str, canonical: str) -> None:
        assert encode(json.loads(text)) == canonical.encode()

    def test_strings_are_not_normalised(self) -> None:
        assert encode("A\u030a") == '"A\u030a"'.encode()
        assert encode("\u00c5") == '"\u00c5"'.encode()

    def test_control_characters(self) -> None:
        assert encode("\b\t\n\f\r\x00\x1f\x7f\u2028/") == (
            '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u2028/"'.encode()
        )


class TestValues:
    @settings(max_examples=200, deadline=None)
    @given(VALUES)
    def test_any_value_is_the_reference_implementations(self, value: Any) -> None:
        assert encode(value) == rfc8785.dumps(value)

    @settings(max_examples=100, deadline=None)
    @given(VALUES)
    def test_encoding_what_was_parsed_changes_nothing(self, value: Any) -> None:
        once = encode(value)
        # A float without decimals beyond 2**53 is written like an integer, and read like one.
        again = json.loads(
            once, parse_int=lambda text: float(text) if len(text) > 15 else int(text)
        )
        assert encode(again) == once

    def test_the_order_of_insertion_does_not_matter(self) -> None:
        assert encode({"b": 1, "a": {"d": 2, "c": 3}}) == encode({"a": {"c": 3, "d": 2}, "b": 1})

    def test_truth_is_not_one(self) -> None:
        assert encode([True, 1, 1.0, False, 0]) == b"[true,1,1,false,0]"

    @pytest.mark.parametrize(
        "value",
        [2**53, -(2**53), float("nan"), float("inf"), "\ud800", {1: "a"}, {"a": {2, 3}}, b"bytes"],
        ids=repr,
    )
    def test_what_json_cannot_carry_is_refused(self, value: Any) -> None:
        with pytest.raises(AiosError):
            encode(value)

from __future__ import annotations

import contextlib
import itertools
import json
from datetime import date, datetime
from hashlib import blake2b, sha256
from typing import Any

import polars as pl
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from aios.errors import AiosError
from aios.record.merkle import verify_row
from aios.record.rows import canonical_rows, row_proof, rows_root
from tests.aios.record import naive

pytestmark = pytest.mark.unit

SALT = b"0123456789abcdef"
SAFE = 2**53 - 1
FRAME = pl.DataFrame(
    {
        "decision_id": [f"d{number}" for number in range(11)],
        "score": [0.1 * number for number in range(11)],
        "outcome": ["approve", "block"] * 5 + [None],
        "fired": [["a", "b"][: number % 3] for number in range(11)],
    }
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ODD_NUMBERS = st.sampled_from(
    [-0.0, 0.0, 1e21, 1e20, 1e-6, 1e-7, 5e-324, 1.7976931348623157e308, 1e16, 0.1, 100.0, -1e-5]
)
COLUMNS: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (pl.String, TEXT),
    "odd": (
        pl.String,
        st.sampled_from(["", '"', "\\", "\0", "\x1f\x7f", "\U0001f600", "null", "\u2028\n"]),
    ),
    "number": (pl.Float64, ODD_NUMBERS | st.floats(allow_nan=False, allow_infinity=False)),
    "small": (pl.Float32, st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "count": (pl.Int64, st.integers(-SAFE, SAFE) | st.sampled_from([SAFE, -SAFE, 0])),
    "truth": (pl.Boolean, st.booleans()),
    "time": (pl.Datetime("us"), st.datetimes(datetime(1000, 1, 1), datetime(9999, 1, 1))),
    "day": (pl.Date, st.dates(date(1000, 1, 1), date(9999, 1, 1))),
    "reasons": (pl.List(pl.String), st.lists(TEXT, max_size=3)),
    "nothing": (pl.Null, st.none()),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Draw a table of up to 6 rows, with columns of every type under odd names."""
    names = draw(st.lists(TEXT, min_size=1, max_size=6, unique=True))
    height = draw(st.integers(0, 6))
    columns = []
    for name in names:
        dtype, values = COLUMNS[draw(st.sampled_from(sorted(COLUMNS)))]
        drawn = draw(st.lists(st.none() | values, min_size=height, max_size=height))
        columns.append(pl.Series(name, drawn, dtype=dtype))
    return pl.DataFrame(columns)


def plain(value: Any) -> Any:
    """Return a value as JSON has it: times as ISO 8601 text."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value


def row_salt(index: int) -> bytes:
    """The salt of a row, as docs/record.md defines it."""
    return blake2b(index.to_bytes(8, "big"), key=SALT, digest_size=16).digest()


class TestCanonicalRows:
    @settings(max_examples=300, deadline=None)
    @given(tables())
    def test_each_row_is_what_rfc8785_makes_of_it(self, frame: pl.DataFrame) -> None:
        wanted = [
            rfc8785.dumps({name: plain(value) for name, value in row.items()})
            for row in frame.iter_rows(named=True)
        ]
        assert canonical_rows(frame) == wanted

    @pytest.mark.parametrize("value", [float("inf"), float("-inf")])
    def test_what_is_no_number_has_no_row(self, value: float) -> None:
        with pytest.raises(AiosError):
            canonical_rows(pl.DataFrame({"score": [0.5, value]}))

    def test_unsigned_numbers_are_exact_text(self) -> None:
        frame = pl.DataFrame({"digest": pl.Series([2**64 - 1, 7, None], dtype=pl.UInt64)})
        wanted = [b'{"digest":"18446744073709551615"}', b'{"digest":"7"}', b'{"digest":null}']
        assert canonical_rows(frame) == wanted

    @pytest.mark.parametrize("value", [2**53, -(2**53), 2**63 - 1])
    def test_an_integer_that_json_readers_would_round(self, value: int) -> None:
        with pytest.raises(AiosError):
            canonical_rows(pl.DataFrame({"amount": [1, value]}))

    def test_nan_is_missing(self) -> None:
        frame = pl.DataFrame({"a": [float("nan"), None, 1.0]})
        assert canonical_rows(frame) == [b'{"a":null}', b'{"a":null}', b'{"a":1}']

    @pytest.mark.parametrize("frame", [FRAME.clear(), FRAME[:1]], ids=["none", "one"])
    def test_few_rows(self, frame: pl.DataFrame) -> None:
        rows = [json.loads(row) for row in canonical_rows(frame)]
        assert rows == frame.to_dicts()

    def test_the_order_of_columns_does_not_matter(self) -> None:
        assert canonical_rows(FRAME) == canonical_rows(FRAME.select(sorted(FRAME.columns)[::-1]))

    def test_categories_are_text(self) -> None:
        frame = FRAME.with_columns(pl.col("outcome").cast(pl.Categorical))
        enum = FRAME.with_columns(pl.col("outcome").cast(pl.Enum(["block", "approve"])))
        assert canonical_rows(frame) == canonical_rows(enum) == canonical_rows(FRAME)

    def test_chunks_do_not_matter(self) -> None:
        parts = pl.concat([FRAME[:3], FRAME[3:]], rechunk=False)
        assert canonical_rows(parts) == canonical_rows(FRAME)

    @pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
    def test_a_time_with_a_zone_is_not_taken_for_another(self, zone: str) -> None:
        naive = pl.DataFrame({"at": [datetime(2026, 7, 1, 12)]})
        zoned = naive.with_columns(pl.col("at").dt.replace_time_zone(zone))
        try:
            row = canonical_rows(zoned)
        except AiosError:
            return
        assert zone == "UTC" or row != canonical_rows(naive)

    @pytest.mark.parametrize(
        "column",
        [
            pl.Series("a", [b"\xff"]),
            pl.Series("a", [datetime(2026, 1, 1)]).dt.time(),
            pl.Series("a", ["1.10"]).cast(pl.Decimal(10, 2)),
            pl.Series("a", [[float("nan")]]),
        ],
        ids=["bytes", "time of day", "decimal", "list with NaN"],
    )
    def test_a_type_that_json_does_not_have(self, column: pl.Series) -> None:
        with pytest.raises(AiosError):
            canonical_rows(column.to_frame())


class TestProofs:
    @pytest.mark.parametrize("height", range(1, 12))
    def test_every_row_can_be_proven(self, height: int) -> None:
        frame = FRAME[:height]
        root = rows_root(frame, SALT)
        for index in range(height):
            proof = json.loads(json.dumps(row_proof(frame, SALT, index)))
            assert json.loads(proof["row"]) == frame.row(index, named=True)
            assert verify_row(proof, root)

    @settings(max_examples=25, deadline=None)
    @given(cuts=st.lists(st.integers(0, 1_100), max_size=4), height=st.integers(0, 1_100))
    def test_the_root_is_the_rfcs_however_the_table_comes(
        self, cuts: list[int], height: int
    ) -> None:
        frame = pl.DataFrame({"number": pl.Series(range(height), dtype=pl.Int64)})
        edges = sorted({0, height, *(cut for cut in cuts if cut < height)})
        parts = [frame[start:end] for start, end in itertools.pairwise(edges)]
        leaves = [row_salt(index) + row for index, row in enumerate(canonical_rows(frame))]
        assert rows_root(frame, SALT) == rows_root(iter(parts), SALT) == naive.tree_hash(leaves)

    def test_a_proof_tells_nothing_of_other_rows(self) -> None:
        proof = json.dumps(row_proof(FRAME, SALT, 3))
        assert SALT.hex() not in proof
        for index, row in enumerate(canonical_rows(FRAME)):
            assert (row.decode() in json.loads(proof)["row"]) == (index == 3)
            assert sha256(b"\0" + row).hexdigest() not in proof

    def test_salt_and_order_matter(self) -> None:
        roots = {
            rows_root(FRAME, SALT),
            rows_root(FRAME, SALT[::-1]),
            rows_root(FRAME.reverse(), SALT),
            rows_root(FRAME[:-1], SALT),
            rows_root(pl.concat([FRAME, FRAME[-1:]]), SALT),
        }
        assert len(roots) == 5

    @settings(max_examples=200, deadline=None)
    @given(index=st.integers(0, 10), place=st.integers(0), how=st.integers(0, 8))
    def test_a_changed_proof_proves_nothing(self, index: int, place: int, how: int) -> None:
        root, proof = rows_root(FRAME, SALT), row_proof(FRAME, SALT, index)
        bad = [dict(proof) for _ in range(9)]
        at = place % len(proof["row"])
        bad[0]["row"] = proof["row"][:at] + proof["row"][at + 1 :]
        bad[1]["row"] = proof["row"].replace(f'"d{index}"', f'"d{index + 1}"')
        bad[2]["index"] = (index + 1 + place % 10) % 11
        # A path fits several sizes; that of the tree stands in the leaf of its partition.
        bad[3]["rows"] = [index, 22, 5, 0, -11][place % 5]
        bad[4]["path"] = proof["path"][:-1]
        bad[5]["path"] = [*proof["path"], root.hex()]
        bad[6]["salt"] = SALT.hex()
        bad[7]["path"] = proof["path"][::-1]
        bad[8]["row"] = " " + proof["row"]
        assert bad[how] == proof or not verify_row(bad[how], root)

    def test_salt_and_row_cannot_be_cut_elsewhere(self) -> None:
        root, proof = rows_root(FRAME, SALT), row_proof(FRAME, SALT, 0)
        whole = bytes.fromhex(proof["salt"]) + proof["row"].encode()
        for cut in (0, 8, 15, 17, 30, len(whole)):
            try:
                row = whole[cut:].decode()
            except UnicodeDecodeError:
                continue
            assert not verify_row({**proof, "salt": whole[:cut].hex(), "row": row}, root)

    @pytest.mark.parametrize(
        "change",
        [
            {"salt": "zz"},
            {"salt": None},
            {"row": None},
            {"row": "\ud800"},
            {"index": "0"},
            {"index": None},
            {"index": 0.5},
            {"rows": None},
            {"path": None},
            {"path": ["zz"]},
            {"path": [None]},
        ],
        ids=repr,
    )
    def test_garbage_proves_nothing(self, change: dict[str, Any]) -> None:
        proof = {**row_proof(FRAME, SALT, 0), **change}
        with contextlib.suppress(AiosError):
            assert not verify_row(proof, rows_root(FRAME, SALT))

    def test_a_member_missing_proves_nothing(self) -> None:
        proof = row_proof(FRAME, SALT, 0)
        for name in proof:
            less = {key: value for key, value in proof.items() if key != name}
            with contextlib.suppress(AiosError):
                assert not verify_row(less, rows_root(FRAME, SALT))

"""Bit-by-bit comparison: every changed value is seen, and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios import lake as lake_module
from aios.lake import Lake
from aios_assets.replay import difference
from aios_assets.replay.difference import Tally, blocks, differing, same_rows

pytestmark = pytest.mark.unit

FLOATS = st.one_of(st.none(), st.floats(width=64), st.sampled_from([0.0, -0.0, float("nan")]))
OTHERS = {
    pl.String: st.one_of(st.none(), st.text(max_size=3)),
    pl.Int64: st.one_of(st.none(), st.integers(-3, 3)),
    pl.Boolean: st.one_of(st.none(), st.booleans()),
}


def bits(value: float | None) -> bytes | None:
    return None if value is None else struct.pack("<d", value)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=20))
def test_floats_differ_where_their_bits_do(pairs):
    stored = pl.Series([one for one, _ in pairs], dtype=pl.Float64)
    again = pl.Series([other for _, other in pairs], dtype=pl.Float64)
    expected = [bits(one) != bits(other) for one, other in pairs]
    assert differing(stored, again).tolist() == expected


@given(st.data(), st.sampled_from(list(OTHERS)))
def test_other_values_differ_where_they_are_unequal(data, dtype):
    pairs = data.draw(st.lists(st.tuples(OTHERS[dtype], OTHERS[dtype]), min_size=1, max_size=20))
    stored, again = (pl.Series([pair[side] for pair in pairs], dtype=dtype) for side in (0, 1))
    assert differing(stored, again).tolist() == [one != other for one, other in pairs]


def test_columns_of_different_types_differ_in_every_row():
    assert differing(pl.Series([1, 2]), pl.Series([1.0, 2.0])).all()
    assert differing(pl.Series([1.0], dtype=pl.Float32), pl.Series([1.0])).all()


def frame(rows: int, **changed: float) -> pl.DataFrame:
    values = pl.DataFrame({"id": np.arange(rows), "x": np.arange(rows) * 0.5})
    return values.with_columns(revision=pl.lit(0), **{k: pl.lit(v) for k, v in changed.items()})


def test_a_row_counts_at_its_first_stage_only():
    tally = Tally(3)
    edited = frame(3).with_columns(x=pl.when(pl.col("id") == 1).then(9.0).otherwise("x"))
    tally.compare("features", "id", iter([edited]), iter([frame(3)]))
    tally.compare("decisions", "id", iter([frame(3, x=-1.0)]), iter([frame(3)]))
    assert dict(tally.causes) == {("features", "x"): 1, ("decisions", "x"): 2}
    assert tally.different.tolist() == [True, True, True]
    assert [one.event for one in tally.differences] == [1, 0, 2]


def test_rows_that_are_lost_or_not_asked_for_are_not_compared():
    tally = Tally(4, np.array([True, True, True, False]))
    tally.lose(np.array([0]), "gone")
    tally.compare("features", "id", iter([frame(4, x=7.0)]), iter([frame(4)]))
    assert tally.different.tolist() == [False, True, True, False]
    assert dict(tally.reasons) == {"gone": 1}


def test_a_digest_is_no_cause_beside_a_value():
    stored = frame(2).with_columns(x=pl.lit(1.5), feature_digest=pl.lit(1))
    again = frame(2).with_columns(feature_digest=pl.lit(2))
    tally = Tally(2)
    tally.compare("features", "id", iter([stored]), iter([again]))
    assert set(tally.causes) == {("features", "x")}


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 30, 35])
def test_blocks_have_one_size_whoever_wrote_the_file(tmp_path: Path, monkeypatch, rows):
    monkeypatch.setattr(difference, "CHUNK", 10)
    monkeypatch.setattr(lake_module, "CHUNK", 10)
    lake = Lake(tmp_path)
    lake.write("one", "k", frame(rows))
    path = lake.path("other", "k")
    path.parent.mkdir()
    frame(rows).write_parquet(path, row_group_size=7)
    for name in ("one", "other"):
        heights = [block.height for block in blocks(lake, name, "k", ["id", "x", "absent"])]
        assert heights == ([10] * (rows // 10) + [rows % 10] * (rows % 10 > 0) or [0])
    assert same_rows(blocks(lake, "one", "k"), blocks(lake, "other", "k"))
    lake.write("one", "k", frame(rows + 1))
    assert not same_rows(blocks(lake, "one", "k"), blocks(lake, "other", "k"))

"""The lake: whole files or none, same frame same bytes, and errors that name the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from aios import lake as lake_module
from aios.errors import AiosError
from aios.lake import Lake

pytestmark = pytest.mark.unit

KEY = "2024-01-01"


def frame(rows: int = 5, start: int = 0) -> pl.DataFrame:
    numbers = range(start, start + rows)
    return pl.DataFrame(
        {"id": numbers, "text": [f"t{n}" for n in numbers], "at": [datetime(2024, 1, 1)] * rows},
        schema={"id": pl.Int64, "text": pl.String, "at": pl.Datetime("us")},
    )


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "loans")


def files(lake: Lake, dataset: str = "events") -> list[str]:
    return sorted(path.name for path in (lake.root / dataset).iterdir())


def test_what_is_written_is_read(lake: Lake) -> None:
    path = lake.write("events", KEY, frame())
    assert path == lake.root / "events" / f"{KEY}.parquet"
    assert lake.read("events", KEY).equals(frame())
    assert lake.read("events", KEY, ["id"]).equals(frame().select("id"))
    assert lake.rows("events", KEY) == 5
    assert lake.has("events", KEY)
    assert not lake.has("events", "2024-01-08")
    assert files(lake) == [f"{KEY}.parquet"]


def test_the_same_frame_leaves_the_same_bytes(lake: Lake, tmp_path: Path) -> None:
    first = lake.write("events", KEY, frame()).read_bytes()
    assert lake.write("events", KEY, frame()).read_bytes() == first
    sliced = pl.concat([frame(3), frame(2, start=3)], rechunk=False)
    assert Lake(tmp_path / "other").write("events", KEY, sliced).read_bytes() == first


def test_an_empty_frame_is_a_partition(lake: Lake) -> None:
    lake.write("events", KEY, frame(0))
    assert lake.read("events", KEY).schema == frame().schema
    assert [chunk.height for chunk in lake.stream("events", KEY)] == [0]
    assert lake.rows("events", KEY) == 0


def test_partitions_are_in_order_and_leftovers_are_not_among_them(lake: Lake) -> None:
    for key in ("2024-02-01", "2023-12-01", "2024-01-01"):
        lake.write("events", key, frame(1))
    (lake.root / "events" / f".{KEY}.parquet.123.tmp").write_bytes(b"half")
    (lake.root / "events" / ".2024-03-01.parquet.9.tmp").write_bytes(b"half")
    assert lake.partitions("events") == ["2023-12-01", "2024-01-01", "2024-02-01"]
    assert lake.read_all("events").height == 3
    assert lake.read_all("events", since="2024-01-01", until="2024-01-31").height == 1
    assert lake.read_all("events", since="2025-01-01") is None
    assert lake.partitions("nothing") == []
    assert lake.read_all("nothing") is None


def test_a_writer_that_raises_leaves_the_old_bytes(lake: Lake) -> None:
    before = lake.write("events", KEY, frame()).read_bytes()
    with pytest.raises(RuntimeError), lake.writer("events", KEY) as write:  # noqa: PT012
        write(frame(100))
        raise RuntimeError
    assert lake.path("events", KEY).read_bytes() == before
    assert files(lake) == [f"{KEY}.parquet"]


def test_a_first_writer_that_raises_leaves_nothing(lake: Lake) -> None:
    with pytest.raises(RuntimeError), lake.writer("events", KEY) as write:  # noqa: PT012
        write(frame(100))
        raise RuntimeError
    assert files(lake) == []
    assert not lake.has("events", KEY)


def test_chunks_of_another_schema_leave_the_old_bytes(lake: Lake) -> None:
    before = lake.write("events", KEY, frame()).read_bytes()
    with pytest.raises(ValueError), lake.writer("events", KEY) as write:  # noqa: PT012
        write(frame())
        write(pl.DataFrame({"other": [1]}))
    assert lake.path("events", KEY).read_bytes() == before


def test_a_writer_that_wrote_nothing_is_an_error(lake: Lake) -> None:
    with pytest.raises(AiosError, match="nothing was written"), lake.writer("events", KEY):
        pass
    assert files(lake) == []


KILLED = """
import sys, time
from pathlib import Path
import polars as pl
from aios.lake import Lake

with Lake(Path(sys.argv[1])).writer("events", "2024-01-01") as write:
    write(pl.DataFrame({"id": range(1000)}))
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("present", [True, False])
def test_a_killed_writer_leaves_the_old_file_or_none(lake: Lake, present: bool) -> None:
    before = lake.write("events", KEY, frame()).read_bytes() if present else None
    command = [sys.executable, "-c", KILLED, str(lake.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
    leftover = [name for name in files(lake) if name.endswith(".tmp")]
    assert len(leftover) == 1
    assert lake.partitions("events") == ([KEY] if present else [])
    if present:
        assert lake.path("events", KEY).read_bytes() == before
    after = lake.write("events", KEY, frame(7))
    assert lake.read("events", KEY).height == 7
    assert after.name in files(lake)


def test_streams_of_two_datasets_are_aligned(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake_module, "CHUNK", 4)
    lake.write("features", KEY, frame(11))
    with lake.writer("predictions", KEY) as write:
        for chunk in lake.stream("features", KEY, ["id"]):
            write(chunk.with_columns(score=pl.col("id") / 10))
    pairs = list(zip(lake.stream("features", KEY), lake.stream("predictions", KEY), strict=True))
    assert [left.height for left, _ in pairs] == [4, 4, 3]
    for left, right in pairs:
        assert left["id"].equals(right["id"])
    assert pl.concat([left for left, _ in pairs]).equals(frame(11))


def test_a_missing_partition_says_what_to_make(lake: Lake) -> None:
    for read in (lake.read, lake.rows, lambda *args: next(lake.stream(*args))):
        with pytest.raises(AiosError, match="has not been made") as error:
            read("events", KEY)
        assert error.value.where == str(lake.path("events", KEY))
        assert "'events' for 2024-01-01" in error.value.fix


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_corrupt_file_is_named(lake: Lake, damage: str) -> None:
    path = lake.write("events", KEY, frame(1000))
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"id,text\n", "cut": content[: len(content) // 2]}[damage]
    )
    for read in (lake.read, lake.rows, lambda *args: next(lake.stream(*args))):
        with pytest.raises(AiosError, match="cannot be read") as error:
            read("events", KEY)
        assert error.value.where == str(path)


def test_corrupt_json_is_named(lake: Lake) -> None:
    path = lake.write_json("drift", KEY, {"b": 1, "a": [datetime(2024, 1, 1)]})
    assert lake.read_json("drift", KEY) == {"a": ["2024-01-01 00:00:00"], "b": 1}
    path.write_text("{")
    with pytest.raises(AiosError, match="cannot be read") as error:
        lake.read_json("drift", KEY)
    assert error.value.where == str(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kind", ["frame", "chunks", "json"])
def test_a_full_disk_leaves_the_last_good_file(lake: Lake, kind: str) -> None:
    suffix = "json" if kind == "json" else "parquet"
    path = lake.path("events", KEY, suffix)
    lake.write("events", KEY, frame())
    lake.write_json("events", KEY, 1)
    before = path.read_bytes()
    # What is written aside goes to a device that is always full.
    path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(AiosError, match="the disk is full") as error:  # noqa: PT012
        if kind == "frame":
            lake.write("events", KEY, frame(200_000))
        elif kind == "json":
            lake.write_json("events", KEY, "x" * 100_000)
        else:
            with lake.writer("events", KEY) as write:
                for start in range(10):
                    write(frame(50_000, start))
    assert error.value.where == str(path)
    assert path.read_bytes() == before
    assert files(lake) == [f"{KEY}.json", f"{KEY}.parquet"]
    lake.write("events", KEY, frame(9))
    assert lake.rows("events", KEY) == 9


def test_clearing_takes_everything_and_nothing_else(lake: Lake, tmp_path: Path) -> None:
    lake.write("events", KEY, frame())
    other = Lake(tmp_path / "other")
    other.write("events", KEY, frame())
    lake.clear()
    lake.clear()
    assert lake.partitions("events") == []
    assert other.has("events", KEY)

"""The lake: one folder an automation, one folder a dataset, one file a partition.

Every write is made aside and renamed, so a reader sees the last good file or the new one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from aios.errors import AiosError

# Row groups have this size in every file, so that the files of one partition can be
# streamed side by side, group by group, in constant memory.
CHUNK = 250_000


class Lake:
    """Reads and writes the datasets of one automation below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, dataset: str, partition: str, suffix: str = "parquet") -> Path:
        """Return where a partition's file is, or would be."""
        return self.root / dataset / f"{partition}.{suffix}"

    def partitions(self, dataset: str, suffix: str = "parquet") -> list[str]:
        """Return the keys that a dataset holds, in order."""
        return sorted(path.stem for path in (self.root / dataset).glob(f"[!.]*.{suffix}"))

    def has(self, dataset: str, partition: str, suffix: str = "parquet") -> bool:
        """Tell whether a partition has been written."""
        return self.path(dataset, partition, suffix).exists()

    def write(self, dataset: str, partition: str, frame: pl.DataFrame) -> Path:
        """Write one partition whole; the same frame leaves the same bytes."""
        with self.writer(dataset, partition) as write:
            write(frame)
        return self.path(dataset, partition)

    @contextmanager
    def writer(self, dataset: str, partition: str) -> Iterator[Any]:
        """Yield `write(frame)` for a partition in chunks; the file appears at the end.

        A block that fails leaves what was there before. Frames must share one schema.
        """
        path = self.path(dataset, partition)
        with _replacing(path) as aside:
            writer = _BackgroundWriter(aside)
            try:
                yield writer.write
            finally:
                writer.close()
            if writer.file is None:
                raise AiosError("nothing was written", where=str(path), fix="Write an empty frame.")

    def read(self, dataset: str, partition: str, columns: list[str] | None = None) -> pl.DataFrame:
        """Read one partition.

        Raises:
            AiosError: The file is missing, or is not readable Parquet.
        """
        path = self._existing(dataset, partition)
        with _readable(path):
            return pl.read_parquet(path, columns=columns, glob=False)

    def stream(
        self, dataset: str, partition: str, columns: list[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield a partition in frames of at most `CHUNK` rows, at least one frame.

        The next frame is read while the caller works on the one before it.
        """
        path = self._existing(dataset, partition)
        with (
            _readable(path),
            pq.ParquetFile(path) as file,
            ThreadPoolExecutor(max_workers=1) as reader,
        ):
            if not file.num_row_groups:
                yield _frame(file.read(columns=columns))
                return
            waiting = reader.submit(file.read_row_group, 0, columns=columns)
            for group in range(1, file.num_row_groups + 1):
                table = waiting.result()
                if group < file.num_row_groups:
                    waiting = reader.submit(file.read_row_group, group, columns=columns)
                yield _frame(table)

    def rows(self, dataset: str, partition: str) -> int:
        """Return the number of rows of a partition, from its footer."""
        path = self._existing(dataset, partition)
        with _readable(path):
            return int(pq.read_metadata(path).num_rows)

    def read_all(
        self,
        dataset: str,
        *,
        until: str | None = None,
        since: str | None = None,
        columns: list[str] | None = None,
    ) -> pl.DataFrame | None:
        """Read all partitions with `since <= key <= until`, or None where there are none."""
        keys = [
            key
            for key in self.partitions(dataset)
            if (until is None or key <= until) and (since is None or key >= since)
        ]
        if not keys:
            return None
        return pl.concat([self.read(dataset, key, columns) for key in keys], how="vertical_relaxed")

    def write_json(self, dataset: str, partition: str, value: Any) -> Path:
        """Write plain data as JSON with sorted keys."""
        text = json.dumps(value, indent=1, sort_keys=True, default=str)
        return self.write_bytes(dataset, partition, "json", text.encode())

    def read_json(self, dataset: str, partition: str) -> Any:
        """Read what `write_json` wrote."""
        path = self._existing(dataset, partition, "json")
        with _readable(path):
            return json.loads(path.read_bytes())

    def write_bytes(self, dataset: str, partition: str, suffix: str, content: bytes) -> Path:
        """Write a page or a picture."""
        path = self.path(dataset, partition, suffix)
        with _replacing(path) as aside:
            aside.write_bytes(content)
        return path

    def clear(self) -> None:
        """Remove all the automation's data."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _existing(self, dataset: str, partition: str, suffix: str = "parquet") -> Path:
        path = self.path(dataset, partition, suffix)
        if not path.exists():
            raise AiosError(
                f"partition {partition} of {dataset!r} has not been made",
                where=str(path),
                fix=f"Materialize {dataset!r} for {partition} first.",
            )
        return path


class _BackgroundWriter:
    """Writes one Parquet file; a frame is written while the caller makes the next one."""

    def __init__(self, path: Path) -> None:
        self.file: pq.ParquetWriter | None = None
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: Future[None] | None = None

    def write(self, frame: pl.DataFrame) -> None:
        """Take a frame; errors of the one before it are raised here."""
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self.file is None:
            # A dictionary pays for words only: trying one on numbers takes most of the time.
            words = [name for name, dtype in frame.schema.items() if dtype == pl.String]
            self.file = pq.ParquetWriter(
                self._path, table.schema, compression="zstd", use_dictionary=words or False
            )
        if self._waiting:
            self._waiting.result()
        self._waiting = self._thread.submit(
            self.file.write_table, table.cast(self.file.schema), row_group_size=CHUNK
        )

    def close(self) -> None:
        """Wait for the last frame and close the file."""
        try:
            if self._waiting:
                self._waiting.result()
        finally:
            self._thread.shutdown()
            if self.file is not None:
                self.file.close()


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise AiosError(
            "the disk is full; the partition's last good file is untouched",
            where=str(path),
            fix="Free space, then run the partition again.",
        ) from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.ComputeError, pa.ArrowInvalid, OSError, ValueError) as error:
        raise AiosError(
            f"the file cannot be read: {error}",
            where=str(path),
            fix="Materialize this partition again; it is rebuilt from what comes before it.",
        ) from error

"""Point-in-time join of 500,000 rows with 2 million feature rows, beside three yardsticks.

`python -m benchmarks.point_in_time [--skip dask]` prints, for the platform, Feast's default store
(dask), Feast's DuckDB store and a bare DuckDB ASOF join by event time alone: seconds (median,
least and most of the repeats), CPU seconds, peak memory, rows kept, and rows with a wrong value
against an exact oracle. Each runs in its own process, so that memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400_000_000
DAYS = 730
FEATURES = [f"f{i}" for i in range(10)]
TIMES = [pl.col("event_time"), pl.col("known_at")]


def generate(directory: Path, features: int, asked: int, seed: int = 0) -> None:
    """Two years of monthly files: 40 rows an entity, learned within an hour; 1 % corrected later.

    A correction repeats another row's entity and event time, with new values, up to 30 days late.
    One row in a hundred that is asked for shares its entity and time with another; one in a
    hundred is of an entity without features.
    """
    random = np.random.default_rng(seed)
    entities = max(features // 40, 1)
    entity = random.integers(0, entities, features)
    event = random.integers(0, DAYS * DAY, features) // 1_000_000 * 1_000_000
    known = event + random.integers(0, DAY // 24, features)
    corrections = random.choice(features, features // 100, replace=False)
    originals = random.integers(0, features, len(corrections))
    entity[corrections], event[corrections] = entity[originals], event[originals]
    known[corrections] = known[originals] + random.integers(DAY, 30 * DAY, len(corrections))
    frame = pl.DataFrame(
        {"entity": entity, "event_time": _stamps(event), "known_at": _stamps(known)}
    )
    frame = frame.with_columns(pl.Series(f, random.normal(size=features)) for f in FEATURES)
    (directory / "lake").mkdir()
    by_month = frame.sort("known_at").group_by(
        pl.col("known_at").dt.strftime("%Y-%m"), maintain_order=True
    )
    for (month,), part in by_month:
        part.write_parquet(directory / "lake" / f"{month}.parquet")
    who = random.integers(0, int(entities * 1.01) + 1, asked)
    when = random.integers(0, DAYS * DAY, asked)
    twice = random.choice(asked, asked // 100, replace=False)
    who[twice], when[twice] = who[twice - 1], when[twice - 1]
    rows = pl.DataFrame({"row": np.arange(asked), "entity": who, "event_timestamp": _stamps(when)})
    rows.write_parquet(directory / "rows.parquet")


def _stamps(micros: np.ndarray) -> pl.Series:
    return pl.Series((micros + 18_993 * DAY).astype("datetime64[us]"))


def oracle(directory: Path) -> pl.DataFrame:
    """Every pair of an asked row and a feature row of its entity, then the definition."""
    rows = pl.read_parquet(directory / "rows.parquet")
    features = pl.read_parquet(directory / "lake" / "*.parquet").with_row_index("place")
    answers = []
    for block in rows.with_columns(block=pl.col("entity") % 20).partition_by("block"):
        pairs = block.join(features.select("entity", "place", *TIMES), on="entity")
        known = pairs.filter(pl.max_horizontal(*TIMES) <= pl.col("event_timestamp"))
        newest = known.sort("event_time", "known_at", "place").group_by("row").last()
        answers.append(newest.select("row", "place"))
    return (
        rows.select("row")
        .join(pl.concat(answers), on="row", how="left")
        .join(features.select("place", *FEATURES), on="place", how="left")
        .sort("row")
        .select("row", *FEATURES)
    )


def platform(directory: Path, rows: pl.DataFrame) -> Callable[[], pl.DataFrame]:
    """`Store.point_in_time`."""
    from feature_repo.registry import ViewDeclaration
    from feature_repo.store import open_store

    store = open_store(directory / "home")
    columns: Any = dict.fromkeys(FEATURES, "number")
    view = ViewDeclaration("view", "entity", "integer", columns, str(directory / "lake"))
    store.apply("benchmark", [view])
    return lambda: store.point_in_time("benchmark", rows)


def feast_default(directory: Path, rows: pl.DataFrame) -> Callable[[], pl.DataFrame]:
    """Feast's local provider as it comes: the dask store."""
    return _feast(directory, rows, "dask", str(directory / "lake"))


def feast_duckdb(directory: Path, rows: pl.DataFrame) -> Callable[[], pl.DataFrame]:
    """Feast's DuckDB store."""
    return _feast(directory, rows, "duckdb", str(directory / "lake" / "*.parquet"))


def _feast(directory: Path, rows: pl.DataFrame, kind: str, path: str) -> Callable[[], pl.DataFrame]:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64, Int64

    store = FeatureStore(
        config=RepoConfig(
            project="benchmark",
            provider="local",
            registry=str(directory / f"{kind}.db"),
            offline_store={"type": kind},
            online_store={"type": "sqlite", "path": str(directory / f"{kind}-online.db")},
            entity_key_serialization_version=3,
        )
    )
    entity = Entity(name="entity", join_keys=["entity"], value_type=ValueType.INT64)
    source = FileSource(
        path=path,
        file_format=ParquetFormat(),
        timestamp_field="event_time",
        created_timestamp_column="known_at",
    )
    schema = [Field(name="entity", dtype=Int64), *(Field(name=f, dtype=Float64) for f in FEATURES)]
    view = FeatureView(name="view", entities=[entity], schema=schema, source=source)
    store.apply([entity, view])
    refs = [f"view:{feature}" for feature in FEATURES]

    def run() -> pl.DataFrame:
        job = store.get_historical_features(
            entity_df=rows.to_pandas(), features=refs, filter_by_created_timestamp=True
        )
        return pl.DataFrame(job.to_arrow())

    return run


def bare(directory: Path, rows: pl.DataFrame) -> Callable[[], pl.DataFrame]:
    """One ASOF join by event time, in any order of rows: what the work costs at least."""
    import duckdb

    connection = duckdb.connect()
    connection.register("asked", rows.to_arrow())
    sql = f"""
        SELECT asked.*, {", ".join(f"f.{feature}" for feature in FEATURES)}
        FROM asked ASOF LEFT JOIN read_parquet('{directory / "lake"}/*.parquet') f
        ON asked.entity = f.entity AND asked.event_timestamp >= f.event_time
    """
    return lambda: pl.DataFrame(connection.sql(sql).to_arrow_table())


VARIANTS = {
    "platform": ("platform", platform),
    "dask": ("Feast, default store (dask)", feast_default),
    "duckdb": ("Feast, DuckDB store", feast_duckdb),
    "bare": ("bare DuckDB ASOF join", bare),
}


def measure(variant: str, directory: Path, repeats: int) -> None:
    """Run one variant, write its last result beside the data, and print its figures as JSON."""
    rows = pl.read_parquet(directory / "rows.parquet")
    run = VARIANTS[variant][1](directory, rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, cpu = [], []
    for _ in range(repeats):
        wall, busy = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result.write_parquet(directory / f"{variant}.parquet")
    print(
        json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak / 1024, "before": before / 1024})
    )


def wrong_rows(result: pl.DataFrame, truth: pl.DataFrame) -> int:
    """Rows of `result` that differ from the oracle in any feature."""
    both = result.select("row", *FEATURES).join(truth, on="row", suffix="_true")
    differs = [
        ~pl.col(feature).cast(pl.Float64).fill_nan(None).eq_missing(pl.col(f"{feature}_true"))
        for feature in FEATURES
    ]
    return both.filter(pl.any_horizontal(differs)).height


def main() -> None:
    """Generate, measure each variant in its own process, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skip", nargs="*", default=[], choices=list(VARIANTS))
    parser.add_argument("--feature-rows", type=int, default=2_000_000)
    parser.add_argument("--entity-rows", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=5, help="once for dask")
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        directory = Path(name)
        generate(directory, arguments.feature_rows, arguments.entity_rows)
        truth = oracle(directory)
        table = Table(
            title=f"{arguments.feature_rows:,} feature rows x {len(FEATURES)}, "
            f"{arguments.entity_rows:,} rows asked for"
        )
        heads = (
            "store",
            "seconds",
            "least-most",
            "CPU s",
            "peak MB",
            "imports MB",
            "rows out",
            "wrong",
            "x bare",
        )
        for head in heads:
            table.add_column(head, justify="left" if head == "store" else "right")
        figures = {}
        for variant in reversed([v for v in VARIANTS if v not in arguments.skip]):
            repeats = 1 if variant == "dask" else arguments.repeats
            code = "from benchmarks import point_in_time as b; import pathlib, sys; "
            code += "b.measure(sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]))"
            command = [sys.executable, "-c", code, variant, name, str(repeats)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            figures[variant] = json.loads(output.splitlines()[-1])
        for variant, (label, _) in VARIANTS.items():
            if variant in figures:
                result = pl.read_parquet(directory / f"{variant}.parquet")
                table.add_row(label, *_cells(figures, variant, result, truth))
    console = Console()
    console.width = max(console.width, 110)
    console.print(table)


def _cells(
    figures: dict[str, Any], variant: str, result: pl.DataFrame, truth: pl.DataFrame
) -> list[str]:
    own = figures[variant]
    median = statistics.median(own["seconds"])
    ratio = median / statistics.median(figures["bare"]["seconds"]) if "bare" in figures else None
    return [
        f"{median:.2f}",
        f"{min(own['seconds']):.2f}-{max(own['seconds']):.2f}",
        f"{statistics.median(own['cpu']):.2f}",
        f"{own['peak']:,.0f}",
        f"{own['before']:,.0f}",
        f"{result.height:,}",
        f"{wrong_rows(result, truth):,}",
        f"{ratio:.1f}" if ratio else "",
    ]


if __name__ == "__main__":
    main()

"""The store through Feast's own calls: registry, historical retrieval, online table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from aios.errors import AiosError
from feature_repo.registry import ViewDeclaration
from feature_repo.store import Store, open_store

pytestmark = pytest.mark.loop

REPO = Path(__file__).parents[2]
START = datetime(1994, 1, 1)


def at(day: int) -> datetime:
    return START + timedelta(days=day)


def write(directory: Path, partition: str, rows: list[tuple[str | None, int, int, float]]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "customer": [customer for customer, *_ in rows],
            "event_time": [at(event) for _, event, *_ in rows],
            "known_at": [at(known) for *_, known, _ in rows],
            "amount": [value for *_, value in rows],
            "visits": [int(value) for *_, value in rows],
            "region": [f"r{int(value)}" for *_, value in rows],
            "vip": [value > 1 for *_, value in rows],
        },
        schema_overrides={"event_time": pl.Datetime("us"), "known_at": pl.Datetime("us")},
    ).write_parquet(directory / f"{partition}.parquet")


@pytest.fixture
def customers(tmp_path: Path) -> ViewDeclaration:
    directory = tmp_path / "lake" / "claims" / "views" / "customers"
    write(directory, "1994-01", [("a", 1, 1, 1.0), ("b", 2, 2, 2.0)])
    return ViewDeclaration(
        name="customers",
        entity="customer",
        entity_type="string",
        columns={
            "amount": "number",
            "visits": "integer",
            "region": "category",
            "vip": "boolean",
        },
        path=str(directory),
        owner="claims@example.com",
    )


@pytest.fixture
def store(tmp_path: Path, customers: ViewDeclaration) -> Store:
    store = open_store(tmp_path / "home")
    store.apply("claims", [customers])
    return store


def test_rows_come_back_as_they_went_in_with_typed_features(store: Store) -> None:
    rows = pl.DataFrame(
        {
            "claim_id": range(6),
            "customer": ["b", "a", "nobody", "a", None, "a"],
            "event_timestamp": [at(5), at(5), at(5), at(0), at(5), at(5)],
            "note": ["x", None, "y", "z", "x", "x"],
        },
        schema_overrides={"event_timestamp": pl.Datetime("us")},
    )
    found = store.point_in_time("claims", rows)
    assert found.select(rows.columns).equals(rows)
    assert found["amount"].to_list() == [2.0, 1.0, None, None, None, 1.0]
    assert found["region"].to_list() == ["r2", "r1", None, None, None, "r1"]
    assert found.schema.to_python() | rows.schema.to_python() == found.schema.to_python()
    assert dict(list(found.schema.items())[4:]) == {
        "amount": pl.Float64,
        "visits": pl.Int64,
        "region": pl.String,
        "vip": pl.Boolean,
    }


def test_no_rows_give_no_rows_with_the_same_columns(store: Store) -> None:
    schema = {"customer": pl.String, "event_timestamp": pl.Datetime("us")}
    found = store.point_in_time("claims", pl.DataFrame(schema=schema))
    assert found.shape == (0, 6)
    assert found.schema["vip"] == pl.Boolean


def test_a_correction_is_seen_from_when_it_was_known(
    store: Store, customers: ViewDeclaration
) -> None:
    rows = pl.DataFrame({"customer": ["a"] * 3, "when": [at(2), at(9), at(10)]})
    before = store.point_in_time("claims", rows, time_column="when")
    write(Path(customers.path), "1994-02", [("a", 1, 10, 7.0)])
    after = store.point_in_time("claims", rows, time_column="when")
    assert before["amount"].to_list() == [1.0, 1.0, 1.0]
    assert after["amount"].to_list() == [1.0, 1.0, 7.0]


def test_a_value_past_its_ttl_is_null(store: Store, customers: ViewDeclaration) -> None:
    store.apply("claims", [replace(customers, ttl=timedelta(days=3))])
    rows = pl.DataFrame({"customer": ["a", "a"], "event_timestamp": [at(4), at(5)]})
    assert store.point_in_time("claims", rows)["amount"].to_list() == [1.0, None]


def test_views_of_several_entities_meet_in_one_table(
    store: Store, customers: ViewDeclaration, tmp_path: Path
) -> None:
    directory = tmp_path / "vendors"
    directory.mkdir()
    pl.DataFrame(
        {
            "vendor": [7],
            "event_time": [at(1)],
            "known_at": [at(1)],
            "score": [None],
        }
    ).write_parquet(directory / "0.parquet")
    vendors = ViewDeclaration("vendors", "vendor", "integer", {"score": "text"}, str(directory))
    store.apply("claims", [customers, vendors])
    rows = pl.DataFrame({"vendor": [7], "customer": ["a"], "event_timestamp": [at(3)]})
    found = store.point_in_time("claims", rows)
    assert found.row(0, named=True) | {"amount": 1.0, "score": None} == found.row(0, named=True)
    assert found.schema["score"] == pl.String


def test_applying_the_same_views_again_changes_nothing(
    store: Store, customers: ViewDeclaration, tmp_path: Path
) -> None:
    registry = tmp_path / "home" / "feast" / "registry.db"
    before = registry.read_bytes()
    store.apply("claims", [customers])
    open_store(tmp_path / "home").apply("claims", [customers])
    assert registry.read_bytes() == before


def test_a_view_no_longer_declared_is_gone(store: Store, customers: ViewDeclaration) -> None:
    store.apply("other", [customers])
    store.apply("claims", [replace(customers, name="people")])
    names = {view.name for view in store.feast.list_feature_views()}
    assert names == {"claims__people", "other__customers"}


def test_another_process_sees_what_was_applied(
    store: Store, customers: ViewDeclaration, tmp_path: Path
) -> None:
    other = open_store(tmp_path / "home")
    rows = pl.DataFrame({"customer": ["a"], "event_timestamp": [at(3)]})
    assert other.point_in_time("claims", rows)["amount"].to_list() == [1.0]
    store.apply("claims", [replace(customers, columns={"visits": "integer"})])
    assert other.point_in_time("claims", rows).columns == [*rows.columns, "visits"]


def test_online_is_the_latest_offline_row(store: Store, customers: ViewDeclaration) -> None:
    directory = Path(customers.path)
    asked = pl.DataFrame({"customer": ["b", "a", "nobody", "c", "a"]})

    def offline(day: int) -> pl.DataFrame:
        rows = asked.with_columns(event_timestamp=pl.lit(at(day)).cast(pl.Datetime("us")))
        return store.point_in_time("claims", rows).drop("event_timestamp")

    assert store.materialize("claims", at(5)) == 2
    assert store.online("claims", asked).equals(offline(5))
    late = [("a", 1, 8, 9.0), ("b", 0, 9, 5.0), ("c", 9, 9, 3.0), ("c", 9, 30, 4.0)]
    write(directory, "1994-02", late)
    assert store.materialize("claims", at(10)) == 3
    assert store.online("claims", asked).equals(offline(10))
    assert store.online("claims", asked)["amount"].to_list() == [2.0, 9.0, None, 3.0, 9.0]
    assert store.materialize("claims", at(11)) == 0


def test_a_backfill_goes_online_from_its_beginning(
    store: Store, customers: ViewDeclaration
) -> None:
    assert store.materialize("claims", at(10)) == 2
    write(Path(customers.path), "1993-12", [("z", 0, 0, 1.0)])
    assert store.materialize("claims", at(11)) == 0
    assert store.materialize("claims", at(11), since=at(0)) == 3
    assert store.online("claims", pl.DataFrame({"customer": ["z"]}))["amount"].to_list() == [1.0]


def test_a_feature_added_later_goes_online_for_old_rows(
    store: Store, customers: ViewDeclaration
) -> None:
    store.apply("claims", [replace(customers, columns={"visits": "integer"})])
    store.materialize("claims", at(5))
    store.apply("claims", [customers])
    assert store.materialize("claims", at(5)) == 2
    assert store.online("claims", pl.DataFrame({"customer": ["a"]}))["amount"].to_list() == [1.0]


def test_an_offline_view_stays_offline(store: Store, customers: ViewDeclaration) -> None:
    store.apply("claims", [replace(customers, online=False)])
    assert store.materialize("claims", at(5)) == 0


def test_a_time_with_a_zone_is_the_same_instant(store: Store) -> None:
    tokyo = pl.DataFrame({"customer": ["a", "a"], "event_timestamp": [at(1), at(1)]}).with_columns(
        pl.col("event_timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")
        - pl.Series([timedelta(0), timedelta(microseconds=1)])
    )
    found = store.point_in_time("claims", tokyo)
    assert found.select(tokyo.columns).equals(tokyo)
    assert found["amount"].to_list() == [1.0, None]


def test_a_view_may_have_the_name_of_its_only_feature(
    store: Store, customers: ViewDeclaration
) -> None:
    store.apply("claims", [replace(customers, name="amount", columns={"amount": "number"})])
    rows = pl.DataFrame({"customer": ["a"], "event_timestamp": [at(3)]})
    assert store.point_in_time("claims", rows)["amount"].to_list() == [1.0]


def test_automations_applied_at_the_same_time_are_all_kept(
    customers: ViewDeclaration, tmp_path: Path
) -> None:
    names = [f"automation{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: open_store(tmp_path / "home").apply(n, [customers]), names))
    services = open_store(tmp_path / "home").feast.list_feature_services()
    assert sorted(service.name for service in services) == names


def test_feasts_own_retrieval_takes_pandas_and_full_names(store: Store, tmp_path: Path) -> None:
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    rows = pl.DataFrame({"customer": ["b", "a"], "event_timestamp": [at(5), at(0)]}).to_pandas()
    job = store.feast.get_historical_features(
        entity_df=rows,
        features=["claims__customers:amount", "claims__customers:vip"],
        full_feature_names=True,
    )
    job.persist(SavedDatasetFileStorage(str(tmp_path / "saved.parquet")))
    for found in (pl.from_pandas(job.to_df()), pl.read_parquet(tmp_path / "saved.parquet")):
        assert found["claims__customers__amount"].to_list() == [2.0, None]
        assert found["claims__customers__vip"].to_list() == [True, None]


def test_feasts_range_of_dates_is_refused(store: Store) -> None:
    with pytest.raises(AiosError, match="given rows"):
        store.feast.get_historical_features(
            features=["claims__customers:amount"], start_date=at(0), end_date=at(9)
        )


def test_an_automation_never_applied_says_so(store: Store) -> None:
    rows = pl.DataFrame({"customer": ["a"], "event_timestamp": [at(3)]})
    with pytest.raises(AiosError, match=r"grid: .*not in the registry\n.*features asset"):
        store.point_in_time("grid", rows)


def test_views_without_files_say_to_materialize(
    store: Store, customers: ViewDeclaration, tmp_path: Path
) -> None:
    store.apply("claims", [replace(customers, path=str(tmp_path / "nothing"))])
    rows = pl.DataFrame({"customer": ["a"], "event_timestamp": [at(3)]})
    with pytest.raises(AiosError, match="no feature files yet"):
        store.point_in_time("claims", rows)
    with pytest.raises(AiosError, match="no feature files yet"):
        store.materialize("claims", at(3))


def test_two_views_with_one_feature_name_are_refused(
    store: Store, customers: ViewDeclaration
) -> None:
    with pytest.raises(AiosError, match="more than once: amount, region, vip, visits"):
        store.apply("claims", [customers, replace(customers, name="again")])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"event_timestamp": [at(1)]}, "no column customer"),
        ({"customer": ["a"]}, "no column event_timestamp"),
        ({"customer": ["a"], "event_timestamp": [at(1)], "amount": [1]}, "already have .* amount"),
        ({"customer": ["a"], "event_timestamp": ["1994-01-02"]}, "holds String, not timestamps"),
    ],
)
def test_rows_that_cannot_be_looked_up_are_refused(
    store: Store, rows: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(AiosError, match=message):
        store.point_in_time("claims", pl.DataFrame(rows))


def test_an_online_address_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="mongodb://"):
        open_store(tmp_path, online_url="mongodb://localhost").feast  # noqa: B018


def test_feasts_own_command_reads_the_repo_and_apply_deletes_nothing(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner
    from feast.cli.cli import cli

    monkeypatch.setenv("AIOS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(REPO)

    def feast(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["-c", str(REPO / "feature_repo"), *arguments]).output

    assert "No changes to registry" in feast("apply")
    assert "claims__customers" in feast("feature-views", "list")

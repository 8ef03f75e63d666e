"""Feast's DuckDB store with a point-in-time join that keeps every row. Loaded by Feast, by name.

Feast joins each feature row with each later entity row of its key and then keeps one: work and
memory grow with the product. Here it is one ASOF join (`feature_repo.point_in_time`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView, types
from feast.data_format import ParquetFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from aios.errors import AiosError
from feature_repo import point_in_time
from feature_repo.point_in_time import FeatureTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from feast.data_source import DataSource
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from feast.saved_dataset import SavedDatasetStorage

_DUCKDB_TYPES = {
    types.Float64: "DOUBLE",
    types.Float32: "FLOAT",
    types.Int64: "BIGINT",
    types.Int32: "INTEGER",
    types.String: "VARCHAR",
    types.Bool: "BOOLEAN",
}


class PointInTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):  # type: ignore[misc]
    """Settings of Feast's DuckDB store."""

    type: str = "feature_repo.offline_store.PointInTimeOfflineStore"


class PointInTimeOfflineStore(DuckDBOfflineStore):  # type: ignore[misc]
    """DuckDB over Parquet files, exact in both times and complete in its rows."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **dates: datetime,
    ) -> RetrievalJob:
        """Feast's historical retrieval; `entity_df` may also be an Arrow table, in any order.

        Raises:
            AiosError: No entity rows, a source that is not Parquet files, or a join that fails.
        """
        if isinstance(entity_df, pd.DataFrame):
            entity_df = pa.Table.from_pandas(entity_df, preserve_index=False)
        if not isinstance(entity_df, pa.Table):
            raise AiosError(
                "features are looked up for given rows, not for a query or a range of dates",
                where="get_historical_features",
                fix="pass the rows as a pandas DataFrame or an Arrow table",
            )
        time = _time_column(entity_df)
        tables = [
            feature_table(view, feature_refs, full_feature_names, filter_by_created_timestamp)
            for view in feature_views
        ]
        _refuse_clashes(entity_df, tables)
        bounds = pc.min_max(entity_df[time]).as_py()
        metadata = RetrievalMetadata(
            features=feature_refs,
            keys=[name for name in entity_df.column_names if name != time],
            min_event_timestamp=bounds["min"],
            max_event_timestamp=bounds["max"],
        )
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        query = partial(_join_all, tables, entity_df, time)
        return ArrowRetrievalJob(query, config, metadata, on_demand, full_feature_names)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """What to put online: the newest row of each key that changed between the two dates.

        Feast selects by event time, which never notices a late correction. Here a row counts from
        when it became known.
        """
        table = FeatureTable(
            name=data_source.name,
            path=_parquet_path(data_source),
            keys={key: key for key in join_key_columns},
            event=timestamp_field,
            created=created_timestamp_column or None,
            features={name: (name, "") for name in feature_name_columns},
        )
        query = partial(point_in_time.latest, table, start_date, end_date)
        return ArrowRetrievalJob(query, config)


class ArrowRetrievalJob(RetrievalJob):  # type: ignore[misc]
    """A retrieval that runs when it is asked for, and gives Arrow."""

    def __init__(
        self,
        query: Callable[[], pa.Table],
        config: RepoConfig,
        metadata: RetrievalMetadata | None = None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
    ) -> None:
        self._query = query
        self._config = config
        self._metadata = metadata
        self._on_demand_feature_views = on_demand_feature_views or []
        self._full_feature_names = full_feature_names

    @property
    def full_feature_names(self) -> bool:
        """Whether features carry their view's name."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """Transformations that Feast applies to the result."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._query()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._query().to_pandas()
        return frame

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result to a Feast saved dataset: one Parquet file."""
        path = Path(str(self._config.repo_path)) / _parquet_path(storage.to_data_source())
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        pq.write_table(self.to_arrow(), path)


def _join_all(tables: list[FeatureTable], entities: pa.Table, time: str) -> pa.Table:
    result = entities
    for table in tables:
        features = point_in_time.join(table, entities, time)
        for name in features.column_names:
            result = result.append_column(name, features[name])
    return result


def _time_column(entities: pa.Table) -> str:
    empty = entities.schema.empty_table().to_pandas()
    types_of = dict(zip(empty, empty.dtypes, strict=True))
    return str(infer_event_timestamp_from_entity_df(types_of))


def _refuse_clashes(entities: pa.Table, tables: list[FeatureTable]) -> None:
    for table in tables:
        missing = sorted(set(table.keys.values()) - set(entities.column_names))
        if missing:
            raise AiosError(
                f"the rows to look up have no column {', '.join(missing)}",
                where=table.name,
                fix="add the view's join key to them",
            )
        clash = sorted({name for name, _ in table.features.values()} & set(entities.column_names))
        if clash:
            raise AiosError(
                f"the rows to look up already have columns named {', '.join(clash)}",
                where=table.name,
                fix="drop or rename them first",
            )


def _parquet_path(source: DataSource | None) -> str:
    if isinstance(source, FileSource):
        path = str(source.path)
        parquet = isinstance(source.file_format, ParquetFormat) or path.endswith(".parquet")
        if parquet and "://" not in path:
            return path
    raise AiosError(
        "only local Parquet files can be joined",
        where=source.name if source else "a feature view without a batch source",
        fix="write the features to the lake, or configure another offline store for them",
    )


def feature_table(
    view: FeatureView, refs: list[str], full_names: bool = False, by_created: bool = True
) -> FeatureTable:
    """The view as Feast projected it: aliases, renamed join keys and mapped fields."""
    source: Any = view.batch_source
    path = _parquet_path(source)
    in_file = {new: old for old, new in source.field_mapping.items()}
    projection = view.projection
    prefix = f"{projection.name_alias or view.name}__" if full_names else ""
    dtypes = {feature.name: feature.dtype for feature in view.features}
    wanted = [
        ref.split(":", 1)[1] for ref in refs if ref.startswith(f"{projection.name_to_use()}:")
    ]
    keys = projection.join_key_map or {column.name: column.name for column in view.entity_columns}
    created = source.created_timestamp_column or None
    return FeatureTable(
        name=view.name,
        path=path,
        keys={in_file.get(key, key): name for key, name in keys.items()},
        event=in_file.get(source.timestamp_field, source.timestamp_field),
        created=in_file.get(created, created) if created else None,
        features={
            in_file.get(name, name): (f"{prefix}{name}", _DUCKDB_TYPES.get(dtypes[name], ""))
            for name in wanted
        },
        ttl=view.ttl or timedelta(0),
        known_only=by_created,
    )

"""The feature store of one AIOS home: apply, look up in time, put online, read online."""

from __future__ import annotations

import contextlib
import fcntl
import io
import string
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

import polars as pl

from aios.errors import AiosError
from feature_repo import registry
from feature_repo.registry import DIGEST_TAG, ViewDeclaration, view_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from feast import FeatureService, FeatureView
    from feast import FeatureStore as Feast

REPO = Path(__file__).parent
ONLINE_CHUNK = 10_000
BEGINNING = datetime(1970, 1, 1)


def open_store(
    home: Path | str, *, online_url: str | None = None, registry_url: str | None = None
) -> Store:
    """The feature store whose state lives under `home/feast`. Loads Feast on first use.

    Args:
        home: AIOS_HOME.
        online_url: `redis://` or `postgresql://` address of the online store; None is SQLite.
        registry_url: SQLAlchemy address of a shared registry; None is a file.
    """
    return Store(Path(home), online_url, registry_url)


class Store:
    """Feature views of all automations, through Feast. Made by `open_store`."""

    def __init__(self, home: Path, online_url: str | None, registry_url: str | None) -> None:
        self.home = home.resolve()
        self._online_url = online_url
        self._registry_url = registry_url

    @cached_property
    def feast(self) -> Feast:
        """Feast's own store, configured by `feature_store.yaml`."""
        import yaml
        from feast import FeatureStore, RepoConfig

        (self.home / "feast").mkdir(parents=True, exist_ok=True)
        template = string.Template((REPO / "feature_store.yaml").read_text())
        settings = yaml.safe_load(template.safe_substitute(AIOS_HOME=self.home))
        if self._online_url:
            settings["online_store"] = _online_settings(self._online_url)
        if self._registry_url:
            settings["registry"] = {"registry_type": "sql", "path": self._registry_url}
        return FeatureStore(config=RepoConfig(**settings, repo_path=REPO))

    def apply(self, automation: str, views: Sequence[ViewDeclaration]) -> None:
        """Make the registry hold exactly these views for the automation. Reads no data.

        A view that changed loses its place in the online load: the next `materialize` loads it
        whole.

        Raises:
            AiosError: Names that clash, or a view without features.
        """
        registry.check(automation, views)
        if self._applied_digest(automation) == registry.digest(views):
            return
        with self._lock():
            self.feast.refresh_registry()
            declared = {view_name(automation, v.name): registry.digest([v]) for v in views}
            stale = [
                view
                for view in self.feast.list_feature_views()
                if view.tags.get("automation") == automation
                and view.tags.get(DIGEST_TAG) != declared.get(view.name)
            ]
            # The service carries the digest: without it, an apply cut short is done again.
            if self._applied_digest(automation) is not None:
                self.feast.delete_feature_service(automation)
            for view in stale:
                if view.name in declared:
                    self.feast.delete_feature_view(view.name)
            self.feast.apply(
                registry.feast_objects(automation, views),
                objects_to_delete=[view for view in stale if view.name not in declared],
                partial=False,
            )

    def forget(self, automation: str) -> None:
        """Remove the automation's views and what they have put online."""
        if not (self.home / "feast" / "registry.db").exists() and not self._registry_url:
            return
        if self._applied_digest(automation) is None:
            return
        with self._lock():
            service = self._service(automation)
            views = self._views(service)
            self.feast.apply([], objects_to_delete=[service, *views], partial=False)

    def point_in_time(
        self, automation: str, entity_rows: pl.DataFrame, *, time_column: str = "event_timestamp"
    ) -> pl.DataFrame:
        """`entity_rows` with every feature of the automation, as it was known at each row's time.

        Args:
            automation: Whose features.
            entity_rows: The rows, with each view's entity and `time_column`; any further columns.
            time_column: When each row asks, UTC.

        Returns:
            The same rows in the same order, then the features; null where nothing was known.

        Raises:
            AiosError: Views not applied, no files, unreadable files, or missing columns.
        """
        service = self._service(automation)
        views = self._views(service)
        self._check_rows(automation, entity_rows, views, [time_column])
        times = _utc(entity_rows[time_column]).alias("event_timestamp")
        asked = self._keys(automation, entity_rows, views).with_columns(times)
        job = self.feast.get_historical_features(
            entity_df=asked.to_arrow(), features=service, filter_by_created_timestamp=True
        )
        found = pl.DataFrame(job.to_arrow()).drop(asked.columns)
        return entity_rows.hstack(found)

    def materialize(
        self, automation: str, until: datetime, *, since: datetime | None = None
    ) -> int:
        """Bring the automation's online views to what was known at `until` (UTC).

        Args:
            automation: Whose views.
            until: Rows known later stay offline.
            since: Load what became known from here on; None continues where the last load ended.
                A backfill of older partitions needs their beginning.

        Returns:
            The number of rows written.
        """
        with self._lock():
            self.feast.refresh_registry()
            views = [view for view in self._views(self._service(automation)) if view.online]
            return sum(self._materialize(view, since, until) for view in views)

    def online(self, automation: str, entity_rows: pl.DataFrame) -> pl.DataFrame:
        """`entity_rows` with the features that are online now; null for an unknown entity."""
        views = [view for view in self._views(self._service(automation)) if view.online]
        self._check_rows(automation, entity_rows, views, [])
        types = {f.name: f.dtype for view in views for f in view.features}
        schema = {name: _polars_type(dtype) for name, dtype in types.items()}
        refs = [f"{view.name}:{f.name}" for view in views for f in view.features]
        found = []
        for chunk in self._keys(automation, entity_rows, views).iter_slices(ONLINE_CHUNK):
            values = self.feast.get_online_features(refs, chunk.to_dict(as_series=False)).to_dict()
            found.append(pl.DataFrame({name: values[name] for name in types}, schema=schema))
        return entity_rows.hstack(pl.concat(found)) if found else entity_rows

    def _materialize(self, view: FeatureView, since: datetime | None, until: datetime) -> int:
        from feature_repo import point_in_time
        from feature_repo.offline_store import feature_table

        until = _naive(until)
        start = _naive(since or view.most_recent_end_time or BEGINNING)
        if start > until:
            return 0
        count = point_in_time.changed(feature_table(view, []), start, until)
        if count:
            with contextlib.redirect_stdout(io.StringIO()):
                self.feast.materialize(start, until, [view.name])
        return count

    def _service(self, automation: str) -> FeatureService:
        from feast.errors import FeatureServiceNotFoundException

        try:
            return self.feast.get_feature_service(automation, allow_cache=True)
        except FeatureServiceNotFoundException as error:
            raise AiosError(
                "the automation's feature views are not in the registry",
                where=automation,
                fix="materialize its features asset, which applies them",
            ) from error

    def _applied_digest(self, automation: str) -> str | None:
        try:
            return str(self._service(automation).tags.get(DIGEST_TAG))
        except AiosError:
            return None

    def _views(self, service: FeatureService) -> list[FeatureView]:
        return [
            self.feast.registry.get_feature_view(
                projection.name, self.feast.project, allow_cache=True
            )
            for projection in service.feature_view_projections
        ]

    def _keys(
        self, automation: str, rows: pl.DataFrame, views: Sequence[FeatureView]
    ) -> pl.DataFrame:
        keys = {column.name: column.dtype for view in views for column in view.entity_columns}
        try:
            return rows.select(pl.col(k).cast(_polars_type(dtype)) for k, dtype in keys.items())
        except pl.exceptions.InvalidOperationError as error:
            raise AiosError(
                f"an entity is not of its declared type: {str(error).splitlines()[0]}",
                where=automation,
                fix="correct entity_type in the declaration, or the rows to look up",
            ) from error

    def _check_rows(
        self,
        automation: str,
        rows: pl.DataFrame,
        views: Sequence[FeatureView],
        needed: Sequence[str],
    ) -> None:
        needed = [*needed, *(column.name for view in views for column in view.entity_columns)]
        missing = sorted(set(needed) - set(rows.columns))
        if missing:
            raise AiosError(
                f"the rows to look up have no column {', '.join(missing)}",
                where=automation,
                fix="add each view's entity and the time to them",
            )
        clash = sorted({f.name for view in views for f in view.features} & set(rows.columns))
        if clash:
            raise AiosError(
                f"the rows to look up already have columns named {', '.join(clash)}",
                where=automation,
                fix="drop or rename them first",
            )

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One writer of the registry at a time: Feast reads it whole and writes it whole."""
        directory = self.home / "feast"
        directory.mkdir(parents=True, exist_ok=True)
        with open(directory / "registry.lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _polars_type(dtype: Any) -> type[pl.DataType]:
    """The polars type of what `registry` declared to Feast as `dtype`."""
    from feast import types

    polars = {types.Float64: pl.Float64, types.Int64: pl.Int64, types.Bool: pl.Boolean}
    return polars.get(dtype, pl.String)


def _utc(times: pl.Series) -> pl.Series:
    if not isinstance(times.dtype, pl.Datetime):
        raise AiosError(
            f"column {times.name} holds {times.dtype}, not timestamps",
            where="the rows to look up",
            fix="give them a Datetime column (UTC)",
        )
    if times.dtype.time_zone:
        times = times.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return times.dt.cast_time_unit("us")


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _online_settings(url: str) -> dict[str, Any]:
    address = urlsplit(url)
    if address.scheme in ("redis", "rediss"):
        return {"type": "redis", "connection_string": _redis_string(address)}
    if address.scheme.startswith("postgres"):
        return {
            "type": "postgres",
            "host": address.hostname or "localhost",
            "port": address.port or 5432,
            "database": address.path.lstrip("/"),
            "user": unquote(address.username or ""),
            "password": unquote(address.password or ""),
            "sslmode": "prefer",
        }
    raise AiosError(
        f"no online store for addresses that begin with {address.scheme}://",
        where="online store",
        fix="use redis://host:port/db, postgresql://user:password@host:port/database, or none",
    )


def _redis_string(address: SplitResult) -> str:
    parts = [f"{address.hostname or 'localhost'}:{address.port or 6379}"]
    parts.append(f"db={address.path.lstrip('/') or 0}")
    if address.password:
        parts.append(f"password={unquote(address.password)}")
    if address.scheme == "rediss":
        parts.append("ssl=true")
    return ",".join(parts)

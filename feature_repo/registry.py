"""Feature views as plain data, and what Feast calls them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aios.errors import AiosError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from feast import Entity, FeatureService, FeatureView

ColumnType = Literal["number", "integer", "category", "boolean", "text"]
EntityType = Literal["string", "integer"]

EVENT_TIME, KNOWN_AT = "event_time", "known_at"
DIGEST_TAG = "aios.digest"

_FEAST_TYPES = {
    "number": "Float64",
    "integer": "Int64",
    "category": "String",
    "boolean": "Bool",
    "text": "String",
    "string": "String",
}


@dataclass(frozen=True)
class ViewDeclaration:
    """One feature view of an automation.

    Args:
        name: The view's name inside its automation.
        entity: The join key's column, in the files and in the rows to look up.
        entity_type: The join key's type.
        columns: Feature name -> type.
        path: A Parquet file, a glob, or a directory of Parquet files. Each has the entity, the
            features, `event_time` and `known_at` (UTC-naive, microseconds).
        ttl: How long a value stays valid after its `event_time`; None is for ever.
        online: Whether `Store.materialize` puts the view online.
        description: What the view holds.
        owner: Who answers for it.
        tags: Free labels.
    """

    name: str
    entity: str
    entity_type: EntityType
    columns: Mapping[str, ColumnType]
    path: str
    ttl: timedelta | None = None
    online: bool = True
    description: str = ""
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def view_name(automation: str, view: str) -> str:
    """The name of an automation's view in Feast's registry, which all automations share."""
    return f"{automation}__{view}"


def check(automation: str, views: Sequence[ViewDeclaration]) -> None:
    """Refuse declarations whose features could not be told apart in one table.

    Raises:
        AiosError: No view, a view without features, or a name used twice.
    """
    if not views:
        raise AiosError(
            "no feature view is declared", where=automation, fix="declare at least one view"
        )
    for view in views:
        if not view.columns:
            raise AiosError(
                "the view has no features",
                where=view_name(automation, view.name),
                fix="name at least one feature column and its type",
            )
    columns = Counter(column for view in views for column in view.columns)
    columns.update({view.entity for view in views} | {EVENT_TIME, KNOWN_AT})
    names = columns.items() | Counter(view.name for view in views).items()
    twice = sorted({name for name, count in names if count > 1})
    if twice:
        raise AiosError(
            f"names used more than once: {', '.join(twice)}",
            where=automation,
            fix="give every view and feature its own name, other than the entity's, "
            f"{EVENT_TIME} and {KNOWN_AT}",
        )


def digest(views: Sequence[ViewDeclaration]) -> str:
    """A fingerprint of the declarations, equal when nothing that Feast stores has changed."""
    plain = [asdict(view) | {"ttl": str(view.ttl)} for view in views]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def feast_objects(
    automation: str, views: Sequence[ViewDeclaration]
) -> list[Entity | FeatureView | FeatureService]:
    """The declarations as Feast entities, feature views and one feature service.

    Every schema is given in full, so that applying them reads no data.
    """
    from feast import Entity, FeatureService, ValueType

    types = {"string": ValueType.STRING, "integer": ValueType.INT64}
    entities = {
        view.entity: Entity(
            name=view_name(automation, view.entity),
            join_keys=[view.entity],
            value_type=types[view.entity_type],
            tags={"automation": automation},
        )
        for view in views
    }
    feature_views = [_feature_view(automation, view, entities[view.entity]) for view in views]
    service = FeatureService(
        name=automation,
        features=list(feature_views),
        description=f"All features of the automation {automation}",
        tags={"automation": automation, DIGEST_TAG: digest(views)},
    )
    return [*entities.values(), *feature_views, service]


def _feature_view(automation: str, view: ViewDeclaration, entity: Entity) -> FeatureView:
    from feast import FeatureView, Field, FileSource, types
    from feast.data_format import ParquetFormat

    def field_of(name: str, kind: str) -> Any:
        return Field(name=name, dtype=getattr(types, _FEAST_TYPES[kind]))

    name = view_name(automation, view.name)
    path = Path(view.path)
    return FeatureView(
        name=name,
        entities=[entity],
        schema=[
            field_of(view.entity, view.entity_type),
            *(field_of(column, kind) for column, kind in view.columns.items()),
        ],
        source=FileSource(
            name=name,
            path=str(path / "*.parquet") if path.suffix != ".parquet" else str(path),
            file_format=ParquetFormat(),
            timestamp_field=EVENT_TIME,
            created_timestamp_column=KNOWN_AT,
        ),
        ttl=view.ttl or timedelta(0),
        online=view.online,
        description=view.description,
        owner=view.owner,
        tags={**view.tags, "automation": automation, DIGEST_TAG: digest([view])},
    )

"""The declaration of an automation: what `defs.yaml` in its folder may say.

`aios.declaration` reads it; the `Automation` component turns it into Dagster definitions.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from aios.windows import Cadence

# Columns that the stages themselves add to a feature's row.
_RESERVED = {
    *("event_time", "known_at", "revision", "feature_digest", "label", "label_known_at"),
    *("score", "scored_digest", "model_version", "holdout"),
}
METRICS = {
    "classification": ["roc_auc", "average_precision", "brier", "log_loss", "accuracy"],
    "regression": ["mae", "rmse", "r2"],
}
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+)([dhm])", str(value))
    if not match:
        raise ValueError("a duration is a whole number and a unit: 30d, 12h or 90m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _owner(value: str) -> str:
    if not re.fullmatch(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError("an owner is an e-mail address or team:NAME")
    return value


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        raise ValueError("a schedule is a cron line of five fields, such as '0 2 * * 1'")
    return value


def _wrong(problem: str, *at: str | int) -> PydanticCustomError:
    """Return the error of a value that does not suit another; `at` leads to it from its model."""
    return PydanticCustomError("inconsistent", "{problem}", {"problem": problem, "at": at})


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Reference = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*:[a-z_][a-z0-9_]*$")]
Share = Annotated[float, Field(gt=0, lt=1)]
FeatureKind = Literal["number", "category"]
ColumnType = Literal["text", "category", "integer", "number", "boolean", "time"]


class Model(BaseModel):
    """Base of all parts: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Model):
    """Where events come from: a module of the folder, or a table.

    A module offers `events(start, end, data)`, `labels(start, end, data)` and `period(data)`.
    A table is a CSV or Parquet file, its path relative to the folder.
    """

    module: Name | None = None
    table: str | None = None
    start: date
    end: date | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        if (self.module is None) == (self.table is None):
            raise ValueError("give either 'module' or 'table'")
        if self.end and self.end <= self.start:
            raise _wrong(f"it must lie after 'start' ({self.start})", "end")
        return self


class Column(Model):
    """What one column of an event must satisfy."""

    type: ColumnType
    required: bool = False
    allowed: list[str] | None = None
    min: float | None = None
    max: float | None = None
    description: str = ""

    @model_validator(mode="after")
    def _rules_suit_type(self) -> Column:
        if self.allowed is not None and self.type not in ("text", "category"):
            raise _wrong(f"it is for text and category, this column is {self.type}", "allowed")
        for name in ("min", "max"):
            if getattr(self, name) is not None and self.type not in ("integer", "number"):
                raise _wrong(f"it is for numbers, this column is {self.type}", name)
        if self.min is not None and self.max is not None and self.min > self.max:
            raise _wrong(f"it is less than 'min' ({self.min:g})", "max")
        return self


class Contract(Model):
    """What events must satisfy; rows that break it are quarantined.

    A partition with more than `max_quarantine` of its rows in quarantine is not let through.
    """

    columns: dict[str, Column] = Field(min_length=1)
    max_quarantine: Share = 0.2


class Label(Model):
    """The outcome of an event, learned `delay` after the event was known."""

    column: str
    delay: Duration = timedelta(0)


class View(Model):
    """One Feast feature view: a plain function from events to feature rows.

    The function takes the events of a partition and of `lookback` before it, and returns
    `entity`, `event_time`, `known_at` and the declared `columns`.
    """

    name: Name
    function: Reference
    entity: str
    columns: dict[str, FeatureKind] = Field(min_length=1)
    lookback: Duration = timedelta(0)
    ttl: Duration | None = None
    online: bool = True


class Candidate(Model):
    """A recipe that trains a model: `train(features, label, *, seed, **params)`."""

    name: Name
    train: Reference
    params: dict[str, Any] = {}
    window: Annotated[int, Field(ge=50)] | None = None


class Training(Model):
    """How much evidence a training needs and how it is divided."""

    min_rows: Annotated[int, Field(ge=20)] = 200
    min_per_class: Annotated[int, Field(ge=2)] = 10
    window: Annotated[int, Field(ge=50)] | None = None
    holdout: Share = 0.25
    seed: int = 0


class Gate(Model):
    """The offline bar: at least `floor`, and not worse than the champion by `margin`."""

    metric: str = "roc_auc"  # of METRICS for the automation's task
    floor: float = 0.55
    margin: Annotated[float, Field(ge=0)] = 0.02
    confidence: Share = 0.8
    min_rows: Annotated[int, Field(ge=20)] = 100


class Drift(Model):
    """The drift budget: how sure, how large, on how many rows, how often in a row."""

    false_alarm_rate: Share = 0.01
    min_effect: Share = 0.1
    min_rows: Annotated[int, Field(ge=20)] = 200
    confirm: Annotated[int, Field(ge=1)] = 2
    ignore: list[str] = []


class Performance(Model):
    """When realised loss on matured labels counts as worse than at the gate.

    `min_effect` is a share of the loss at the gate; `false_alarm_rate` is for an era:
    from one alarm's champion to the next alarm.
    """

    false_alarm_rate: Share = 0.02
    min_effect: Annotated[float, Field(gt=0)] = 0.2


class Retrain(Model):
    """Which measurements start a retrain, and how long it then rests."""

    triggers: list[Literal["drift", "performance", "labels"]] = [
        "drift",
        "performance",
        "labels",
    ]
    growth: Annotated[float, Field(gt=0)] = 0.25
    cooldown: Duration = timedelta(days=28)


class Spec(Model):
    """One automation, whole."""

    description: str
    owners: list[Annotated[str, AfterValidator(_owner)]] = Field(min_length=1)
    risk: Literal["minimal", "limited", "high"] = "limited"
    task: Literal["classification", "regression"] = "classification"
    source: Source
    id: str
    entity: str
    event_time: str
    known_at: str | None = None
    cadence: Cadence
    schedule: Annotated[str, AfterValidator(_cron)] | None = None
    contract: Contract
    label: Label
    features: list[View] = Field(min_length=1)
    slices: list[str] = []
    candidates: list[Candidate] = Field(min_length=1)
    training: Training = Training()
    gate: Gate = Gate()
    policy: str = "policy.yaml"
    drift: Drift = Drift()
    performance: Performance = Performance()
    retrain: Retrain = Retrain()
    promotion: Literal["manual", "automatic"] = "manual"

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        columns = self.contract.columns
        named: list[tuple[str, tuple[str | int, ...]]] = [
            (self.id, ("id",)),
            (self.entity, ("entity",)),
            *((name, (field,)) for field, name in self._times()),
            *((name, ("slices", i)) for i, name in enumerate(self.slices)),
            *((view.entity, ("features", i, "entity")) for i, view in enumerate(self.features)),
        ]
        for name, at in named:
            if name not in columns:
                raise _wrong(f"column '{name}' is not in the contract", *at)
        for field, name in self._times():
            if columns[name].type != "time":
                raise _wrong(f"column '{name}' must have type 'time'", field)
        if self.label.column in columns:
            raise _wrong("the label must not be a column of the contract", "label", "column")
        if self.gate.metric not in METRICS[self.task]:
            allowed = ", ".join(METRICS[self.task])
            raise _wrong(f"a {self.task} is judged by one of {allowed}", "gate", "metric")
        self._check_names()
        return self

    def _check_names(self) -> None:
        taken = {self.id, self.entity, self.label.column} | _RESERVED
        taken |= {view.entity for view in self.features}
        for i, view in enumerate(self.features):
            for name in view.columns:
                if name in taken:
                    raise _wrong(f"the name '{name}' is taken", "features", i, "columns", name)
                taken.add(name)
        for field in ("features", "candidates"):
            names = [one.name for one in getattr(self, field)]
            for i, name in enumerate(names):
                if name in names[:i]:
                    raise _wrong(f"'{name}' is declared twice", field, i, "name")

    def _times(self) -> list[tuple[str, str]]:
        known = [("known_at", self.known_at)] if self.known_at else []
        return [("event_time", self.event_time), *known]

    @property
    def feature_columns(self) -> dict[str, FeatureKind]:
        """All features of all views: name -> "number" or "category"."""
        return {name: kind for view in self.features for name, kind in view.columns.items()}

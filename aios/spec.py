"""The declaration of an automation: what `defs.yaml` in its folder may say.

`aios.declaration` reads it; the `Automation` component turns it into Dagster definitions.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aios.actions.declared import Actions
from aios.learning import Learned
from aios.policy import Outcome
from aios.review.declared import Review
from aios.rollouts import Rollout
from aios.steps import Step
from aios.values import ColumnType, Duration, FeatureKind, Model, Name, Reference, Share, wrong
from aios.windows import Cadence

# Columns that the stages themselves add to a feature's row.
_RESERVED = {
    *("event_time", "known_at", "revision", "feature_digest", "label", "label_known_at"),
    *("score", "scored_digest", "model_version", "holdout"),
}


def _owner(value: str) -> str:
    if not re.fullmatch(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError("an owner is an e-mail address or team:NAME")
    return value


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        raise ValueError("a schedule is a cron line of five fields, such as '0 2 * * 1'")
    return value


def _check_columns(names: list[str], known: set[str], *at: str | int) -> None:
    for i, name in enumerate(names):
        if name not in known:
            raise wrong(f"'{name}' is no column known to the step", *at, i)


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
            raise wrong(f"it must lie after 'start' ({self.start})", "end")
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
            raise wrong(f"it is for text and category, this column is {self.type}", "allowed")
        for name in ("min", "max"):
            if getattr(self, name) is not None and self.type not in ("integer", "number"):
                raise wrong(f"it is for numbers, this column is {self.type}", name)
        if self.min is not None and self.max is not None and self.min > self.max:
            raise wrong(f"it is less than 'min' ({self.min:g})", "max")
        return self


class Contract(Model):
    """What events must satisfy; rows that break it are quarantined.

    A partition with more than `max_quarantine` of its rows in quarantine is not let through.
    """

    columns: dict[str, Column] = Field(min_length=1)
    max_quarantine: Share = 0.2


class Label(Model):
    """The outcome of an event, learned `delay` after the event was known.

    With `corrections_of` the outcome is 1 as well where the model of that step was found to have
    read a key field wrong; events that it did not read have no outcome.
    """

    column: str
    delay: Duration = timedelta(0)
    corrections_of: Name | None = None


class Costs(Model):
    """What work and errors cost, in one currency.

    `wrong` is the cost of an outcome that was wrong: an approval where the label is 1, any other
    where it is 0.
    """

    compute_hour: Annotated[float, Field(ge=0)]
    review: Annotated[float, Field(ge=0)]
    wrong: dict[Outcome, Annotated[float, Field(ge=0)]] = {}


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


class Spec(Learned):
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
    steps: list[Step] = []
    label: Label
    features: list[View] = Field(min_length=1)
    slices: list[str] = []
    policy: str = "policy.yaml"
    rollout: Rollout | None = None
    review: Review | None = None
    actions: Actions | None = None
    costs: Costs | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        columns = self.contract.columns
        named: list[tuple[str, tuple[str | int, ...]]] = [
            (self.id, ("id",)),
            (self.entity, ("entity",)),
            *((name, (field,)) for field, name in self._times()),
            *((name, ("slices", i)) for i, name in enumerate(self.slices)),
        ]
        for name, at in named:
            if name not in columns:
                raise wrong(f"column '{name}' is not in the contract", *at)
        for i, view in enumerate(self.features):
            if view.entity not in self.columns:
                raise wrong(
                    f"column '{view.entity}' is not in the contract, nor an output of a step",
                    *("features", i, "entity"),
                )
        for field, name in self._times():
            if columns[name].type != "time":
                raise wrong(f"column '{name}' must have type 'time'", field)
        if self.label.column in columns:
            raise wrong("the label must not be a column of the contract", "label", "column")
        self._check_steps()
        self._check_names()
        return self

    def _check_steps(self) -> None:
        known = {*self.contract.columns, "known_at"}
        nouns: set[str] = {one.name for one in self.candidates}
        for i, step in enumerate(self.steps):
            for j, name in enumerate(step.inputs):
                if name not in known:
                    raise wrong(
                        f"'{name}' is neither in the contract nor an output of an earlier step",
                        *("steps", i, "inputs", j),
                    )
            for name in step.outputs:
                stored = {f"{step.name}_{what}" for what in ("status", "problem", "version")}
                if name in known | _RESERVED | stored | {self.label.column}:
                    raise wrong(f"the name '{name}' is taken", "steps", i, "outputs", name)
            if step.model:
                before = known & set(self.columns)
                _check_columns(step.model.watch, before, "steps", i, "model", "watch")
                shown = before | set(step.columns)
                _check_columns(step.model.slices, shown, "steps", i, "model", "slices")
            for noun in step.nouns:
                if noun in nouns:
                    raise wrong(f"an asset '{noun}' is declared twice", "steps", i, "name")
                nouns.add(noun)
            known |= set(step.outputs)
        named = self.label.corrections_of
        if named and named not in {step.name for step in self.model_steps}:
            raise wrong(f"there is no model step '{named}'", "label", "corrections_of")

    def _check_names(self) -> None:
        taken = {self.id, self.entity, self.label.column} | _RESERVED
        taken |= {view.entity for view in self.features}
        for i, view in enumerate(self.features):
            if view.name in [one.name for one in self.features[:i]]:
                raise wrong(f"'{view.name}' is declared twice", "features", i, "name")
            for name in view.columns:
                if name in taken:
                    raise wrong(f"the name '{name}' is taken", "features", i, "columns", name)
                taken.add(name)

    def _times(self) -> list[tuple[str, str]]:
        known = [("known_at", self.known_at)] if self.known_at else []
        return [("event_time", self.event_time), *known]

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Columns of the contract and of the steps' outputs that are no `json`."""
        own = {name: column.type for name, column in self.contract.columns.items()}
        return own | {name: kind for step in self.steps for name, kind in step.columns.items()}

    @property
    def model_steps(self) -> list[Step]:
        """The steps that are models."""
        return [step for step in self.steps if step.model]

    @property
    def feature_columns(self) -> dict[str, FeatureKind]:
        """All features of all views: name -> "number" or "category"."""
        return {name: kind for view in self.features for name, kind in view.columns.items()}

"""Steps: what an automation does with each event before its features are computed.

A step is a *query* (it fetches or looks up), a *transform* (deterministic, or a model) or an *act*
(an effect). Every automation ends with the steps that the stages themselves are: features
(query), predictions (transform) and decisions (act).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aios.learning import Gate, Learned
from aios.values import ColumnType, Duration, Model, Name, Reference, Share, wrong

Kind = Literal["query", "transform", "act"]
OutputType = Literal[ColumnType, "json"]

# Nouns of the stages' own assets, which no step may take.
STAGES = {
    *("events", "features", "online_features", "predictions", "decisions", "labels"),
    *("performance", "drift_report", "training_set", "gate", "declaration"),
    *("reviews", "actions"),
}


_INT64 = 2**63


def typed(name: str, kind: OutputType, value: Any) -> Any:
    """Return an output's value as the lake stores its type; None for a missing one.

    Raises:
        TypeError: It is of another type.
        ValueError: It is of this type, but no such value can be stored.
    """
    if value is None or (isinstance(value, float | datetime) and value != value):  # NaN, NaT
        return None
    match kind:
        case "number" if isinstance(value, int | float):
            return float(value)
        case "integer" if isinstance(value, int):
            if not -_INT64 <= value < _INT64:
                raise ValueError(f"output '{name}' does not fit 64 bits")
            return int(value)
        case "boolean" if isinstance(value, bool):
            return value
        case "time" if isinstance(value, datetime):
            return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        case "text" | "category" if isinstance(value, str):
            value.encode()  # a half of a surrogate pair cannot be stored
            return str(value)
        case "json":
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            text.encode()
            if text is value and not _is_json(text):
                raise ValueError(f"output '{name}' is no JSON")
            return text
    raise TypeError(f"output '{name}' is {type(value).__name__}, declared is {kind}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class Extraction(Learned):
    """The model of a step that reads fields off documents.

    Attributes:
        key_fields: Fields that must all be right for a document to count as right.
        fields: All fields that the truth may name.
        truth: `truth(start, end, data)`: the right values, as people found them, that were learned
            in a span: the event's id, `known_at` and one text column for each field.
        same: `same(field, read, right)` tells whether a reading has the right value, however it
            is printed.
        load: `load(parts)` makes the step's function of a trained model's parts.
        max_wrong: Share of wrong documents at which the straight-through rate is stated.
        watch: Columns known before the step whose drift is watched.
        slices: Inputs or outputs by whose values the metrics are shown.
    """

    task: Literal["extraction"] = "extraction"
    key_fields: list[Name] = Field(min_length=1)
    fields: list[Name] = Field(min_length=1)
    truth: Reference
    same: Reference
    load: Reference
    watch: list[str] = Field(min_length=1)
    slices: list[str] = []
    max_wrong: Share = 0.01
    gate: Gate = Gate(metric="document_f1", floor=0.5)

    @model_validator(mode="after")
    def _key_fields_are_fields(self) -> Extraction:
        for i, name in enumerate(self.key_fields):
            if name not in self.fields:
                raise wrong(f"'{name}' is not among 'fields'", "key_fields", i)
        return self


class Step(Model):
    """One step: a function of the folder, or a model, called with one event at a time.

    The function takes the `inputs` of one event as a dictionary and returns its `outputs`; with a
    `lookback`, it also takes a frame of what was known before (inputs and its own outputs). A
    failure concerns its event alone: after the `retries` the `fallback` stands in, else nulls.
    """

    name: Name
    kind: Kind
    function: Reference | None = None
    model: Extraction | None = None
    inputs: list[str] = Field(min_length=1)
    outputs: dict[Name, OutputType] = Field(min_length=1)
    lookback: Duration = timedelta(0)
    timeout: Annotated[Duration, Field(gt=timedelta(0))] | None = None
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    fallback: dict[str, Any] = {}
    page: Reference | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Step:
        if (self.function is None) == (self.model is None):
            raise ValueError("give either 'function' or 'model'")
        if self.model and self.kind != "transform":
            raise wrong("a model is a transform", "kind")
        if self.model and self.lookback:
            raise wrong("a model sees one event at a time", "lookback")
        for name, value in self.fallback.items():
            if name not in self.outputs:
                raise wrong(f"'{name}' is not among 'outputs'", "fallback", name)
            try:
                typed(name, self.outputs[name], value)
            except (TypeError, ValueError) as error:
                raise wrong(str(error), "fallback", name) from None
        for i, name in enumerate(self.inputs):
            if name in self.inputs[:i]:
                raise wrong(f"'{name}' is given twice", "inputs", i)
        for i, name in enumerate(self.model.fields if self.model else []):
            if name not in self.outputs:
                raise wrong(f"field '{name}' is not among 'outputs'", "model", "fields", i)
            if self.outputs[name] not in ("text", "category"):
                raise wrong(f"field '{name}' must be text or a category", "outputs", name)
        if self.model and self.outputs.get("confidence") != "number":
            raise wrong("a model has an output 'confidence', a number", "outputs")
        if self.name in STAGES:
            raise wrong(f"'{self.name}' is the name of a stage", "name")
        return self

    @property
    def columns(self) -> dict[str, ColumnType]:
        """The outputs that features and the policy may use: all but the `json` ones."""
        return {name: kind for name, kind in self.outputs.items() if kind != "json"}

    @property
    def nouns(self) -> list[str]:
        """The names of the step's assets."""
        if not self.model:
            return [self.name]
        own = ["truth", "training_set", "gate", "performance", "drift_report"]
        own += [candidate.name for candidate in self.model.candidates]
        return [self.name, *(f"{self.name}_{noun}" for noun in own)]

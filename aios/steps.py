"""Steps: what an automation does with each event before its features are computed.

A step is a *query* (it fetches or looks up), a *transform* (deterministic, or a model) or an *act*
(an effect). Every automation ends with the steps that the stages themselves are: features
(query), predictions (transform) and decisions (act).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from aios.learning import Gate, Learned
from aios.values import ColumnType, Duration, Model, Name, Reference, Share, wrong

Kind = Literal["query", "transform", "act"]
OutputType = ColumnType | Literal["json"]

# Nouns of the stages' own assets, which no step may take.
STAGES = {
    *("events", "features", "online_features", "predictions", "decisions", "labels"),
    *("performance", "drift_report", "training_set", "gate", "declaration"),
}


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
    timeout: Duration | None = None
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
        for name in self.fallback:
            if name not in self.outputs:
                raise wrong(f"'{name}' is not among 'outputs'", "fallback", name)
        for i, name in enumerate(self.model.fields if self.model else []):
            if name not in self.outputs:
                raise wrong(f"field '{name}' is not among 'outputs'", "model", "fields", i)
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

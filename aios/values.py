"""Values that a declaration is made of: durations, names, references and kinds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"(\d+)([dhms])", str(value))
    if not match:
        raise ValueError("a duration is a whole number and a unit: 30d, 12h, 90m or 20s")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def wrong(problem: str, *at: str | int) -> PydanticCustomError:
    """Return the error of a value that does not suit another; `at` leads to it from its model."""
    return PydanticCustomError("inconsistent", "{problem}", {"problem": problem, "at": at})


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Reference = Annotated[
    str, Field(pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*:[a-z_][a-z0-9_]*$")
]
Share = Annotated[float, Field(gt=0, lt=1)]
FeatureKind = Literal["number", "category"]
ColumnType = Literal["text", "category", "integer", "number", "boolean", "time"]


class Model(BaseModel):
    """Base of all parts: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

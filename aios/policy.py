"""Policies: versioned rules that turn an event and its prediction into a decision.

Rules are tried in order and the first that fires decides. Conditions are SQL expressions
(`polars.sql_expr`) over the columns of the event, its features and `score`. A row in which
any input of the policy is null or NaN never reaches the rules: it goes to review, because a
comparison with NaN may be true.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aios.digest import json_digest
from aios.errors import AiosError

Outcome = Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
MISSING = "missing_input"
# How polars serialises the functions that a condition may use.
_FUNCTIONS = re.compile(
    r'{"(Boolean|StringExpr)"'
    r'|{"Sql": {"(IsIn"|Binary": "(Eq|NotEq|Lt|LtEq|Gt|GtEq|Plus|Minus|Add|Sub|Mul)")'
)


def _refuse_unsafe(node: dict[str, Any]) -> None:
    """Refuse what could depend on other rows, or make a NaN of complete inputs."""
    (kind, body), *_ = node.items()
    match kind:
        case "Column" | "Literal":
            return
        case "Cast":
            _refuse_unsafe(body["expr"])
        case "BinaryExpr":
            _refuse_unsafe(body["left"])
            _refuse_unsafe(body["right"])
        case "Function" if _FUNCTIONS.match(json.dumps(body["function"])):
            for part in body["input"]:
                _refuse_unsafe(part)
        case _:
            raise ValueError(
                "a condition compares columns and values with and, or, not, in, between, like, is "
                "null, +, - and *; compute anything else, a quotient too, as a feature"
            )


def check_condition(when: str) -> str:
    """Return a condition, if it is one.

    Raises:
        ValueError: It is no SQL condition, or none that depends on its own row only.
    """
    try:
        expression = pl.sql_expr(when)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"not a SQL condition: {error}") from None
    _refuse_unsafe(json.loads(expression.meta.serialize(format="json")))
    return when


class Rule(BaseModel):
    """One rule: where `when` holds, `outcome` is decided for `reason`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    when: str
    outcome: Outcome
    reason: str

    @field_validator("when")
    @classmethod
    def _parses(cls, when: str) -> str:
        return check_condition(when)


class Otherwise(BaseModel):
    """What is decided where no rule fires."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = "otherwise"
    outcome: Outcome = "review"
    reason: str = "no rule applies"


class Policy(BaseModel):
    """An ordered set of rules; `hash` names exactly this set."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    version: int
    required: list[str] = Field(["score"], min_length=1)
    rules: list[Rule] = Field(max_length=62)
    otherwise: Otherwise = Otherwise()
    missing: Literal["review"] = "review"

    @model_validator(mode="after")
    def _names_differ(self) -> Policy:
        names = [rule.name for rule in self.rules]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"rules: {', '.join(doubled)} is declared twice")
        return self

    @cached_property
    def hash(self) -> str:
        """The digest of the rules' meaning, without comments or layout."""
        return json_digest(self.model_dump())

    @cached_property
    def inputs(self) -> list[str]:
        """All columns that the policy looks at, in order of name."""
        roots = (name for rule in self.rules for name in pl.sql_expr(rule.when).meta.root_names())
        return sorted({*roots, *self.required})

    @cached_property
    def outcomes(self) -> list[str]:
        """All outcomes that the policy can decide."""
        return sorted({rule.outcome for rule in self.rules} | {self.otherwise.outcome, "review"})

    def check_columns(self, known: Iterable[str]) -> None:
        """Raise an AiosError where the policy needs a column that will not be there."""
        missing = [name for name in self.inputs if name not in set(known)]
        if missing:
            raise AiosError(
                f"the policy uses {', '.join(missing)}, which no event or feature provides",
                where="policy",
                fix=f"Known columns: {', '.join(sorted(known))}.",
            )

    def decide(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Decide every row.

        Args:
            frame: The `inputs`; any number of rows.

        Returns:
            `outcome`, `rule` (the one that decided) and `fired` (all that fired, by comma),
            as many rows in the same order.

        Raises:
            AiosError: A rule is no condition, or compares what cannot be compared.
        """
        frame = frame.select(
            pl.col(name).fill_nan(None) if frame[name].dtype.is_float() else pl.col(name)
            for name in self.inputs
        )
        complete = pl.all_horizontal(pl.col(name).is_not_null() for name in self.inputs)
        mask = (~complete).cast(pl.UInt64)
        for position, rule in enumerate(self.rules, start=1):
            fires = (complete & pl.sql_expr(rule.when)).fill_null(False)
            mask = mask + fires.cast(pl.UInt64) * (1 << position)
        try:
            masks = frame.select(mask.alias("mask"))
        except pl.exceptions.PolarsError as error:
            raise AiosError(
                f"the rules cannot be evaluated: {error}",
                where="policy",
                fix="Make each 'when' a condition that suits its columns' types: "
                + ", ".join(f"{name} {dtype}" for name, dtype in frame.schema.items()),
            ) from error
        table = pl.DataFrame(
            [self._verdict(int(value)) for value in masks["mask"].unique().sort()],
            schema={"mask": pl.UInt64, "outcome": pl.String, "rule": pl.String, "fired": pl.String},
            orient="row",
        )
        return masks.join(table, on="mask", how="left", maintain_order="left").drop("mask")

    def _verdict(self, mask: int) -> tuple[int, str, str, str]:
        if mask & 1:
            return mask, self.missing, MISSING, MISSING
        fired = [rule for i, rule in enumerate(self.rules, start=1) if mask >> i & 1]
        first: Rule | Otherwise = fired[0] if fired else self.otherwise
        return mask, first.outcome, first.name, ",".join(rule.name for rule in fired)


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        AiosError: The file is missing, is not YAML, or has a wrong value (named with its place).
    """
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise AiosError("there is no such policy file", where=str(path), fix="Write it.") from None
    except yaml.YAMLError as error:
        raise AiosError(f"not YAML: {error}", where=str(path), fix="Mend the syntax.") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise AiosError(
            f"{field}: {first['msg']}", where=str(path), fix="See docs/policy.md."
        ) from None

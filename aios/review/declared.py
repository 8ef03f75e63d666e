"""Reviews as declared: what a person may decide, by when, and how the reviewing is watched."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated

import polars as pl
from pydantic import AfterValidator, Field, model_validator

from aios.errors import AiosError
from aios.policy import Outcome, check_condition
from aios.values import Duration, Model, Name, wrong

Condition = Annotated[str, AfterValidator(check_condition)]
Part = Annotated[float, Field(ge=0, le=0.5)]

REASONS = ["agreed", "wrong_data", "missing_data", "new_information", "exception", "other"]
"""Reason codes where none are declared."""


class Proposal(Model):
    """The outcome that is suggested where a condition holds."""

    when: Condition
    outcome: Outcome


class Due(Model):
    """How long cases may wait where a condition holds."""

    when: Condition
    within: Annotated[Duration, Field(gt=timedelta(0))]


class Review(Model):
    """How decisions with the outcome `review` are decided by people.

    Conditions are those of a policy: over the event, its features and `score`; where an input is
    missing they do not hold.

    Attributes:
        outcomes: What a reviewer may decide.
        approving: Those of them that let something happen; a time-out never decides one.
        safe: What is decided when nobody did in time, and by a rejection.
        proposals: What is suggested, the first whose condition holds; else `safe`.
        within: How long a case may wait.
        due: Where it is another time than `within`, the first whose condition holds.
        lease: How long a case stays with who took it.
        undo: How long a verdict can be taken back, and its effects wait.
        four_eyes: Where an approving verdict needs a second person; where an input is missing
            too.
        reasons: The reason codes.
        labels: What an outcome decided by a person says about the label.
        seeded: Share of known-answer cases that are mixed in, with a wrong proposal.
        double: Share of cases that a second person reviews blindly.
        hidden: Share of cases without proposal and score.
        capacity: Share of decisions that people have time for: the tuner proposes no policy that
            sends them more.
    """

    outcomes: list[Outcome] = Field(min_length=2)
    approving: list[Outcome] = ["approve"]
    safe: Outcome
    proposals: list[Proposal] = []
    within: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(days=2)
    due: list[Due] = []
    lease: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(minutes=15)
    undo: Duration = timedelta(minutes=5)
    four_eyes: Condition | None = None
    reasons: list[Name] = Field(REASONS, min_length=1)
    labels: dict[Outcome, float] = {}
    seeded: Part = 0.02
    double: Part = 0.05
    hidden: Part = 0.1
    capacity: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> Review:
        if "review" in self.outcomes:
            raise wrong("a review ends with another outcome", "outcomes")
        if self.safe not in self.outcomes:
            raise wrong(f"'{self.safe}' is not among 'outcomes'", "safe")
        if self.safe in self.approving:
            raise wrong("a time-out never approves", "safe")
        for i, proposal in enumerate(self.proposals):
            if proposal.outcome not in self.outcomes:
                raise wrong(f"'{proposal.outcome}' is not among 'outcomes'", "proposals", i)
        for outcome in self.labels:
            if outcome not in self.outcomes:
                raise wrong(f"'{outcome}' is not among 'outcomes'", "labels", outcome)
        return self

    @property
    def inputs(self) -> list[str]:
        """All columns that the conditions look at, in order of name."""
        conditions = [one.when for one in self.proposals] + [one.when for one in self.due]
        conditions += [self.four_eyes] if self.four_eyes else []
        return sorted({name for one in conditions for name in pl.sql_expr(one).meta.root_names()})

    def check_columns(self, known: Collection[str]) -> None:
        """Raise an AiosError where a condition needs a column that will not be there."""
        missing = [name for name in self.inputs if name not in known]
        if missing:
            raise AiosError(
                f"the conditions use {', '.join(missing)}, which no event or feature provides",
                where="review",
                fix=f"Known columns: {', '.join(sorted(known))}.",
            )

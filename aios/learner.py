"""What learns: an automation through its own model, or one of its steps through that step's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from aios.automation import Automation
from aios.learning import Learned
from aios.steps import Extraction, Step
from aios.windows import Window


class Learner(Protocol):
    """What training, gate, drift, performance and retraining need to know of a model's owner."""

    @property
    def name(self) -> str:
        """Of the registered model and of the lake: `claims`, `invoices.extraction`."""

    @property
    def spec(self) -> Learned:
        """How the model is learned and kept."""

    @property
    def belongs_to(self) -> Automation:
        """The automation that it decides in."""

    def asset(self, noun: str) -> str:
        """Return the name of one of the learner's assets within its automation."""

    def window(self, key: str) -> Window:
        """Return the window of a partition key."""


@dataclass(frozen=True)
class ModelStep:
    """A step of an automation that is a model."""

    automation: Automation
    step: Step

    @property
    def name(self) -> str:
        """Such as `invoices.extraction`."""
        return f"{self.automation.name}.{self.step.name}"

    @property
    def belongs_to(self) -> Automation:
        """The automation that it decides in."""
        return self.automation

    @cached_property
    def spec(self) -> Extraction:
        """How the model is learned and kept."""
        assert self.step.model
        return self.step.model

    def asset(self, noun: str) -> str:
        """Return such as `extraction_gate`."""
        return f"{self.step.name}_{noun}"

    def window(self, key: str) -> Window:
        """Return the automation's window of a partition key."""
        return self.automation.window(key)


def model_steps(automation: Automation) -> list[ModelStep]:
    """Return the steps of an automation that are models."""
    return [ModelStep(automation, step) for step in automation.spec.model_steps]


def learners(automation: Automation) -> list[Learner]:
    """Return all that learn in an automation, in the order in which they act."""
    return [*model_steps(automation), automation]

"""Actions as declared: what each outcome causes, at which receiver, and how it is undone."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from aios.policy import Outcome
from aios.values import Duration, Model, Name, Reference, wrong

Kind = Literal["http", "sql", "files", "email", "redis"]


def _address(value: str) -> str:
    if re.search(r"://[^/?@\s]*:[^/?@\s$]+@", value):
        raise ValueError("an address holds no password: put it in the environment, ${NAME}")
    return value


class Breaker(Model):
    """When a receiver is left alone: after `failures` in a row, for `rest`, doubled to `longest`.

    After the rest one call probes whether it is back.
    """

    failures: Annotated[int, Field(ge=1)] = 5
    rest: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=30)
    longest: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(minutes=10)


class Receiver(Model):
    """Another system that actions are sent to.

    Attributes:
        kind: Its connector.
        address: Where it is; `${NAME}` is taken from the environment when something is sent.
        secret: The environment variable of the key that requests are signed with.
        status: Of `http`: where it tells what became of a key, such as `/payments/{key}`.
        repeats: Whether it drops a key that it has seen; otherwise only a person sends again.
        timeout: For one call.
        settles: How long after it was cut short a call may still arrive there. Before that nobody
            takes it that something withdrawn was not done.
        parallel: Calls at once of one worker.
        attempts: Calls that may fail before the action becomes an incident.
        retries: Budget of all workers together: repeated calls in any hour.
        expires: When an action that could not be delivered becomes an incident.
        breaker: When it is left alone.
    """

    kind: Kind
    address: Annotated[str, AfterValidator(_address)]
    secret: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    status: str | None = None
    repeats: bool = True
    timeout: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(seconds=10)
    settles: Duration = timedelta(minutes=1)
    parallel: Annotated[int, Field(ge=1, le=64)] = 8
    attempts: Annotated[int, Field(ge=1)] = 8
    retries: Annotated[int, Field(ge=1)] = 600
    expires: Duration = timedelta(days=7)
    breaker: Breaker = Breaker()

    @model_validator(mode="after")
    def _status_names_the_key(self) -> Receiver:
        if self.status is not None and (self.kind != "http" or "{key}" not in self.status):
            raise wrong("it is for http, and has {key} where the key goes", "status")
        return self


class Call(Model):
    """What is sent where.

    Attributes:
        type: What it does, in the words of the receiver.
        receiver: One of `receivers`.
        to: Where at the receiver: path, table, folder, e-mail address, stream.
        body: `body(decision)`: plain data from the decided row; of a compensation
            `body(payload, receipt)`: from what was sent and what came back.
        cost: What it costs, in the currency of `costs`.
    """

    type: Name
    receiver: Name
    to: str = ""
    body: Reference
    cost: Annotated[float, Field(ge=0)] = 0.0


class Effect(Call):
    """A call with the one that undoes it; without it, a person has to."""

    compensate: Call | None = None


class Actions(Model):
    """What decisions cause. The effects of one decision are done in order, and undone backwards.

    With `dry_run` everything is planned and shown, and nothing is sent.
    """

    dry_run: bool = False
    receivers: dict[Name, Receiver] = Field(min_length=1)
    effects: dict[Outcome, list[Effect]] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Actions:
        if "review" in self.effects:
            raise wrong("what waits for a person has no effect", "effects", "review")
        for outcome, effects in self.effects.items():
            types = [effect.type for effect in effects]
            for i, effect in enumerate(effects):
                at: tuple[str | int, ...] = ("effects", outcome, i)
                if effect.type in types[:i]:
                    raise wrong(f"'{effect.type}' is declared twice", *at, "type")
                if effect.receiver not in self.receivers:
                    raise wrong(f"there is no receiver '{effect.receiver}'", *at, "receiver")
                undo = effect.compensate
                if undo and undo.receiver not in self.receivers:
                    raise wrong(
                        f"there is no receiver '{undo.receiver}'", *at, "compensate", "receiver"
                    )
        return self

    @property
    def calls(self) -> list[Call]:
        """Every declared call, the compensations too."""
        effects = [effect for one in self.effects.values() for effect in one]
        return [*effects, *(effect.compensate for effect in effects if effect.compensate)]

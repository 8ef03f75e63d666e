"""Actors: the people, services, schedules and sensors that everything is done by."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from aios.errors import AiosError

Kind = Literal["person", "service", "schedule", "sensor"]
Role = Literal["data_engineer", "ml_engineer", "approver", "reviewer", "operator", "auditor"]

KINDS: tuple[Kind, ...] = get_args(Kind)
ROLES: tuple[Role, ...] = get_args(Role)

# Lower case only: "Alice" and "alice" must not be two pairs of eyes.
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


class NotSignedIn(AiosError):
    """There is no telling who acts, so nothing is allowed."""


@dataclass(frozen=True, order=True)
class Actor:
    """One who acts. Two actors are the same if kind and name are; roles may change.

    Args:
        name: 1 to 64 characters of `a-z`, `0-9` and `._@+-`.
        kind: `person`, `service`, `schedule` or `sensor`.
        roles: What the actor may be asked for; see `access/README.md`.

    Raises:
        AiosError: The name, the kind or a role is none.
    """

    name: str
    kind: Kind
    roles: frozenset[Role] = field(default=frozenset(), compare=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise AiosError(
                f"'{self.name}' is no name of an actor",
                fix="Use 1 to 64 lower-case letters, digits and . _ @ + -",
            )
        if self.kind not in KINDS:
            raise AiosError(f"'{self.kind}' is no kind of actor", fix=f"Use {', '.join(KINDS)}.")
        object.__setattr__(self, "roles", frozenset(self.roles))
        if unknown := sorted(self.roles - set(ROLES)):
            raise AiosError(f"no such role: {', '.join(unknown)}", fix=f"Use {', '.join(ROLES)}.")

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Actor:
        """Return the actor of a text such as `person:alice`, without roles.

        Raises:
            AiosError: The text is of another form.
        """
        kind, colon, name = text.partition(":")
        if not colon or kind not in KINDS:
            raise AiosError(
                f"'{text}' is no actor", fix=f"Write KIND:NAME, with KIND of {', '.join(KINDS)}."
            )
        return cls(name, kind)


GATE = Actor("gate", "service")
"""Judges new versions, inside the training job."""

ROLLOUT = Actor("rollout", "service")
"""Takes a version from shadow over canary to champion, or back."""

REHEARSAL = Actor("rehearsal", "service")
"""Replays an automation's history; it promotes what the gate chose, as of the time it replays."""

DAGSTER = Actor("dagster", "service")
"""Whoever started a run in Dagster's UI, which knows no users, without a token."""

LOCAL = Actor("local", "person", frozenset(ROLES))
"""Whoever sits at an embedded set-up, as long as no person is registered."""

WORKER = Actor("worker", "service")
"""Sends actions, and undoes them."""

DESK = Actor("desk", "service")
"""Decides cases that nobody decided in time: the declared safe outcome, never an approval."""

BUILT_IN = frozenset({GATE, ROLLOUT, REHEARSAL, DAGSTER, LOCAL, WORKER, DESK})

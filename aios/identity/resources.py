"""What actors act upon, and in which situation, as the access rules see it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from aios.errors import AiosError
from aios.identity.actors import Actor

Risk = Literal["minimal", "limited", "high"]
Change = Literal["add", "roles", "disable", "enable", "issue_token", "revoke_token"]


@dataclass(frozen=True)
class Automation:
    """An automation, by its declaration before the act, not after it.

    Attributes:
        name: Its name.
        risk: Its declared risk.
        owners: Its declared owners, e-mail addresses or `team:NAME`.
    """

    name: str
    risk: Risk
    owners: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name

    @property
    def belongs_to(self) -> str | None:
        """The automation under which acts on it are recorded."""
        return self.name

    @property
    def entity(self) -> dict[str, str]:
        """The reference to it in a rule."""
        return {"type": "Automation", "id": self.name}

    def entities(self) -> list[dict[str, Any]]:
        """Return what rules may ask of it."""
        attributes = {
            "name": self.name,
            "risk": value("Risk", self.risk),
            "owners": sorted(self.owners),
        }
        return [{"uid": self.entity, "attrs": attributes, "parents": []}]


@dataclass(frozen=True)
class ModelVersion:
    """A version of an automation's model.

    Attributes:
        automation: The automation that it decides for.
        number: Its number in the registry.
        trained_by: Who trained it; `None` where nobody knows, which no approval gets past.
        requested_by: Who asked for its approval; `None` before anyone did.
    """

    automation: Automation
    number: int
    trained_by: Actor | None = None
    requested_by: Actor | None = None

    def __str__(self) -> str:
        return f"{self.automation.name} version {self.number}"

    @property
    def belongs_to(self) -> str | None:
        """The automation under which acts on it are recorded."""
        return self.automation.name

    @property
    def entity(self) -> dict[str, str]:
        """The reference to it in a rule."""
        return {"type": "ModelVersion", "id": f"{self.automation.name}/{self.number}"}

    def entities(self) -> list[dict[str, Any]]:
        """Return what rules may ask of it and of its automation."""
        attributes: dict[str, Any] = {
            "automation": value("Automation", self.automation.name),
            "number": self.number,
        }
        for name, actor in (("trained_by", self.trained_by), ("requested_by", self.requested_by)):
            if actor is not None:
                attributes[name] = value("Actor", str(actor))
        own = {"uid": self.entity, "attrs": attributes, "parents": []}
        return [own, *self.automation.entities()]


@dataclass(frozen=True)
class Platform:
    """The platform as a whole: its keys, its actors, its record."""

    def __str__(self) -> str:
        return "the platform"

    @property
    def belongs_to(self) -> str | None:
        """The automation under which acts on it are recorded."""
        return None

    @property
    def entity(self) -> dict[str, str]:
        """The reference to it in a rule."""
        return {"type": "Platform", "id": "aios"}

    def entities(self) -> list[dict[str, Any]]:
        """Return the platform, of which rules may ask nothing."""
        return [{"uid": self.entity, "attrs": {}, "parents": []}]


Resource = Automation | ModelVersion | Platform


@dataclass(frozen=True)
class Context:
    """The situation of an act.

    Attributes:
        promotion: The automation's declared `promotion`; `manual` unless it says otherwise.
        approved_by: The people whose approval of this very act is valid now.
        approval_declared: Whether the automation's rollout asks for an approval at this step.
        growing: Whether the version decides a share already.
        reviewed_by: Of a case: whose verdict on it stands.
        subject: Whose access is managed.
        change: What is done to that access.

    Raises:
        AiosError: An approval is by somebody who is not a person.
    """

    promotion: Literal["manual", "automatic"] = "manual"
    approved_by: Collection[Actor] = ()
    approval_declared: bool = False
    growing: bool = False
    reviewed_by: Collection[Actor] | None = None
    subject: Actor | None = None
    change: Change | None = None

    def __post_init__(self) -> None:
        for actor in self.approved_by:
            if actor.kind != "person":
                raise AiosError(f"{actor} approved, but approvals are given by people")

    def attributes(self) -> dict[str, Any]:
        """Return what rules may ask of the situation."""
        found: dict[str, Any] = {
            "promotion": value("Promotion", self.promotion),
            "approved_by": [value("Actor", str(actor)) for actor in sorted(self.approved_by)],
            "approval_declared": self.approval_declared,
            "growing": self.growing,
        }
        if self.reviewed_by is not None:
            found["reviewed_by"] = [value("Actor", str(one)) for one in sorted(self.reviewed_by)]
        if self.subject is not None:
            found["subject"] = value("Actor", str(self.subject))
        if self.change is not None:
            found["change"] = value("Change", self.change)
        return found


def value(entity_type: str, name: str) -> dict[str, Any]:
    """Return the reference to an entity as the value of an attribute."""
    return {"__entity": {"type": entity_type, "id": name}}

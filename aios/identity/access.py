"""May this actor do this? Decided by the rules in `access/`, closed wherever they are silent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from aios.errors import AiosError
from aios.identity.actors import Actor
from aios.identity.resources import Context, Resource, value
from aios.identity.rules import Rule, Rules, read_rules

Action = Literal[
    "promote",
    "advance",
    "request_approval",
    "approve",
    "rollback",
    "restore_alias",
    "adopt_alias",
    "review",
    "override",
    "recall",
    "act",
    "mend",
    "halt",
    "release",
    "change_policy",
    "configure",
    "read_payload",
    "erase",
    "run",
    "rotate_key",
    "manage_access",
    "export_evidence",
]
ACTIONS: tuple[Action, ...] = get_args(Action)

_NOTHING_SPECIAL = Context()


class Denied(AiosError):
    """An act that the rules do not allow.

    Attributes:
        actor: Who wanted to act.
        action: What they wanted to do.
        resource: To what.
        rules: The `@id` of each rule that forbids it; none where no rule permits it.
        open_to: Whom the rules name for the action: roles, and services by name.
    """

    def __init__(
        self,
        why: str,
        *,
        actor: Actor,
        action: str,
        resource: Resource,
        rules: tuple[str, ...],
        open_to: tuple[str, ...],
        fix: str,
    ) -> None:
        self.actor, self.action, self.resource = actor, action, resource
        self.rules, self.open_to = rules, open_to
        super().__init__(f"{actor} may not {action} {resource}: {why}", fix=fix)


@dataclass(frozen=True)
class Access:
    """The rules of one folder, to be asked with `authorise`."""

    rules: Rules

    @classmethod
    def load(cls, folder: Path) -> Access:
        """Read and check a folder of rules; takes some 10 ms.

        Raises:
            AccessError: The rules cannot be used; nothing is allowed then.
        """
        return cls(read_rules(folder))

    @property
    def digest(self) -> str:
        """SHA-256 of the rules and their schema, for the record."""
        return self.rules.digest

    def about(self, action: str, resource: Resource, effect: str) -> list[Rule]:
        """Return the rules of one effect whose head fits an action on a resource."""
        rules = self.rules.by_id.values()
        return [r for r in rules if r.effect == effect and r.covers(action, resource.entity)]

    def open_to(self, action: str, resource: Resource) -> tuple[str, ...]:
        """Return whom the rules name for an action: roles, and services by name."""
        heads = [rule.principal for rule in self.about(action, resource, "permit")]
        return tuple(sorted({head[1] for head in heads if head}))


def authorise(
    access: Access,
    actor: Actor,
    action: Action,
    resource: Resource,
    context: Context = _NOTHING_SPECIAL,
) -> tuple[str, ...]:
    """Let an act pass, or raise.

    Args:
        access: The rules.
        actor: Who acts, with their roles of now.
        action: What they do; one of `ACTIONS`.
        resource: To what, as it was declared before the act.
        context: Approvals and the like.

    Returns:
        The `@id` of each rule that permits it, for the record.

    Raises:
        Denied: A rule forbids it, no rule permits it, or the rules could not be evaluated.
    """
    from cedarpy import is_authorized

    principal = {"type": "Actor", "id": str(actor)}
    found = is_authorized(
        {
            "principal": principal,
            "action": {"type": "Action", "id": action},
            "resource": resource.entity,
            "context": context.attributes(),
        },
        access.rules.policies,
        [
            {
                "uid": principal,
                "attrs": {"name": actor.name, "kind": value("Kind", actor.kind)},
                "parents": [{"type": "Role", "id": role} for role in sorted(actor.roles)],
            },
            *resource.entities(),
        ],
        schema=access.rules.schema,
    )
    names = found.diagnostics.id_annotations_by_reason
    rules = tuple(sorted(names[reason] for reason in found.diagnostics.reasons))
    # Cedar leaves out a rule that it cannot evaluate, be it one that forbids: so none counts then.
    if found.allowed and not found.diagnostics.errors:
        return rules
    why, fix = _explain(access, actor, action, resource, rules, found.diagnostics.errors)
    raise Denied(
        why,
        actor=actor,
        action=action,
        resource=resource,
        rules=rules if not found.allowed else (),
        open_to=access.open_to(action, resource),
        fix=fix,
    )


def _explain(
    access: Access,
    actor: Actor,
    action: str,
    resource: Resource,
    forbidding: tuple[str, ...],
    errors: list[str],
) -> tuple[str, str]:
    """Return why an act is denied, and what to do."""
    if errors:
        # Cedar repeats all it was asked, in brackets, before it says what is wrong.
        said = "; ".join(error.rpartition("]: ")[2] for error in errors)
        return f"the rules cannot be asked: {said}", (
            f"Use one of {', '.join(ACTIONS)} on what access/schema.cedarschema allows for it."
        )
    who = ", ".join(access.open_to(action, resource)) or "nobody by role"
    if forbidding:
        rules = [access.rules.by_id[name] for name in forbidding]
        why = "; ".join(f"rule {rule.id} ({rule.place}): {rule.says}" for rule in rules)
        return why, f"Do what the rule asks for. The action is open to: {who}."
    lines = [_missing(rule, actor) for rule in access.about(action, resource, "permit")]
    why = "no rule permits it." + "".join(f"\n  {line}" for line in lines)
    return why, f"Ask one of those to whom it is open ({who}), or an operator for the role."


def _missing(rule: Rule, actor: Actor) -> str:
    """Return what keeps a rule from permitting an actor's act."""
    says = f"{rule.id} ({rule.place}) would: {rule.says}"
    match rule.principal:
        case ("Role", role) if role not in actor.roles:
            return f"{says} Missing: the role {role}."
        case ("Actor", name) if name != str(actor):
            return f"{says} Missing: to be {name}."
    return f"{says} Missing: its condition."

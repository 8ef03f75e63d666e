"""Actors, automations and cases that the tests of access share."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from aios.identity.access import Access, Action
from aios.identity.actors import GATE, LOCAL, REHEARSAL, ROLES, ROLLOUT, WORKER, Actor, Role
from aios.identity.resources import Automation, Change, Context, ModelVersion, Platform, Resource
from aios.settings import PROJECT

START = datetime(2026, 1, 1, 12)
WEEK = START + timedelta(days=7)
FOLDER = PROJECT / "access"
ACCESS = Access.load(FOLDER)


def person(name: str, *roles: Role) -> Actor:
    return Actor(name, "person", frozenset(roles))


OLGA = person("olga", "operator", "ml_engineer")
BOB = person("bob", "approver")
ALICE = person("alice", "ml_engineer")
DAN = person("dan", "data_engineer")
ANN = person("ann", "approver")
REV = person("rev", "reviewer")
OPS = person("ops", "operator")
AUD = person("aud", "auditor")
NOBODY = person("nobody")
BOT = Actor("bot", "service", frozenset(ROLES))
NIGHTLY = Actor("nightly", "schedule")
WATCH = Actor("watch", "sensor")

LOW, HIGH = Automation("tickets", "limited"), Automation("claims", "high")
PLATFORM = Platform()
TICKETS = ModelVersion(LOW, 3, trained_by=ALICE, requested_by=ALICE)
CLAIMS = ModelVersion(HIGH, 3, trained_by=NIGHTLY, requested_by=ALICE)

NONE = Context()
AUTOMATIC = Context(promotion="automatic")
APPROVED = Context(approved_by=[ANN])
UNSEEN, SEEN = Context(reviewed_by=[]), Context(reviewed_by=[REV])


def managing(subject: Actor, change: Change) -> Context:
    return Context(subject=subject, change=change)


class Case(NamedTuple):
    """A situation, and the rules that permit it or that forbid it (none: no rule permits it)."""

    actor: Actor
    action: Action
    resource: Resource
    context: Context
    allowed: bool
    rules: str


def yes(
    actor: Actor, action: Action, resource: Resource, rules: str, context: Context = NONE
) -> Case:
    return Case(actor, action, resource, context, True, rules)


def no(
    actor: Actor, action: Action, resource: Resource, rules: str = "", context: Context = NONE
) -> Case:
    return Case(actor, action, resource, context, False, rules)


def copy(folder: Path) -> None:
    """Put the project's rules into another folder."""
    for file in FOLDER.glob("*.cedar*"):
        (folder / file.name).write_text(file.read_text())


PROMOTION = [
    yes(ALICE, "promote", TICKETS, "engineer_promotes"),
    no(DAN, "promote", TICKETS),
    no(ANN, "promote", TICKETS),
    no(REV, "promote", TICKETS),
    no(OPS, "promote", TICKETS),
    no(AUD, "promote", TICKETS),
    no(NOBODY, "promote", TICKETS),
    yes(GATE, "promote", TICKETS, "gate_promotes", AUTOMATIC),
    yes(ROLLOUT, "promote", TICKETS, "rollout_promotes", AUTOMATIC),
    no(GATE, "promote", TICKETS, "service_by_hand"),
    no(ROLLOUT, "promote", TICKETS, "service_by_hand"),
    no(BOT, "promote", TICKETS, "service_by_hand"),
    yes(BOT, "promote", TICKETS, "engineer_promotes", AUTOMATIC),
    yes(REHEARSAL, "promote", TICKETS, "rehearsal_promotes", AUTOMATIC),
    no(REHEARSAL, "promote", TICKETS, "service_by_hand"),
    no(WATCH, "promote", TICKETS, "timer_promotes", AUTOMATIC),
    no(Actor("watch", "sensor", frozenset(ROLES)), "promote", TICKETS, "timer_promotes"),
    no(Actor("nightly", "schedule", frozenset(ROLES)), "promote", TICKETS, "timer_promotes"),
    # Four eyes on high risk
    no(ALICE, "promote", CLAIMS, "four_eyes"),
    yes(ALICE, "promote", CLAIMS, "engineer_promotes", APPROVED),
    no(ALICE, "promote", CLAIMS, "four_eyes", Context(approved_by=[ALICE])),
    yes(ALICE, "promote", CLAIMS, "engineer_promotes", Context(approved_by=[ALICE, ANN])),
    no(LOCAL, "promote", CLAIMS, "four_eyes", Context(approved_by=[LOCAL])),
    no(GATE, "promote", CLAIMS, "four_eyes", AUTOMATIC),
    no(ROLLOUT, "promote", CLAIMS, "four_eyes", AUTOMATIC),
    yes(ROLLOUT, "promote", CLAIMS, "rollout_promotes", Context("automatic", [ANN])),
    yes(REHEARSAL, "promote", CLAIMS, "rehearsal_promotes", AUTOMATIC),
    no(BOT, "promote", CLAIMS, "four_eyes", AUTOMATIC),
    yes(BOT, "promote", CLAIMS, "engineer_promotes", Context("automatic", [ANN])),
    no(ALICE, "promote", CLAIMS, "four_eyes", AUTOMATIC),
    no(GATE, "promote", CLAIMS, "four_eyes service_by_hand"),
    no(ROLLOUT, "promote", CLAIMS, "service_by_hand", APPROVED),
    no(ALICE, "promote", ModelVersion(HIGH, 3, None, ALICE), "four_eyes", APPROVED),
    no(ALICE, "promote", ModelVersion(HIGH, 3, ALICE, None), "four_eyes", APPROVED),
    no(ALICE, "promote", ModelVersion(HIGH, 3, ANN, ALICE), "four_eyes", APPROVED),
    no(ALICE, "promote", ModelVersion(HIGH, 3, NIGHTLY, ANN), "four_eyes", APPROVED),
    yes(ALICE, "promote", ModelVersion(LOW, 3), "engineer_promotes"),
]

APPROVAL = [
    yes(ALICE, "request_approval", CLAIMS, "engineer_requests"),
    yes(ALICE, "request_approval", HIGH, "engineer_requests"),
    yes(DAN, "request_approval", HIGH, "data_engineer_requests"),
    no(DAN, "request_approval", CLAIMS),
    yes(GATE, "request_approval", CLAIMS, "gate_requests"),
    yes(ROLLOUT, "request_approval", CLAIMS, "rollout_requests"),
    no(ANN, "request_approval", CLAIMS),
    yes(ANN, "approve", CLAIMS, "approver_approves"),
    yes(ANN, "approve", HIGH, "approver_approves"),
    no(ALICE, "approve", ModelVersion(HIGH, 3, NIGHTLY, ANN)),
    no(OPS, "approve", CLAIMS),
    no(ANN, "approve", ModelVersion(HIGH, 3, ANN, ALICE), "own_model"),
    no(ANN, "approve", ModelVersion(HIGH, 3, ALICE, ANN), "own_model"),
    no(ANN, "approve", ModelVersion(LOW, 3, ANN, ANN), "own_model"),
    no(ANN, "approve", ModelVersion(HIGH, 3, None, ALICE), "own_model"),
    no(ANN, "approve", ModelVersion(HIGH, 3, ALICE, None), "own_model"),
    no(BOT, "approve", CLAIMS, "people_approve"),
    no(BOT, "approve", HIGH, "people_approve"),
]

WAY_BACK = [
    yes(OPS, "rollback", CLAIMS, "operator_rolls_back"),
    yes(ALICE, "rollback", CLAIMS, "engineer_rolls_back"),
    yes(ROLLOUT, "rollback", CLAIMS, "rollout_rolls_back"),
    yes(OPS, "rollback", HIGH, "operator_rolls_back"),
    no(GATE, "rollback", CLAIMS),
    no(WATCH, "rollback", CLAIMS),
    no(ANN, "rollback", CLAIMS),
    no(AUD, "rollback", CLAIMS),
    yes(WATCH, "restore_alias", HIGH, "sensor_restores"),
    yes(OPS, "restore_alias", HIGH, "operator_restores"),
    yes(ALICE, "restore_alias", HIGH, "engineer_restores"),
    no(NIGHTLY, "restore_alias", HIGH),
    yes(WATCH, "adopt_alias", LOW, "sensor_adopts"),
    yes(ALICE, "adopt_alias", LOW, "engineer_adopts"),
    no(OPS, "adopt_alias", LOW),
    no(WATCH, "adopt_alias", HIGH, "high_risk_adopts"),
    no(ALICE, "adopt_alias", HIGH, "high_risk_adopts"),
]

DECISIONS = [
    yes(REV, "override", HIGH, "reviewer_overrides"),
    no(OPS, "override", HIGH),
    no(ALICE, "override", HIGH),
    no(BOT, "override", HIGH, "people_override"),
    yes(REV, "review", HIGH, "reviewer_reviews", UNSEEN),
    yes(ANN, "review", HIGH, "approver_reviews", SEEN),
    no(REV, "review", HIGH, "second_person", SEEN),
    no(BOT, "review", HIGH, "people_review", UNSEEN),
    no(OPS, "review", HIGH, "", UNSEEN),
    yes(OPS, "recall", HIGH, "operator_recalls"),
    yes(ALICE, "recall", HIGH, "engineer_recalls"),
    no(BOT, "recall", HIGH, "people_recall"),
    no(REV, "recall", HIGH),
    yes(WORKER, "act", HIGH, "worker_acts"),
    no(OPS, "act", HIGH),
    no(BOT, "act", HIGH),
    yes(OPS, "mend", HIGH, "operator_mends"),
    no(BOT, "mend", HIGH, "people_mend"),
    no(REV, "mend", HIGH),
    yes(OPS, "halt", PLATFORM, "operator_halts"),
    yes(ALICE, "halt", HIGH, "engineer_halts"),
    yes(REV, "halt", HIGH, "reviewer_halts"),
    yes(ANN, "halt", HIGH, "approver_halts"),
    no(AUD, "halt", HIGH),
    yes(OPS, "release", PLATFORM, "operator_releases"),
    no(BOT, "release", HIGH, "people_release"),
    no(REV, "release", HIGH),
    yes(REV, "read_payload", HIGH, "reviewer_reads"),
    yes(AUD, "read_payload", HIGH, "auditor_reads"),
    yes(AUD, "read_payload", PLATFORM, "auditor_reads"),
    no(ALICE, "read_payload", HIGH),
    no(OPS, "read_payload", HIGH),
    yes(AUD, "erase", PLATFORM, "auditor_erases"),
    no(REV, "erase", HIGH),
    no(OPS, "erase", HIGH),
    no(BOT, "erase", HIGH, "people_erase"),
    yes(AUD, "export_evidence", HIGH, "auditor_exports"),
    yes(ANN, "export_evidence", HIGH, "approver_exports"),
    yes(ALICE, "export_evidence", HIGH, "engineer_exports"),
    no(REV, "export_evidence", HIGH),
]

OPERATIONS = [
    yes(DAN, "run", HIGH, "data_engineer_runs"),
    yes(ALICE, "run", HIGH, "engineer_runs"),
    yes(OPS, "run", HIGH, "operator_runs"),
    yes(NIGHTLY, "run", HIGH, "timer_runs"),
    yes(WATCH, "run", HIGH, "timer_runs"),
    no(AUD, "run", HIGH),
    no(Actor("stranger", "service"), "run", HIGH),
    yes(ALICE, "change_policy", LOW, "engineer_changes_policy"),
    yes(DAN, "change_policy", LOW, "data_engineer_changes_policy"),
    no(OPS, "change_policy", LOW),
    no(DAN, "change_policy", HIGH, "four_eyes_change"),
    no(DAN, "change_policy", HIGH, "four_eyes_change", Context(approved_by=[DAN])),
    yes(DAN, "change_policy", HIGH, "data_engineer_changes_policy", APPROVED),
    yes(ALICE, "configure", LOW, "engineer_configures"),
    yes(DAN, "configure", LOW, "data_engineer_configures"),
    no(DAN, "configure", HIGH, "four_eyes_change"),
    yes(OPS, "configure", PLATFORM, "operator_configures"),
    no(OPS, "configure", LOW),
    no(DAN, "configure", PLATFORM),
    no(ALICE, "configure", PLATFORM),
    yes(DAN, "configure", HIGH, "data_engineer_configures", APPROVED),
    yes(OPS, "rotate_key", PLATFORM, "operator_rotates"),
    no(ALICE, "rotate_key", PLATFORM),
    no(BOT, "rotate_key", PLATFORM, "people_rotate"),
    yes(OPS, "manage_access", PLATFORM, "operator_manages", managing(DAN, "roles")),
    no(OPS, "manage_access", PLATFORM, "own_roles", managing(OPS, "roles")),
    yes(OPS, "manage_access", PLATFORM, "operator_manages", managing(OPS, "issue_token")),
    no(ALICE, "manage_access", PLATFORM, "", managing(DAN, "roles")),
    no(ALICE, "manage_access", PLATFORM, "", managing(ALICE, "issue_token")),
    yes(ALICE, "manage_access", PLATFORM, "own_token", managing(ALICE, "revoke_token")),
    no(ALICE, "manage_access", PLATFORM, "", managing(DAN, "revoke_token")),
    no(BOT, "manage_access", PLATFORM, "people_manage", managing(DAN, "add")),
]

DECLARED = Context("automatic", approval_declared=True)
DECLARED_APPROVED = Context("automatic", [ANN], approval_declared=True)
GROWING = Context("automatic", growing=True)

ROLLING_OUT = [
    yes(ALICE, "advance", TICKETS, "engineer_advances"),
    no(OPS, "advance", TICKETS),
    no(GATE, "advance", TICKETS, "", AUTOMATIC),
    yes(ROLLOUT, "advance", TICKETS, "rollout_advances", AUTOMATIC),
    no(ROLLOUT, "advance", TICKETS, "service_by_hand"),
    yes(REHEARSAL, "advance", TICKETS, "rehearsal_advances", AUTOMATIC),
    no(WATCH, "advance", TICKETS, "timer_promotes", AUTOMATIC),
    no(ROLLOUT, "advance", CLAIMS, "four_eyes", AUTOMATIC),
    yes(ROLLOUT, "advance", CLAIMS, "rollout_advances", Context("automatic", [ANN])),
    yes(ROLLOUT, "advance", CLAIMS, "rollout_advances", GROWING),
    yes(REHEARSAL, "advance", CLAIMS, "rehearsal_advances", AUTOMATIC),
    no(ALICE, "advance", TICKETS, "declared_approval", DECLARED),
    no(ROLLOUT, "promote", TICKETS, "declared_approval", DECLARED),
    no(ROLLOUT, "promote", CLAIMS, "declared_approval four_eyes", DECLARED),
    yes(ROLLOUT, "advance", TICKETS, "rollout_advances", DECLARED_APPROVED),
    no(
        ALICE,
        "advance",
        TICKETS,
        "declared_approval",
        Context("automatic", [ALICE], approval_declared=True),
    ),
    yes(REHEARSAL, "advance", TICKETS, "rehearsal_advances", DECLARED),
]

CASES = [*PROMOTION, *ROLLING_OUT, *APPROVAL, *WAY_BACK, *DECISIONS, *OPERATIONS]

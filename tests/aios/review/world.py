"""An automation whose decisions wait for people, on real parts, with a clock that tests set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from aios.actions.tables import ACTIONS
from aios.automation import Automation
from aios.consequences import decided_rows, follow
from aios.digest import row_digests
from aios.identity.access import Access
from aios.identity.actors import Actor, Role
from aios.lake import Lake
from aios.record.log import Log, open_log
from aios.review.desk import Desk
from aios.review.queue import Case, queue
from aios.review.tables import CASES
from aios.settings import PROJECT, Settings
from tests.conftest import settings_in, write_automation

NOW = datetime(2024, 3, 4, 12)
KEY = "2024-02-26"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ACCESS = Access.load(PROJECT / "access")
REVIEW: dict[str, Any] = {
    "outcomes": ["approve", "partly", "block"],
    "approving": ["approve", "partly"],
    "safe": "block",
    "proposals": [{"when": "score < 0.5", "outcome": "approve"}],
    "within": "2d",
    "due": [{"when": "amount >= 50000", "within": "4h"}],
    "four_eyes": "amount >= 90000",
    "reasons": ["agreed", "wrong_data"],
    "labels": {"approve": 0.0, "block": 1.0},
    "seeded": 0.0,
    "double": 0.0,
    "hidden": 0.0,
}
ACTIONS_DECLARED: dict[str, Any] = {
    "receivers": {"bank": {"kind": "files", "address": "out"}},
    "effects": {
        "approve": [
            {
                "type": "pay",
                "receiver": "bank",
                "body": "effects:pay",
                "compensate": {"type": "claim_back", "receiver": "bank", "body": "effects:back"},
            },
            {"type": "tell", "receiver": "bank", "body": "effects:tell"},
        ],
        "block": [{"type": "refuse", "receiver": "bank", "body": "effects:tell"}],
    },
}
EFFECTS = """
def pay(decision):
    return {"loan": decision["loan_id"], "amount": decision["amount"]}


def back(payload, receipt):
    return {"loan": payload["loan"]}


def tell(decision):
    return {"loan": decision["loan_id"], "outcome": decision["outcome"]}
"""


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def forward(self, span: timedelta) -> None:
        self.time += span


def person(name: str, *roles: Role) -> Actor:
    return Actor(name, "person", frozenset(roles or ("reviewer",)))


ANN, BOB, CID = person("ann"), person("bob"), person("cid")
EVE, FAY = person("eve", "approver"), person("fay", "reviewer", "approver")


@dataclass
class World:
    """A desk, its automation and what it works on."""

    automation: Automation
    log: Log
    desk: Desk
    settings: Settings
    clock: Clock = field(default_factory=Clock)

    @property
    def lake(self) -> Lake:
        return Lake(self.settings.home / "lake" / self.automation.name)

    def decide(self, rows: Sequence[dict[str, Any]], key: str = KEY, **options: Any) -> None:
        """Let a partition's decisions be these, and have their consequences."""
        write_decided(self.lake, self.automation, rows, key)
        self.follow(key, **options)

    def follow(self, key: str = KEY, *, rehearsed: bool = False) -> int:
        with self.log.transaction() as transaction:
            now = self.clock()
            followed = follow(
                transaction.connection,
                self.automation,
                self.lake,
                key,
                now=now,
                rehearsed=rehearsed,
            )
        return followed.cases

    def decided(self, key: str = KEY) -> pl.DataFrame:
        return decided_rows(self.automation, self.lake, key)

    def cases(self, **filters: Any) -> list[Case]:
        return queue(self.log.database, now=self.clock(), limit=500, **filters).cases

    def case(self, number: int) -> Case:
        return next(case for case in self.cases() if case.event == str(number))

    def rows(self, table: sa.Table = CASES, *wanted: Any) -> list[Any]:
        with self.log.database.reading() as connection:
            return list(connection.execute(sa.select(table).where(*wanted)).all())

    def effects(self, number: int | None = None) -> dict[str, str]:
        """The state of each action of a loan's decisions, by type."""
        found = self.rows(ACTIONS)
        return {
            row.type: row.state
            for row in sorted(found, key=lambda row: row.created_at)
            if number is None or f"/{number}@" in row.decision
        }

    def leaves(self, kind: str | None = None) -> list[Any]:
        return list(self.log.entries(kind=kind))

    def declare(self, **review: Any) -> None:
        """Change how reviews are declared, for what is opened and decided from now on."""
        spec = self.automation.spec
        assert spec.review
        changed = spec.review.model_copy(update=review)
        spec = spec.model_copy(update={"review": changed})
        self.automation = replace(self.automation, spec=spec)
        self.desk = replace(self.desk, automations={self.automation.name: self.automation})


def make_world(
    directory: Path, *, actions: bool = True, database: str | None = None, **review: Any
) -> World:
    """An automation of loans below a directory, with its desk; nothing is decided yet."""
    settings = settings_in(directory)
    settings = replace(settings, record=database or settings.record)
    extra = {"actions": ACTIONS_DECLARED} if actions else {}
    folder = write_automation(
        settings.automations / "loans",
        review=REVIEW | review,
        files={"effects.py": EFFECTS},
        table=pl.DataFrame(),
        **extra,
    )
    automation = Automation.load(folder, settings)
    log, clock = open_log(settings), Clock()
    desk = Desk(log, ACCESS, {automation.name: automation}, settings.home, clock)
    return World(automation, log, desk, settings, clock)


def took(world: World, number: int, actor: Actor = ANN) -> str:
    """Let an actor take the case of a loan; returns its id."""
    return world.desk.take(actor, world.case(number).id).id


def loan(number: int, **values: Any) -> dict[str, Any]:
    """A loan that waits for a person, unless the values say otherwise."""
    return {
        "loan_id": number,
        "customer": f"c{number % 7}",
        "amount": 30_000.0,
        "region": "north",
        "revision": 0,
        "score": 0.45,
        "outcome": "review",
        "rule": "unclear",
        "fired": "",
        "model_version": 3,
    } | values


def write_decided(
    lake: Lake, automation: Automation, loans: Sequence[dict[str, Any]], key: str
) -> None:
    """Write what a run leaves of a partition: events, features, decisions."""
    schema = {"score": pl.Float64, "amount": pl.Float64, "model_version": pl.Int64}
    start = datetime.fromisoformat(key)
    frame = pl.DataFrame(list(loans), schema_overrides=schema, infer_schema_length=None)
    frame = frame.with_columns(
        pl.lit(start).cast(pl.Datetime("us")).alias("event_time"),
        pl.lit(start).cast(pl.Datetime("us")).alias("known_at"),
        pl.lit(automation.policy.hash).alias("policy_hash"),
        pl.lit("0" * 12).alias("code_version"),
    )
    identity = ["loan_id", "revision"]
    times = ["event_time", "known_at"]
    lake.write("events", key, frame.select(*identity, "customer", *times, "amount", "region"))
    features = frame.select(
        *identity,
        "amount",
        (pl.col("amount") + 1).log().alias("log_amount"),
        "region",
        pl.lit(1.0).alias("loans_28d"),
    )
    lake.write("features", key, features)
    decided = frame.select(
        *identity,
        "customer",
        *times,
        *("outcome", "rule", "fired", "score", "model_version", "policy_hash", "code_version"),
        row_digests(features).alias("feature_digest"),
    )
    lake.write("decisions", key, decided)

"""Five reviewers at once, each a thread with connections of its own, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from aios.actions.tables import ACTIONS
from aios.errors import AiosError
from aios.review.labels import verdict_labels
from aios.review.queue import counts, queue
from aios.review.tables import CASES, VERDICTS
from tests.aios.review.world import ANN, BOB, CID, DAY, EVE, FAY, HOUR, NOW, World, loan, make_world

pytestmark = pytest.mark.loop

PEOPLE = [ANN, BOB, CID, EVE, FAY]
LOANS = 120


@pytest.fixture(params=["sqlite", "postgres"])
def crowded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("postgres").create(f"crowd_{tmp_path.name.lower()}"[:60])
    world = make_world(tmp_path, database=url, double=0.3, hidden=0.2)
    world.decide([loan(n, amount=95_000.0 if n % 4 == 0 else 100.0) for n in range(LOANS)])
    yield world
    world.log.database.engine.dispose()


def work(world: World, who: int) -> list[str]:
    """Decide case after case until none is left; every seventh verdict is undone once."""
    actor, done = PEOPLE[who], []
    while case := world.desk.next(actor):
        outcome = "block" if int(case.event) % 3 else "approve"
        options = {"outcome": outcome} if outcome != case.proposal else {}
        verdict = "change" if options else "approve"
        # What another undoes meanwhile is theirs again, and what another rests on stays.
        with suppress(AiosError):
            done.append(world.desk.decide(actor, case.id, verdict, reason="agreed", **options).id)
            if len(done) % 7 == 0:
                world.desk.undo(actor, done[-1])
                done.append(
                    world.desk.decide(actor, case.id, verdict, reason="agreed", **options).id
                )
    return done


def test_a_crowd_at_one_queue(crowded: World) -> None:
    with ThreadPoolExecutor(len(PEOPLE)) as pool:
        given = [one for some in pool.map(lambda n: work(crowded, n), range(5)) for one in some]
    rows = crowded.rows(CASES)
    assert len(rows) == LOANS
    assert {row.state for row in rows} == {"closed"}
    verdicts = crowded.rows(VERDICTS)
    assert sorted(row.id for row in verdicts) == sorted(given)
    standing = [row for row in verdicts if row.undone_at is None]
    for row in rows:
        theirs = [one.reviewer for one in standing if one.case == row.id]
        needed = 2 if row.double or (row.four_eyes and row.outcome == "approve") else 1
        assert len(theirs) == len(set(theirs)) == needed
        paid = crowded.rows(
            ACTIONS, ACTIONS.c.decision == row.decision, ACTIONS.c.state.in_(["pending", "waiting"])
        )
        wanted = {"approve": ["pay", "tell"], "block": ["refuse"]}[row.outcome]
        assert sorted(one.type for one in paid) == wanted
    assert crowded.log.verify().problems == []
    known = verdict_labels(crowded.log.database, crowded.automation, NOW, NOW + HOUR)
    assert known.height == LOANS


def test_everything_else_on_both(crowded: World) -> None:
    database, cause = crowded.log.database, crowded.case(1).cause
    page = queue(database, now=NOW, state="open", limit=7)
    assert (len(page.cases), page.total) == (7, LOANS)
    assert len(queue(database, now=NOW, after=page.after, limit=500).cases) == LOANS - 7
    (count,) = counts(database, now=NOW)
    assert (count.waiting, count.held, count.overdue) == (LOANS, 0, 0)
    batch = crowded.desk.decide_all(ANN, "loans", cause, "reject", reason="agreed", limit=500)
    assert len(batch.cases) == count.alike
    crowded.desk.undo(ANN, batch.id)
    crowded.follow()
    crowded.clock.forward(3 * DAY)
    assert crowded.desk.time_out() == LOANS
    assert verdict_labels(database, crowded.automation, NOW, NOW + 9 * DAY).is_empty()
    assert crowded.log.verify().problems == []

"""While a champion's files are damaged, the one before it decides, and it is on record."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlparse

import pytest

from aios.errors import AiosError
from model_registry import formats
from model_registry.champion import champion, promote, rollback
from model_registry.formats import FrameScorer
from model_registry.loading import load_or_before, verify
from model_registry.registry import ModelVersion, Registry
from tests.model_registry.claims import NAME, registry_at
from tests.model_registry.recipes import frame

pytestmark = pytest.mark.loop

START = datetime(2026, 1, 1)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return registry_at(tmp_path, own=True)


def decide(registry: Registry, *steps: int) -> ModelVersion:
    """Promote versions one after the other, or roll back to one: -2 returns to version 2."""
    for day, number in enumerate(steps):
        given = {"at": START + timedelta(days=day), "by": "person:alice", "reason": "so"}
        if number > 0:
            promote(registry, NAME, number, **given)  # type: ignore[arg-type]
        else:
            rollback(registry, NAME, to=-number, **given)  # type: ignore[arg-type]
    present = champion(registry, NAME)
    assert present is not None
    return present


def model_of(registry: Registry, number: int) -> Path:
    return Path(urlparse(registry.get(NAME, number).source).path, "model.skops")


def damage(registry: Registry, *numbers: int) -> None:
    for number in numbers:
        path = model_of(registry, number)
        path.write_bytes(path.read_bytes() + b"\0")


def load(registry: Registry, version: ModelVersion) -> tuple[int, FrameScorer, list[str]]:
    deciding, scorer, lost = load_or_before(registry, version, formats.load)
    assert len(scorer.score(frame(5))) == 5
    return deciding.number, scorer, lost


def incidents(registry: Registry) -> list[int]:
    found = list(registry.log.entries(kind="incident"))
    assert {(one.actor, one.automation) for one in found} <= {("service:registry", NAME)}
    return [one.body["version"] for one in found]


def test_one_that_is_whole_decides_itself(registry: Registry) -> None:
    number, _, lost = load(registry, decide(registry, 1, 2))
    assert (number, lost, incidents(registry)) == (2, [], [])


def test_the_one_before_decides_and_it_is_recorded_once(registry: Registry) -> None:
    present = decide(registry, 1, 2)
    damage(registry, 2)
    for _ in range(3):
        number, _, lost = load(registry, present)
        assert number == 1
        (why,) = lost
        assert "claims version 2: its file model.skops changed after registration" in why
    assert incidents(registry) == [2]
    (entry,) = registry.log.entries(kind="incident")
    assert "model.skops" in entry.body["why"]
    # Who decides by the ledger is still the same: a damaged file promotes and withdraws nobody.
    assert champion(registry, NAME) == present


def test_mended_it_decides_again(registry: Registry) -> None:
    present = decide(registry, 1, 2)
    saved = model_of(registry, 2).read_bytes()
    damage(registry, 2)
    assert load(registry, present)[0] == 1
    model_of(registry, 2).write_bytes(saved)
    number, _, lost = load(registry, present)
    assert (number, lost) == (2, [])


def test_as_far_back_as_needed(registry: Registry) -> None:
    present = decide(registry, 1, 2, 3)
    damage(registry, 2, 3)
    number, _, lost = load(registry, present)
    assert (number, len(lost), incidents(registry)) == (1, 2, [3, 2])


def test_where_none_loads_it_says_why_of_the_champion(registry: Registry) -> None:
    present = decide(registry, 1, 2)
    damage(registry, 1, 2)
    with pytest.raises(AiosError, match=r"claims version 2: its file model\.skops"):
        load(registry, present)
    assert incidents(registry) == [2, 1]


def test_without_a_champion_before_it(registry: Registry) -> None:
    present = decide(registry, 1)
    damage(registry, 1)
    with pytest.raises(AiosError, match="claims version 1"):
        load(registry, present)


@pytest.mark.parametrize(
    ("steps", "damaged", "decides"),
    [
        ((1, 2, 3, -2), [2], 1),  # not 3, which was rolled back
        ((1, 2, -1, 3), [3], 1),  # not 2
        ((1, 2, -1, 2), [2], 1),  # promoted again after it was rolled back
        ((1, 2, 1), [1], 2),  # promoted again, not rolled back to
    ],
)
def test_what_was_rolled_back_does_not_come_back(
    registry: Registry, steps: tuple[int, ...], damaged: list[int], decides: int
) -> None:
    present = decide(registry, *steps)
    damage(registry, *damaged)
    assert load(registry, present)[0] == decides


def test_one_withdrawn_leaves_no_champion_to_fall_back_on(registry: Registry) -> None:
    present = decide(registry, 1, 2, -1)
    damage(registry, 1)
    with pytest.raises(AiosError, match="claims version 1"):
        load(registry, present)


def test_a_champion_of_the_past_falls_back_on_its_own_past(registry: Registry) -> None:
    decide(registry, 1, 2, 3)
    damage(registry, 2)
    assert load(registry, registry.get(NAME, 2))[0] == 1


def test_what_is_damaged_is_not_promoted(registry: Registry) -> None:
    decide(registry, 1)
    damage(registry, 2)
    shutil.rmtree(model_of(registry, 3).parent)
    for number, says in ((2, "changed after registration"), (3, "its artefact is missing")):
        with pytest.raises(AiosError, match=says):
            verify(registry, registry.get(NAME, number))
        with pytest.raises(AiosError, match=says):
            decide(registry, number)
    assert champion(registry, NAME) == registry.get(NAME, 1)
    assert [entry.body["version"] for entry in registry.log.entries(kind="promotion")] == [1]

"""A retrain is due because of what was measured, and never within the cool-down."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from aios.declaration import load_spec
from aios.retraining import MEMORY, Facts, retrain_reason
from aios.spec import Spec
from tests.conftest import write_automation

pytestmark = pytest.mark.unit

NOW = datetime(2024, 5, 6)
QUIET = Facts(
    at=NOW,
    labels=410,
    trained_on=400,
    last_try=NOW - timedelta(days=28),
    drift=["stable", "stable"],
    performance="stable",
    has_champion=True,
)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return load_spec(write_automation(tmp_path / "loans"))


def with_triggers(spec: Spec, *triggers: str) -> Spec:
    return spec.model_copy(
        update={"retrain": spec.retrain.model_copy(update={"triggers": list(triggers)})}
    )


def test_nothing_measured_is_no_reason(spec: Spec) -> None:
    assert retrain_reason(spec, QUIET) is None


@pytest.mark.parametrize(
    ("measured", "trigger", "says"),
    [
        ({"drift": ["stable", "drift", "drift"]}, "drift", "drift in 2 consecutive partitions"),
        ({"performance": "worse"}, "performance", "performance is worse"),
        ({"labels": 500}, "labels", "100 new labels since the latest training on 400"),
    ],
)
def test_each_measurement_is_a_reason_where_it_is_a_trigger(
    spec: Spec, measured: dict[str, object], trigger: str, says: str
) -> None:
    facts = replace(QUIET, **measured)  # type: ignore[arg-type]
    assert says in str(retrain_reason(spec, facts))
    assert says in str(retrain_reason(with_triggers(spec, trigger), facts))
    others = {"drift", "performance", "labels"} - {trigger}
    assert retrain_reason(with_triggers(spec, *others), facts) is None
    resting = replace(facts, last_try=NOW - timedelta(days=27))
    assert retrain_reason(spec, resting) is None


@pytest.mark.parametrize(
    "verdicts",
    ["", "drift", "drift stable", "drift insufficient drift", "drift drift stable"],
)
def test_drift_that_is_not_confirmed_is_no_reason(spec: Spec, verdicts: str) -> None:
    assert retrain_reason(spec, replace(QUIET, drift=verdicts.split())) is None


def test_insufficient_evidence_is_no_reason(spec: Spec) -> None:
    facts = replace(QUIET, performance="insufficient", drift=["insufficient"] * 3)
    assert retrain_reason(spec, facts) is None


def test_the_first_training_waits_for_enough_labels_only(spec: Spec) -> None:
    first = replace(QUIET, last_try=None, trained_on=0, has_champion=False, drift=[])
    assert "first training" in str(retrain_reason(spec, replace(first, labels=100)))
    assert retrain_reason(spec, replace(first, labels=99)) is None


def test_without_a_champion_new_labels_are_a_reason(spec: Spec) -> None:
    none = replace(QUIET, has_champion=False)
    assert "no champion" in str(retrain_reason(spec, none))
    assert retrain_reason(spec, replace(none, labels=400)) is None
    assert retrain_reason(spec, replace(none, last_try=NOW)) is None


def test_growth_is_measured_against_a_bounded_memory(spec: Spec) -> None:
    long = replace(QUIET, trained_on=100_000, labels=100_000 + MEMORY // 4)
    assert f"{MEMORY // 4} new labels" in str(retrain_reason(spec, long))
    assert retrain_reason(spec, replace(long, labels=long.labels - 1)) is None

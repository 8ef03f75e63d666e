"""Rollouts as declared, and the places of units: uniform, kept for ever, never taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aios.declaration import load_spec
from aios.errors import AiosError
from aios.rollouts import METRICS, OF_LABELS, Rollout, places
from tests.conftest import write_automation

pytestmark = pytest.mark.unit

TEXT = """\
rollout:
  canary: [0.05, 0.25, 0.5]
  unit: entity
  metrics:
    loss: {margin: 0.1}
    latency: {critical: true}
  error_rate: 0.05
  min_rows: 100
  matured: 0.8
  reopen: 60d
  patience: 12
  newer: queue
  approvals: [champion]
  targets: {detection: 0.8}
"""
Declare = Callable[[str], Any]
PINNED = [0.8539540652458257, 0.24271788204504446, 0.6441475482930435, 0.045866569014649916]


@pytest.fixture
def declare(tmp_path: Path) -> Declare:
    """Load a declaration that ends with a text; the first line of the text is its line 1."""
    folder = write_automation(tmp_path / "loans", costs=None)

    def load(text: str) -> Any:
        path = folder / "defs.yaml"
        before = path.read_text()
        assert before.count("\nattributes:\n") == 1
        path.write_text(before + "".join(f"  {line}\n" for line in text.splitlines()))
        try:
            return load_spec(folder).rollout
        except AiosError as error:
            file, _, line = error.where.rpartition(":")
            assert file == str(path)
            error.where = str(int(line) - len(before.splitlines()))
            raise

    return load


class TestDeclaration:
    def test_whole(self, declare: Declare) -> None:
        rollout = declare(TEXT)
        assert rollout.canary == [0.05, 0.25, 0.5]
        assert (rollout.reopen, rollout.newer) == (timedelta(days=60), "queue")
        assert (rollout.metrics["loss"].margin, rollout.metrics["loss"].critical) == (0.1, True)
        assert rollout.metrics["latency"].critical
        assert rollout.metrics["latency"].margin == METRICS["latency"].margin
        assert rollout.metrics.keys() == METRICS.keys()
        assert (rollout.targets.detection, rollout.approvals) == (0.8, ["champion"])

    def test_none_where_nothing_is_declared(self, declare: Declare) -> None:
        assert declare("") is None

    def test_what_need_not_be_said(self, declare: Declare) -> None:
        rollout = declare("rollout: {}")
        assert rollout == Rollout()
        assert rollout.metrics == METRICS
        assert (rollout.unit, rollout.error_rate, rollout.approvals) == ("entity", 0.05, [])
        assert any(METRICS[name].critical for name in METRICS)
        assert set(OF_LABELS) <= METRICS.keys()

    def test_naming_a_metric_leaves_the_usual_ones_as_they_are(self) -> None:
        Rollout.model_validate({"metrics": {"loss": {"margin": 0.9}}})
        assert METRICS["loss"].margin == 0.1
        assert Rollout().metrics == METRICS

    @pytest.mark.parametrize(
        ("old", "new", "line", "field", "allowed"),
        [
            ("[0.05, 0.25, 0.5]", "[0.05, 0.5, 0.25]", 2, "canary.1", "larger than the one"),
            ("[0.05, 0.25, 0.5]", "[0.05, 0.05]", 2, "canary.0", "larger than the one"),
            ("[0.05, 0.25, 0.5]", "[0, 0.25]", 2, "canary.0", "greater than 0"),
            ("[0.05, 0.25, 0.5]", "[0.05, 1]", 2, "canary.1", "less than 1"),
            ("[0.05, 0.25, 0.5]", "[5, 25]", 2, "canary.0", "less than 1"),
            ("[0.05, 0.25, 0.5]", "[.nan]", 2, "canary.0", "less than 1"),
            ("unit: entity", "unit: region", 3, "unit", "'entity' or 'id'"),
            ("margin: 0.1", "margin: 0", 5, "metrics.loss.margin", "greater than 0"),
            ("margin: 0.1", "margins: 0.1", 5, "metrics.loss.margins", "not permitted"),
            ("latency:", "speed:", 6, "metrics.speed", "'latency'"),
            ("error_rate: 0.05", "error_rate: 5", 7, "error_rate", "less than 1"),
            ("min_rows: 100", "min_rows: 5", 8, "min_rows", "greater than or equal to 20"),
            ("matured: 0.8", "matured: 80", 9, "matured", "less than 1"),
            ("reopen: 60d", "reopen: 60", 10, "reopen", "30d, 12h, 90m or 20s"),
            ("patience: 12", "patience: 0", 11, "patience", "greater than or equal to 1"),
            ("newer: queue", "newer: wait", 12, "newer", "'queue' or 'supersede'"),
            ("[champion]", "[shadow]", 13, "approvals.0", "'canary' or 'champion'"),
            ("detection: 0.8", "detection: 80", 14, "targets.detection", "less than 1"),
            ("patience: 12", "patient: 12", 11, "patient", "not permitted"),
        ],
    )
    def test_a_wrong_value_names_line_field_and_what_is_allowed(
        self, declare: Declare, old: str, new: str, line: int, field: str, allowed: str
    ) -> None:
        assert TEXT.count(old) == 1
        with pytest.raises(AiosError) as error:
            declare(TEXT.replace(old, new))
        assert f"field 'rollout.{field}" in error.value.what
        assert allowed in error.value.what
        assert error.value.where == str(line)
        assert error.value.fix

    def test_nothing_critical_is_refused(self, declare: Declare) -> None:
        text = "rollout:\n  metrics:\n    loss: {critical: false}\n    errors: {critical: false}\n"
        with pytest.raises(AiosError, match="one metric must be critical") as error:
            declare(text)
        assert error.value.where == "2"


def counts(found: np.ndarray, cells: int) -> np.ndarray:
    return np.bincount((found * cells).astype(int), minlength=cells)


class TestPlaces:
    def test_of_the_first_units_for_ever(self) -> None:
        """What these are now they stay: a unit that moved would be decided by another model."""
        found = places(["c1", "c2", 17, None], "claims/2")
        assert found.tolist() == pytest.approx(PINNED, abs=1e-12)

    @pytest.mark.parametrize("salt", ["claims/2", "claims/3", ""])
    @pytest.mark.parametrize("kind", [str, int])
    def test_uniform(self, salt: str, kind: Callable[[int], Any]) -> None:
        from scipy import stats

        found = places([kind(number) for number in range(50_000)], salt)
        assert found.dtype == np.float64
        assert found.min() >= 0
        assert found.max() < 1
        assert stats.chisquare(counts(found, 100)).pvalue > 0.001
        assert stats.kstest(found, "uniform").pvalue > 0.001

    def test_salts_have_nothing_to_do_with_each_other(self) -> None:
        from scipy import stats

        units = [f"c{number}" for number in range(50_000)]
        one, other = places(units, "claims/2"), places(units, "claims/3")
        table = np.histogram2d(one, other, bins=10, range=[[0, 1], [0, 1]])[0]
        assert stats.chi2_contingency(table).pvalue > 0.001
        assert abs(np.mean(one < 0.05) - 0.05) < 0.005
        both = np.mean((one < 0.05) & (other < 0.05))
        assert abs(both - 0.0025) < 0.001

    @given(
        st.lists(st.text() | st.integers(), min_size=1, max_size=30),
        st.text(),
        st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8).map(sorted),
    )
    def test_while_shares_grow_nobody_is_taken_back(
        self, units: list[Any], salt: str, shares: list[float]
    ) -> None:
        chosen = [places(units, salt) < share for share in shares]
        for smaller, larger in pairwise(chosen):
            assert not (smaller & ~larger).any()

    @given(
        st.lists(
            st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none(),
            max_size=20,
        ),
        st.randoms(),
    )
    def test_of_a_unit_whoever_stands_beside_it(self, units: list[Any], rng: Any) -> None:
        alone = {repr(unit): places([unit], "s")[0] for unit in units}
        shuffled = rng.sample(units, len(units))
        assert places(shuffled, "s").tolist() == [alone[repr(unit)] for unit in shuffled]

    def test_a_unit_counts_by_its_text(self) -> None:
        assert places([17], "s") == places(["17"], "s")
        one, other = places([1, 1.0], "s")
        assert one == places([1], "s")
        assert other == places([1.0], "s")

    def test_of_nothing(self) -> None:
        assert places([], "s").shape == (0,)

"""The clock: wall time outside, the rehearsed moment inside a block."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aios import clock

pytestmark = pytest.mark.unit

THEN = datetime(1994, 5, 1)


def test_now_is_utc_without_a_zone() -> None:
    wall = datetime.now(UTC).replace(tzinfo=None)
    assert clock.now().tzinfo is None
    assert abs(clock.now() - wall) < timedelta(seconds=5)


def test_blocks_nest_and_end_even_when_they_fail() -> None:
    with clock.at(THEN):
        assert clock.now() == THEN
        with pytest.raises(RuntimeError), clock.at(THEN + timedelta(days=1)):  # noqa: PT012
            assert clock.now() == THEN + timedelta(days=1)
            raise RuntimeError
        assert clock.now() == THEN
    assert clock.now().year > 2020

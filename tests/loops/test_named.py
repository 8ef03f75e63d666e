"""A partition of a canary, scored by a version by name, and back."""

from __future__ import annotations

import pytest

from tests.loops.conftest import NAME, Loop, key
from tests.loops.test_cli_rollout import ROLLOUT, at, call


@pytest.mark.loop
def test_a_canary_comes_back_after_a_version_by_name(loop: Loop) -> None:
    loop.redeclare(rollout=ROLLOUT)
    at(7, "--start", 4)
    at(7, "--advance")
    loop.run("batch", 8)
    assert loop.decided_by(8) == {3, 4}
    before = loop.files("predictions", "decisions", "shadow", "assignment")
    at(8, "--end")
    for version in (2, 3):
        named = call("run", NAME, "--partition", key(8), "--model", version)
        assert named.exit_code == 0, named.output
        assert loop.decided_by(8) == {version}
    assert call("run", NAME, "--partition", key(8)).exit_code == 0
    assert loop.files("predictions", "decisions", "shadow", "assignment") == before

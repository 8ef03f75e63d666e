from __future__ import annotations
import pytest
from tests.loops.conftest import *
pytestmark = pytest.mark.loop

def test_x(prepared, loop):
    print(prepared.champions(), [(v.number, v.candidate, v.stage) for v in prepared.versions()])
    print(sorted(prepared.files()))
    loop.run("batch", 8)
    print(loop.lake.read("decisions", key(8)))
    r = loop.execute("batch", 9)
    print(checks_of(r))
    print(metadata_of(r, "events"))

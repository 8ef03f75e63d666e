"""Decision ids, whole and in part, over several automations."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from aios.errors import AiosError
from aios.lake import Lake
from aios_assets.replay.ids import decisions_of, locate
from tests.conftest import settings_in

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path):
    """Two automations: one with numbers as ids, one with awkward words."""
    settings = settings_in(tmp_path)
    stored = {
        ("claims", "2024-01-01"): ("claim_id", [1, 2, 3], [0, 0, 0]),
        ("claims", "2024-02-01"): ("claim_id", [2, 4], [1, 0]),
        ("letters", "2024-01-01"): ("name", ["a/b.pdf", "x@1", "3", "2024-01-01/z"], [0, 0, 0, 0]),
        ("letters", "2024-02-01"): ("name", ["x", "x"], [0, 1]),
    }
    for (name, key), (column, ids, revisions) in stored.items():
        frame = pl.DataFrame({column: ids, "revision": pl.Series(revisions, dtype=pl.Int32)})
        Lake(settings.home / "lake" / name).write("decisions", key, frame)
    return settings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("claims/2024-01-01/1", "claims/2024-01-01/1@0"),
        ("claims/1", "claims/2024-01-01/1@0"),
        ("4", "claims/2024-02-01/4@0"),
        ("claims/2@1", "claims/2024-02-01/2@1"),
        ("claims/2024-01-01/2", "claims/2024-01-01/2@0"),
        ("claims/3", "claims/2024-01-01/3@0"),
        ("letters/3", "letters/2024-01-01/3@0"),
        ("a/b.pdf", "letters/2024-01-01/a/b.pdf@0"),
        ("letters/a/b.pdf", "letters/2024-01-01/a/b.pdf@0"),
        ("letters/2024-01-01/x@1", "letters/2024-01-01/x@1@0"),
        ("letters/2024-02-01/x@1", "letters/2024-02-01/x@1"),
        ("2024-01-01/z", "letters/2024-01-01/2024-01-01/z@0"),
    ],
)
def test_an_id_names_one_decision(settings, text, found):
    assert str(locate(text, settings)) == found


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("3", ["claims/2024-01-01/3@0", "letters/2024-01-01/3@0"]),
        ("claims/2", ["claims/2024-01-01/2@0", "claims/2024-02-01/2@1"]),
        ("letters/2024-02-01/x", ["letters/2024-02-01/x@0", "letters/2024-02-01/x@1"]),
        ("x@1", ["letters/2024-01-01/x@1@0", "letters/2024-02-01/x@1"]),
    ],
)
def test_an_id_that_names_several_lists_them(settings, text, choices):
    with pytest.raises(AiosError) as error:
        locate(text, settings)
    assert f"{len(choices)} decisions" in str(error.value)
    assert all(choice in str(error.value) for choice in choices)


@pytest.mark.parametrize("text", ["", "5", "claims", "claims/", "claims/2024-01-01/", "nobody/1"])
def test_an_id_that_names_none_says_what_one_looks_like(settings, text):
    with pytest.raises(AiosError, match="Give <automation>/<partition>/<event id>"):
        locate(text, settings)


def test_all_decisions_about_an_event(settings):
    one = locate("claims/2024-01-01/2", settings)
    assert [str(other) for other in decisions_of(one, settings)] == [
        "claims/2024-01-01/2@0",
        "claims/2024-02-01/2@1",
    ]

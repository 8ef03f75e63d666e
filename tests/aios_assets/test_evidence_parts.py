"""The parts of an evidence pack that need no rehearsal: the bill of materials, plots, profiles."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aios.statistics.profile import Profile
from aios_assets.evidence import bill
from aios_assets.evidence.data_sheet import _column
from aios_assets.evidence.markup import cell, table
from aios_assets.evidence.plots import Point, line, shares
from aios_assets.evidence.scope import Folder, Lack, grouped, plain
from tests.aios.evidence.reading import Reader

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("bill"))
    bill.write_bill(folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Folder) -> dict[str, Any]:
    return json.loads((folder.root / bill.NAME).read_bytes())


class TestBill:
    def test_every_locked_distribution_is_a_component(
        self, folder: Folder, found: dict[str, Any]
    ) -> None:
        names = {one["name"] for one in found["components"]}
        assert {"dagster", "polars", "cryptography", "scikit-learn"} <= names
        locked = [line for line in bill.LOCK.read_text().splitlines() if "==" in line]
        absent = [one for one in folder.lacks if one.why.startswith("It is locked")]
        assert len(names) == len(found["components"]) == len(locked) - len(absent)

    def test_it_has_the_shape_that_cyclonedx_asks_for(self, found: dict[str, Any]) -> None:
        """What the 1.6 schema requires of these fields; the whole schema was checked once."""
        assert (found["bomFormat"], found["specVersion"], found["version"]) == (
            "CycloneDX", "1.6", 1,
        )  # fmt: skip
        form = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
        assert re.fullmatch(form, found["serialNumber"])
        assert set(found) == {
            "bomFormat", "specVersion", "version", "serialNumber", "metadata", "components",
            "dependencies",
        }  # fmt: skip
        for one in found["components"]:
            assert set(one) <= {
                "type", "bom-ref", "name", "version", "purl", "licenses", "hashes", "properties",
            }  # fmt: skip
            assert one["purl"] == one["bom-ref"] == f"pkg:pypi/{one['name']}@{one['version']}"
            kinds = {kind for entry in one.get("licenses", []) for kind in entry}
            assert kinds in (set(), {"license"}, {"expression"})
            assert kinds != {"expression"} or len(one["licenses"]) == 1
        references = [one["ref"] for one in found["dependencies"]]
        assert len(references) == len(set(references)) == len(found["components"]) + 1
        for one in found["dependencies"]:
            assert {*one["dependsOn"]} <= {*references}
            assert len(one["dependsOn"]) == len({*one["dependsOn"]})

    def test_most_components_state_a_licence_and_what_is_installed(
        self, found: dict[str, Any]
    ) -> None:
        total = len(found["components"])
        assert sum("licenses" in one for one in found["components"]) > 0.95 * total
        digests = [one["properties"][0]["value"] for one in found["components"]]
        assert len(set(digests)) == total
        assert all(re.fullmatch("[0-9a-f]{64}", one) for one in digests)

    def test_again_it_is_the_same(self, folder: Folder, tmp_path: Path) -> None:
        again = Folder(tmp_path)
        bill.write_bill(again)
        assert again.digests == folder.digests

    def test_what_is_not_installed_as_locked_is_said(self, tmp_path: Path) -> None:
        lock = tmp_path / "requirements.lock"
        lock.write_text("# made by hand\nno_such.thing==1.0\npolars==0.0.1\npyyaml==6.0 ; x\n")
        folder = Folder(tmp_path)
        found = bill.write_bill(folder, lock)
        assert [one["name"] for one in found["components"]] == ["polars", "pyyaml"]
        said = {one.what: one.why for one in folder.lacks}
        assert "not installed" in said["distribution no-such-thing 1.0"]
        assert "is installed instead" in said["distribution polars 0.0.1"]

    def test_without_a_lock_it_says_so(self, tmp_path: Path) -> None:
        folder = Folder(tmp_path)
        assert bill.write_bill(folder, tmp_path / "none.lock")["components"] == []
        assert [one.what for one in folder.lacks] == ["software bill of materials"]


class TestPlots:
    def test_names_are_text(self) -> None:
        drawn = shares("a <b>", ["1", "2"], ["<script>"], {"1": {"<script>": 1.0}})
        drawn += line("<i>", [Point("<u>", 1.0, 0.5, 1.5, alarm=True)], floor=0.2)
        page = Reader()
        page.feed(drawn)
        assert page.open == []
        assert not {"script", "b", "u"} & page.tags

    def test_bars_fill_the_share_they_stand_for(self) -> None:
        rows = {"1": {"approve": 0.25, "review": 0.75}, "2": {}}
        drawn = shares("shares", ["1", "2"], ["approve", "review"], rows)
        heights = [float(one) for one in re.findall(r'height="([\d.]+)"', drawn)]
        assert len(heights) == 2
        assert heights[1] == pytest.approx(3 * heights[0], abs=0.2)

    def test_gaps_break_the_curve(self) -> None:
        values = [1.0, 2.0, None, 3.0]
        drawn = line("m", [Point(str(i), v, None, None) for i, v in enumerate(values)])
        assert drawn.count('class="curve"') == 1
        assert drawn.count("<circle") == 3

    def test_nothing_to_draw_draws_nothing(self) -> None:
        assert line("m", [Point("1", None, None, None)]) == ""
        assert shares("s", ["1"], [], {}) == ""

    def test_one_value_alone_is_drawn(self) -> None:
        assert "<circle" in line("m", [Point("1", 0.0, 0.0, 0.0)])


def test_a_profile_names_no_value_of_a_person() -> None:
    frame = pl.DataFrame(
        {"amount": [1234.56, 2345.67, 34567.89, None], "name": ["ann", "ann", "bob", None]}
    )
    profile = Profile.of(frame)
    amount, name = (_column(profile, one) for one in ("amount", "name"))
    assert amount == {
        "kind": "number", "missing_share": 0.25, "p05": 1230.0, "p50": 2350.0, "p95": 34600.0,
    }  # fmt: skip
    assert name == {
        "kind": "category", "missing_share": 0.25, "values": 2, "share_of_most_frequent": 2 / 3,
    }  # fmt: skip


def test_a_profile_of_nothing_has_no_figures() -> None:
    frame = pl.DataFrame(
        {"amount": [None], "name": [None]}, schema={"amount": pl.Float64, "name": pl.String}
    )
    profile = Profile.of(frame)
    assert _column(profile, "amount")["p50"] is None
    assert _column(profile, "name")["share_of_most_frequent"] is None


def test_lacks_are_grouped_by_reason_and_counted() -> None:
    lacks = [Lack(f"p{number}", "late", "a.json") for number in range(12)]
    found = grouped([*lacks, Lack("q", "gone", "b.json")])
    assert found == {"late": "p0; p1; p2; p3; p4; p5; p6; p7 and 4 more", "gone": "q"}


def test_cells_and_plain_values() -> None:
    assert plain({"a": float("nan"), "b": [float("inf"), 1.5]}) == {"a": None, "b": [None, 1.5]}
    assert cell("<b>") == "&lt;b&gt;"
    assert cell(True) == "yes"
    assert cell(12345.0) == "12,345"
    assert table(["a"], []) == '<p class="note">None.</p>'

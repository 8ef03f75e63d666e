"""What an evidence pack says where evidence is missing, and when none is made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import polars as pl
import pytest

from aios.errors import AiosError
from aios.evidence.verification import verify_pack
from aios_assets.evidence.pack import Pack, build_pack
from tests.aios.evidence.reading import content, lines, missing
from tests.conftest import START
from tests.loops.conftest import NAME, REHEARSED, Loop, copy_loop, enter, key

pytestmark = pytest.mark.loop

END = START + timedelta(weeks=REHEARSED)


def build(loop: Loop, out: str = "pack", start: datetime = START, end: datetime = END) -> Pack:
    return build_pack(loop.automation, loop.platform, start, end, loop.root / out)


def public_key(loop: Loop) -> str:
    return "\n".join(str(one) for one in loop.platform.log.public_keys())


def assert_holds(loop: Loop, pack: Pack) -> None:
    assert verify_pack(pack.folder, public_key(loop)).problems == []


@pytest.fixture(scope="module")
def audited(prepared: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A copy of the rehearsed automation that the tests only look at."""
    with pytest.MonkeyPatch.context() as patch:
        copied = copy_loop(prepared, tmp_path_factory.mktemp("audited") / "loop")
        enter(copied, patch)
        yield copied
        copied.restart()


class TestMissing:
    def test_a_period_without_decisions(self, audited: Loop) -> None:
        start = END + timedelta(weeks=2)
        made = build(audited, "quiet", start, start + timedelta(weeks=3))
        assert_holds(audited, made)
        said = missing(made)
        assert said["oversight statistics"] == "Nothing was decided in the period."
        assert said["gate verdicts"] == "No model was trained in the period."
        assert f"decisions of {key(REHEARSED + 2)}" in said
        assert said["row proofs"]
        text = (made.folder / "index.html").read_text()
        assert "Nothing was decided in the period." in text
        oversight = next(a for a in content(made, "articles.json") if a["article"] == "Article 14")
        assert any("oversight statistics" in one for one in oversight["missing"])
        (in_force,) = content(made, "changes.json")
        assert in_force["version"] == audited.champions()[-1][0]

    def test_a_period_outside_of_the_data(self, audited: Loop) -> None:
        start = datetime(2030, 1, 1)
        made = build(audited, "outside", start, start + timedelta(weeks=3))
        assert_holds(audited, made)
        assert made.manifest["partitions"] == []

    def test_versions_whose_cards_are_gone(self, loop: Loop) -> None:
        loop.registry.client.update_model_version(NAME, "1", "")
        loop.registry.client.delete_model_version(NAME, "4")
        made = build(loop)
        assert_holds(loop, made)
        said = missing(made)
        assert said[f"model card of {NAME} version 1"] == "The registry holds none."
        assert "does not exist" in said[f"model card of {NAME} version 4"]
        cards = {one["version"]: one["card"] for one in content(made, "versions.json")}
        assert cards == {
            1: None, 2: f"cards/{NAME}-00002.md", 3: f"cards/{NAME}-00003.md", 4: None,
        }  # fmt: skip
        assert f"model card of {NAME} version 4" in (made.folder / "index.html").read_text()

    def test_decisions_that_were_changed_since(self, loop: Loop) -> None:
        frame = loop.lake.read("decisions", key(5))
        loop.lake.write("decisions", key(5), frame.with_columns(pl.lit("approve").alias("outcome")))
        made = build(loop)
        assert_holds(loop, made)
        assert "it was changed since" in missing(made)[f"recorded decisions of {key(5)}"]
        proven = {one["partition"] for one in lines(made, "record/rows.jsonl")}
        assert key(5) not in proven
        assert len(proven) > 3

    def test_a_verdict_of_the_gate_that_was_changed_since(self, loop: Loop) -> None:
        verdict = loop.lake.read_json("gate", key(2))
        loop.lake.write_json("gate", key(2), verdict | {"status": "fail"})
        made = build(loop)
        assert_holds(loop, made)
        assert "changed since" in missing(made)[f"leaf of the gate of {NAME}, {key(2)}"]

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            (f"drift/{key(4)}.json", f"drift of {NAME}, {key(4)}"),
            (f"performance/{key(6)}.json", f"performance of {NAME}, {key(6)}"),
            (f"gate/{key(2)}.json", f"gate of {NAME}, {key(2)}"),
            (f"profiles/{key(2)}.npz", f"profile of {NAME}'s training set of {key(2)}"),
            (f"quarantine/{key(3)}.parquet", f"rows of {key(3)}"),
        ],
    )
    def test_files_that_cannot_be_read(self, loop: Loop, path: str, said: str) -> None:
        (loop.lake.root / path).write_bytes(b"{")
        made = build(loop)
        assert_holds(loop, made)
        assert said in missing(made)

    def test_what_was_never_kept(self, loop: Loop) -> None:
        shutil.rmtree(loop.lake.root / "archive")
        made = build(loop)
        assert_holds(loop, made)
        said = missing(made)
        assert any(what.startswith("text of policy") for what in said)
        assert any(what.startswith("files of code version") for what in said)
        assert f"environment of {key(0)}" in said


class TestRefused:
    def test_a_folder_that_is_taken(self, audited: Loop) -> None:
        (audited.root / "taken").mkdir(exist_ok=True)
        (audited.root / "taken" / "mine").touch()
        with pytest.raises(AiosError, match="there already"):
            build(audited, "taken")
        assert [one.name for one in (audited.root / "taken").iterdir()] == ["mine"]

    def test_a_period_that_ends_before_it_begins(self, audited: Loop) -> None:
        with pytest.raises(AiosError, match="before it begins"):
            build(audited, "never", END, START)

    def test_a_record_that_was_cut(self, loop: Loop) -> None:
        import sqlalchemy as sa

        with loop.platform.log.database.writing() as connection:
            connection.execute(sa.text("DELETE FROM record_leaves WHERE position > 9"))
        with pytest.raises(AiosError, match="it was cut"):
            build(loop)
        assert not (loop.root / "pack").exists()
        assert list(loop.root.glob(".pack*")) == []

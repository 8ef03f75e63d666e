"""The evidence pack of a real rehearsal: complete, plain about gaps, checked by an outsider."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from aios.evidence.manifest import files_in
from aios.evidence.verification import verify_pack
from aios.settings import PROJECT
from aios_assets.evidence.pack import Pack, build_pack
from tests.aios.evidence.reading import Reader, content, leaves_of, lines, missing
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


@pytest.fixture(scope="module")
def pack(audited: Loop) -> Pack:
    return build(audited)


class TestVerified:
    def test_by_an_outsider_without_the_platform(
        self, audited: Loop, pack: Pack, tmp_path: Path
    ) -> None:
        away = tmp_path / "elsewhere" / "pack"
        shutil.copytree(pack.folder, away)
        (tmp_path / "home").mkdir()
        code = (
            "import sys, pathlib\n"
            "from aios.evidence.verification import verify_pack\n"
            "found = verify_pack(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
            "print(found.problems, found.leaves, found.rows, found.checkpoints)\n"
            "sys.exit(not found.ok)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(away), public_key(audited)],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(PROJECT),
                "AIOS_HOME": str(tmp_path / "home"),
                "AIOS_RECORD_URL": "sqlite:////nowhere/record.db",
            },
            capture_output=True,
            text=True,
        )
        proofs = pack.manifest["proofs"]
        said = f"[] {proofs['leaves']} {proofs['rows']} {proofs['checkpoints']}\n"
        assert (done.returncode, done.stdout) == (0, said), done.stderr
        assert list((tmp_path / "home").iterdir()) == []
        assert proofs["rows"] == 25
        assert proofs["checkpoints"] >= REHEARSED - 1

    def test_any_file_that_was_touched_is_found(
        self, audited: Loop, pack: Pack, tmp_path: Path
    ) -> None:
        names = list(files_in(pack.folder))
        assert len(names) > 20
        for name in names:
            copied = tmp_path / "copy"
            shutil.copytree(pack.folder, copied)
            path = copied / name
            whole = path.read_bytes()
            for changed in (whole + b" ", whole[:-1], whole.replace(b"e", b"a", 1)):
                path.write_bytes(changed)
                found = verify_pack(copied, public_key(audited))
                assert changed == whole or not found.ok, name
            path.unlink()
            assert not verify_pack(copied, public_key(audited)).ok, name
            shutil.rmtree(copied)

    def test_twice_the_same_bytes(self, audited: Loop, pack: Pack) -> None:
        again = build(audited, "again")
        names = list(files_in(pack.folder))
        assert names == list(files_in(again.folder))
        for name in names:
            assert (pack.folder / name).read_bytes() == (again.folder / name).read_bytes(), name

    def test_a_later_pack_continues_the_checkpoint_of_an_earlier_one(self, loop: Loop) -> None:
        before = (build(loop, "before").folder / "record" / "checkpoint.txt").read_text()
        loop.run("batch", REHEARSED)
        after = build(loop, "after", end=END + timedelta(weeks=1))
        assert_holds(loop, after)
        assert before in [one["note"] for one in lines(after, "record/checkpoints.jsonl")]


class TestContent:
    def test_figures_are_those_of_the_lake(self, audited: Loop, pack: Pack) -> None:
        decisions = pl.concat(
            audited.lake.read("decisions", key(week)) for week in range(REHEARSED)
        )
        found = content(pack, "oversight.json")
        assert found["decisions"] == decisions.height
        outcomes = dict(decisions.group_by("outcome").len().iter_rows())
        assert {one["outcome"]: one["rows"] for one in found["by_outcome"]} == outcomes
        assert found["share_sent_to_review"] == outcomes["review"] / decisions.height
        for month in {one["month"] for one in found["by_month"]}:
            shares = [one["share"] for one in found["by_month"] if one["month"] == month]
            assert sum(shares) == pytest.approx(1)
        sheet = content(pack, "data_sheet.json")
        assert sum(one["events"] for one in sheet["partitions"]) == decisions.height
        rules: dict[str, int] = {}
        for one in sheet["partitions"]:
            for rule, count in one["quarantined_by_rule"].items():
                rules[rule] = rules.get(rule, 0) + count
        assert rules == {
            "in_range:amount": 1, "in_set:region": 1, "not_null:customer": 1, "unique": 1,
        }  # fmt: skip

    def test_every_batch_version_and_change_has_its_leaf(self, audited: Loop, pack: Pack) -> None:
        leaves = leaves_of(pack)
        files = {
            one["body"]["partition"]: one["body"]["file"]
            for one in leaves.values()
            if one["kind"] == "decisions"
        }
        for week in range(REHEARSED):
            path = audited.lake.path("decisions", key(week))
            assert files[key(week)] == sha256(path.read_bytes()).hexdigest()
        versions = content(pack, "versions.json")
        assert [one["version"] for one in versions] == [1, 2, 3, 4]
        for one in versions:
            leaf = leaves[one["leaf"]]
            assert (leaf["kind"], leaf["body"]["version"]) == ("model_registered", one["version"])
            card = (pack.folder / one["card"]).read_text()
            assert card == audited.registry.get(NAME, one["version"]).card
        gates = content(pack, "gates.json")[NAME]
        assert [leaves[one["leaf"]]["body"]["file"] for one in gates] == [
            one["file_sha256"] for one in gates
        ]
        assert leaves[gates[-1]["leaf"]]["kind"] == "gate"
        changes = content(pack, "changes.json")
        assert [one["version"] for one in changes] == [one[0] for one in audited.champions()]
        for one in changes:
            leaf = leaves[one["leaf"]]
            assert (leaf["kind"], leaf["actor"]) == (one["kind"], one["by"])

    def test_approvals_are_there_whenever_they_were_given(self, loop: Loop) -> None:
        from model_registry.approvals import ask, give_verdict

        log = loop.platform.log
        request = ask(log, NAME, 4, 3, "person:ann", reason="It is simpler.")
        give_verdict(log, request.number, "person:bob", approve=False, reason="It is no better.")
        ask(log, NAME, 77, 3, "person:ann", reason="Of no version in the pack.")
        made = build(loop)
        assert_holds(loop, made)
        found = content(made, "approvals.json")
        said = [(one["kind"], one["actor"], one["body"]["version"]) for one in found]
        assert said == [("approval_requested", "person:ann", 4), ("refusal", "person:bob", 4)]
        assert {one["leaf"] for one in found} <= set(leaves_of(made))
        assert "approvals" not in missing(made)
        assert "It is no better." in (made.folder / "index.html").read_text()

    def test_sampled_decisions_are_rows_of_the_lake(self, audited: Loop, pack: Pack) -> None:
        for one in lines(pack, "record/rows.jsonl"):
            frame = audited.lake.read("decisions", one["partition"])
            row = frame.row(one["proof"]["index"], named=True)
            shown = json.loads(one["proof"]["row"])
            assert set(shown) == set(frame.columns)
            assert (shown["loan_id"], shown["outcome"]) == (row["loan_id"], row["outcome"])

    def test_no_person_beyond_the_sample(self, audited: Loop, pack: Pack) -> None:
        sample = [json.loads(one["proof"]["row"]) for one in lines(pack, "record/rows.jsonl")]
        assert len(sample) <= 25
        assert not {"amount", "region", "loans_28d"} & {name for row in sample for name in row}
        events = pl.concat(audited.lake.read("events", key(week)) for week in range(REHEARSED))
        amounts = {repr(one) for one in events["amount"].drop_nulls()}
        for name in files_in(pack.folder):
            text = (pack.folder / name).read_text()
            if name != "record/rows.jsonl":
                assert not re.search(r"\bc\d{1,2}\b", text), f"a customer in {name}"
            assert not amounts & set(re.findall(r"\d+\.\d+", text)), f"an amount in {name}"
            assert "moon" not in text, f"a quarantined value in {name}"

    def test_the_policy_that_decided_is_there_whole(self, audited: Loop, pack: Pack) -> None:
        (one,) = content(pack, "policies.json")
        text = (audited.folder / "policy.yaml").read_bytes()
        assert (pack.folder / one["file"]).read_bytes() == text
        assert one["decisions"] == content(pack, "oversight.json")["decisions"]

    def test_the_rules_of_access_are_there_whole(self, audited: Loop, pack: Pack) -> None:
        rules = audited.settings.access
        held = {one.name: one.read_bytes() for one in (pack.folder / "access").iterdir()}
        assert held == {one.name: one.read_bytes() for one in rules.glob("*.cedar*")}

    def test_every_article_is_mapped_to_files_of_the_pack(self, pack: Pack) -> None:
        table = content(pack, "articles.json")
        names = {one["article"] for one in table}
        numbers = [*range(9, 16), *range(17, 21), 26, 72]
        assert names == {f"Article {number}" for number in numbers} | {"Annex IV"}
        for one in table:
            assert one["artefacts"], one["article"]
            assert one["not_kept_by_the_platform"]
            assert all((pack.folder / name).is_file() for name in one["artefacts"])
        (oversight,) = (one for one in table if one["article"] == "Article 14")
        assert any(one.startswith("verdicts of people: ") for one in oversight["missing"])


class TestPage:
    def test_it_is_sound_and_its_links_lead_somewhere(self, pack: Pack) -> None:
        page = Reader()
        page.feed((pack.folder / "index.html").read_text())
        assert page.open == []
        assert not {"script", "iframe", "link", "img"} & page.tags
        ids = {f"#{one}" for one in page.ids}
        for target in page.links:
            assert target in ids or (pack.folder / target).is_file(), target
        assert {"articles.json", "sbom.cdx.json", "record/rows.jsonl"} <= page.links

    def test_each_claim_stands_with_the_digest_of_its_file(self, pack: Pack) -> None:
        text = (pack.folder / "index.html").read_text()
        for name, one in pack.manifest["files"].items():
            assert name == "index.html" or one["sha256"] in text, name
        claims = re.findall(r'<p class="claim">.*?</p>', text, flags=re.DOTALL)
        assert len(claims) > 10
        assert all('title="sha256 ' in one for one in claims)

    def test_what_people_wrote_is_text(self, loop: Loop) -> None:
        from model_registry.champion import rollback

        rollback(
            loop.registry, NAME, at=END - timedelta(hours=1), by="person:<b>eve</b>",
            reason="<script>alert(1)</script>",
        )  # fmt: skip
        made = build(loop)
        assert_holds(loop, made)
        text = (made.folder / "index.html").read_text()
        assert "<script" not in text
        assert "<b>eve" not in text
        assert "&lt;script&gt;" in text
        assert [one["kind"] for one in content(made, "incidents.json")["rollbacks"]] == ["rollback"]

"""Batches of decisions: recorded once, provable row by row, and no changed file unseen."""

from __future__ import annotations

import copy
import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aios.errors import AiosError
from aios.lake import Lake
from aios.record.batches import (
    DECISIONS,
    check_files,
    prove_decision,
    record_decisions,
    verify_proof,
)
from aios.record.checkpoint import open_note
from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.signing import PublicKey, SigningKey
from tests.aios.record.worker import log_of

pytestmark = pytest.mark.loop

PARTITIONS = ("2026-01-05", "2026-01-12", "2026-01-19")
START = datetime(2026, 1, 5)


def decisions(seed: int, rows: int = 60) -> pl.DataFrame:
    chance = random.Random(seed)
    return pl.DataFrame(
        {
            "decision_id": [f"{seed}-{number}" for number in range(rows)],
            "event_time": [START + timedelta(minutes=number, days=seed) for number in range(rows)],
            "score": [chance.random() for _ in range(rows)],
            "outcome": [chance.choice(["approve", "review", "block"]) for _ in range(rows)],
            "fired": [["large", "new"][: chance.randint(0, 2)] for _ in range(rows)],
            "model_version": [1 + seed % 2] * rows,
            "policy_hash": ["p1"] * rows,
        }
    ).with_columns(pl.col("event_time").cast(pl.Datetime("us")))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    log, lake = log_of(tmp_path), lake_of(tmp_path)
    for seed, partition in enumerate(PARTITIONS):
        lake.write(DECISIONS, partition, decisions(seed))
        record_decisions(log, lake, "claims", partition, "schedule:claims")
    log.checkpoint()
    return tmp_path


@pytest.fixture
def log(home: Path) -> Log:
    return log_of(home)


def lake_of(home: Path) -> Lake:
    return Lake(home / "lake" / "claims")


def problems(home: Path, log: Log) -> list[str]:
    return check_files(log, home / "lake")


# What can be done to a file of decisions, by kind.
def edit_a_cell(frame: pl.DataFrame, chance: random.Random) -> pl.DataFrame:
    at = chance.randrange(frame.height)
    name, value = chance.choice(
        [
            ("outcome", pl.lit("forged")),
            ("score", pl.col("score") + 1e-16 + pl.col("score") * 1e-15),
            ("fired", pl.lit(["forged"])),
            ("model_version", pl.lit(9)),
            ("outcome", pl.lit(None, dtype=pl.String)),
        ]
    )
    here = pl.int_range(pl.len()) == at
    return frame.with_columns(pl.when(here).then(value).otherwise(pl.col(name)).alias(name))


def drop_rows(frame: pl.DataFrame, chance: random.Random) -> pl.DataFrame:
    start = chance.randrange(frame.height)
    return pl.concat([frame[:start], frame[start + chance.randint(1, 5) :]])


def swap_rows(frame: pl.DataFrame, chance: random.Random) -> pl.DataFrame:
    order = list(range(frame.height))
    first, second = chance.sample(order, 2)
    order[first], order[second] = order[second], order[first]
    return frame[order]


def double_a_row(frame: pl.DataFrame, chance: random.Random) -> pl.DataFrame:
    at = chance.randrange(frame.height)
    return pl.concat([frame[: at + 1], frame[at:]])


FRAMES: dict[str, Callable[[pl.DataFrame, random.Random], pl.DataFrame]] = {
    "edit": edit_a_cell,
    "deletion": drop_rows,
    "reordering": swap_rows,
    "insertion": double_a_row,
}


def harm(home: Path, chance: random.Random) -> str:
    """Do harm to one file of decisions; return of what kind."""
    lake, partition = lake_of(home), chance.choice(PARTITIONS)
    path, kind = lake.path(DECISIONS, partition), chance.choice([*FRAMES, "bytes", "file"])
    content = bytearray(path.read_bytes())
    if kind in FRAMES:
        changed = FRAMES[kind](lake.read(DECISIONS, partition), chance)
        if changed.equals(lake.read(DECISIONS, partition)):
            return harm(home, chance)
        lake.write(DECISIONS, partition, changed)
    elif kind == "bytes":
        if chance.random() < 0.5:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        else:
            content = content[: chance.randrange(len(content))]
        path.write_bytes(content)
    else:
        other = chance.choice([one for one in PARTITIONS if one != partition])
        chance.choice(
            [
                path.unlink,
                lambda: shutil.copy(lake.path(DECISIONS, other), path),
                lambda: shutil.copy(path, lake.path(DECISIONS, "2026-02-02")),
                lambda: path.rename(path.with_name("2026-03-03.parquet")),
            ]
        )()
    return kind


def test_every_attack_on_the_files_is_seen(home: Path, log: Log, tmp_path: Path) -> None:
    chance, done, missed = random.Random(42), Counter[str](), []
    shutil.copytree(home / "lake", tmp_path / "kept")
    assert problems(home, log) == []
    for number in range(240):
        kind = harm(home, chance)
        done[kind] += 1
        if not problems(home, log):
            missed.append((number, kind))
        shutil.rmtree(home / "lake")
        shutil.copytree(tmp_path / "kept", home / "lake")
    assert missed == []
    assert len(done) == 6
    assert problems(home, log) == []


class TestRecording:
    def test_the_same_file_is_recorded_once(self, home: Path, log: Log) -> None:
        before = log.size()
        for partition in PARTITIONS:
            record_decisions(log, lake_of(home), "claims", partition, "person:alice")
        assert log.size() == before

    def test_a_partition_that_went_back_to_what_it_was(self, home: Path, log: Log) -> None:
        """Decided by version 1, then by 2, then, after a rollback, by 1 again."""
        lake, partition = lake_of(home), PARTITIONS[0]
        for seed in (7, 0):
            lake.write(DECISIONS, partition, decisions(seed))
            record_decisions(log, lake, "claims", partition, "person:alice")
        assert problems(home, log) == []
        lake.write(DECISIONS, partition, decisions(7))
        assert len(problems(home, log)) == 1
        record_decisions(log, lake, "claims", partition, "person:alice")
        assert problems(home, log) == []

    def test_the_leaf_holds_no_personal_data(self, home: Path, log: Log) -> None:
        for entry in log.entries(kind=DECISIONS):
            text = entry.leaf.decode()
            assert not any(
                one in text for one in decisions(0)["decision_id"].to_list() if len(one) > 4
            )
            assert set(entry.body) >= {"partition", "rows", "file", "rows_root"}

    def test_an_empty_partition(self, home: Path, log: Log) -> None:
        lake_of(home).write(DECISIONS, "2026-01-26", decisions(3).clear())
        entry = record_decisions(log, lake_of(home), "claims", "2026-01-26", "person:alice")
        assert entry.body["rows"] == 0
        assert problems(home, log) == []

    def test_two_first_ones_at_once(self, tmp_path: Path) -> None:
        """Each process makes the secret of the rows' salts, and all use one."""
        lake, failed = lake_of(tmp_path), []
        for partition in PARTITIONS:
            lake.write(DECISIONS, partition, decisions(1))

        def write(partition: str) -> None:
            try:
                record_decisions(log_of(tmp_path), lake, "claims", partition, "person:alice")
            except AiosError as error:
                failed.append(error)

        threads = [threading.Thread(target=write, args=(one,)) for one in PARTITIONS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log = log_of(tmp_path)
        log.checkpoint()
        assert failed == []
        for partition in PARTITIONS:
            proof = prove_decision(log, lake, "claims", partition, 0)
            verify_proof(proof, log.public_keys())

    def test_without_the_secret_of_the_salts(self, home: Path, log: Log) -> None:
        (home / "keys" / "rows.key").unlink()
        lake_of(home).write(DECISIONS, PARTITIONS[0], decisions(9))
        with pytest.raises(AiosError, match=r"rows\.key"):
            record_decisions(log, lake_of(home), "claims", PARTITIONS[0], "person:alice")


class TestProofs:
    @pytest.fixture
    def proof(self, home: Path, log: Log) -> dict[str, Any]:
        found = prove_decision(log, lake_of(home), "claims", PARTITIONS[1], 17)
        return json.loads(json.dumps(found))

    def test_one_row_is_proven_without_the_rest(self, proof: dict[str, Any], log: Log) -> None:
        verify_proof(proof, [PublicKey.parse(proof["public_key"])])
        row = json.loads(proof["decision"]["row"])
        assert row["decision_id"] == "1-17"
        text = json.dumps({**proof, "decision": {**proof["decision"], "row": ""}})
        assert "1-16" not in text
        assert open_note(proof["checkpoint"], log.public_keys()).size == log.size()

    def test_every_row_of_every_partition(self, home: Path, log: Log) -> None:
        for partition in PARTITIONS:
            for row in (0, 1, 31, 59):
                proof = prove_decision(log, lake_of(home), "claims", partition, row)
                verify_proof(proof, log.public_keys())

    @pytest.mark.parametrize("row", [-1, 60, 10**9])
    def test_a_row_that_is_not_there(self, home: Path, log: Log, row: int) -> None:
        with pytest.raises(AiosError):
            prove_decision(log, lake_of(home), "claims", PARTITIONS[0], row)

    def test_any_edited_member_breaks_it(self, proof: dict[str, Any], log: Log) -> None:
        chance = random.Random(3)
        for _ in range(300):
            forged, name = (
                copy.deepcopy(proof),
                chance.choice(
                    ["row", "salt", "path", "rows", "decision index", "leaf", "index", "log path"]
                ),
            )
            decision = forged["decision"]
            if name == "row":
                decision["row"] = one_letter(decision["row"], chance)
            elif name == "salt":
                decision["salt"] = one_digit(decision["salt"], chance)
            elif name == "path":
                at = chance.randrange(len(decision["path"]))
                decision["path"][at] = one_digit(decision["path"][at], chance)
            elif name == "rows":
                decision["rows"] += chance.choice([-1, 1, 3, 100])
            elif name == "decision index":
                decision["index"] = (decision["index"] + chance.randint(1, 59)) % 60
            elif name == "leaf":
                forged["leaf"] = one_letter(forged["leaf"], chance)
            elif name == "index":
                forged["index"] = chance.choice([0, 2, 3, -1])
            else:
                forged["path"][0] = one_digit(forged["path"][0], chance)
            with pytest.raises(AiosError):
                verify_proof(forged, log.public_keys())

    def test_a_proof_of_another_log(self, proof: dict[str, Any], tmp_path: Path) -> None:
        other = SigningKey.create(tmp_path / "other.key", "other")
        with pytest.raises(AiosError):
            verify_proof(proof, [other.public])

    def test_a_leaf_of_another_kind_proves_no_decision(
        self, home: Path, log: Log, proof: dict[str, Any]
    ) -> None:
        """Who may record a remark must not be able to record decisions with it."""
        root = json.loads(proof["leaf"])["body"]["rows_root"]
        body = {"rows": 60, "rows_root": root, "partition": "2020-01-01", "file": ""}
        entry = log.append(Act("incident", "claims", "person:mallory", body))
        note = log.checkpoint()
        forged = {
            **proof,
            "leaf": entry.leaf.decode(),
            "index": entry.index,
            "path": [one.hex() for one in log.inclusion(entry.index)],
            "checkpoint": note,
        }
        with pytest.raises(AiosError):
            verify_proof(forged, log.public_keys())

    @pytest.mark.parametrize(
        "name", ["decision", "leaf", "index", "path", "checkpoint", "decision.row", "decision.salt"]
    )
    @pytest.mark.parametrize("value", [None, "zz", 7, [], {}, "gone"], ids=repr)
    def test_garbage(self, proof: dict[str, Any], log: Log, name: str, value: Any) -> None:
        *above, last = name.split(".")
        place = proof["decision"] if above else proof
        place[last] = value
        if value == "gone":
            del place[last]
        with pytest.raises(AiosError):
            verify_proof(proof, log.public_keys())


def one_letter(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + chr((ord(text[at]) - 31) % 95 + 32) + text[at + 1 :]


def one_digit(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    return text[:at] + format((int(text[at], 16) + 1) % 16, "x") + text[at + 1 :]

"""A new key for the record: whoever trusts the old one can trust what the new one signs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from aios.errors import AiosError
from aios.lake import Lake
from aios.record.batches import DECISIONS, prove_decision, record_decisions, verify_proof
from aios.record.checkpoint import open_note
from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.rotation import ROTATED, rotate
from aios.record.signing import PublicKey
from tests.aios.record.fresh import close, fresh_log
from tests.model_registry.opening import log_in

pytestmark = pytest.mark.unit


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = fresh_log(tmp_path)
    write(opened, 3)
    opened.checkpoint()
    yield opened
    close(opened)


def write(log: Log, count: int) -> None:
    log.append_all([Act("override", "claims", "person:rev", {"n": n}) for n in range(count)])


def trusted(log: Log, first: PublicKey) -> list[PublicKey]:
    """The keys that somebody who was given the first one comes to trust by the log alone."""
    keys = [first]
    for entry in log.entries(kind=ROTATED):
        old, new = PublicKey.parse(entry.body["old"]), PublicKey.parse(entry.body["new"])
        signature = base64.b64decode(entry.body["signature"])
        if old in keys and old.verify(signature, entry.body["new"].encode()):
            keys.append(new)
    return keys


def test_checkpoints_from_before_and_after_verify(log: Log) -> None:
    first = log.public_keys()[0]
    for number in range(3):
        rotate(log, "person:ops", f"reason {number}")
        write(log, 2)
        log.checkpoint()
    found = log.verify()
    assert found.problems == []
    assert found.checkpoints == len(log.checkpoints()) == 7
    keys = trusted(log, first)
    assert keys == log.public_keys()
    assert [open_note(note, keys).size for note in log.checkpoints()] == [3, 4, 6, 7, 9, 10, 12]


def test_each_key_signs_until_the_next_is_announced(log: Log) -> None:
    old = log.public_keys()[0]
    new = rotate(log, "person:ops", "a laptop was lost")
    before, after = log.checkpoints()
    assert open_note(before, old).size == 3
    assert open_note(after, new).size == 4
    for note, key in ((before, new), (after, old)):
        with pytest.raises(AiosError, match="no known key"):
            open_note(note, key)


def test_the_leaf_says_who_why_and_what(log: Log) -> None:
    old = log.public_keys()[0]
    new = rotate(log, "person:ops", "a laptop was lost")
    (entry,) = log.entries(kind=ROTATED)
    assert (entry.actor, entry.body["reason"]) == ("person:ops", "a laptop was lost")
    assert (entry.body["old"], entry.body["new"]) == (str(old), str(new))
    assert trusted(log, old) == [old, new]


def test_an_announcement_that_was_forged_is_not_trusted(log: Log) -> None:
    first = log.public_keys()[0]
    new = rotate(log, "person:ops", "routine")
    genuine = next(log.entries(kind=ROTATED)).body
    for forged in ({"new": str(first)}, {"signature": base64.b64encode(b"x" * 64).decode()}):
        log.append(Act(ROTATED, None, "person:mallory", {**genuine, **forged}))
    assert trusted(log, first) == [first, new]


def test_a_log_that_was_cut_is_not_signed_with_a_new_key(log: Log, tmp_path: Path) -> None:
    close(log)
    cut = fresh_log(tmp_path)
    keys = cut.public_keys()
    with pytest.raises(AiosError, match="cut, or restored from an older copy"):
        rotate(cut, "person:mallory", "nobody will notice")
    assert cut.public_keys() == keys
    assert list(cut.entries(kind=ROTATED)) == []
    close(cut)


class TestKilled:
    """Each step is the last of its process; the next one finds what it left."""

    @pytest.fixture(params=["signed before", "announced", "public key written", "in use"])
    def left(self, request: pytest.FixtureRequest, log: Log, tmp_path: Path) -> Iterator[Log]:
        class Killed(BaseException):
            pass

        def die(*_: object) -> None:
            raise Killed

        patch = pytest.MonkeyPatch()
        match request.param:
            case "signed before":
                patch.setattr(log.keyring, "rotate", die)
            case "announced":
                patch.setattr(log.keyring, "_write_public", die)
            case "public key written":
                patch.setattr("aios.record.keyring.os.replace", self._but_the_key(die))
            case "in use":
                calls = iter([log.checkpoint, die])
                patch.setattr(log, "checkpoint", lambda: next(calls)())
        with patch.context(), pytest.raises(Killed):
            rotate(log, "person:ops", "routine")
        patch.undo()
        close(log)
        opened = log_in(tmp_path)
        yield opened
        close(opened)

    @staticmethod
    def _but_the_key(die: object) -> object:
        from os import replace

        def stop(source: Path, target: Path) -> None:
            if str(target).endswith(".key"):
                die()  # type: ignore[operator]
            replace(source, target)

        return stop

    def test_it_signs_and_verifies_and_can_be_rotated(self, left: Log) -> None:
        first = left.public_keys()[0]
        write(left, 1)
        signer = left.keyring.signing_key().public
        assert open_note(left.checkpoint(), signer).size == left.size()
        assert signer in trusted(left, first)
        assert left.verify().problems == []
        new = rotate(left, "person:ops", "again")
        assert left.keyring.signing_key().public == new
        assert new in trusted(left, first)
        found = left.verify()
        assert found.problems == []
        assert found.checkpoints == len(left.checkpoints())

    def test_a_proof_names_the_key_that_signed_it(self, left: Log, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake")
        lake.write(DECISIONS, "2026-01-05", pl.DataFrame({"id": [1, 2], "score": [0.5, 0.25]}))
        record_decisions(left, lake, "claims", "2026-01-05", "schedule:claims")
        proof = prove_decision(left, lake, "claims", "2026-01-05", 1)
        verify_proof(proof, PublicKey.parse(proof["public_key"]))

"""1,000 seeded attacks on a real log: each is seen, given the last checkpoint kept elsewhere."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aios.database import Database
from aios.errors import AiosError
from aios.record.keyring import Keyring
from aios.record.leaves import Act
from aios.record.log import Log
from aios.record.places import CheckpointPlace
from tests.aios.record.tampering import ATTACKS, RAW, break_tiles, read_rows, write_rows

pytestmark = pytest.mark.loop

LEAVES = 700
KINDS = ("decisions", "promotion", "approval", "override")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a log of 700 leaves and checkpoints at 1, 300 and 700."""
    home = tmp_path_factory.mktemp("origin")
    with opened(home) as log:
        for start, end in ((0, 1), (1, 300), (300, LEAVES)):
            log.append_all([act(number) for number in range(start, end)])
            log.checkpoint()
        assert log.verify().problems == []
    return home


def act(number: int) -> Act:
    kind, automation = KINDS[number % 4], ("claims", "invoices", None)[number % 3]
    key = f"{kind}/{number}" if number % 2 else None
    return Act(kind, automation, f"person:p{number % 7}", {"number": number}, key=key)


@contextmanager
def opened(home: Path) -> Iterator[Log]:
    database = Database(f"sqlite:///{home}/record.db", patience=2)
    keys, place = Keyring(home / "keys", "record"), CheckpointPlace(str(home / "checkpoints"))
    try:
        yield Log(database, keys, place)
    finally:
        if "engine" in vars(database):
            database.engine.dispose()


@pytest.fixture
def home(origin: Path, tmp_path: Path) -> Path:
    return copied(origin, tmp_path / "home")


def copied(origin: Path, home: Path) -> Path:
    """Return a copy to do harm to."""
    shutil.rmtree(home, ignore_errors=True)
    return Path(shutil.copytree(origin, home))


def seen(home: Path) -> bool:
    """Tell whether `verify()` names a problem, or says in words that it cannot read the log."""
    with opened(home) as log:
        try:
            return bool(log.verify().problems)
        except AiosError:
            return True


def test_every_attack_on_the_leaves_is_seen(origin: Path, tmp_path: Path) -> None:
    chance = random.Random(6962)
    rows, done, missed = read_rows(origin / "record.db"), Counter[str](), []
    attacks = [(kind, attack) for kind, all_ in ATTACKS.items() for attack in all_]
    for number in range(800):
        kind, attack = attacks[number % len(attacks)]
        changed = attack(rows, chance)
        if changed == rows:
            continue
        careful = attack not in RAW and chance.random() < 0.7
        home = copied(origin, tmp_path / "home")
        try:
            write_rows(home / "record.db", changed, careful=careful)
        except sqlite3.IntegrityError:
            continue
        done[kind] += 1
        if not seen(home):
            missed.append(f"{number}: {attack.__name__}, careful: {careful}")
    assert missed == []
    assert done.total() >= 780, done
    assert min(done.values()) >= 30, done


def test_every_attack_on_the_tree_alone_is_seen(origin: Path, tmp_path: Path) -> None:
    chance, done, missed = random.Random(9162), Counter[str](), []
    for _ in range(200):
        home = copied(origin, tmp_path / "home")
        how = break_tiles(home / "record.db", chance)
        done[how] += 1
        if not seen(home):
            missed.append(how)
    assert missed == []
    assert len(done) == 8


def test_damage_to_the_file_itself_is_seen(origin: Path, tmp_path: Path) -> None:
    chance, rows = random.Random(8785), read_rows(origin / "record.db")
    for number in range(60):
        home = copied(origin, tmp_path / "home")
        file = home / "record.db"
        content = bytearray(file.read_bytes())
        if number % 3 == 0:
            content = content[: chance.randrange(len(content))]
        elif number % 3 == 1:
            start = chance.randrange(len(content))
            content[start : start + 4096] = bytes(len(content[start : start + 4096]))
        else:
            leaf = chance.choice(rows)["leaf"]
            content[content.index(leaf) + chance.randrange(len(leaf))] ^= 1
        file.write_bytes(content)
        if not seen(home):
            # What was hit holds neither leaf nor tree: a free page, or an index.
            assert read_rows(file) == rows


def test_a_checkpoint_is_never_signed_over_a_changed_log(origin: Path, tmp_path: Path) -> None:
    chance, rows = random.Random(1), read_rows(origin / "record.db")
    attacks = [attack for all_ in ATTACKS.values() for attack in all_ if attack not in RAW]
    for number in range(2 * len(attacks)):
        changed = attacks[number % len(attacks)](rows, chance)
        home = copied(origin, tmp_path / "home")
        try:
            write_rows(home / "record.db", changed, careful=True)
        except sqlite3.IntegrityError:
            continue
        hidden = [row["leaf"] for row in changed] == [row["leaf"] for row in rows]
        with opened(home) as log:
            before = log.checkpoints()
            if not hidden:
                with pytest.raises(AiosError):
                    log.checkpoint()
            assert log.checkpoints() == before


def test_a_checkpoint_is_never_signed_over_a_wrong_tree(home: Path) -> None:
    """Leaves added since, and a tile that does not fit them: signing it would poison the log."""
    with opened(home) as log:
        log.append_all([act(LEAVES + number) for number in range(20)])
    with closing(sqlite3.connect(home / "record.db")) as connection, connection:
        hashes = connection.execute(
            "SELECT hashes FROM record_tiles WHERE level = 0 AND position = 2"
        ).fetchone()[0]
        assert len(hashes) == (LEAVES + 20 - 512) * 32
        changed = hashes[:-32] + bytes(32)
        connection.execute(
            "UPDATE record_tiles SET hashes = ? WHERE level = 0 AND position = 2", (changed,)
        )
    with opened(home) as log:
        before = log.checkpoints()
        with pytest.raises(AiosError):
            log.checkpoint()
        assert log.checkpoints() == before
        assert log.verify().problems != []


def test_nothing_is_appended_to_a_tile_that_was_cut(home: Path) -> None:
    with closing(sqlite3.connect(home / "record.db")) as connection, connection:
        connection.execute(
            "UPDATE record_tiles SET hashes = substr(hashes, 1, 320) WHERE level=0 AND position=2"
        )
    with opened(home) as log:
        with pytest.raises(AiosError):
            log.append(act(LEAVES))
        assert log.size() == LEAVES


def test_a_log_that_only_grew_is_clean(home: Path) -> None:
    with opened(home) as log:
        for number in range(LEAVES, LEAVES + 400, 40):
            log.append_all([act(number + more) for more in range(40)])
            assert log.verify().problems == []
        log.checkpoint()
        found = log.verify()
        assert (found.size, found.checkpoints, found.problems) == (LEAVES + 400, 4, [])


class TestTheSecondPlace:
    def notes(self, home: Path) -> list[Path]:
        return sorted((home / "checkpoints").iterdir())

    def test_an_edited_note_is_seen(self, origin: Path, tmp_path: Path) -> None:
        chance = random.Random(2)
        for _ in range(60):
            home = copied(origin, tmp_path / "home")
            path = chance.choice(self.notes(home))
            content = bytearray(path.read_bytes())
            signed = content.index(b"\n\n")
            content[chance.randrange(signed)] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
            assert seen(home)

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", os.urandom(300)])
    def test_a_damaged_note_is_seen_and_stops_signing(self, home: Path, content: bytes) -> None:
        self.notes(home)[-1].write_bytes(content)
        assert seen(home)
        with opened(home) as log:
            log.append(act(LEAVES))
            with pytest.raises(AiosError):
                log.checkpoint()

    def test_a_note_under_anothers_name_does_not_hide_the_newest(self, home: Path) -> None:
        """The log cut to 300 leaves, and the note at 300 put where the newest is."""
        _, second, third = self.notes(home)
        third.write_bytes(second.read_bytes())
        write_rows(home / "record.db", read_rows(home / "record.db")[:300], careful=True)
        assert seen(home)

    def test_a_note_is_never_replaced_by_another(self, home: Path) -> None:
        """Two copies of a log that went apart, signing to one place."""
        other = copied(home, home.with_name("other"))
        shutil.rmtree(other / "checkpoints")
        (other / "checkpoints").symlink_to(home / "checkpoints")
        with opened(home) as log, opened(other) as fork:
            log.append(act(1_000))
            fork.append(act(2_001))
            note = log.checkpoint()
            with pytest.raises(AiosError):
                fork.checkpoint()
            with pytest.raises(AiosError):
                fork.place.write(LEAVES + 1, note.replace("\n701\n", "\n702\n"))
            assert log.checkpoints()[-1] == note
            assert fork.verify().problems != []
            assert log.verify().problems == []

    def test_another_logs_checkpoints(self, home: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        with opened(other) as log:
            log.append(act(0))
            log.checkpoint()
        shutil.rmtree(home / "checkpoints")
        shutil.copytree(other / "checkpoints", home / "checkpoints")
        assert seen(home)
        with opened(home) as log, pytest.raises(AiosError):
            log.checkpoint()

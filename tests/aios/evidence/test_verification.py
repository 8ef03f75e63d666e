"""A pack that was touched is found out, whoever touched it; one that was not passes offline."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aios.errors import AiosError
from aios.evidence.manifest import (
    CHECKPOINT,
    CHECKPOINTS,
    LEAVES,
    MANIFEST,
    ROWS,
    SIGNATURE,
    files_in,
)
from aios.evidence.verification import parse_keys, verify_pack
from aios.record import merkle
from aios.record.checkpoint import Checkpoint, sign_note
from tests.aios.evidence.packs import ORIGIN, Made, lines, new_key, parsed

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).parent.parent.parent.parent


def problems(made: Made) -> list[str]:
    return verify_pack(made.folder, made.public).problems


def test_a_pack_that_nobody_touched_holds(made: Made) -> None:
    found = verify_pack(made.folder, made.public)
    assert found.problems == []
    assert found.ok
    counts = (found.files, found.leaves, found.rows, found.checkpoints)
    assert counts == (len(made.files), 5, 2, 3)
    assert found.checkpoint
    assert (found.checkpoint.origin, found.checkpoint.size) == (ORIGIN, made.size)
    assert found.manifest["automation"] == "loans"
    told = json.loads(json.dumps(found.as_dict()))
    assert (told["ok"], told["automation"], told["rows"]) == (True, "loans", 2)
    assert told["checkpoint"] == found.manifest["checkpoint"]


def test_two_hundred_random_changes_are_all_found(made: Made) -> None:
    draw = random.Random(4)
    before = {name: (made.folder / name).read_bytes() for name in files_in(made.folder)}
    touched = set()
    for number in range(200):
        name = sorted(before)[number % len(before)]
        kind = draw.choice(sorted(CHANGES))
        done = CHANGES[kind](made.folder, name, draw)
        found = verify_pack(made.folder, made.public)
        assert not found.ok, f"{kind} of {name} was not found"
        assert all(one and len(one) < 400 for one in found.problems)
        touched.add(name)
        for path in [made.folder / one for one in {name, *done}]:
            if path.is_symlink() or path.exists():
                path.unlink()
        for one, content in before.items():
            (made.folder / one).write_bytes(content)
    assert touched == set(before)
    assert problems(made) == []


def _edit(folder: Path, name: str, draw: random.Random) -> list[str]:
    content = bytearray((folder / name).read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    (folder / name).write_bytes(content)
    return []


def _insert(folder: Path, name: str, draw: random.Random) -> list[str]:
    content = (folder / name).read_bytes()
    at = draw.randrange(len(content) + 1)
    (folder / name).write_bytes(content[:at] + b" " + content[at:])
    return []


def _cut(folder: Path, name: str, draw: random.Random) -> list[str]:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: draw.randrange(len(content))])
    return []


def _delete(folder: Path, name: str, draw: random.Random) -> list[str]:
    (folder / name).unlink()
    return []


def _add(folder: Path, name: str, draw: random.Random) -> list[str]:
    (folder / f"{name}.more").write_bytes(b"")
    return [f"{name}.more"]


def _swap(folder: Path, name: str, draw: random.Random) -> list[str]:
    other = draw.choice([one for one in files_in(folder) if one != name])
    content = (folder / name).read_bytes()
    (folder / name).write_bytes((folder / other).read_bytes())
    (folder / other).write_bytes(content)
    return []


def _rename(folder: Path, name: str, draw: random.Random) -> list[str]:
    (folder / name).rename(folder / f"{name}.old")
    return [f"{name}.old"]


def _link(folder: Path, name: str, draw: random.Random) -> list[str]:
    aside = folder.parent / "aside"
    aside.write_bytes((folder / name).read_bytes() + b"\n")
    (folder / name).unlink()
    (folder / name).symlink_to(aside)
    return []


CHANGES: dict[str, Callable[[Path, str, random.Random], list[str]]] = {
    one.__name__: one for one in (_edit, _insert, _cut, _delete, _add, _swap, _rename, _link)
}


def test_each_problem_says_where(made: Made) -> None:
    (made.folder / "oversight.json").write_bytes(b"{}")
    (made.folder / "cards" / "loans-00001.md").unlink()
    (made.folder / "cards" / "more.md").touch()
    assert problems(made) == [
        "cards/loans-00001.md: it is missing",
        "cards/more.md: the manifest has none",
        "oversight.json: it is not the file that the manifest names",
    ]


def test_a_link_to_the_same_bytes_is_no_file_of_the_pack(made: Made, tmp_path: Path) -> None:
    card = made.folder / "cards" / "loans-00001.md"
    card.rename(tmp_path / "card.md")
    card.symlink_to(tmp_path / "card.md")
    assert problems(made) == ["cards/loans-00001.md: it is no ordinary file"]


def test_a_manifest_made_to_fit_is_not_signed(made: Made) -> None:
    signed = (made.folder / SIGNATURE).read_bytes()
    made.files["oversight.json"] = b'{"decisions": 1}'
    made.write()
    (made.folder / SIGNATURE).write_bytes(signed)
    assert problems(made) == [f"{SIGNATURE}: the signature is over another manifest"]


def test_another_key_signs_nothing(made: Made) -> None:
    other = new_key()
    made.write_with(made.manifest(), other)
    (problem,) = problems(made)
    assert "not signed by the key" in problem
    assert len(verify_pack(made.folder, str(other.public)).problems) == 1, "its checkpoints too"


Change = Callable[[dict[str, Any]], None]


def _path(line: dict[str, Any]) -> None:
    line["path"][0] = "00" * 32


def _leaf(line: dict[str, Any]) -> None:
    line["leaf"] = line["leaf"].replace("loans", "loanz")


def _index(line: dict[str, Any]) -> None:
    line["index"] += 1


def _row(line: dict[str, Any]) -> None:
    line["proof"]["row"] = '{"id":1,"outcome":"approve"}'


def _of(line: dict[str, Any]) -> None:
    line["leaf"] = 4


def _not_there(line: dict[str, Any]) -> None:
    line["leaf"] = 6


def _size(line: dict[str, Any]) -> None:
    line["proof"]["rows"] += 1


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (LEAVES, _path, "not in the log"),
        (LEAVES, _leaf, "not in the log"),
        (LEAVES, _index, "not in the log"),
        (CHECKPOINTS, _path, "does not continue"),
        (ROWS, _row, "not of the table"),
        (ROWS, _of, "not of the table"),
        (ROWS, _not_there, "not of the table"),
        (ROWS, _size, "not of the table"),
        *((name, dict.clear, said) for name, said in [
            (LEAVES, "not in the log"), (ROWS, "not of"), (CHECKPOINTS, "not continue")]),
    ],
)  # fmt: skip
def test_a_proof_that_does_not_hold_is_found_though_the_manifest_is_signed(
    made: Made, name: str, change: Change, said: str
) -> None:
    rows = parsed(made.files[name])
    change(rows[1])
    made.files[name] = lines(rows)
    found = problems(made.write())
    assert any(one.startswith(f"{name}:2: ") and said in one for one in found), found


def test_a_forked_log_is_found_by_an_earlier_checkpoint(made: Made) -> None:
    fork = Checkpoint(ORIGIN, 4, bytes(32))
    rows = parsed(made.files[CHECKPOINTS])
    rows[1]["note"] = sign_note(fork, made.key)
    made.files[CHECKPOINTS] = lines(rows)
    assert any("does not continue" in one for one in problems(made.write()))


def test_an_earlier_checkpoint_of_another_log_is_found(made: Made) -> None:
    rows = parsed(made.files[CHECKPOINTS])
    same = Checkpoint("elsewhere", 4, merkle.root_of(made.log(4)))
    rows[1]["note"] = sign_note(same, made.key)
    made.files[CHECKPOINTS] = lines(rows)
    assert any("does not continue" in one for one in problems(made.write()))


def test_a_table_has_as_many_rows_as_its_leaf_says(made: Made) -> None:
    """An early row's path leads to the same root in a table that is said to have one row more."""
    rows = parsed(made.files[ROWS])
    rows[0]["proof"]["rows"] += 1
    made.files[ROWS] = lines(rows)
    assert any("not of the table" in one for one in problems(made.write()))


def test_a_checkpoint_of_another_log_is_found(made: Made) -> None:
    other = Checkpoint("elsewhere", 4, bytes(32))
    made.files[CHECKPOINT] = sign_note(other, made.key).encode()
    assert any("not the checkpoint that the manifest" in one for one in problems(made.write()))


def test_leaves_that_were_taken_out_are_missed(made: Made) -> None:
    made.files[LEAVES] = lines(parsed(made.files[LEAVES])[:-1])
    counts = {"leaves": 5, "rows": 2, "checkpoints": 3}
    assert problems(made.write(proofs=counts)) == [f"{MANIFEST}: it states 5 leaves, 4 are proven"]


def test_leaves_twice_or_out_of_order_are_found(made: Made) -> None:
    rows = parsed(made.files[LEAVES])
    made.files[LEAVES] = lines([rows[1], rows[0], *rows[1:]])
    assert any("out of order" in one for one in problems(made.write()))


def test_a_pack_without_a_record_is_none(made: Made) -> None:
    for name in (CHECKPOINT, LEAVES):
        del made.files[name]
        (made.folder / name).unlink()
    found = problems(made.write(proofs={}))
    assert f"{CHECKPOINT}: the manifest does not list it" in found
    assert f"{LEAVES}: the manifest does not list it" in found


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, CHECKPOINT, CHECKPOINTS, LEAVES, ROWS])
@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[" * 50_000, b"null", b'"a"', b"9" * 9000, b'{"leaf": {"body": 3}}'],
)
def test_no_content_makes_the_check_itself_fail(made: Made, name: str, content: bytes) -> None:
    (made.folder / name).write_bytes(content)
    assert problems(made)


@pytest.mark.parametrize(
    "line",
    ['{"index": -1, "leaf": "", "path": []}', '{"index": 0, "leaf": 3, "path": null}',
     '{"index": "0", "leaf": "a", "path": ["xy"]}', '{"leaf": [], "proof": {"path": 3}}',
     '{"note": 7, "path": []}', '{"note": "a", "path": []}'],
)  # fmt: skip
def test_malformed_proofs_are_problems_not_crashes(made: Made, line: str) -> None:
    for name in (LEAVES, ROWS, CHECKPOINTS):
        made.files[name] += line.encode() + b"\n"
    found = problems(made.write())
    assert all(any(one.startswith(name) for one in found) for name in (LEAVES, ROWS, CHECKPOINTS))


def test_after_a_rotation_both_keys_are_given(made: Made) -> None:
    old, made.key = made.key, new_key()
    rows = [made.earlier_line(size) for size in made.earlier]
    rows[0]["note"] = made.note(1, old)
    made.fill().files[CHECKPOINTS] = lines(rows)
    made.write()
    both = f"{old.public}\n{made.key.public}\n"
    assert verify_pack(made.folder, both).problems == []
    assert any("no known key" in one for one in problems(made))


def test_an_outsider_needs_nothing_but_the_pack_and_the_key(made: Made, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from aios.evidence.verification import verify_pack\n"
        "found = verify_pack(pathlib.Path(sys.argv[1]), sys.argv[2])\n"
        "ours = sorted(name for name in sys.modules if name.startswith('aios'))\n"
        "print(__import__('json').dumps([found.problems, sorted(sys.modules), ours]))\n"
    )
    home = tmp_path / "nobody"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.folder), made.public],
        cwd=home,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "AIOS_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    found, modules, ours = json.loads(done.stdout)
    assert found == []
    assert list(home.iterdir()) == []
    heavy = {"polars", "sqlalchemy", "pydantic", "yaml", "dagster", "mlflow", "numpy", "alembic"}
    assert heavy.isdisjoint(modules)
    allowed = {"canonical", "merkle", "signing", "checkpoint"}
    assert {one for one in ours if one.startswith("aios.record.")} <= {
        f"aios.record.{one}" for one in allowed
    }


@pytest.mark.parametrize("text", ["", "\n \n", "no key", "name+00000000+AAAA"])
def test_a_key_that_is_none_is_refused(made: Made, text: str) -> None:
    with pytest.raises(AiosError):
        verify_pack(made.folder, text)
    with pytest.raises(AiosError):
        parse_keys(text)


def test_a_folder_that_is_not_there_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="no such folder"):
        verify_pack(tmp_path / "nothing", made.public)

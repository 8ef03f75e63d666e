"""A folder of rules that cannot be used refuses everything, and says which line to mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from aios.errors import AiosError
from aios.identity.access import Access
from tests.aios.identity.cast import ACCESS, FOLDER, copy

pytestmark = pytest.mark.unit


def test_missing_folder_refuses_everything(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="no folder of access rules") as refused:
        Access.load(tmp_path / "access")
    assert refused.value.where == str(tmp_path / "access")


def test_folder_without_rules_refuses_everything(tmp_path: Path) -> None:
    (tmp_path / "schema.cedarschema").write_text((FOLDER / "schema.cedarschema").read_text())
    with pytest.raises(AiosError, match="holds no access rule"):
        Access.load(tmp_path)


@pytest.mark.parametrize("name", ["schema.cedarschema", "models.cedar"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_unreadable_file_refuses_everything(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    copy(tmp_path)
    (tmp_path / name).unlink()
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AiosError, match="cannot be read") as refused:
        Access.load(tmp_path)
    assert refused.value.where == str(tmp_path / name)


def test_missing_schema_refuses_everything(tmp_path: Path) -> None:
    copy(tmp_path)
    (tmp_path / "schema.cedarschema").unlink()
    with pytest.raises(AiosError, match="cannot be read"):
        Access.load(tmp_path)


GOOD = '@id("{}")\n@says("Something.")\npermit (principal, action == Action::"run", resource)'


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("permit (principal action, resource);", 1, "does not parse: unexpected token `action`"),
        (GOOD.format("x") + "\nwhen { principal.kind = 3 };", 4, "does not parse"),
        (GOOD.format("x"), 3, "does not parse: unexpected end of input"),
        (GOOD.format("x") + ";\n// an end; of a rule\n" + GOOD.format("y") + ";;", 7, "not parse"),
        ('@id("x")\npermit (principal, action, resource);', 1, "lacks @says"),
        ('\n\n@says("x;")\npermit (principal, action, resource);', 3, "lacks @id"),
        ("permit (principal, action, resource);", 1, "lacks @id and @says"),
        (GOOD.format("") + ";", 1, "lacks @id"),
        (GOOD.format("own_model") + ";", 1, r"stands at .*models\.cedar:\d+ already"),
        ('@id("x") @says("y") permit (principal == ?principal, action, resource);', 1, "a slot"),
        ("\n" + GOOD.format("x") + "\nwhen { principal.age > 3 };", 2, "does not know.*`age`"),
        (GOOD.replace('"run"', '"fly"').format("x") + ";", 1, "does not know.*fly"),
        (GOOD.format("x") + "\nwhen { context.subject == principal };", 1, "does not know"),
        (GOOD.format("x") + '\nwhen { resource.risk == Risk::"High" };', 1, "does not know.*High"),
        (GOOD.replace("(principal,", '(principal in Role::"boss",').format("x") + ";", 1, "boss"),
        (GOOD.format("x") + ';\n\n"open', 5, "does not parse"),
    ],
)
def test_broken_rule_refuses_everything_and_names_file_and_line(
    tmp_path: Path, text: str, line: int, why: str
) -> None:
    copy(tmp_path)
    (tmp_path / "team.cedar").write_text(text)
    with pytest.raises(AiosError, match=why) as refused:
        Access.load(tmp_path)
    assert refused.value.where == f"{tmp_path / 'team.cedar'}:{line}"
    assert "everything is refused" in refused.value.fix


def test_all_unknown_attributes_are_named_at_once(tmp_path: Path) -> None:
    copy(tmp_path)
    wrong = [GOOD.format(name) + f"\nwhen {{ principal.{name} == 1 }};\n" for name in "xy"]
    (tmp_path / "team.cedar").write_text("".join(wrong))
    with pytest.raises(AiosError) as refused:
        Access.load(tmp_path)
    assert "`x`" in str(refused.value)
    assert "`y`" in str(refused.value)


def test_broken_schema_names_its_line(tmp_path: Path) -> None:
    copy(tmp_path)
    schema = tmp_path / "schema.cedarschema"
    lines = schema.read_text().splitlines()
    at = lines.index("entity Platform;")
    lines[at] = "entity Platform {;"
    schema.write_text("\n".join(lines))
    with pytest.raises(AiosError, match="does not parse") as refused:
        Access.load(tmp_path)
    assert refused.value.where == f"{schema}:{at + 1}"


def test_digest_changes_with_every_file(tmp_path: Path) -> None:
    copy(tmp_path)
    assert Access.load(tmp_path).digest == ACCESS.digest
    digests = {ACCESS.digest}
    for file in sorted(tmp_path.iterdir()):
        file.write_text(file.read_text() + "\n")
        digests.add(Access.load(tmp_path).digest)
    assert len(digests) == 1 + len(list(tmp_path.iterdir()))

"""The documentation is held to the code: what exists is written down, what is written exists.

Every `sh` block of the README and of docs/ is parsed, and the `aios` commands in it are given to
the real command line's parser. Blocks of output are marked `text`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import types
import typing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aios import declaration, policy, spec
from aios.settings import _LIBRARIES
from aios_assets.cli import app

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def _commands(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by the words that call it, those of groups too."""
    found = {}
    for name, command in group.commands.items():
        inner = _commands(command, f"{before}{name} ") if hasattr(command, "commands") else {}
        found |= inner or {f"{before}{name}": command}
    return found


COMMANDS: dict[str, Any] = _commands(typer.main.get_command(app))
GLOBAL = {"--help"}


def text(name: str) -> str:
    return (ROOT / name).read_text()


def sections(page: str) -> dict[str, str]:
    """Heading -> what stands below it, up to the next heading."""
    parts = re.split(r"^#+ (.+)$", _without_blocks(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page, flags=re.MULTILINE | re.DOTALL)


def _without_blocks(page: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)


def rows(section: str) -> dict[str, list[str]]:
    """First cell (code) of each table row -> the other cells."""
    table = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and re.fullmatch(r"`\w+`", cells[0]):
            table[cells[0].strip("`")] = cells[1:]
    return table


# The declaration and the policy


def models(model: type[BaseModel], found: dict[type[BaseModel], None] | None = None) -> list[type]:
    """The model and all models inside it."""
    found = {} if found is None else found
    found[model] = None
    for field in model.model_fields.values():
        for one in _models_in(field.annotation):
            if one not in found:
                models(one, found)
    return list(found)


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
    else:
        for part in typing.get_args(annotation):
            yield from _models_in(part)


def duration(value: timedelta) -> str:
    """As a declaration writes it: in the largest unit that it is a whole number of."""
    seconds = int(value.total_seconds())
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return next(f"{seconds // one}{unit}" for unit, one in units.items() if seconds % one == 0)


def default_of(field: FieldInfo) -> str:
    """The default as the documentation writes it."""
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, timedelta):
        return f"`{duration(value)}`"
    written = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    return f"`{written}`"


DOCUMENTED = [("docs/declaration.md", one) for one in models(spec.Spec)]
DOCUMENTED += [("docs/policy.md", one) for one in models(policy.Policy)]


@pytest.mark.parametrize(
    ("page", "model"), DOCUMENTED, ids=[model.__name__ for _, model in DOCUMENTED]
)
def test_every_field_is_documented_with_its_default(page: str, model: type[BaseModel]) -> None:
    headings = [one for one in sections(text(page)) if one.startswith(model.__name__)]
    assert len(headings) == 1, f"{page} needs one heading that begins with {model.__name__}"
    table = rows(sections(text(page))[headings[0]])
    fields = model.model_fields
    assert set(table) == set(fields)
    assert {name: cells[1] for name, cells in table.items()} == {
        name: default_of(field) for name, field in fields.items()
    }
    assert all(len(cells) == 3 and cells[2] for cells in table.values())


def test_the_example_declarations_are_valid(tmp_path: Path) -> None:
    examples = [one for one in blocks(text("docs/declaration.md"), "yaml") if "attributes:" in one]
    assert examples
    for one in examples:
        document = yaml.safe_load(one)
        assert document["type"] == declaration.COMPONENT
        declaration.parse_spec(document["attributes"], tmp_path / "defs.yaml", one)


def test_the_example_policies_are_valid() -> None:
    examples = blocks(text("docs/policy.md"), "yaml")
    assert examples
    for one in examples:
        policy.Policy.model_validate(yaml.safe_load(one))


# Settings


def variables() -> set[str]:
    """Every environment variable of ours that code, scripts or configuration use."""
    kinds = {".py", ".yaml", ".toml", ".template", ""}
    places = ["aios", "aios_assets", "feature_repo", "jobs", "model_registry", "sensors"]
    places += ["console"]
    places += ["tests", "benchmarks", ".ci"]
    paths = [path for place in places for path in (ROOT / place).rglob("*") if path.is_file()]
    paths += [ROOT / name for name in ("Makefile", "dagster.yaml", "workspace.yaml")]
    found = set()
    for path in paths:
        if path.suffix in kinds and "__pycache__" not in path.parts:
            found |= set(re.findall(r"\bAIOS_[A-Z_]*[A-Z]\b", path.read_text()))
    return found


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    tables = [rows(section) for section in sections(text("docs/settings.md")).values()]
    documented = {name for table in tables for name in table if name.startswith("AIOS_")}
    assert documented == variables()


def test_every_setting_of_a_library_is_documented_with_its_value() -> None:
    table = rows(sections(text("docs/settings.md"))["Set for the libraries"])
    assert {name: cells[0].strip("`") for name, cells in table.items()} == _LIBRARIES


# The command line


def options_of(command: Any) -> set[str]:
    return {
        name
        for parameter in command.params
        if parameter.param_type_name == "option"
        for name in [*parameter.opts, *parameter.secondary_opts]
    } - GLOBAL


def test_every_command_has_its_section() -> None:
    headings = [one.strip("`") for one in sections(text("docs/cli.md")) if "aios " in one]
    found = {one.removeprefix("aios ") for one in headings}
    assert found == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_every_documented_one_exists(name: str) -> None:
    section = sections(text("docs/cli.md"))[f"`aios {name}`"]
    found = set(re.findall(r"`(--[a-z-]+)", section))
    assert found == options_of(COMMANDS[name])
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "argument":
            assert f"`{parameter.name.strip('_').upper()}`" in section


# What can be typed


def shell_blocks() -> dict[str, str]:
    """Every block by its page and place there."""
    return {
        f"{page.name}-{place}": block
        for page in PAGES
        for place, block in enumerate(blocks(page.read_text(), "sh"), start=1)
    }


def lines_of(block: str) -> list[list[str]]:
    """The commands of a block as words; comments and continued lines resolved."""
    joined = block.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        for part in re.split(r"&&|;|\|", line):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                found.append(words)
    return found


@pytest.mark.parametrize("block", shell_blocks().values(), ids=shell_blocks())
def test_shell_blocks_parse_and_use_what_exists(block: str) -> None:
    checked = subprocess.run(
        ["bash", "-n"], input=block, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    for words in lines_of(block):
        if words[0] == "aios":
            name = next(
                (one for one in COMMANDS if words[1:][: one.count(" ") + 1] == one.split()), ""
            )
            assert name, words
            # Parses all arguments and options, and runs nothing.
            COMMANDS[name].make_context(name, words[2 + name.count(" ") :])
        if words[0] == "make":
            assert set(words[1:]) <= targets(), words
        if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
            assert (ROOT / f"{words[2].replace('.', '/')}.py").exists(), words


def test_every_benchmark_is_documented() -> None:
    runnable = {
        path.stem
        for path in (ROOT / "benchmarks").glob("[!_]*.py")
        if "__main__" in path.read_text()
    }
    documented = re.findall(
        r"^python -m benchmarks\.(\w+)", text("docs/benchmarks.md"), re.MULTILINE
    )
    assert set(documented) == runnable


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_named_in_the_text_exist(page: Path) -> None:
    content = page.read_text()
    known = {name.split()[0] for name in COMMANDS}
    assert set(re.findall(r"`aios ([a-z][a-z-]*)", content)) <= known
    assert set(re.findall(r"`make ([a-z]+)`", content)) <= targets()


def test_the_readme_names_every_make_target_for_users() -> None:
    named = set(re.findall(r"`make ([a-z]+)`", text("README.md")))
    assert {"demo", "test", "dev", "check", "benchmarks"} <= named


# Links


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _without_blocks(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_relative_links_resolve(page: Path) -> None:
    content = _without_blocks(page.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", content):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_is_reachable_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[\w.-]+\.md)", text("README.md")))
    assert linked == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}

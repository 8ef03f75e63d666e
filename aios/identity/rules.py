"""The access rules as they stand in a folder of Cedar files: read, checked, or refused.

A folder holds `schema.cedarschema` and any number of `*.cedar` files. Each rule carries
`@id("...")`, the name that denials and the record use, and `@says("...")`, the sentence that
people read. See https://docs.cedarpolicy.com for the language.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aios.errors import AiosError

if TYPE_CHECKING:
    from cedarpy import PolicySet, Schema

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|\s+|;|[^\s";/]+|.', re.DOTALL)
_REFUSED = "Mend the file; until then everything is refused."


class AccessError(AiosError):
    """The rules cannot be used, so nothing is allowed."""


@dataclass(frozen=True)
class Rule:
    """One rule of the folder.

    Attributes:
        id: Its `@id`.
        says: Its `@says`.
        effect: `permit` or `forbid`.
        file: The file that holds it.
        line: Where it starts there.
        text: The rule as written.
        scope: Its head, as Cedar's JSON form has it: `principal`, `action` and `resource`.
    """

    id: str
    says: str
    effect: str
    file: Path
    line: int
    text: str
    scope: dict[str, Any]

    @property
    def place(self) -> str:
        """Return file and line, as editors read them."""
        return f"{self.file}:{self.line}"

    def covers(self, action: str, resource: dict[str, str]) -> bool:
        """Return whether the head of the rule fits an action on a resource."""
        acts = self.scope["action"]
        named = [acts["entity"]] if "entity" in acts else acts.get("entities", [])
        if named and action not in {entity["id"] for entity in named}:
            return False
        on = self.scope["resource"]
        wanted = on.get("entity_type") or on.get("entity", {}).get("type") or resource["type"]
        return wanted == resource["type"]

    @property
    def principal(self) -> tuple[str, str] | None:
        """Return whom the head names, as ("Role", "operator") or ("Actor", "service:gate")."""
        head = self.scope["principal"]
        entity = head.get("entity") or head.get("in", {}).get("entity")
        return (entity["type"], entity["id"]) if entity else None


@dataclass(frozen=True)
class Rules:
    """All rules of a folder, ready to be asked.

    Attributes:
        folder: Where they stand.
        by_id: The rules, by `@id`.
        digest: SHA-256 of all files, which tells the record by which rules an act was allowed.
        policies: Cedar's own form of them.
        schema: Cedar's own form of the schema.
    """

    folder: Path
    by_id: dict[str, Rule]
    digest: str
    policies: PolicySet
    schema: Schema


def read_rules(folder: Path) -> Rules:
    """Return the rules of a folder.

    Raises:
        AccessError: The folder or a file cannot be read, a rule does not parse, lacks its `@id`
            or `@says`, shares an `@id`, or asks for what the schema does not know. Names the file
            and, where there is one, the line.
    """
    from cedarpy import PolicySet, Schema

    schema_file = folder / "schema.cedarschema"
    files = _files(folder)
    texts = {path: _text(path) for path in (schema_file, *files)}
    schema = _parsed(Schema.from_str, texts[schema_file], schema_file, 1)
    rules = [rule for path in files for rule in _rules(path, texts[path])]
    by_id: dict[str, Rule] = {}
    for rule in rules:
        if (twin := by_id.setdefault(rule.id, rule)) is not rule:
            raise AccessError(
                f'the rule @id("{rule.id}") stands at {twin.place} already',
                where=rule.place,
                fix="Give each rule an @id of its own. " + _REFUSED,
            )
    whole = "\n".join(rule.text for rule in rules)
    _validate(whole, schema, by_id, schema_file)
    digest = hashlib.sha256()
    for path, text in texts.items():
        digest.update(f"{path.name}\0{len(text)}\0{text}".encode())
    return Rules(folder, by_id, digest.hexdigest(), PolicySet.from_str(whole), schema)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise AccessError(
            "there is no folder of access rules",
            where=str(folder),
            fix="Restore it, or set AIOS_ACCESS to where it is; until then everything is refused.",
        )
    files = sorted(folder.glob("*.cedar"))
    if not files:
        raise AccessError(
            "the folder holds no access rule (*.cedar)",
            where=str(folder),
            fix="Restore the rules; until then everything is refused.",
        )
    return files


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(
            f"the file cannot be read: {error}",
            where=str(path),
            fix="Restore it and the right to read it; until then everything is refused.",
        ) from error


def _rules(path: Path, text: str) -> Iterator[Rule]:
    from cedarpy import policies_to_json_str

    for line, statement in _statements(text):
        found = json.loads(_parsed(policies_to_json_str, statement, path, line))
        if found["templates"]:
            raise AccessError(
                "a rule has a slot (?principal or ?resource), which nothing fills",
                where=f"{path}:{line}",
                fix="Name the principal and the resource. " + _REFUSED,
            )
        (policy,) = found["staticPolicies"].values()
        notes = policy.get("annotations", {})
        if missing := [f"@{name}" for name in ("id", "says") if not notes.get(name)]:
            raise AccessError(
                f"a rule lacks {' and '.join(missing)}",
                where=f"{path}:{line}",
                fix='Begin it with @id("name") and @says("a sentence for people"). ' + _REFUSED,
            )
        scope = {part: policy[part] for part in ("principal", "action", "resource")}
        yield Rule(notes["id"], notes["says"], policy["effect"], path, line, statement, scope)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each rule with the number of its first line; the last one may be unfinished."""
    start: int | None = None
    for token in _TOKEN.finditer(text):
        word = token.group()
        if start is None:
            if word.isspace() or word.startswith("//"):
                continue
            start = token.start()
        if word == ";":
            yield text.count("\n", 0, start) + 1, text[start : token.end()]
            start = None
    if start is not None:
        yield text.count("\n", 0, start) + 1, text[start:]


def _parsed(parse: Callable[[str], Any], text: str, path: Path, line: int) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise AccessError(
            f"it does not parse: {error}",
            where=f"{path}:{line + _lines_before_error(parse, text)}",
            fix=_REFUSED,
        ) from error


def _lines_before_error(parse: Callable[[str], Any], text: str) -> int:
    """Return how many lines stand before the one at fault, which Cedar's message does not say.

    The lines up to there are the longest beginning that is valid or merely unfinished.
    """
    lines = text.rstrip().splitlines()
    for count in range(len(lines) - 1, 0, -1):
        try:
            parse("\n".join(lines[:count]))
        except ValueError as error:
            if "unexpected end of input" not in str(error):
                continue
        return count
    return 0


def _validate(text: str, schema: Schema, by_id: dict[str, Rule], schema_file: Path) -> None:
    from cedarpy import validate_policies

    result = validate_policies(text, schema)
    if result.validation_passed:
        return
    names = result.id_annotations_by_policy_id
    found = []
    for error in result.errors:
        rule = by_id.get(names.get(error.policy_id, ""))
        said = error.error.removeprefix(f"for policy `{error.policy_id}`, ")
        found.append((rule.place if rule else str(schema_file), said))
    place, first = found[0]
    more = "".join(f"\n{at}: {what}" for at, what in found[1:])
    raise AccessError(
        f"a rule asks for what the schema does not know: {first}{more}",
        where=place,
        fix=f"Mend the rule or {schema_file.name}; until then everything is refused.",
    )

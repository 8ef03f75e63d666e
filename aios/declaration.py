"""Reading `defs.yaml`: one exact error for a wrong value, with its file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from aios.errors import AiosError
from aios.spec import Spec

COMPONENT = "aios_assets.component.Automation"


class _Loader(yaml.SafeLoader):
    """Leaves dates as text: an impossible one is then an error of its field, with its line."""

    yaml_implicit_resolvers = {
        first: [pair for pair in resolvers if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def load_spec(folder: Path) -> Spec:
    """Read and check the declaration in `folder/defs.yaml`.

    Raises:
        AiosError: With the file, line and field of the first wrong value and what is allowed.
    """
    path = folder / "defs.yaml"
    try:
        text = path.read_text()
        document = yaml.load(text, _Loader)
    except FileNotFoundError:
        raise AiosError(
            "there is no declaration", where=str(path), fix="Write one, or run 'aios new'."
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise AiosError(
            f"not YAML: {getattr(error, 'problem', error)}", where=where, fix="Mend the syntax."
        ) from None
    if not isinstance(document, dict) or document.get("type") != COMPONENT:
        raise AiosError(
            f"'type' must be {COMPONENT}", where=f"{path}:1", fix="Set it as the first line."
        )
    return parse_spec(document.get("attributes") or {}, path, text)


def parse_spec(attributes: Any, path: Path, text: str) -> Spec:
    """Check the attributes of a declaration whose YAML `text` stands in `path`."""
    try:
        return Spec.model_validate(attributes)
    except ValidationError as error:
        # A mistyped name is both unknown and missing: say what stands there.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    location = [part for part in first["loc"] if not _is_of_pydantic(str(part))]
    location += first.get("ctx", {}).get("at", ())
    if first["type"] == "invalid_key":  # such as `on`, which YAML reads as true
        location.pop()
    field = ".".join(str(part) for part in location) or "attributes"
    line = _line_of(yaml.compose(text), ["attributes", *location])
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    raise AiosError(
        f"field '{field}': {message}{shown}",
        where=f"{path}:{line}",
        fix="Correct this value; docs/declaration.md lists every field and what it allows.",
    )


def _is_of_pydantic(part: str) -> bool:
    return part == "[key]" or part.startswith("function-")


def _line_of(node: Any, location: list[Any]) -> int:
    line = node.start_mark.line + 1
    for part in location:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    child, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            child = node.value[part]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return line

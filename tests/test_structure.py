"""The house's order: imports run one way, start-up is light, modules are small and explained."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "aios", "model_registry", "feature_repo", "jobs", "sensors", "aios_assets", "console",
)  # fmt: skip

# Layer -> the layers that it may import, anywhere in a module. A layer is the longest name that
# begins a module's own; a module of no layer fails the test: give it a place here.
FOUNDATION = {"aios"}
SERVICES = FOUNDATION | {"model_registry", "feature_repo"}
CLIENTS = {"aios_assets.resources", "aios_assets.links"}
STAGES = {"aios_assets.lifecycle", "jobs", "sensors"}
COMPONENT = SERVICES | CLIENTS | STAGES | {"aios_assets.component"}
SHELL = COMPONENT | {
    "aios_assets.definitions",
    "aios_assets.instance",
    "aios_assets.report",
    "aios_assets.rehearsal",
    "aios_assets.scaffold",
    "aios_assets.servers",
    "aios_assets.status",
    "aios_assets.worker",
    "aios_assets.extract",
    "aios_assets.summary",
    "aios_assets.replay",
    "aios_assets.evidence",
    "aios_assets.arming",
}
LAYERS = {
    "aios": FOUNDATION,
    "model_registry": FOUNDATION,
    "feature_repo": FOUNDATION,
    "aios_assets.resources": SERVICES,
    "aios_assets.links": FOUNDATION | {"model_registry"},
    "aios_assets.lifecycle": SERVICES | CLIENTS,
    "jobs": FOUNDATION | {"model_registry"},
    "sensors": FOUNDATION | {"model_registry", "jobs", "aios_assets.resources"},
    "aios_assets.component": COMPONENT,
    "aios_assets.definitions": COMPONENT,
    "aios_assets.automations": FOUNDATION,
    "aios_assets.scaffold": FOUNDATION,
    "aios_assets.servers": FOUNDATION | {"aios_assets.instance"},
    "aios_assets.status": SERVICES | CLIENTS,
    "aios_assets.worker": FOUNDATION,
    "aios_assets.instance": FOUNDATION | {"jobs"},
    "aios_assets.rehearsal": SHELL,
    "aios_assets.extract": SERVICES | CLIENTS | {"aios_assets.lifecycle"},
    "aios_assets.replay": SERVICES | CLIENTS | {"aios_assets.lifecycle"},
    "aios_assets.evidence": SERVICES | CLIENTS | {"aios_assets.lifecycle"},
    "aios_assets.arming": SERVICES | CLIENTS | {"aios_assets.lifecycle"},
    "aios_assets.summary": {"aios_assets.report"},
    "aios_assets.report": SHELL - {"aios_assets.definitions"},
    "console": FOUNDATION
    | CLIENTS
    | {
        "model_registry",
        "aios_assets.lifecycle",
        "aios_assets.replay",
        "aios_assets.status",
        "sensors",
    },
    "aios_assets.cli": SHELL | {"aios_assets.cli", "console"},
}
ROOT_OF_COMPOSITION = "aios_assets.definitions"
# Only these start the composition root, and only when they are called.
STARTERS = {"aios_assets.cli.automations", "aios_assets.rehearsal"}

BANNED_IN_AIOS = {"dagster", "feast", "mlflow", "evidently", "great_expectations"}
HEAVY = {
    "PIL", "evidently", "feast", "great_expectations", "ibis", "matplotlib", "mlflow", "pandas",
    "pypdfium2", "pytesseract", "scipy", "skops", "sklearn", "torch",
}  # fmt: skip

LONGEST = 350


@dataclass(frozen=True)
class Import:
    """One import statement: who, what, where, and whether it runs when the module is loaded."""

    module: str
    target: str
    place: str
    at_load: bool


def paths() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in paths()}


def imports_of(module: str) -> Iterator[Import]:
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    yield from _walk(ast.parse(path.read_text()), module, package, path, at_load=True)


def _walk(node: ast.AST, module: str, package: str, path: Path, at_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        place = f"{path.relative_to(ROOT)}:{getattr(child, 'lineno', 0)}"
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(module, alias.name, place, at_load)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                above = package.split(".")[: len(package.split(".")) - child.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in child.names:
                whole = f"{base}.{alias.name}"
                yield Import(module, whole if whole in MODULES else base, place, at_load)
        else:
            lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from _walk(child, module, package, path, at_load and not lazy and not typing_only)


def layer_of(module: str) -> str | None:
    found = [layer for layer in LAYERS if module == layer or module.startswith(f"{layer}.")]
    return max(found, key=len) if found else None


def ours(target: str) -> bool:
    return target.partition(".")[0] in PACKAGES


def test_every_module_has_a_layer() -> None:
    empty = {"aios_assets"}  # the package itself holds nothing
    assert [name for name in MODULES if layer_of(name) is None and name not in empty] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer: str) -> None:
    wrong = []
    for module in (name for name in MODULES if layer_of(name) == layer):
        for one in filter(lambda one: ours(one.target), imports_of(module)):
            target = layer_of(one.target)
            if target != layer and target not in LAYERS[layer]:
                wrong.append(f"{one.place} imports {one.target}")
    assert wrong == []


def test_automations_import_only_the_primitives_and_their_siblings() -> None:
    prefix = "aios_assets.automations."
    wrong = []
    for module in (name for name in MODULES if name.startswith(prefix)):
        folder = prefix + module.removeprefix(prefix).partition(".")[0]
        for one in filter(lambda one: ours(one.target), imports_of(module)):
            sibling = one.target == folder or one.target.startswith(f"{folder}.")
            if not sibling and layer_of(one.target) != "aios":
                wrong.append(f"{one.place} imports {one.target}")
    assert wrong == []


def test_nobody_imports_the_composition_root_but_its_starters_lazily() -> None:
    wrong = [
        f"{one.place} imports {one.target}"
        for module in MODULES
        for one in imports_of(module)
        if one.target.startswith(ROOT_OF_COMPOSITION) and (module not in STARTERS or one.at_load)
    ]
    assert wrong == []


def test_the_primitives_know_no_platform() -> None:
    wrong = [
        f"{one.place} imports {one.target}"
        for module in MODULES
        if layer_of(module) == "aios"
        for one in imports_of(module)
        if one.target.partition(".")[0] in BANNED_IN_AIOS
    ]
    assert wrong == []


def test_no_import_cycle_at_load() -> None:
    graph = {
        module: {one.target for one in imports_of(module) if one.at_load and one.target in MODULES}
        for module in MODULES
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above[above.index(module) :], module])
        if module not in done:
            for target in sorted(graph[module]):
                visit(target, (*above, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in MODULES.values()
        if path.read_text() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_modules_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES.values()
    }
    assert {name for name, lines in lengths.items() if lines > LONGEST} == set()


def loaded_by(code: str, home: Path) -> set[str]:
    """Run code in a new interpreter; the top-level modules that are in memory afterwards."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AIOS_HOME": str(home)}
    environment.pop("AIOS_AUTOMATIONS", None)
    report = "\nimport sys; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True, text=True, env=environment, cwd=home, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_loading_the_definitions_imports_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import dagster as dg\n"
        "from aios_assets.definitions import defs\n"
        "repository = defs().get_repository_def()\n"
        "assert repository.has_job('claims_batch'), repository.job_names"
    )
    assert loaded_by(code, tmp_path) & HEAVY == set()


def test_help_starts_neither_dagster_nor_data_frames(tmp_path: Path) -> None:
    code = (
        "from aios_assets.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert not end.code"
    )
    loaded = loaded_by(code, tmp_path)
    assert "typer" in loaded
    assert loaded & (HEAVY | {"dagster", "polars", "pyarrow", "duckdb", "numpy"}) == set()

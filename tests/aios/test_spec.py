"""The declaration: one wrong value gives one error with file, line, field and what is allowed."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from aios.declaration import load_spec
from aios.errors import AiosError
from aios.settings import PROJECT
from tests.conftest import ATTRIBUTES, write_automation

pytestmark = pytest.mark.unit

DEFS = """\
type: aios_assets.component.Automation
attributes:
  description: Loans
  owners: ["team:credit", me@example.com]
  source: {table: loans.csv, start: 2024-01-01, end: 2024-05-20}
  id: loan_id
  entity: customer
  event_time: applied_at
  known_at: filed_at
  cadence: weekly
  schedule: "0 2 * * 1"
  label: {column: defaulted, delay: 30d}
  slices: [region]
  contract:
    max_quarantine: 0.2
    columns:
      loan_id: {type: integer, required: true}
      customer: {type: category}
      applied_at: {type: time}
      filed_at: {type: time}
      amount:
        type: number
        min: 0
        max: 10
      region: {type: category, allowed: [north, south]}
  features:
    - name: application
      function: features:application
      entity: loan_id
      columns: {amount: number}
    - name: history
      function: features:history
      entity: customer
      lookback: 28d
      columns:
        loans_28d: number
  candidates:
    - name: logistic
      train: models:logistic
    - name: tree
      train: models:tree
      window: 1000
  retrain: {triggers: [drift], cooldown: 7d}
"""


@pytest.fixture
def defs(tmp_path: Path) -> Path:
    path = tmp_path / "defs.yaml"
    path.write_text(DEFS)
    return path


def test_a_declaration_loads_with_its_defaults(defs: Path) -> None:
    spec = load_spec(defs.parent)
    assert (spec.source.start, spec.source.end) == (date(2024, 1, 1), date(2024, 5, 20))
    assert spec.label.delay == timedelta(days=30)
    assert spec.feature_columns == {"amount": "number", "loans_28d": "number"}
    assert (spec.task, spec.promotion, spec.risk) == ("classification", "manual", "limited")
    assert spec.retrain.triggers == ["drift"]
    assert spec.features[0].lookback == timedelta(0)


@pytest.mark.parametrize(
    ("text", "length"),
    [("90m", timedelta(minutes=90)), ("12h", timedelta(hours=12)), ("0d", timedelta(0))],
)
def test_durations(defs: Path, text: str, length: timedelta) -> None:
    defs.write_text(DEFS.replace("delay: 30d", f"delay: {text}"))
    assert load_spec(defs.parent).label.delay == length


WRONG = [
    # (old, new, line, field, what is allowed)
    ("cadence: weekly", "cadence: hourly", 10, "cadence", "'daily', 'weekly' or 'monthly'"),
    ("delay: 30d", "delay: 30", 12, "label.delay", "30d, 12h, 90m or 20s"),
    ("delay: 30d", "delay: -3d", 12, "label.delay", "30d, 12h, 90m or 20s"),
    ("delay: 30d", "delay: 1.5d", 12, "label.delay", "30d, 12h, 90m or 20s"),
    ("lookback: 28d", "lookback: four weeks", 34, "features.1.lookback", "30d, 12h, 90m or 20s"),
    ("cooldown: 7d", "cooldown: 7 d", 43, "retrain.cooldown", "30d, 12h, 90m or 20s"),
    ('"0 2 * * 1"', '"0 2 * *"', 11, "schedule", "five fields"),
    ('"team:credit"', "credit", 4, "owners.0", "e-mail address or team:NAME"),
    ("me@example.com", "me@home", 4, "owners.1", "e-mail address or team:NAME"),
    ('["team:credit", me@example.com]', "[]", 4, "owners", "at least 1"),
    ("  description: Loans\n", "", 2, "description", "required"),
    ("  description: Loans\n", "  description: 3\n", 3, "description", "valid string"),
    ("  description: Loans\n", "  descripton: Loans\n", 3, "descripton", "not permitted"),
    (
        "entity: customer\n  event",
        "entity: customer\n  enabled: true\n  event",
        8,
        "enabled",
        "not permitted",
    ),
    ("start: 2024-01-01", "start: 2024-13-01", 5, "source.start", "date"),
    ("end: 2024-05-20", "end: 2023-05-20", 5, "source.end", "must lie after 'start' (2024-01-01)"),
    ("table: loans.csv, ", "", 5, "source", "either 'module' or 'table'"),
    ("table: loans.csv", "table: a.csv, module: source", 5, "source", "either 'module' or 'table'"),
    ("id: loan_id", "id: loan", 6, "id", "column 'loan' is not in the contract"),
    (
        "entity: customer\n  e",
        "entity: client\n  e",
        7,
        "entity",
        "column 'client' is not in the contract",
    ),
    ("event_time: applied_at", "event_time: amount", 8, "event_time", "must have type 'time'"),
    ("known_at: filed_at", "known_at: region", 9, "known_at", "must have type 'time'"),
    ("slices: [region]", "slices: [sex]", 13, "slices.0", "column 'sex' is not in the contract"),
    (
        "column: defaulted",
        "column: amount",
        12,
        "label.column",
        "must not be a column of the contract",
    ),
    (
        "{amount: number}",
        "{defaulted: number}",
        30,
        "features.0.columns.defaulted",
        "'defaulted' is taken",
    ),
    (
        "{amount: number}",
        "{loans_28d: number}",
        36,
        "features.1.columns.loans_28d",
        "'loans_28d' is taken",
    ),
    (
        "{amount: number}",
        "{loan_id: number}",
        30,
        "features.0.columns.loan_id",
        "'loan_id' is taken",
    ),
    ("{amount: number}", "{score: number}", 30, "features.0.columns.score", "'score' is taken"),
    (
        "name: history",
        "name: application",
        31,
        "features.1.name",
        "'application' is declared twice",
    ),
    ("name: tree", "name: logistic", 40, "candidates.1.name", "'logistic' is declared twice"),
    (
        "entity: loan_id\n",
        "entity: loan\n",
        29,
        "features.0.entity",
        "column 'loan' is not in the contract",
    ),
    ("max_quarantine: 0.2", "max_quarantine: 2", 15, "contract.max_quarantine", "less than 1"),
    ("type: number", "type: float", 22, "contract.columns.amount.type", "'integer', 'number'"),
    ("max: 10", "max: ten", 24, "contract.columns.amount.max", "valid number"),
    ("max: 10", "max: -1", 24, "contract.columns.amount.max", "less than 'min' (0)"),
    ("max: 10", "allowed: ['1']", 24, "contract.columns.amount.allowed", "for text and category"),
    (
        "applied_at: {type: time}",
        "applied_at: {type: time, min: 0}",
        19,
        "contract.columns.applied_at.min",
        "for numbers",
    ),
    ("[north, south]", "[north, yes]", 25, "contract.columns.region.allowed.1", "valid string"),
    (
        "{amount: number}",
        "{amount: integer}",
        30,
        "features.0.columns.amount",
        "'number' or 'category'",
    ),
    ("{amount: number}", "{}", 30, "features.0.columns", "at least 1"),
    ("features:history", "history", 32, "features.1.function", "match pattern"),
    ("name: tree", "name: Tree 2", 40, "candidates.1.name", "match pattern"),
    ("window: 1000", "window: 10", 42, "candidates.1.window", "greater than or equal to 50"),
    ("window: 1000", "windows: 1000", 42, "candidates.1.windows", "not permitted"),
    (
        "[drift]",
        "[drift, calendar]",
        43,
        "retrain.triggers.1",
        "'drift', 'performance' or 'labels'",
    ),
    (
        "retrain: {triggers: [drift]",
        "retrain: {on: [drift]",
        43,
        "retrain",
        "Keys should be strings (given: True)",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "field", "allowed"), WRONG)
def test_a_wrong_value_names_file_line_field_and_what_is_allowed(
    defs: Path, old: str, new: str, line: int, field: str, allowed: str
) -> None:
    assert DEFS.count(old) == 1
    defs.write_text(DEFS.replace(old, new))
    with pytest.raises(AiosError) as error:
        load_spec(defs.parent)
    assert f"field '{field}'" in error.value.what
    assert allowed in error.value.what
    assert error.value.where == f"{defs}:{line}"
    assert error.value.fix


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("type: [\n", 2, "not YAML"),
        (DEFS.replace("  slices: [region]", "  slices: [region"), 14, "not YAML"),
        (DEFS.replace("  id: loan_id", "\tid: loan_id"), 6, "not YAML"),
        (DEFS.replace("component.Automation", "component.Robot"), 1, "'type' must be"),
        ("attributes: {}\n", 1, "'type' must be"),
        ("- a\n- b\n", 1, "'type' must be"),
        ("", 1, "'type' must be"),
        ("type: aios_assets.component.Automation\n", 1, "field 'candidates': Field required"),
    ],
)
def test_a_file_that_is_no_declaration(defs: Path, text: str, line: int, says: str) -> None:
    defs.write_text(text)
    with pytest.raises(AiosError, match=says) as error:
        load_spec(defs.parent)
    assert error.value.where == f"{defs}:{line}"


def test_a_folder_without_a_declaration(tmp_path: Path) -> None:
    with pytest.raises(AiosError, match="there is no declaration") as error:
        load_spec(tmp_path)
    assert error.value.where == str(tmp_path / "defs.yaml")


def test_every_declaration_that_comes_with_the_platform_loads() -> None:
    folders = [path.parent for path in (PROJECT / "aios_assets/automations").glob("*/defs.yaml")]
    assert "claims" in {folder.name for folder in folders}
    for folder in folders:
        assert load_spec(folder).features


def test_fields_that_yaml_reads_as_something_else_survive(tmp_path: Path) -> None:
    attributes: dict[str, Any] = ATTRIBUTES | {"retrain": {"triggers": ["labels"]}}
    spec = load_spec(write_automation(tmp_path / "loans", retrain=attributes["retrain"]))
    assert spec.retrain.triggers == ["labels"]
    for name in _names(yaml.safe_load((tmp_path / "loans" / "defs.yaml").read_text())):
        assert isinstance(name, str)


def _names(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *(name for one in value.values() for name in _names(one))]
    return [name for one in value for name in _names(one)] if isinstance(value, list) else []

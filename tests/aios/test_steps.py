"""What a declaration may say of steps, and what each wrong one is told."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from aios.automation import Automation
from aios.declaration import load_spec
from aios.errors import AiosError
from aios.learner import ModelStep, learners, model_steps
from aios.learning import METRICS, Learned
from aios.settings import PROJECT, Settings
from aios.spec import Spec

pytestmark = pytest.mark.unit

FOLDER = PROJECT / "aios_assets/automations/invoices"
INVOICES = yaml.safe_load((FOLDER / "defs.yaml").read_text())["attributes"]
DEFS = """\
type: aios_assets.component.Automation
attributes:
  description: Letters
  owners: ["team:post"]
  source: {module: source, start: 2024-01-01}
  id: letter_id
  entity: letter_id
  event_time: sent_at
  cadence: monthly
  contract:
    columns:
      letter_id: {type: text}
      sent_at: {type: time}
      uri: {type: text}
  steps:
    - name: reading
      kind: query
      function: reading:read
      inputs: [letter_id, uri]
      outputs: {page: json, words: number, script: category}
      timeout: 60s
      retries: 1
      fallback: {words: 0}
    - name: extraction
      kind: transform
      inputs: [page]
      outputs:
        sender: text
        place: category
        confidence: number
        why: json
      page: pages:page
      model:
        fields: [sender, place]
        key_fields: [sender]
        truth: source:truth
        same: norm:same
        load: recipes:load
        watch: [words]
        slices: [script]
        max_wrong: 0.02
        candidates:
          - {name: boosting, train: "recipes:boosting"}
        gate: {metric: document_f1}
    - name: filing
      kind: act
      function: filing:put
      inputs: [sender, page]
      outputs: {filed: boolean}
      lookback: 30d
  label: {column: returned, delay: 14d, corrections_of: extraction}
  features:
    - name: letter
      function: features:letter
      entity: sender
      columns: {confidence: number}
  candidates:
    - {name: logistic, train: "models:logistic"}
"""


@pytest.fixture
def defs(tmp_path: Path) -> Path:
    path = tmp_path / "defs.yaml"
    path.write_text(DEFS)
    return path


def declared(change: Any) -> Spec:
    attributes = deepcopy(INVOICES)
    change(attributes)
    return Spec.model_validate(attributes)


def test_the_invoices_are_declared_with_three_steps_and_one_model() -> None:
    spec = declared(lambda _: None)
    assert [(one.name, one.kind) for one in spec.steps] == [
        ("reading", "query"), ("extraction", "transform"), ("duplicates", "query"),
    ]  # fmt: skip
    assert [one.name for one in spec.model_steps] == ["extraction"]
    assert "document" not in spec.columns
    assert spec.columns["vendor"] == "category"


def test_steps_load_with_their_defaults(defs: Path) -> None:
    reading, extraction, filing = load_spec(defs.parent).steps
    assert (reading.timeout, reading.retries) == (timedelta(seconds=60), 1)
    assert (filing.timeout, filing.retries, filing.fallback) == (None, 0, {})
    assert (reading.lookback, filing.lookback) == (timedelta(0), timedelta(days=30))
    model = extraction.model
    assert model
    assert (model.task, model.promotion) == ("extraction", "manual")
    assert (model.gate.metric, model.gate.floor) == ("document_f1", 0.55)
    assert model.retrain.triggers == ["drift", "performance", "labels"]


def test_json_is_for_later_steps_and_pages_alone(defs: Path) -> None:
    spec = load_spec(defs.parent)
    contract = {"letter_id": "text", "sent_at": "time", "uri": "text"}
    read = {"words": "number", "script": "category"}
    extracted = {"sender": "text", "place": "category", "confidence": "number"}
    assert spec.columns == contract | read | extracted | {"filed": "boolean"}


def test_a_model_has_more_assets_than_a_function(defs: Path) -> None:
    reading, extraction, _ = load_spec(defs.parent).steps
    assert reading.nouns == ["reading"]
    nouns = ["truth", "training_set", "gate", "performance", "drift_report", "boosting"]
    assert extraction.nouns == ["extraction", *(f"extraction_{noun}" for noun in nouns)]


WRONG = [
    # (old, new, line, field, what is allowed)
    ("name: reading", "name: Reading", 16, "steps.0.name", "match pattern"),
    ("name: reading", "name: features", 16, "steps.0.name", "'features' is the name of a stage"),
    ("name: filing", "name: reading", 45, "steps.2.name", "asset 'reading' is declared twice"),
    ("name: filing", "name: logistic", 45, "steps.2.name", "asset 'logistic' is declared twice"),
    (
        "name: filing",
        "name: extraction_gate",
        45,
        "steps.2.name",
        "asset 'extraction_gate' is declared twice",
    ),
    ("kind: query", "kind: ask", 17, "steps.0.kind", "'query', 'transform' or 'act'"),
    ("      kind: query\n", "", 16, "steps.0.kind", "required"),
    ("      function: reading:read\n", "", 16, "steps.0", "either 'function' or 'model'"),
    (
        "      model:\n",
        "      function: a:b\n      model:\n",
        24,
        "steps.1",
        "either 'function' or 'model'",
    ),
    ("reading:read", "reading.read", 18, "steps.0.function", "match pattern"),
    ("kind: transform", "kind: act", 25, "steps.1.kind", "a model is a transform"),
    ("[letter_id, uri]", "[]", 19, "steps.0.inputs", "at least 1"),
    ("[letter_id, uri]", "[uri, uri]", 19, "steps.0.inputs.1", "'uri' is given twice"),
    (
        "[letter_id, uri]",
        "[uri, sender]",
        19,
        "steps.0.inputs.1",
        "neither in the contract nor an output of an earlier step",
    ),
    ("{page: json, words: number, script: category}", "{}", 20, "steps.0.outputs", "at least 1"),
    ("page: json", "page: xml", 20, "steps.0.outputs.page", "'boolean', 'time' or 'json'"),
    ("page: json", "Page: json", 20, "steps.0.outputs.Page", "match pattern"),
    ("page: json", "uri: json", 20, "steps.0.outputs.uri", "the name 'uri' is taken"),
    ("page: json", "score: json", 20, "steps.0.outputs.score", "the name 'score' is taken"),
    ("page: json", "known_at: json", 20, "steps.0.outputs.known_at", "'known_at' is taken"),
    ("{filed: boolean}", "{words: number}", 49, "steps.2.outputs.words", "'words' is taken"),
    ("{filed: boolean}", "{returned: text}", 49, "steps.2.outputs.returned", "is taken"),
    ("timeout: 60s", "timeout: 60", 21, "steps.0.timeout", "30d, 12h, 90m or 20s"),
    ("timeout: 60s", "timeout: 0s", 21, "steps.0.timeout", "greater than"),
    ("timeout: 60s", "time_out: 60s", 21, "steps.0.time_out", "not permitted"),
    ("retries: 1", "retries: -1", 22, "steps.0.retries", "greater than or equal to 0"),
    ("retries: 1", "retries: 11", 22, "steps.0.retries", "less than or equal to 10"),
    ("retries: 1", "retries: twice", 22, "steps.0.retries", "valid integer"),
    ("{words: 0}", "{lines: 0}", 23, "steps.0.fallback.lines", "not among 'outputs'"),
    (
        "{words: 0}",
        "{words: none}",
        23,
        "steps.0.fallback.words",
        "output 'words' is str, declared is number",
    ),
    ("{words: 0}", "{page: nothing}", 23, "steps.0.fallback.page", "output 'page' is no JSON"),
    ("lookback: 30d", "lookback: a month", 50, "steps.2.lookback", "30d, 12h, 90m or 20s"),
    (
        "      page: pages:page\n",
        "      lookback: 1d\n",
        32,
        "steps.1.lookback",
        "a model sees one event at a time",
    ),
    ("page: pages:page", "page: pages", 32, "steps.1.page", "match pattern"),
    ("sender: text", "sender: number", 28, "steps.1.outputs.sender", "must be text or a category"),
    ("[sender, place]", "[]", 34, "steps.1.model.fields", "at least 1"),
    (
        "[sender, place]",
        "[sender, topic]",
        34,
        "steps.1.model.fields.1",
        "field 'topic' is not among 'outputs'",
    ),
    ("[sender]", "[]", 35, "steps.1.model.key_fields", "at least 1"),
    ("[sender]", "[why]", 35, "steps.1.model.key_fields.0", "'why' is not among 'fields'"),
    ("        truth: source:truth\n", "", 33, "steps.1.model.truth", "required"),
    ("norm:same", "same", 37, "steps.1.model.same", "match pattern"),
    ("load: recipes:load", "load: recipes", 38, "steps.1.model.load", "match pattern"),
    ("[words]", "[]", 39, "steps.1.model.watch", "at least 1"),
    ("[words]", "[words, place]", 39, "steps.1.model.watch.1", "'place' is no column known"),
    ("[words]", "[page]", 39, "steps.1.model.watch.0", "'page' is no column known"),
    ("[script]", "[filed]", 40, "steps.1.model.slices.0", "'filed' is no column known"),
    ("[script]", "[why]", 40, "steps.1.model.slices.0", "'why' is no column known"),
    ("max_wrong: 0.02", "max_wrong: 1", 41, "steps.1.model.max_wrong", "less than 1"),
    (
        "metric: document_f1",
        "metric: accuracy",
        44,
        "steps.1.model.gate.metric",
        "judged by one of document_f1, documents_right",
    ),
    ("name: boosting", "name: Boost", 43, "steps.1.model.candidates.0.name", "match pattern"),
    (
        "max_wrong: 0.02",
        "task: classification",
        41,
        "steps.1.model.task",
        "'extraction'",
    ),
    ("max_wrong: 0.02", "holdout: 0.2", 41, "steps.1.model.holdout", "not permitted"),
    (
        "corrections_of: extraction",
        "corrections_of: reading",
        51,
        "label.corrections_of",
        "there is no model step 'reading'",
    ),
    ("entity: sender", "entity: page", 55, "features.0.entity", "nor an output of a step"),
    ("entity: sender", "entity: topic", 55, "features.0.entity", "nor an output of a step"),
]


@pytest.mark.parametrize(("old", "new", "line", "field", "allowed"), WRONG)
def test_a_wrong_step_is_refused_with_its_line_and_field(
    defs: Path, old: str, new: str, line: int, field: str, allowed: str
) -> None:
    assert DEFS.count(old) == 1
    defs.write_text(DEFS.replace(old, new))
    with pytest.raises(AiosError) as error:
        load_spec(defs.parent)
    assert f"field '{field}'" in error.value.what
    assert allowed in error.value.what
    assert error.value.where == f"{defs}:{line}"


@pytest.mark.parametrize("task", list(METRICS))
def test_a_model_is_judged_by_a_metric_of_its_task(task: str) -> None:
    other = next(name for name in METRICS if name != task)
    candidates = [{"name": "one", "train": "models:one"}]
    for metric in METRICS[task]:
        given = {"task": task, "candidates": candidates, "gate": {"metric": metric}}
        assert Learned.model_validate(given).gate.metric == metric
    for metric in METRICS[other]:
        with pytest.raises(ValidationError, match=f"a model of {task} is judged by one of"):
            Learned.model_validate(
                {"task": task, "candidates": candidates, "gate": {"metric": metric}}
            )


def test_a_candidate_is_declared_once() -> None:
    one = {"name": "one", "train": "models:one"}
    with pytest.raises(ValidationError, match="'one' is declared twice"):
        Learned.model_validate({"task": "regression", "candidates": [one, one],
                                "gate": {"metric": "mae"}})  # fmt: skip


def test_what_learns_are_the_models_of_the_steps_and_then_the_automations(
    settings: Settings,
) -> None:
    automation = Automation.load(FOLDER, settings)
    own, whole = learners(automation)
    assert [own] == model_steps(automation)
    assert whole is automation
    assert isinstance(own, ModelStep)
    assert (own.name, whole.name) == ("invoices.extraction", "invoices")
    assert own.spec.task == "extraction"
    assert (own.asset("gate"), whole.asset("gate")) == ("extraction_gate", "gate")
    assert own.window("2025-03-01") == whole.window("2025-03-01")

"""What a declaration may say of steps, and what each wrong one is told."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from aios.settings import PROJECT
from aios.spec import Spec

pytestmark = pytest.mark.unit

INVOICES = yaml.safe_load((PROJECT / "aios_assets/automations/invoices/defs.yaml").read_text())[
    "attributes"
]


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


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: a["steps"][0].pop("function"), "either 'function' or 'model'"),
        (lambda a: a["steps"][1].update(function="reading:read"), "either 'function' or 'model'"),
        (lambda a: a["steps"][1].update(kind="act"), "a model is a transform"),
        (lambda a: a["steps"][1].update(lookback="1d"), "one event at a time"),
        (lambda a: a["steps"][0].update(name="features"), "the name of a stage"),
        (lambda a: a["steps"][0].update(inputs=["nothing"]), "neither in the contract"),
        (lambda a: a["steps"][0]["inputs"].append("vendor"), "an earlier step"),
        (lambda a: a["steps"][0]["outputs"].update(name="text"), "the name 'name' is taken"),
        (lambda a: a["steps"][0].update(fallback={"x": 1}), "not among 'outputs'"),
        (lambda a: a["steps"][1]["model"]["fields"].append("colour"), "field 'colour'"),
        (lambda a: a["steps"][1]["model"].update(key_fields=["x"]), "not among 'fields'"),
        (lambda a: a["steps"][1]["model"].update(watch=["vendor"]), "not known before the step"),
        (lambda a: a["steps"][1]["model"]["gate"].update(metric="roc_auc"), "judged by one of"),
        (lambda a: a["steps"].append(deepcopy(a["steps"][0])), "is taken"),
        (lambda a: a["label"].update(corrections_of="reading"), "no model step 'reading'"),
        (lambda a: a["steps"][0].update(timeout="soon"), "a duration is"),
        (lambda a: a["steps"][0].update(retries=99), "less than or equal to 10"),
        (lambda a: a["features"][2].update(entity="colour"), "nor an output of a step"),
        (lambda a: a["candidates"].append({"name": "reading", "train": "m:f"}), "declared twice"),
    ],
)
def test_a_wrong_step_is_refused(change: Any, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        declared(change)

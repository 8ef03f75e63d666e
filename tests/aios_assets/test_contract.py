"""The contract: each rule sets aside exactly the rows that break it, and says which it was."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from aios.declaration import load_spec
from aios.errors import AiosError
from aios.spec import Spec
from aios_assets.lifecycle.contract import Checked, apply_contract
from tests.conftest import write_automation

pytestmark = pytest.mark.unit

KNOWN = datetime(2024, 1, 1, 12)
GOOD = {
    "loan_id": "1", "customer": "c1", "applied_at": "2024-01-01 10:00:00", "amount": "10.5",
    "region": "north", "age": "30", "vip": "yes", "filed": "2024-01-01",
}  # fmt: skip
COLUMNS = {
    "loan_id": {"type": "integer", "required": True},
    "customer": {"type": "category", "required": True},
    "applied_at": {"type": "time"},
    "amount": {"type": "number", "min": 0, "max": 100},
    "region": {"type": "category", "allowed": ["north", "south"]},
    "age": {"type": "integer", "min": 18},
    "vip": {"type": "boolean"},
    "filed": {"type": "time"},
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    folder = tmp_path_factory.mktemp("contract") / "loans"
    return load_spec(write_automation(folder, contract={"columns": COLUMNS}))


def apply(spec: Spec, *rows: dict[str, Any]) -> Checked:
    raw = pl.DataFrame(
        [GOOD | {"loan_id": str(i)} | row for i, row in enumerate(rows)],
        schema=dict.fromkeys(GOOD, pl.String),
    )
    return apply_contract(spec, raw.with_columns(known_at=pl.lit(KNOWN)), "loans events")


def test_good_rows_come_out_in_their_declared_types(spec: Spec) -> None:
    checked = apply(spec, {}, {"amount": "", "age": None, "vip": "n", "region": " south "})
    assert checked.bad.is_empty()
    assert checked.broken.is_empty()
    assert checked.good.row(0, named=True) == {
        "loan_id": 0, "customer": "c1", "applied_at": datetime(2024, 1, 1, 10), "amount": 10.5,
        "region": "north", "age": 30, "vip": True, "filed": datetime(2024, 1, 1),
        "known_at": KNOWN, "event_time": datetime(2024, 1, 1, 10),
    }  # fmt: skip
    assert checked.good.row(1, named=True)["amount"] is None
    assert checked.good.row(1, named=True)["region"] == "south"


BREACHES = [
    ({"amount": "much"}, "type:amount"),
    ({"amount": "NaN"}, "type:amount"),
    ({"amount": "inf"}, "type:amount"),
    ({"age": "30.5"}, "type:age"),
    ({"vip": "perhaps"}, "type:vip"),
    ({"filed": "31/01/2024"}, "type:filed"),
    ({"loan_id": "x7"}, "not_null:loan_id, type:loan_id"),
    ({"loan_id": None}, "not_null:loan_id"),
    ({"customer": " "}, "not_null:customer"),
    ({"applied_at": None}, "not_null:applied_at"),
    ({"applied_at": "soon"}, "not_null:applied_at, type:applied_at"),
    ({"region": "west"}, "in_set:region"),
    ({"region": "North"}, "in_set:region"),
    ({"amount": "-0.01"}, "in_range:amount"),
    ({"amount": "100.5"}, "in_range:amount"),
    ({"age": "17"}, "in_range:age"),
    ({"applied_at": "2024-01-01 12:00:01"}, "time_order:event_time"),
    ({"amount": "-1", "region": "west", "age": "x"}, "in_range:amount, in_set:region, type:age"),
]


@pytest.mark.parametrize(("breach", "rules"), BREACHES)
def test_each_rule_sets_aside_exactly_the_row_that_breaks_it(
    spec: Spec, breach: dict[str, Any], rules: str
) -> None:
    checked = apply(spec, {}, breach, {"amount": None, "region": None})
    assert checked.good["loan_id"].to_list() == [0, 2]
    assert checked.bad["rules"].to_list() == [rules]
    given = {**GOOD, "loan_id": "1", **breach}
    assert checked.bad.select(GOOD.keys()).row(0, named=True) == given
    counts = {f"{rule}:{column}": rows for rule, column, rows in checked.broken.rows()}
    assert counts == dict.fromkeys(rules.split(", "), 1)
    for rule in {one.split(":")[0] for one in rules.split(", ")}:
        assert checked.failures(rule)["rows"].sum() == rules.count(f"{rule}:")


def test_many_bad_rows_keep_their_order_and_their_own_reasons(spec: Spec) -> None:
    rows = [breach for breach, _ in BREACHES for breach in (breach, {})]
    checked = apply(spec, *rows)
    assert checked.bad["rules"].to_list() == [rules for _, rules in BREACHES]
    assert checked.good["loan_id"].to_list() == list(range(1, 2 * len(BREACHES), 2))


def test_bounds_and_the_moment_of_knowing_are_inside(spec: Spec) -> None:
    edges = {"amount": "0", "age": "18", "applied_at": "2024-01-01 12:00:00"}
    assert apply(spec, edges, {"amount": "100"}).bad.is_empty()


def test_a_time_order_breach_is_found_behind_rows_without_a_time(spec: Spec) -> None:
    checked = apply(spec, {"applied_at": None}, {}, {"applied_at": "2024-02-01"}, {})
    assert checked.good["loan_id"].to_list() == [1, 3]
    assert checked.bad["rules"].to_list() == ["not_null:applied_at", "time_order:event_time"]


def test_a_column_without_any_value(spec: Spec) -> None:
    empty = dict.fromkeys(["amount", "region", "age", "vip", "filed"])
    assert apply(spec, empty, empty).good.height == 2
    without = apply(spec, {"customer": None}, {"customer": None})
    assert without.bad["rules"].to_list() == ["not_null:customer"] * 2
    assert without.good.is_empty()


def test_no_rows(spec: Spec) -> None:
    checked = apply(spec)
    assert (checked.good.height, checked.bad.height, checked.broken.height) == (0, 0, 0)
    assert checked.good.schema == apply(spec, {}).good.schema
    assert checked.bad.schema == apply(spec, {"amount": "x"}).bad.schema


def test_a_missing_column_is_an_error_that_names_it(spec: Spec) -> None:
    raw = pl.DataFrame({"loan_id": ["1"], "known_at": [KNOWN]})
    with pytest.raises(AiosError, match="lacks column customer, applied_at") as error:
        apply_contract(spec, raw, "loans events 2024-01-01")
    assert error.value.where == "loans events 2024-01-01"


def test_columns_that_are_not_in_the_contract_are_dropped(spec: Spec) -> None:
    raw = pl.DataFrame([GOOD | {"secret": "1"}]).with_columns(known_at=pl.lit(KNOWN))
    checked = apply_contract(spec, raw, "loans")
    assert "secret" not in checked.good.columns + checked.bad.columns


def test_a_source_with_types_of_its_own_is_judged_the_same(spec: Spec) -> None:
    raw = pl.DataFrame(
        {
            "loan_id": [1, 2, 3, 4],
            "customer": pl.Series(["a", "b", "c", "d"], dtype=pl.Categorical),
            "applied_at": [datetime(2024, 1, 1)] * 4,
            "amount": [1.0, float("nan"), float("inf"), None],
            "region": ["north"] * 4,
            "age": [20.0, 20.5, 20.0, None],
            "vip": [1, 0, 2, None],
            "filed": [datetime(2024, 1, 1).date()] * 4,
            "known_at": [KNOWN] * 4,
        }
    )
    checked = apply_contract(spec, raw, "loans")
    assert checked.good["loan_id"].to_list() == [1, 4]
    assert checked.bad["rules"].to_list() == ["type:age", "type:amount, type:vip"]


def test_the_column_that_says_when_a_row_was_known_must_say_it(tmp_path: Path) -> None:
    columns = {**COLUMNS, "known_at": {"type": "time"}}
    folder = write_automation(
        tmp_path / "loans", contract={"columns": columns}, known_at="known_at"
    )
    raw = pl.DataFrame([GOOD | {"loan_id": str(i)} for i in range(3)]).with_columns(
        known_at=pl.Series(["2024-01-02", "some day", ""])
    )
    checked = apply_contract(load_spec(folder), raw, "loans")
    assert checked.good.select("loan_id", "known_at").rows() == [(0, datetime(2024, 1, 2))]
    assert checked.bad["rules"].to_list() == [
        "not_null:known_at, type:known_at",
        "not_null:known_at",
    ]
